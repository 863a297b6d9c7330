"""Connection state recovery, byte by byte. Source: Socket.IO protocol; socket.io 4.8, ``connectionStateRecovery``."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
import trio

from rtserver import MsgpackParser, Server, Socket
from rtserver.protocol.socketio.parser import Parser
from tests.behaviour.support import Door, Kind, Peer, Record, Serve, Site, Wire

OFFSET = re.compile(r"[0-9]{13}-[0-9]+")


class Cut:
    """A server whose clients are cut off."""

    def __init__(self, site: Site, record: Record) -> None:
        self.site = site
        self.record = record

    async def cut(self, peer: Peer) -> None:
        """The connection breaks, and the server has noticed."""
        await peer.vanish()
        assert await self.record.next() in ("transport close", "transport error")


async def serve_recovering(serve: Serve, *, parser: Parser | None = None, **options: Any) -> Cut:
    record = Record()
    io = Server(connection_state_recovery=True, parser=parser, **options)

    @io.on_disconnect
    def gone(socket: Socket, reason: str) -> None:
        record.add(reason)

    @io.on("join")
    def join(socket: Socket, room: str) -> None:
        socket.join(room)
        socket.data["joined"] = room

    return Cut(await serve(io), record)


async def text(peer: Peer) -> str:
    packet = await peer.receive()
    assert isinstance(packet, str)
    return packet


def event(packet: Wire) -> list[Any]:
    assert isinstance(packet, str)
    assert packet.startswith("42"), packet
    return list(json.loads(packet[2:]))


async def test_without_recovery_nothing_is_added(serve: Serve, kind: Kind) -> None:
    site = await serve(Server())
    peer = await site.open(kind)
    await peer.send('40{"pid":"somebody","offset":"1234567890123-1"}')
    answer = await text(peer)
    assert list(json.loads(answer[2:])) == ["sid"]
    site.io.emit("hello", "world")
    assert await text(peer) == '42["hello","world"]'


async def test_missed_events_come_first_and_then_the_answer(serve: Serve, kind: Kind) -> None:
    cut = await serve_recovering(serve)
    io = cut.site.io
    peer = await cut.site.open(kind)
    await peer.send("40")
    joined = json.loads((await text(peer))[2:])
    assert list(joined) == ["sid", "pid"]
    assert len(joined["pid"]) == 20
    await peer.send('420["join","room"]')
    assert await text(peer) == "430[]"
    io.emit("news", 1)
    name, value, offset = event(await peer.receive())
    assert (name, value) == ("news", 1)
    assert OFFSET.fullmatch(offset)

    await cut.cut(peer)
    io.emit("news", 2)
    io.to("room").emit("news", 3)
    io.to("elsewhere").emit("news", 4)
    io.to(joined["sid"]).emit("news", 5)
    io.except_("room").emit("news", 6)
    io.emit("binary", b"\x01")

    again = await cut.site.open(kind)
    await again.send("40" + json.dumps({"pid": joined["pid"], "offset": offset, "token": "t"}))
    assert [event(await again.receive())[:2] for _ in range(3)] == [["news", 2], ["news", 3], ["news", 5]]
    assert (await text(again)).startswith('451-["binary",{"_placeholder":true,"num":0},"')
    assert await again.receive() == b"\x01"
    assert json.loads((await text(again))[2:]) == joined
    socket = io.sockets[joined["sid"]]
    assert socket.recovered
    assert "room" in socket.rooms
    assert socket.data == {"joined": "room"}
    assert dict(socket.handshake.auth) == {"token": "t"}
    assert io.statistics().recovery.recovered == 1  # type: ignore[union-attr]


async def test_recovery_works_again_and_again(serve: Serve, kind: Kind) -> None:
    cut = await serve_recovering(serve)
    peer = await cut.site.open(kind)
    await peer.send("40")
    joined = json.loads((await text(peer))[2:])
    asked: dict[str, str] = {"pid": joined["pid"]}
    for number in range(3):
        await cut.cut(peer)
        cut.site.io.emit("news", number)
        peer = await cut.site.open(kind)
        await peer.send("40" + json.dumps(asked))
        name, value, asked["offset"] = event(await peer.receive())
        assert (name, value) == ("news", number)
        assert json.loads((await text(peer))[2:]) == joined


@pytest.fixture(params=["polling", "websocket"])
def transport(request: pytest.FixtureRequest) -> Kind:
    chosen: Kind = request.param
    return chosen


@pytest.mark.parametrize("door", ["front"], indirect=True)
async def test_msgpack_recovers_too(serve: Serve, door: Door, transport: Kind) -> None:
    def packed(data: Any) -> bytes:
        return msgspec.msgpack.encode({"type": 0, "nsp": "/", "data": data})

    async def unpacked(peer: Peer) -> Any:
        packet = await peer.receive()
        assert isinstance(packet, bytes)
        return msgspec.msgpack.decode(packet)["data"]

    cut = await serve_recovering(serve, parser=MsgpackParser())
    peer = await cut.site.open(transport)
    await peer.send(packed({}))
    joined = await unpacked(peer)
    assert list(joined) == ["sid", "pid"]
    await cut.cut(peer)
    cut.site.io.emit("news", b"\x01")
    again = await cut.site.open(transport)
    await again.send(packed({"pid": joined["pid"]}))
    name, value, offset = await unpacked(again)
    assert (name, value) == ("news", b"\x01")
    assert OFFSET.fullmatch(offset)
    assert await unpacked(again) == joined


@pytest.mark.parametrize("door", ["front"], indirect=True)
async def test_what_wants_an_answer_has_no_offset_and_what_is_volatile_has_one(serve: Serve, door: Door) -> None:
    cut = await serve_recovering(serve)
    io = cut.site.io
    peer = await cut.site.open("websocket")
    await peer.send("40")
    joined = json.loads((await text(peer))[2:])
    socket = io.sockets[joined["sid"]]
    io.emit("kept")
    offset = event(await peer.receive())[-1]
    # Clients take the last text of any event that wants no answer for an offset.
    io.volatile.emit("text", "of the application")
    socket.volatile.emit("text", "of the application")
    io.local.emit("text", "of the application")
    socket.emit("text", "of the application")
    offsets = [event(await peer.receive())[2] for _ in range(4)]
    assert offsets[:2] == [offset, offset]
    assert len({offset, *offsets[2:]}) == 3
    async with trio.open_nursery() as nursery:
        nursery.start_soon(socket.call, "question", "text")
        assert await text(peer) == '420["question","text"]'
        await peer.send("430[]")
        nursery.start_soon(io.call, "question", "text")
        assert await text(peer) == '421["question","text"]'
        await peer.send("431[]")
    await cut.cut(peer)
    io.volatile.emit("text", "nobody there")
    again = await cut.site.open("websocket")
    await again.send("40" + json.dumps({"pid": joined["pid"], "offset": offsets[-1]}))
    assert json.loads((await text(again))[2:]) == joined
