"""Reading pauses while a socket's queue is full, and only for as long as somebody is there to read for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from rtserver import Server, Socket
from tests.behaviour.support import PATIENCE, Kind, Peer, PollingPeer, Record, Serve, Site

BOUND = 4
EVENT = '42/slow,["work"]'
ECHO = '42["echo",1]'


class Held:
    """A namespace whose handlers wait for the test."""

    def __init__(self) -> None:
        self.io = Server(max_pending_events=BOUND)
        self.seen = Record()
        self.go_on = trio.Event()
        slow = self.io.of("/slow")

        @slow.on("work")
        async def work(socket: Socket) -> None:
            self.seen.add(socket)
            await self.go_on.wait()

        @slow.on_disconnect
        async def gone(socket: Socket, reason: str) -> None:
            self.seen.add(reason)
            await self.go_on.wait()

        @self.io.on("echo")
        def echo(socket: Socket, value: int) -> None:
            socket.emit("echo", value)

    async def begin(self, peer: Peer) -> Socket:
        """Join the namespace and have its first event at work: whatever follows waits in the queue."""
        await peer.join("/slow")
        await peer.send(EVENT)
        socket: Socket = await self.seen.next()
        return socket


@asynccontextmanager
async def sending(site: Site, peer: Peer, *packets: str) -> AsyncIterator[None]:
    """Send as one request by polling, which is answered only once all of it has been taken."""
    async with trio.open_nursery() as nursery:
        if isinstance(peer, PollingPeer):
            nursery.start_soon(peer.send, *packets)
        else:
            await peer.send(*packets)
        yield


async def paused(site: Site, peer: Peer) -> None:
    with trio.fail_after(PATIENCE):
        while not site.io.engine.sessions[peer.sid].paused:
            await trio.lowlevel.checkpoint()


async def test_a_namespace_that_is_full_holds_up_its_connection_until_it_is_not(serve: Serve, kind: Kind) -> None:
    held = Held()
    site = await serve(held.io)
    peer = await site.open(kind)
    await peer.join()
    await held.begin(peer)
    async with sending(site, peer, *[EVENT] * BOUND, ECHO):
        await paused(site, peer)
        held.go_on.set()
        assert await peer.receive() == ECHO
    assert not site.io.engine.sessions[peer.sid].paused


async def test_a_socket_that_the_server_removes_holds_up_nobody(serve: Serve, kind: Kind) -> None:
    held = Held()
    site = await serve(held.io)
    peer = await site.open(kind)
    await peer.join()
    socket = await held.begin(peer)
    async with sending(site, peer, *[EVENT] * BOUND, ECHO):
        await paused(site, peer)
        socket.disconnect()
        assert await peer.receive() == "41/slow,"
        # Its handlers are still at work; the client's other namespace does not wait for them.
        assert await peer.receive() == ECHO
    assert not held.go_on.is_set()
    held.go_on.set()


async def test_what_a_removed_socket_still_has_to_do_holds_up_nobody(serve: Serve, kind: Kind) -> None:
    held = Held()
    site = await serve(held.io)
    peer = await site.open(kind)
    await peer.join()
    await held.begin(peer)
    # The handler of the disconnect is what makes its queue full.
    async with sending(site, peer, *[EVENT] * (BOUND - 1), "41/slow,", ECHO):
        assert await peer.receive() == ECHO
    assert not site.io.engine.sessions[peer.sid].paused
    held.go_on.set()


async def test_a_client_that_leaves_while_it_is_held_up_leaves_nothing_behind(serve: Serve, kind: Kind) -> None:
    held = Held()
    site = await serve(held.io)
    peer = await site.open(kind)
    socket = await held.begin(peer)
    async with sending(site, peer, *[EVENT] * BOUND):
        await paused(site, peer)
        socket.disconnect(close=True)
        held.go_on.set()
        assert await held.seen.next() == socket
    with trio.fail_after(PATIENCE):
        while held.io.clients:
            await trio.lowlevel.checkpoint()
    assert held.io.of("/slow").sockets == {}
