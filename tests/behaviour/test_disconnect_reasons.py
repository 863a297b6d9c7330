from __future__ import annotations

import pytest
import trio.testing

from rtserver import Server, Socket
from tests.behaviour.support import Closed, Kind, PollingPeer, Record, Serve, WebSocketPeer


def watched(record: Record, **options: float) -> Server:
    """A server that notes each socket's end, and in which rooms it was when."""
    io = Server(**options)  # type: ignore[arg-type]

    @io.on_connect
    def connected(socket: Socket) -> None:
        socket.join("lobby")

    @io.on("echo")
    def echo(socket: Socket) -> None:
        socket.emit("echo")

    @io.on("leave")
    def leave(socket: Socket, close: bool = False) -> None:
        socket.emit("goodbye", 1)
        socket.emit("goodbye", 2)
        socket.disconnect(close)

    @io.on_disconnecting
    def leaving(socket: Socket, reason: str) -> None:
        record.add(("disconnecting", reason, set(socket.rooms) == {socket.id, "lobby"}))

    @io.on_disconnect
    def gone(socket: Socket, reason: str) -> None:
        record.add(("disconnect", reason, set(socket.rooms)))

    return io


async def is_told(record: Record, reason: str) -> None:
    """The handlers hear of one end, once, with the rooms still there and then gone."""
    assert await record.next() == ("disconnecting", reason, True)
    assert await record.next() == ("disconnect", reason, set())
    assert record.empty


async def test_server_namespace_disconnect(serve: Serve, kind: Kind) -> None:
    record = Record()
    site = await serve(watched(record))
    peer = await site.open(kind)
    await peer.join()
    await peer.send('42["leave"]')
    assert [await peer.receive() for _ in range(3)] == ['42["goodbye",1]', '42["goodbye",2]', "41"]
    await is_told(record, "server namespace disconnect")
    await peer.join()
    await peer.send('42["echo"]')
    assert await peer.receive() == '42["echo"]'


async def test_server_namespace_disconnect_of_the_whole_connection(serve: Serve, kind: Kind) -> None:
    record = Record()
    io = watched(record)
    io.of("/chat")
    site = await serve(io)
    peer = await site.open(kind)
    await peer.join("/chat")
    await peer.join()
    await peer.send('42["leave",true]')
    assert await peer.rest() == ['42["goodbye",1]', '42["goodbye",2]', "41/chat,", "41"]
    await is_told(record, "server namespace disconnect")


async def test_disconnecting_sockets_from_outside(serve: Serve, kind: Kind) -> None:
    record = Record()
    site = await serve(watched(record))
    peer = await site.open(kind)
    await peer.join()
    site.io.to("lobby").disconnect_sockets()
    assert await peer.receive() == "41"
    await is_told(record, "server namespace disconnect")


async def test_client_namespace_disconnect(serve: Serve, kind: Kind) -> None:
    record = Record()
    site = await serve(watched(record))
    peer = await site.open(kind)
    await peer.join()
    await peer.send("41")
    await is_told(record, "client namespace disconnect")
    await peer.join()


async def test_ping_timeout(serve: Serve, kind: Kind, clock: trio.testing.MockClock) -> None:
    record = Record()
    site = await serve(watched(record))
    peer = await site.open(kind)
    await peer.join()
    clock.jump(25)
    assert await peer.receive() == "2"
    clock.jump(20)
    await is_told(record, "ping timeout")
    assert await peer.rest() == []


async def test_transport_close_by_a_close_packet(serve: Serve, kind: Kind) -> None:
    record = Record()
    site = await serve(watched(record))
    peer = await site.open(kind)
    await peer.join()
    await peer.send("1")
    await is_told(record, "transport close")
    assert await peer.rest() == []


@pytest.mark.parametrize(("kind", "reason"), [("polling", "transport error"), ("websocket", "transport close")])
async def test_the_end_of_a_connection_without_a_word(serve: Serve, kind: Kind, reason: str) -> None:
    record = Record()
    site = await serve(watched(record))
    peer = await site.open(kind)
    await peer.join()
    await peer.vanish()
    await is_told(record, reason)


async def test_transport_error(serve: Serve, kind: Kind) -> None:
    record = Record()
    site = await serve(watched(record))
    peer = await site.open(kind)
    await peer.join()
    await peer.send("2")
    await is_told(record, "transport error")
    assert await peer.rest() == []


async def test_parse_error(serve: Serve, kind: Kind) -> None:
    record = Record()
    site = await serve(watched(record))
    peer = await site.open(kind)
    await peer.join()
    await peer.send('42["connect"]')
    await is_told(record, "parse error")
    assert await peer.rest() == []


