from __future__ import annotations

import pytest
from wsproto.events import Ping, Pong, TextMessage

from rtserver import Server, Socket
from tests.behaviour.support import Closed, Kind, Record, Serve, WebSocketPeer


def recorded(record: Record, **options: int) -> Server:
    """A server that echoes, and notes the end of every socket."""
    io = Server(**options)  # type: ignore[arg-type]

    @io.on("echo")
    def echo(socket: Socket, *args: object) -> None:
        socket.emit("echo", *args)

    @io.on_disconnect
    def gone(socket: Socket, reason: str) -> None:
        record.add(reason)

    return io


async def test_messages_go_both_ways_in_order(serve: Serve, kind: Kind) -> None:
    site = await serve(recorded(Record()))
    peer = await site.open(kind)
    await peer.join()
    await peer.send(*(f'42["echo",{n}]' for n in range(20)))
    assert [await peer.receive() for _ in range(20)] == [f'42["echo",{n}]' for n in range(20)]


async def test_a_large_message_goes_both_ways(serve: Serve, kind: Kind) -> None:
    site = await serve(recorded(Record()))
    peer = await site.open(kind)
    await peer.join()
    for size in (125, 126, 65_535, 65_536, 900_000):
        packet = '42["echo","' + "x" * size + '"]'
        await peer.send(packet)
        assert await peer.receive() == packet


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        ("0", "parse error"),
        ("5", "parse error"),
        ("6", "parse error"),
        ("2", "transport error"),
        ("2probe", "transport error"),
        ("1", "transport close"),
    ],
)
async def test_a_packet_that_is_not_a_clients_ends_the_session(
    serve: Serve, kind: Kind, packet: str, reason: str
) -> None:
    record = Record()
    site = await serve(recorded(record))
    peer = await site.open(kind)
    await peer.join()
    await peer.send(packet)
    assert await record.next() == reason
    assert await peer.rest() == []


@pytest.mark.parametrize("packet", ["7", "x", "", "\u0662", "-1"])
async def test_a_frame_that_is_no_packet_ends_the_session(serve: Serve, packet: str) -> None:
    record = Record()
    site = await serve(recorded(record))
    peer = await site.open_websocket()
    await peer.join()
    await peer.send(packet)
    assert await record.next() == "parse error"
    assert await peer.rest() == []


async def test_a_pong_that_nobody_asked_for_is_no_error(serve: Serve, kind: Kind) -> None:
    site = await serve(recorded(Record()))
    peer = await site.open(kind)
    await peer.join()
    await peer.send("3", '42["echo"]')
    assert await peer.receive() == '42["echo"]'


async def test_what_follows_a_close_is_not_looked_at(serve: Serve, kind: Kind) -> None:
    record = Record()
    site = await serve(recorded(record))
    peer = await site.open(kind)
    await peer.join()
    await peer.send('42["echo"]', "1", '42["echo"]')
    assert await record.next() == "transport close"
    assert record.empty


# WebSocket alone.


async def test_a_websocket_carries_binary_as_binary_frames(serve: Serve) -> None:
    site = await serve(recorded(Record()))
    peer = await site.open_websocket()
    await peer.join()
    await peer.send('451-["echo",{"_placeholder":true,"num":0}]', b"\x01\x02\xff")
    assert await peer.receive() == '451-["echo",{"_placeholder":true,"num":0}]'
    assert await peer.receive() == b"\x01\x02\xff"


async def test_a_message_may_come_in_fragments_with_a_ping_between(serve: Serve) -> None:
    site = await serve(recorded(Record()))
    peer = await site.open_websocket()
    await peer.join()
    await peer.websocket.send_event(TextMessage(data='42["ec', message_finished=False))
    await peer.websocket.send_event(Ping(b"there?"))
    await peer.websocket.send_event(TextMessage(data='ho",1]'))
    assert await peer.receive() == '42["echo",1]'
    assert peer.websocket.control == [Pong(b"there?")]


async def test_a_websockets_close_is_answered_and_ends_the_session(serve: Serve) -> None:
    record = Record()
    site = await serve(recorded(record))
    peer = await site.open_websocket()
    await peer.join()
    await peer.websocket.close()
    assert await record.next() == "transport close"
    assert await peer.websocket.receive() == Closed(1000)
    await peer.websocket.ended()


async def test_a_websocket_that_breaks_off_ends_the_session(serve: Serve) -> None:
    record = Record()
    site = await serve(recorded(record))
    peer = await site.open_websocket()
    await peer.join()
    await peer.vanish()
    assert await record.next() == "transport close"


@pytest.mark.parametrize("upgraded", [False, True])
async def test_a_websocket_message_that_is_too_large_is_1009(serve: Serve, upgraded: bool) -> None:
    record = Record()
    site = await serve(recorded(record, max_http_buffer_size=1_000))
    peer: WebSocketPeer = await (site.open_upgraded() if upgraded else site.open_websocket())
    await peer.join()
    await peer.send('42["echo","' + "x" * 1_000 + '"]')
    assert await peer.websocket.receive() == Closed(1009)
    assert await record.next() == "transport error"
