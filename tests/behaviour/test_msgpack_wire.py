"""With the msgpack parser a whole packet is one binary message. Source: socket.io-msgpack-parser 3.0."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rtserver import Server, Socket
from rtserver.protocol.socketio.msgpack_parser import MsgpackParser
from tests.behaviour.support import Kind, Peer, Record, Serve, Wire


def server(record: Record) -> Server:
    io = Server(parser=MsgpackParser())
    chat = io.of("/chat")

    @io.on("echo")
    @chat.on("echo")
    def echo(socket: Socket, *args: Any) -> Any:
        socket.emit("echo", *args)
        return args[0] if args else None

    @io.on("leave")
    def leave(socket: Socket) -> None:
        socket.disconnect()

    @io.on_disconnect
    def gone(socket: Socket, reason: str) -> None:
        record.add(reason)

    return io


def packed(kind: int, nsp: str = "/", **rest: Any) -> bytes:
    return msgspec.msgpack.encode({"type": kind, "nsp": nsp, **rest})


async def unpacked(peer: Peer) -> dict[str, Any]:
    """The keys in their order, and nothing but one binary message."""
    packet = await peer.receive()
    assert isinstance(packet, bytes)
    decoded: dict[str, Any] = msgspec.msgpack.decode(packet)
    return decoded


async def joined(serve: Serve, kind: Kind, record: Record) -> Peer:
    site = await serve(server(record))
    peer = await site.open(kind)
    await peer.send(packed(0))
    assert (await unpacked(peer))["type"] == 0
    return peer


async def test_a_connect_is_answered_with_a_sid_and_no_other_key(serve: Serve, kind: Kind) -> None:
    site = await serve(server(Record()))
    peer = await site.open(kind)
    await peer.send(packed(0, "/chat", data={"token": "abc"}))
    answer = await unpacked(peer)
    (socket_id,) = site.io.of("/chat").sockets
    assert answer == {"type": 0, "nsp": "/chat", "data": {"sid": socket_id}}


async def test_an_unknown_namespace_is_invalid(serve: Serve, kind: Kind) -> None:
    site = await serve(server(Record()))
    peer = await site.open(kind)
    await peer.send(packed(0, "/nope"))
    assert await unpacked(peer) == {"type": 4, "nsp": "/nope", "data": {"message": "Invalid namespace"}}


async def test_binary_is_inline_and_absent_keys_are_left_out(serve: Serve, kind: Kind) -> None:
    peer = await joined(serve, kind, Record())
    await peer.send(packed(2, data=["echo", b"\x00\xff", {"a": [1, None, 1.5]}]))
    assert await unpacked(peer) == {"type": 2, "nsp": "/", "data": ["echo", b"\x00\xff", {"a": [1, None, 1.5]}]}


async def test_an_acknowledgement_carries_the_id(serve: Serve, kind: Kind) -> None:
    peer = await joined(serve, kind, Record())
    await peer.send(packed(2, data=["echo", b"x"], id=0))
    assert (await unpacked(peer))["type"] == 2
    assert await unpacked(peer) == {"type": 3, "nsp": "/", "data": [b"x"], "id": 0}


async def test_a_server_side_disconnect_is_type_1_without_data(serve: Serve, kind: Kind) -> None:
    record = Record()
    peer = await joined(serve, kind, record)
    await peer.send(packed(2, data=["leave"]))
    assert await unpacked(peer) == {"type": 1, "nsp": "/"}
    assert await record.next() == "server namespace disconnect"


async def test_a_client_side_disconnect_is_type_1(serve: Serve, kind: Kind) -> None:
    record = Record()
    peer = await joined(serve, kind, record)
    await peer.send(packed(1))
    assert await record.next() == "client namespace disconnect"


FORBIDDEN: list[Wire] = [
    '42["echo"]',
    b"",
    b"\xc1",
    msgspec.msgpack.encode([2, "/"]),
    packed(5, data=["echo"]),
    packed(9, data=["echo"]),
    packed(2),
    packed(2, data=[]),
    packed(2, data=["disconnect"]),
    packed(2, data=["echo"], id=-1),
    packed(2, data=["echo"]) + b"\x00",
    b"\x91" * 50_000,
]


@pytest.mark.parametrize("packet", FORBIDDEN, ids=lambda packet: ascii(packet)[:40])
async def test_a_message_that_is_no_packet_closes_the_connection(serve: Serve, kind: Kind, packet: Wire) -> None:
    record = Record()
    peer = await joined(serve, kind, record)
    await peer.send(packet)
    assert await record.next() == "parse error"
    assert await peer.rest() == []