async def test_forced_server_close(serve: Serve, kind: Kind) -> None:
    record = Record()
    site = await serve(watched(record))
    peer = await site.open(kind)
    await peer.join()
    await peer.send("40")
    await is_told(record, "forced server close")
    assert await peer.rest() == []


def close_all(io: Server, *, discard: bool = False) -> None:
    for client in list(io.clients):
        client.session.close(discard=discard)


async def test_forced_close(serve: Serve, kind: Kind) -> None:
    record = Record()
    site = await serve(watched(record))
    peer = await site.open(kind)
    await peer.join()
    close_all(site.io)
    await is_told(record, "forced close")
    assert await peer.rest() == []


async def test_server_shutting_down(serve: Serve, kind: Kind) -> None:
    record = Record()
    site = await serve(watched(record))
    peer = await site.open(kind)
    await peer.join()
    waiting = await peer.pending_get() if isinstance(peer, PollingPeer) else None
    site.stop()
    await is_told(record, "server shutting down")
    if waiting is None:
        assert await peer.rest() == []
    elif site.door == "front":
        assert (await waiting.receive()).facts == (200, "1")
    else:
        # An ASGI server cuts its connections before it tells the application of the end.
        await waiting.ended()


async def test_every_namespace_hears_of_the_end_of_the_connection(serve: Serve, kind: Kind) -> None:
    record = Record()
    io = watched(record)
    for name in ("/a", "/b"):

        @io.of(name).on_disconnect
        def gone(socket: Socket, reason: str) -> None:
            record.add((socket.namespace.name, reason))

    site = await serve(io)
    peer = await site.open(kind)
    await peer.join("/a")
    await peer.join("/b")
    await peer.send("1")
    assert [await record.next(), await record.next()] == [("/a", "transport close"), ("/b", "transport close")]
    assert io.of("/a").statistics().rooms == 0


# What is still queued when the server closes.


async def test_close_sends_what_is_queued_first(serve: Serve, kind: Kind) -> None:
    record = Record()
    io = watched(record)

    @io.on("quit")
    def quit_(socket: Socket) -> None:
        for number in range(20):
            socket.emit("last", number, "x" * 40_000)
        close_all(io)
        socket.emit("never")

    site = await serve(io)
    peer = await site.open(kind)
    await peer.join()
    await peer.send('42["quit"]')
    await is_told(record, "forced close")
    packets = await peer.rest()
    assert [str(packet).partition(',"x')[0] for packet in packets] == [f'42["last",{number}' for number in range(20)]


async def test_a_poller_is_told_of_the_close_after_the_last_messages(serve: Serve) -> None:
    site = await serve(watched(Record()))
    peer = await site.open_polling()
    await peer.join()
    site.io.emit("last")
    close_all(site.io)
    assert (await peer.get()).facts == (200, '42["last"]')
    assert (await peer.get()).facts == (200, "1")
    assert (await peer.get()).status == 400


async def test_close_with_discard_drops_what_a_poller_has_not_fetched(serve: Serve) -> None:
    record = Record()
    site = await serve(watched(record))
    peer = await site.open_polling()
    await peer.join()
    site.io.emit("last")
    close_all(site.io, discard=True)
    await is_told(record, "forced close")
    assert (await peer.get()).status == 400


async def test_close_with_discard_drops_what_a_websocket_has_not_read(serve: Serve) -> None:
    record = Record()
    site = await serve(watched(record, max_queue_bytes=64_000_000, max_queue_packets=10_000))
    peer = await site.open_websocket()
    await peer.join()
    for _ in range(200):
        site.io.emit("bulk", "x" * 100_000)
    site.io.emit("last")
    close_all(site.io, discard=True)
    await is_told(record, "forced close")
    packets = await peer.rest()
    assert len(packets) < 200


@pytest.mark.parametrize("discard", [False, True])
async def test_a_websocket_that_keeps_up_gets_a_close_frame_in_any_case(serve: Serve, discard: bool) -> None:
    site = await serve(watched(Record()))
    peer: WebSocketPeer = await site.open_websocket()
    await peer.join()
    close_all(site.io, discard=discard)
    assert await peer.websocket.receive() == Closed(1000)
    await peer.websocket.ended()


async def test_a_websocket_whose_client_does_not_answer_the_close_is_cut(
    serve: Serve, clock: trio.testing.MockClock
) -> None:
    site = await serve(watched(Record(), close_timeout=30.0))
    peer = await site.open_websocket()
    await peer.join()
    peer.websocket.answers_close = False
    close_all(site.io)
    assert await peer.websocket.receive() == Closed(1000)
    # An ASGI server begins to wait only after the frame has gone.
    await trio.testing.wait_all_tasks_blocked(0.01)
    clock.jump(31)
    await peer.websocket.ended()
