from __future__ import annotations

import pytest
import trio
import trio.testing

from rtserver import Server, Socket
from tests.behaviour.support import PATIENCE, Kind, Peer, Record, Serve

Clock = trio.testing.MockClock


def echoing(record: Record, **options: float) -> Server:
    io = Server(**options)  # type: ignore[arg-type]

    @io.on("echo")
    def echo(socket: Socket) -> None:
        socket.emit("echo")

    @io.on_disconnect
    def gone(socket: Socket, reason: str) -> None:
        record.add(reason)

    return io


async def nothing_else_comes(peer: Peer) -> None:
    """Whatever the server had sent before would be in front of the echo."""
    await peer.send('42["echo"]')
    assert await peer.receive() == '42["echo"]'


async def test_a_ping_comes_when_the_interval_is_over(serve: Serve, kind: Kind, clock: Clock) -> None:
    site = await serve(echoing(Record()))
    peer = await site.open(kind)
    await peer.join()
    clock.jump(23)
    await nothing_else_comes(peer)
    clock.jump(2)
    assert await peer.receive() == "2"
    await nothing_else_comes(peer)


async def test_the_next_interval_starts_with_the_pong(serve: Serve, kind: Kind, clock: Clock) -> None:
    record = Record()
    site = await serve(echoing(record))
    peer = await site.open(kind)
    await peer.join()
    clock.jump(25)
    assert await peer.receive() == "2"
    clock.jump(18)
    await peer.send("3")
    await nothing_else_comes(peer)
    clock.jump(22)
    await nothing_else_comes(peer)
    clock.jump(3)
    assert await peer.receive() == "2"
    await peer.send("3")
    assert record.empty


async def test_a_ping_that_is_not_answered_in_time_ends_the_session(serve: Serve, kind: Kind, clock: Clock) -> None:
    record = Record()
    site = await serve(echoing(record))
    peer = await site.open(kind)
    await peer.join()
    clock.jump(25)
    assert await peer.receive() == "2"
    clock.jump(18)
    await nothing_else_comes(peer)
    assert record.empty
    clock.jump(2)
    assert await record.next() == "ping timeout"
    assert await peer.rest() == []


async def test_messages_do_not_stand_for_a_pong(serve: Serve, kind: Kind, clock: Clock) -> None:
    record = Record()
    site = await serve(echoing(record))
    peer = await site.open(kind)
    await peer.join()
    clock.jump(25)
    assert await peer.receive() == "2"
    for _ in range(3):
        clock.jump(6)
        await nothing_else_comes(peer)
    clock.jump(2)
    assert await record.next() == "ping timeout"


async def test_a_ping_timeout_releases_the_waiting_poll(serve: Serve, clock: Clock) -> None:
    record = Record()
    site = await serve(echoing(record))
    peer = await site.open_polling()
    await peer.join()
    clock.jump(25)
    assert await peer.receive() == "2"
    waiting = await peer.pending_get()
    clock.jump(20)
    assert await record.next() == "ping timeout"
    assert (await waiting.receive()).facts == (200, "1")
    assert (await peer.get()).status == 400


async def test_a_time_out_may_be_longer_than_the_interval(serve: Serve, kind: Kind, clock: Clock) -> None:
    site = await serve(echoing(Record(), ping_interval=10.0, ping_timeout=100.0))
    peer = await site.open(kind)
    await peer.join()
    for _ in range(3):
        clock.jump(10)
        assert await peer.receive() == "2"
        await peer.send("3")
        await nothing_else_comes(peer)


async def test_intervals_below_a_second_are_kept(serve: Serve, kind: Kind) -> None:
    site = await serve(echoing(Record(), ping_interval=0.05, ping_timeout=5.0))
    peer = await site.open(kind)
    # The first may come before the answer to CONNECT does.
    await peer.send("40")
    heard: list[str | bytes] = []
    while heard.count("2") < 3:
        heard.append(await peer.receive())
        if heard[-1] == "2":
            await peer.send("3")
    assert len(heard) == 4


# No CONNECT.


async def test_a_client_that_joins_nothing_is_let_go(serve: Serve, kind: Kind, clock: Clock) -> None:
    site = await serve(echoing(Record(), connect_timeout=10.0))
    peer = await site.open(kind)
    clock.jump(8)
    assert len(site.io.clients) == 1
    clock.jump(2)
    assert await peer.rest() == []
    assert len(site.io.clients) == 0


async def test_a_handshake_that_never_polls_is_gone_with_its_time_to_join(serve: Serve, clock: Clock) -> None:
    site = await serve(echoing(Record(), connect_timeout=10.0))
    await site.open_polling()
    assert len(site.io.engine.sessions) == 1
    clock.jump(11)
    with trio.fail_after(PATIENCE):
        while site.io.engine.sessions:
            await trio.lowlevel.checkpoint()
    assert site.io.clients == set()


async def test_a_client_has_45_seconds_to_join(serve: Serve, kind: Kind, clock: Clock) -> None:
    site = await serve(echoing(Record(), ping_interval=300.0))
    peer = await site.open(kind)
    clock.jump(43)
    await peer.send("40/nope,")
    assert await peer.receive() == '44/nope,{"message":"Invalid namespace"}'
    clock.jump(2)
    assert await peer.rest() == []


async def test_a_client_that_has_joined_stays(serve: Serve, kind: Kind, clock: Clock) -> None:
    site = await serve(echoing(Record(), connect_timeout=10.0))
    peer = await site.open(kind)
    clock.jump(8)
    await peer.join()
    clock.jump(10)
    await nothing_else_comes(peer)


@pytest.mark.parametrize("given", [0, 1])
async def test_attachments_that_do_not_come_end_the_session(serve: Serve, kind: Kind, clock: Clock, given: int) -> None:
    record = Record()
    site = await serve(echoing(record))
    peer = await site.open(kind)
    await peer.join()
    attachments = ',{"_placeholder":true,"num":1}' if given else ""
    await peer.send(f'45{given + 1}-["echo",{{"_placeholder":true,"num":0}}{attachments}]', *([b"one"] * given))
    # Nothing would be answered now, so what shows that all of it has been read is that nobody is busy.
    await trio.testing.wait_all_tasks_blocked(0.01)
    clock.jump(10)
    assert await record.next() == "parse error"
    assert await peer.rest() == []
