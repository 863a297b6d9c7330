"""The other nodes of this machine, and connections that are passed on to them.

Rule: a connection is passed on only before a request that this node cannot answer; whoever
cannot be reached within a second is passed over, and the connection is answered here.
Whether a node lives is known by the connection to it: the kernel ends that at once.
"""

from __future__ import annotations

import errno
import math
import random
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import trio

from rtserver.cluster.datagrams import connect_to, receive, send
from rtserver.cluster.rundir import find_sockets, socket_path
from rtserver.errors import ProtocolError
from rtserver.protocol.handoff import MAX_HOPS, Metadata, NodeState, decode, encode_connection
from rtserver.protocol.sid import Owner, SidCodec
from rtserver.transports.door import FrontDoor
from rtserver.transports.handshake import read_parameters
from rtserver.transports.http import Neighbour
from rtserver.transports.loop import READ, WRITE
from rtserver.transports.request import Request

SCAN_EVERY = 0.5
PASS_SECONDS = 1.0
MAX_WAITING = 256
# The kernel has no room now, and will have some: the queue is full, or too many sockets are on their way.
_LATER = (errno.EAGAIN, errno.ETOOMANYREFS, errno.ENOBUFS)


class _Waiting(NamedTuple):
    until: float
    sock: socket.socket
    datagram: bytes
    metadata: Metadata
    received: bytes


class Link:
    """The way to one other node.

    Attributes:
        slot: Which one.
        state: What it has said last; None until it has said something.
        sent: Connections passed to it since then.
    """

    scheduled_at = math.inf

    def __init__(self, door: FrontDoor, slot: int, sock: socket.socket, on_gone: Callable[[Link], None]) -> None:
        self.slot = slot
        self.state: NodeState | None = None
        self.sent = 0
        self._door = door
        self._sock = sock
        self._on_gone = on_gone
        self._waiting: deque[_Waiting] = deque()
        self.closed = False
        door.loop.add(sock, self)

    # What the loop calls.

    def on_readable(self) -> None:
        try:
            while not self.closed:
                data, sock = receive(self._sock)
                if sock is not None:
                    sock.close()
                message = decode(data)
                if not isinstance(message, NodeState) or message.slot != self.slot:
                    raise ProtocolError("not the state of the node that listens there")
                self.state = message
                self.sent = 0
        except BlockingIOError:
            pass
        except (OSError, ProtocolError):
            # An empty datagram, which is the end, is none that can be decoded.
            self.close()

    def on_writable(self) -> None:
        while self._waiting and not self.closed:
            first = self._waiting[0]
            outcome = self._send(first.sock, first.datagram)
            if outcome is None:
                return
            self._waiting.popleft()
            if not outcome:
                self._answer_here(first.sock, first.metadata, first.received)
        if not self.closed:
            self._door.loop.change(self._sock, self, READ)

    def on_failed(self) -> None:
        self.close()

    # Passing on.

    def take(self, sock: socket.socket, metadata: Metadata, received: bytes) -> None:
        """Pass a connection on; what cannot be passed on is answered here."""
        try:
            datagram = encode_connection(metadata, received)
        except ProtocolError:
            self._answer_here(sock, metadata, received)
            return
        if self.closed:
            self._answer_here(sock, metadata, received)
            return
        outcome = None if self._waiting else self._send(sock, datagram)
        if outcome is False:
            self._answer_here(sock, metadata, received)
        elif outcome is None and len(self._waiting) >= MAX_WAITING:
            self._door.turn_away(sock)
        elif outcome is None:
            until = trio.current_time() + PASS_SECONDS
            self._waiting.append(_Waiting(until, sock, datagram, metadata, received))
            self._door.loop.change(self._sock, self, READ | WRITE)
            self._door.deadlines.watch(self)

    def _send(self, sock: socket.socket, datagram: bytes) -> bool | None:
        """Whether the other node has it now; None when it may take it later."""
        try:
            send(self._sock, datagram, sock)
        except OSError as exc:
            if exc.errno in _LATER:
                return None
            self.close()
            return False
        self.sent += 1
        sock.close()
        return True

    def _answer_here(self, sock: socket.socket, metadata: Metadata, received: bytes) -> None:
        last = Metadata(hops=MAX_HOPS, secure=metadata.secure, peer=metadata.peer)
        self._door.adopt(sock, last, received)

    def next_deadline(self) -> float | None:
        return self._waiting[0].until if self._waiting else None

    def on_deadline(self, now: float) -> None:
        while self._waiting and self._waiting[0].until <= now:
            self._door.turn_away(self._waiting.popleft().sock)

    def close(self) -> None:
        """The other node is gone."""
        for one in self._end():
            self._answer_here(one.sock, one.metadata, one.received)

    def drop(self) -> None:
        """We are gone, and nothing is answered here any more."""
        for one in self._end():
            one.sock.close()

    def _end(self) -> deque[_Waiting]:
        waiting, self._waiting = self._waiting, deque()
        if not self.closed:
            self.closed = True
            self._door.loop.remove(self._sock)
            self._sock.close()
            self._door.deadlines.discard(self)
            self._on_gone(self)
        return waiting


class Neighbours:
    """All other nodes of the run directory, by slot.

    Args:
        directory: The run directory.
        own: This node.
        codec: Reads sids.
        door: Whose connections are passed on.
    """

    def __init__(self, directory: Path, own: Owner, codec: SidCodec, door: FrontDoor) -> None:
        self.links: dict[int, Link] = {}
        self._directory = directory
        self._own = own
        self._codec = codec
        self._door = door

    def find(self, request: Request, hops: int) -> Neighbour | None:
        """Who a request is for: the holder of its session, or while we drain anybody who takes new ones."""
        engine = self._door.engine
        if hops >= MAX_HOPS or not engine.owns(request.path):
            return None
        sid = read_parameters(request.query).sid
        if sid is not None:
            return None if sid in engine.sessions else self._holder(sid)
        if engine.accepting or request.path != engine.config.path or request.method != "GET":
            return None
        return self._somebody()

    def _holder(self, sid: str) -> Link | None:
        owner = self._codec.read(sid)
        if owner is None or owner.slot == self._own.slot:
            return None
        # One that has just come may not have been seen yet.
        link = self.links.get(owner.slot) or self._connect(owner.slot, socket_path(self._directory, owner.slot))
        if link is None or (link.state is not None and link.state.incarnation != owner.incarnation):
            return None
        # One that has not said anything yet may have the session, and says so itself if it has not.
        return link

    def _somebody(self) -> Link | None:
        ready = [link for link in self.links.values() if link.state is not None and link.state.state == "ready"]
        if len(ready) > 2:
            ready = random.sample(ready, 2)
        return min(ready, key=_burden, default=None)

    def scan(self) -> None:
        """Connect to nodes that have come."""
        for slot, path in find_sockets(self._directory).items():
            if slot != self._own.slot and slot not in self.links:
                self._connect(slot, path)

    def _connect(self, slot: int, path: Path) -> Link | None:
        sock = connect_to(path)
        if sock is None:
            return None
        link = self.links[slot] = Link(self._door, slot, sock, self._forget)
        return link

    async def run(self) -> None:
        """Look for new nodes now and then."""
        while True:
            self.scan()
            await trio.sleep(SCAN_EVERY)

    def _forget(self, link: Link) -> None:
        if self.links.get(link.slot) is link:
            del self.links[link.slot]

    def close(self) -> None:
        for link in list(self.links.values()):
            link.drop()


def _burden(link: Link) -> int:
    return link.sent + (0 if link.state is None else link.state.sessions)
