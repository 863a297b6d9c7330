"""One TCP or Unix connection on the loop: reading, bounded writing, and its end.

Rule: a write is tried at once and only what the kernel does not take is queued;
the loop watches for writability only while something is. Whoever owns the bytes
decides what a full queue means: this class only counts them.
"""

from __future__ import annotations

import abc
import math
import socket
from collections import deque
from typing import Protocol

import trio

from rtserver.transports.counters import Counters
from rtserver.transports.deadlines import Deadlines
from rtserver.transports.loop import READ, WRITE, Loop

RECEIVE_SIZE = 65_536
LINGER_SECONDS = 1.0


class Host(Protocol):
    """What a connection needs of the node that accepted it."""

    loop: Loop
    deadlines: Deadlines
    connections: set[Connection]
    counters: Counters


class Connection(abc.ABC):
    """The part of a connection that HTTP and WebSocket share."""

    __slots__ = (
        "_broken",
        "_close_when_flushed",
        "_events",
        "_queue",
        "closed",
        "deadline",
        "host",
        "peer",
        "queued",
        "scheduled_at",
        "sock",
    )

    def __init__(self, host: Host, sock: socket.socket, peer: str) -> None:
        self.host = host
        self.sock = sock
        self.peer = peer
        self.closed = False
        self.queued = 0
        self.deadline: float | None = None
        self.scheduled_at = math.inf
        self._queue: deque[bytes | memoryview] | None = None
        self._events = READ
        self._close_when_flushed = False
        self._broken = False
        host.connections.add(self)
        host.loop.add(sock, self)

    # What children provide.

    @abc.abstractmethod
    def on_readable(self) -> None:
        """Bytes, or the end of them, are waiting."""

    @abc.abstractmethod
    def on_lost(self) -> None:
        """The connection broke or ended without our doing. Called once, after ``closed`` is set."""

    @abc.abstractmethod
    def on_deadline(self, now: float) -> None:
        """``deadline`` has passed."""

    def on_flushed(self) -> None:  # noqa: B027 - most have nothing to do then
        """What was queued has been sent."""

    # Reading.

    def receive(self, size: int = RECEIVE_SIZE) -> bytes | None:
        """The bytes waiting, or None when there are none or the connection has just been lost."""
        try:
            data = self.sock.recv(size)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            self.lose()
            return None
        if not data:
            self.lose()
            return None
        self.host.counters.bytes_in += len(data)
        return data

    def watch_reading(self, wanted: bool) -> None:
        """Read, or let TCP push back on the peer."""
        self._watch(self._events | READ if wanted else self._events & ~READ)

    # Writing.

    def write(self, data: bytes) -> bool:
        """Send ``data`` now or as soon as the peer takes it; False when the connection is gone.

        A write that fails calls nobody: whoever writes may be in the middle of a
        broadcast. The loop finds the broken socket readable and reports it from there.
        """
        if self.closed or self._broken:
            return False
        if self._queue is None:
            try:
                sent = self.sock.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                return self.broken()
            self.host.counters.bytes_out += sent
            return sent == len(data) or self.queue_rest(data, sent)
        self._queue.append(data)
        self.queued += len(data)
        return True

    def broken(self) -> bool:
        """A write has failed. False, for those that write."""
        self._broken = True
        self._watch(READ)
        return False

    def queue_rest(self, data: bytes, sent: int) -> bool:
        """The kernel has taken ``sent`` bytes of ``data``, and takes no more for now. True."""
        self._queue = deque((memoryview(data)[sent:],))
        self.queued = len(data) - sent
        self._watch(self._events | WRITE)
        return True

    def on_writable(self) -> None:
        """Send what is queued, as far as the kernel takes it."""
        queue = self._queue
        while queue:
            data = queue[0]
            try:
                sent = self.sock.send(data)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self.lose()
                return
            self.queued -= sent
            self.host.counters.bytes_out += sent
            if sent < len(data):
                queue[0] = memoryview(data)[sent:]
                return
            queue.popleft()
        if queue is None or self.closed:
            return
        self._queue = None
        self._watch(self._events & ~WRITE)
        if self._close_when_flushed:
            self._close_when_flushed = False
            self.finish()
        else:
            self.on_flushed()

    # Ending.

    def finish(self) -> None:
        """Flush, then close. ``deadline`` bounds how long that may take."""
        if self._queue is not None:
            self._close_when_flushed = True
        else:
            self.close()

    def close(self) -> None:
        """Close now; queued bytes are dropped."""
        if self.closed:
            return
        self.detach()
        self.sock.close()

    def detach(self) -> socket.socket:
        """Leave the loop without closing: the socket has a new owner."""
        self.closed = True
        self.deadline = None
        if self._events:
            self.host.loop.remove(self.sock)
            self._events = 0
        self._queue = None
        self.host.deadlines.discard(self)
        self.host.connections.discard(self)
        return self.sock

    def lose(self) -> None:
        """The other end is gone."""
        if self.closed:
            return
        self.close()
        self.on_lost()

    def on_failed(self) -> None:
        """Called by the loop: what belongs to this connection has a bug. It ends, and the node does not."""
        self.lose()

    def next_deadline(self) -> float | None:
        return self.deadline

    def expect_within(self, seconds: float) -> None:
        """Set ``deadline`` to ``seconds`` from now."""
        self.deadline = trio.current_time() + seconds
        self.host.deadlines.watch(self)

    def _watch(self, events: int) -> None:
        if events == self._events or self.closed:
            return
        if not events:
            self.host.loop.remove(self.sock)
        elif not self._events:
            self.host.loop.add(self.sock, self, events)
        else:
            self.host.loop.change(self.sock, self, events)
        self._events = events


class Lingering(Connection):
    """Says goodbye properly: no more writing, and what still arrives is thrown away.

    Closing a socket with unread bytes resets the connection, and a reset can
    overtake the answer that explains it. Bounded by ``LINGER_SECONDS``, however
    much the peer goes on sending.
    """

    __slots__ = ()

    def __init__(self, previous: Connection) -> None:
        super().__init__(previous.host, previous.detach(), previous.peer)
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
            return
        self.expect_within(LINGER_SECONDS)

    def on_readable(self) -> None:
        self.receive()

    def on_lost(self) -> None:
        pass

    def on_deadline(self, now: float) -> None:
        self.close()
