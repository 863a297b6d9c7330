from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from rtserver import Server, Socket
from tests.behaviour.support import PATH, PATIENCE, Closed, HttpClient, Kind, PollingPeer, Record, Site, start_site

POLLING = "EIO=4&transport=polling"


@asynccontextmanager
async def running(io: Server) -> AsyncIterator[tuple[Site, trio.Event]]:
    """A site, and what is set once ``serve`` has returned."""
    ended = trio.Event()
    async with trio.open_nursery() as outer:

        async def run(task_status: trio.TaskStatus[Site]) -> None:
            async with trio.open_nursery() as inner:
                task_status.started(await start_site(inner, io, "front"))
            ended.set()

        site = await outer.start(run)
        try:
            yield site, ended
        finally:
            await site.end()


async def wait_for(event: trio.Event) -> None:
    with trio.fail_after(PATIENCE):
        await event.wait()


def reporting(record: Record, **options: float) -> Server:
    io = Server(**options)  # type: ignore[arg-type]

    @io.on_disconnect
    def gone(socket: Socket, reason: str) -> None:
        record.add(reason)

    return io


@pytest.mark.parametrize("kind", ["websocket", "upgraded"], indirect=True)
async def test_a_stop_flushes_closes_the_transport_and_never_says_goodbye(kind: Kind) -> None:
    record = Record()
    io = reporting(record)
    io.of("/chat")
    async with running(io) as (site, ended):
        peer = await site.open(kind)
        await peer.join()
        await peer.join("/chat")
        for number in range(10):
            io.emit("last", number, "x" * 40_000)
        io.stop()
        packets = await peer.rest()
        assert [str(packet).partition(',"x')[0] for packet in packets] == [f'42["last",{n}' for n in range(10)]
        assert await record.next() == "server shutting down"
        await wait_for(ended)
        assert len(io.engine.sessions) == 0
        assert not io.running


async def test_a_stop_waits_for_whoever_is_between_two_polls() -> None:
    record = Record()
    io = reporting(record)
    async with running(io) as (site, ended):
        peer = await site.open_polling()
        await peer.join()
        client = await site.http()
        target = f"{PATH}?{peer.query}"
        await client.request("POST", target, b"3")
        io.emit("last")
        io.stop()
        assert await record.next() == "server shutting down"
        assert (await client.request("GET", target)).facts == (200, '42["last"]')
        assert (await client.request("GET", target)).facts == (200, "1")
        await client.ended()
        await wait_for(ended)


async def test_a_stop_closes_a_websocket_with_a_close_frame() -> None:
    async with running(Server()) as (site, ended):
        peer = await site.open_websocket()
        await peer.join()
        site.io.stop()
        assert await peer.websocket.receive() == Closed(1000)
        await peer.websocket.ended()
        await wait_for(ended)


async def test_a_stop_answers_a_waiting_poll() -> None:
    async with running(Server()) as (site, ended):
        peer: PollingPeer = await site.open_polling()
        await peer.join()
        waiting = await peer.pending_get()
        site.io.stop()
        assert (await waiting.receive()).facts == (200, "1")
        await waiting.ended()
        await wait_for(ended)


async def test_a_stop_ends_idle_connections_and_listens_no_more() -> None:
    async with running(Server()) as (site, ended):
        client: HttpClient = await site.http()
        assert (await client.request("GET", "/nothing-here")).status == 404
        idle = await site.http()
        await idle.request("GET", f"{PATH}?{POLLING}&sid=unknown")
        site.io.stop()
        await idle.ended()
        await wait_for(ended)
        with pytest.raises(OSError, match="failed"):
            await site.http()


async def test_during_a_stop_a_connection_that_is_still_there_is_told_to_come_back_later() -> None:
    record = Record()
    io = reporting(record)
    async with running(io) as (site, ended):
        peer = await site.open_polling()
        await peer.join()
        client = await site.http()
        assert (await client.request("GET", f"{PATH}?{POLLING}&sid=unknown")).status == 400
        io.emit("last")
        io.stop()
        assert await record.next() == "server shutting down"
        answer = await client.request("GET", f"{PATH}?{POLLING}")
        assert answer.facts == (503, '{"code":4,"message":"Server is shutting down"}')
        assert answer.header("retry-after") == "1"
        assert (await client.request("GET", f"{PATH}?{peer.query}")).facts == (200, '42["last"]')
        assert (await client.request("GET", f"{PATH}?{peer.query}")).facts == (200, "1")
        await wait_for(ended)


async def test_a_stop_lets_handlers_finish() -> None:
    record = Record()
    begun, release = trio.Event(), trio.Event()
    io = reporting(record)

    @io.on("work")
    async def work(socket: Socket) -> None:
        begun.set()
        await release.wait()
        record.add("finished")

    async with running(io) as (site, ended):
        peer = await site.open_websocket()
        await peer.join()
        await peer.send('42["work"]')
        await begun.wait()
        io.stop()
        assert await peer.rest() == []
        release.set()
        assert {await record.next(), await record.next()} == {"finished", "server shutting down"}
        await wait_for(ended)


async def test_a_handler_that_takes_too_long_is_cancelled(clock: trio.testing.MockClock) -> None:
    record = Record()
    begun = trio.Event()
    io = reporting(record, shutdown_timeout=60.0)

    @io.on("work")
    async def work(socket: Socket) -> None:
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            record.add("cancelled")

    async with running(io) as (site, ended):
        peer = await site.open_websocket()
        await peer.join()
        await peer.send('42["work"]')
        await begun.wait()
        io.stop()
        assert await peer.rest() == []
        clock.jump(61)
        assert await record.next() == "cancelled"
        await wait_for(ended)


async def test_a_client_that_reads_nothing_does_not_hold_up_a_stop(clock: trio.testing.MockClock) -> None:
    record = Record()
    io = reporting(record, shutdown_timeout=60.0, max_queue_bytes=64_000_000, max_queue_packets=10_000)
    async with running(io) as (site, ended):
        peer = await site.open_websocket()
        await peer.join()
        for _ in range(200):
            io.emit("bulk", "x" * 100_000)
        io.stop()
        assert await record.next() == "server shutting down"
        clock.jump(61)
        await wait_for(ended)


async def test_a_probing_websocket_that_stays_silent_does_not_hold_up_a_stop(clock: trio.testing.MockClock) -> None:
    record = Record()
    io = reporting(record, shutdown_timeout=60.0)
    async with running(io) as (site, ended):
        polling = await site.open_polling()
        await polling.join()
        silent = await polling.probe()
        io.stop()
        await trio.testing.wait_all_tasks_blocked()
        clock.jump(1.5)
        assert await silent.receive() == Closed(1000)
        assert await record.next() == "server shutting down"
        clock.jump(5)
        await wait_for(ended)


@pytest.mark.parametrize("kind", ["websocket", "upgraded"], indirect=True)
async def test_a_cancellation_drains_in_the_same_way(kind: Kind) -> None:
    record = Record()
    io = reporting(record)
    async with trio.open_nursery() as nursery:
        site = await start_site(nursery, io, "front")
        peer = await site.open(kind)
        await peer.join()
        io.emit("last")
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            assert await peer.rest() == ['42["last"]']
            assert await record.next() == "server shutting down"
            await site.end()
    assert not io.running


async def test_a_server_may_be_run_again() -> None:
    io = Server()
    for _ in range(2):
        async with running(io) as (site, ended):
            peer = await site.open_websocket()
            await peer.join()
            io.stop()
            assert await peer.rest() == []
            await wait_for(ended)
