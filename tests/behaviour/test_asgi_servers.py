"""What the second door makes of an ASGI server that loses its client in the middle of sending."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import trio

from rtserver import Server, Socket
from tests.behaviour.support import PATIENCE, Record

ENDINGS = [BrokenPipeError(), trio.BusyResourceError("another task is sending")]


class Connection:
    """An ASGI server's side of one connection; from some message on, sending fails."""

    def __init__(self, kind: str, query: str, fails_at: str, failure: Exception) -> None:
        self.scope = {"type": kind, "path": "/socket.io/", "query_string": query.encode(), "headers": []}
        self.sent = Record()
        self._fails_at = fails_at
        self._failure = failure
        self._put, self._messages = trio.open_memory_channel[Mapping[str, Any]](10)

    def arrives(self, **message: Any) -> None:
        self._put.send_nowait(message)

    async def receive(self) -> Mapping[str, Any]:
        return await self._messages.receive()

    async def send(self, message: Mapping[str, Any]) -> None:
        if message.get("text", message["type"]).startswith(self._fails_at):
            raise self._failure
        self.sent.add(message)


@pytest.mark.parametrize("failure", ENDINGS, ids=repr)
async def test_a_websocket_that_ends_while_it_is_written_to_is_a_transport_close(failure: Exception) -> None:
    record = Record()
    io = Server(close_timeout=0.01)

    @io.on("say")
    def say(socket: Socket) -> None:
        socket.emit("said")

    @io.on_disconnect
    def gone(socket: Socket, reason: str) -> None:
        record.add(reason)

    connection = Connection("websocket", "EIO=4&transport=websocket", '42["said"]', failure)
    connection.arrives(type="websocket.connect")
    connection.arrives(type="websocket.receive", text="40")
    connection.arrives(type="websocket.receive", text='42["say"]')
    async with io.lifetime():
        with trio.fail_after(PATIENCE):
            await io.asgi()(connection.scope, connection.receive, connection.send)
        assert await record.next() == "transport close"
        assert len(io.engine.sessions) == 0


@pytest.mark.parametrize("failure", ENDINGS, ids=repr)
async def test_an_answer_that_nobody_takes_is_nobodys_bug(failure: Exception) -> None:
    io = Server()
    connection = Connection("http", "EIO=4&transport=polling", "http.response.start", failure)
    connection.arrives(type="http.request", body=b"", more_body=False)
    async with io.lifetime():
        with trio.fail_after(PATIENCE):
            await io.asgi()(connection.scope, connection.receive, connection.send)
        assert connection.sent.empty
