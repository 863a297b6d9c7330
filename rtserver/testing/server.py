"""A server under test, and clients that need no network to reach it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Unpack

import msgspec
import trio

from rtserver.client import Client, ClientSocket, Options, Settings, Transport, TransportLost, run_client
from rtserver.server import Server
from rtserver.testing.wire import ClientEnd, InMemoryExchange
from rtserver.transports.request import Request
from rtserver.types import TransportName

URL = "http://testserver"


class InProcessServer:
    """A running server. ``open_server`` makes it.

    Attributes:
        io: The server itself.
    """

    def __init__(self, io: Server) -> None:
        self.io = io
        self._ends: set[ClientEnd] = set()

    @asynccontextmanager
    async def client(self, **settings: Unpack[Settings]) -> AsyncIterator[Client]:
        """A client of this server for the length of a block.

        Args:
            settings: See ``rtserver.client.Options``. It does not reconnect unless told to.

        Raises:
            ConnectError: The server refuses.
        """
        given: Settings = {"reconnection": None, "parser": self.io.parser, "path": self.io.config.path, **settings}
        given["transports"] = ["websocket"]
        options = Options(URL, **given)

        @asynccontextmanager
        async def dial(name: TransportName, sid: str | None) -> AsyncIterator[Transport]:
            end = await self._connect(options)
            self._ends.add(end)
            try:
                yield end
            finally:
                self._ends.discard(end)
                end.drop()

        async with run_client(options, dial) as client:
            yield client

    @asynccontextmanager
    async def socket(self, namespace: str = "/", **settings: Unpack[Settings]) -> AsyncIterator[ClientSocket]:
        """A client that is in one namespace, for the length of a block. Arguments and errors: ``client``."""
        async with self.client(**settings) as client, client.namespace(namespace) as socket:
            yield socket

    def drop_connections(self) -> None:
        """Break every connection, as a network does: clients and server find out by themselves."""
        for end in list(self._ends):
            end.drop()

    async def _connect(self, options: Options) -> ClientEnd:
        exchange = InMemoryExchange(_request(options), self.io.config)
        self.io.engine.on_upgrade(exchange)
        await exchange.answered.wait()
        response = exchange.response
        if response is not None:
            error = msgspec.json.decode(response.body)
            raise TransportLost("transport error", error["message"], {"status": response.status, "code": error["code"]})
        await trio.lowlevel.checkpoint()
        return ClientEnd(exchange.server_end)


def _request(options: Options) -> Request:
    target = options.target("websocket", None)
    headers = {"host": options.authority, "upgrade": "websocket", "connection": "Upgrade"}
    headers.update({name.lower(): value for name, value in options.headers.items()})
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    path, _, query = target.partition("?")
    request = Request("GET", path, query, headers, "\r\n".join(lines).encode("latin-1"))
    request.peer = "127.0.0.1"
    return request


@asynccontextmanager
async def open_server(io: Server) -> AsyncIterator[InProcessServer]:
    """Run a server without a network for the length of a block.

    ```python
    async def test_a_room_hears_what_is_said() -> None:
        async with open_server(io) as server, server.socket() as ann, server.socket() as bob:
            await ann.call("join", "lobby")
            await bob.call("join", "lobby")
            ann.emit("say", "lobby", "hello")
            assert await bob.receive("said") == "hello"
    ```

    Raises:
        RuntimeError: The server is running already.
    """
    async with io.lifetime():
        yield InProcessServer(io)
