"""The client against the server of this package."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio

from rtserver import Server, Socket
from rtserver.client import ConnectError, Reconnection, open_client, open_socket
from rtserver.errors import ConnectRefused
from rtserver.protocol.socketio.msgpack_parser import MsgpackParser

Serving = Callable[[Server], AbstractAsyncContextManager[str]]


@pytest.fixture
async def serving(patience: None) -> Serving:
    """Serves a server for the length of a block, and gives its URL."""

    @asynccontextmanager
    async def serve(io: Server) -> AsyncIterator[str]:
        async with trio.open_nursery() as nursery:
            [address] = await nursery.start(io.serve, "127.0.0.1:0")
            yield f"http://{address}"
            nursery.cancel_scope.cancel()

    return serve


@pytest.mark.parametrize("parser", [None, MsgpackParser()], ids=["json", "msgpack"])
async def test_events_and_answers_go_both_ways(serving: Serving, transports: Any, parser: Any) -> None:
    io = Server(parser=parser)

    @io.on("ask")
    async def ask(socket: Socket, value: Any) -> Any:
        return await socket.call("question", value)

    settings: Any = {"transports": transports} if parser is None else {"transports": transports, "parser": parser}
    async with serving(io) as url, open_client(url, **settings) as client:
        socket = await client.connect()
        if "websocket" in transports:
            await client.wait_upgraded()
        socket.on("question", lambda value: [value, value])
        for value in (None, {"a": [b"\x00\x01", "text"]}, b"x" * 100_000, "y" * 100_000):
            assert await socket.call("ask", value) == [value, value]


async def test_a_refusal_carries_message_and_data(serving: Serving) -> None:
    io = Server()

    @io.of("/private").use
    def check(socket: Socket) -> None:
        if socket.handshake.auth.get("token") != "secret":
            raise ConnectRefused("wrong token", {"try": "again"})

    async with serving(io) as url, open_client(url) as client:
        with pytest.raises(ConnectError) as refusal:
            await client.connect("/private", auth={"token": "guess"})
        assert (refusal.value.message, refusal.value.data) == ("wrong token", {"try": "again"})
        assert (await client.connect("/private", auth={"token": "secret"})).connected


async def test_both_sides_see_who_left(serving: Serving, transports: Any) -> None:
    reasons: list[str] = []
    both_left = trio.Event()
    io = Server()

    @io.on_disconnect
    def left(socket: Socket, reason: str) -> None:
        reasons.append(reason)
        if len(reasons) == 2:
            both_left.set()

    @io.on("kick")
    def kick(socket: Socket) -> None:
        socket.disconnect()

    async with serving(io) as url, open_client(url, transports=transports) as client:
        socket = await client.connect()
        socket.emit("kick")
        assert await socket.wait_closed() == "io server disconnect"
        async with client.namespace():
            pass
        await both_left.wait()
    assert reasons == ["server namespace disconnect", "client namespace disconnect"]


async def test_a_client_survives_a_restart(patience: None, transports: Any) -> None:
    at_once = Reconnection(delay=0.02, max_delay=0.02)
    gone, back = trio.Event(), trio.Event()
    io = Server()

    @io.on("echo")
    def echo(socket: Socket, value: str) -> str:
        return value

    async with trio.open_nursery() as nursery:
        [address] = await nursery.start(io.serve, "127.0.0.1:0")
        async with open_socket(f"http://{address}", transports=transports, reconnection=at_once) as socket:
            socket.on("disconnect", lambda reason: gone.set())
            socket.on("connect", back.set)
            io.stop()
            await gone.wait()
            while io.running:
                await trio.lowlevel.checkpoint()
            await nursery.start(io.serve, address)
            await back.wait()
            assert await socket.call("echo", "back") == "back"
        nursery.cancel_scope.cancel()


async def test_leaving_leaves_nothing_at_the_server(serving: Serving, transports: Any) -> None:
    io = Server()
    async with serving(io) as url:
        async with open_client(url, transports=transports) as client, client.namespace():
            assert io.statistics().clients == 1
        while io.statistics().clients:
            await trio.lowlevel.checkpoint()
