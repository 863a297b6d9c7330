"""Clients that are still there when the time for a stop is over: ended then, and their handlers told."""

from __future__ import annotations

from functools import partial

import pytest
import trio
import trio.testing

from rtserver import Server, Socket
from tests.behaviour.support import PATIENCE, Door, Kind, Record, Site, start_site


async def run_site(io: Server, door: Door, ended: trio.Event, task_status: trio.TaskStatus[Site]) -> None:
    async with trio.open_nursery() as nursery:
        task_status.started(await start_site(nursery, io, door))
    ended.set()


@pytest.fixture
def record() -> Record:
    return Record()


@pytest.fixture
def io(record: Record) -> Server:
    io = Server(shutdown_timeout=0.5)

    @io.on_disconnecting
    def going(socket: Socket, reason: str) -> None:
        record.add((reason, sorted(socket.rooms - {socket.id})))

    @io.on_disconnect
    def gone(socket: Socket, reason: str) -> None:
        record.add(reason)

    @io.on("join")
    def join(socket: Socket, room: str) -> None:
        socket.join(room)
        socket.emit("joined")

    return io


async def test_a_client_in_the_middle_of_an_upgrade_is_ended_when_time_is_up(
    io: Server, record: Record, door: Door
) -> None:
    ended = trio.Event()
    async with trio.open_nursery() as nursery:
        site: Site = await nursery.start(partial(run_site, io, door, ended))
        peer = await site.open_polling()
        await peer.join()
        await peer.send('42["join","room"]')
        assert await peer.receive() == '42["joined"]'
        silent = await peer.probe()
        await silent.send("2probe")
        assert await silent.receive() == "3probe"
        # A close waits for the upgrade, but no longer than the stop may last.
        site.stop()
        assert await record.next() == ("server shutting down", ["room"])
        assert await record.next() == "server shutting down"
        with trio.fail_after(PATIENCE):
            await ended.wait()
        await site.end()
    assert (len(io.engine.sessions), len(io.clients), io.sockets) == (0, 0, {})
    assert io.adapter.local_rooms() == {}


@pytest.mark.parametrize("unread", [False, True])
async def test_whoever_is_left_behind_another_server_is_ended_with_the_application(
    io: Server, record: Record, kind: Kind, unread: bool
) -> None:
    ended = trio.Event()
    async with trio.open_nursery() as nursery:
        site: Site = await nursery.start(partial(run_site, io, "asgi", ended))
        peer = await site.open(kind)
        await peer.join()
        if unread:
            io.emit("last", "x" * 100_000)
        # The server in front ends its connections without asking; the application's own end is what is left.
        site.stop()
        assert await record.next() == ("server shutting down", [])
        assert await record.next() == "server shutting down"
        for stream in site.streams:
            await trio.aclose_forcefully(stream)
        with trio.fail_after(PATIENCE):
            await ended.wait()
    assert (len(io.engine.sessions), len(io.clients), io.sockets) == (0, 0, {})
