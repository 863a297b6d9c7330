"""Who is let in, and what reaches those who are not in yet."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Mapping
from typing import Any

import pytest
import trio

from rtserver import Server, Socket
from tests.behaviour.support import PATIENCE, Kind, Record, Serve


def broken(name: str, auth: Mapping[str, Any]) -> bool:
    raise RuntimeError(f"no opinion on {name}")


async def broken_later(name: str, auth: Mapping[str, Any]) -> bool:
    await trio.lowlevel.checkpoint()
    raise RuntimeError(f"no opinion on {name}")


def broken_then_awaited(name: str, auth: Mapping[str, Any]) -> Awaitable[bool]:
    return broken_later(name, auth)


@pytest.mark.parametrize("matcher", [broken, broken_later, broken_then_awaited])
async def test_a_matcher_that_fails_lets_nobody_in_and_the_connection_stays(
    serve: Serve, kind: Kind, matcher: Any, log_output: list[Any]
) -> None:
    io = Server()
    io.of(re.compile("^/room-[0-9]$"))
    io.of(matcher)
    io.of(lambda name, auth: True)

    @io.on("echo")
    def echo(socket: Socket, value: int) -> None:
        socket.emit("echo", value)

    site = await serve(io)
    peer = await site.open(kind)
    await peer.send("40/nobody-knows,")
    assert await peer.receive() == '44/nobody-knows,{"message":"Invalid namespace"}'
    # Neither those that match before it nor the rest of the connection are touched.
    await peer.join("/room-1")
    await peer.join()
    await peer.send('42["echo",1]')
    assert await peer.receive() == '42["echo",1]'
    assert sorted(io.namespaces) == ["/", "/room-1"]
    failures = [line for line in log_output if line["log_level"] == "error"]
    assert [(line["event"], line["namespace"]) for line in failures] == [("namespace_match_failed", "/nobody-knows")]


async def test_a_broadcast_does_not_reach_who_is_not_admitted_yet(serve: Serve, kind: Kind) -> None:
    record = Record()
    decided = trio.Event()
    io = Server()
    chat = io.of("/chat")

    @chat.use
    async def think(socket: Socket) -> None:
        socket.join("room")
        socket.emit("hint")
        record.add(socket)
        await decided.wait()

    site = await serve(io)
    peer = await site.open(kind)
    await peer.send("40/chat,")
    socket = await record.next()
    for early in (chat, chat.to("room"), chat.to(socket.id), chat.local, io.of("/")):
        early.emit("early")
    assert [*await chat.fetch_sockets(), *await chat.in_("room").fetch_sockets()] == []
    # A question that nobody is there to answer has all its answers at once.
    with trio.fail_after(PATIENCE):
        assert await chat.to("room").call("early") == []
    decided.set()
    # What middleware says to its own socket goes before the reply; what others say begins with it.
    assert await peer.receive() == '42/chat,["hint"]'
    assert await peer.receive() == f'40/chat,{{"sid":"{socket.id}"}}'
    chat.to("room").emit("late")
    assert await peer.receive() == '42/chat,["late"]'


async def test_a_broadcast_to_others_is_not_heard_by_who_is_refused_later(serve: Serve, kind: Kind) -> None:
    record = Record()
    decided = trio.Event()
    io = Server()
    chat = io.of("/chat")

    @chat.use
    async def refuse(socket: Socket) -> None:
        socket.join("room")
        record.add(socket)
        await decided.wait()
        raise RuntimeError("a bug in a check")

    site = await serve(io)
    peer = await site.open(kind)
    await peer.send("40/chat,")
    socket = await record.next()
    chat.to("room").emit("secret")
    decided.set()
    assert await peer.receive() == '44/chat,{"message":"internal error"}'
    chat.to("room", socket.id).emit("secret")
    await peer.join()
    assert chat.adapter.local_rooms() == {}
