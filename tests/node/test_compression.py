"""permessage-deflate with an independent client, off unless asked for."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
from websockets.sync.client import ClientConnection, connect

from rtserver import Server, Socket


def build(**options: Any) -> Server:
    io = Server(**options)

    @io.on("echo")
    def echo(socket: Socket, value: Any) -> Any:
        return value

    @io.on("all")
    def everybody(socket: Socket, value: Any) -> None:
        io.emit("all", value)

    return io


def converse(port: int) -> tuple[str, list[str | bytes]]:
    """What is agreed on, and the answers to a small and a large echo and a broadcast."""
    with connect(f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket", compression="deflate") as client:
        agreed = client.response.headers.get("Sec-WebSocket-Extensions", "") if client.response else ""
        answers = [ask(client, wire) for wire in (None, "40", '421["echo","small"]', large(2), '42["all","x"]')]
        return agreed, answers


def ask(client: ClientConnection, wire: str | None) -> str | bytes:
    if wire is not None:
        client.send(wire)
    return client.recv(5)


def large(number: int) -> str:
    return f'42{number}["echo","{"abc" * 5_000}"]'


@pytest.mark.parametrize("wanted", [False, True])
async def test_messages_survive_whether_they_are_compressed_or_not(wanted: bool) -> None:
    io = build(per_message_deflate=wanted)
    async with trio.open_nursery() as nursery:
        (address,) = await nursery.start(partial(io.serve, "127.0.0.1:0"))
        port = int(address.rpartition(":")[2])
        agreed, answers = await trio.to_thread.run_sync(converse, port)
        assert agreed == ("permessage-deflate; server_no_context_takeover" if wanted else "")
        assert answers[2:] == ['431["small"]', large(2).replace('422["echo",', "432["), '42["all","x"]']
        node = io.statistics().node
        assert node is not None
        # Fifteen kilobytes of "abc" are next to nothing when deflated, in both directions.
        assert (node.bytes_in < 4_000) == wanted
        assert (node.bytes_out < 4_000) == wanted
        io.stop()
