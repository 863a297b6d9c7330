"""Nodes of this machine: connections to their Unix sockets, and sockets that are handed to them.

Rule: both ends ask the kernel who the other one is. Whoever hands a socket over passes on
every byte that was read of it, closes its own copy, and never reads of it again. That a node
has died is known by the connection to it, at once.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import structlog
import trio

from proxy.loop import READ, WRITE, Loop
from proxy.upstreams import Upstream
from rtserver.errors import ProtocolError
from rtserver.protocol.handoff import MAX_DATAGRAM, NodeState, decode, slot_of

PASS_SECONDS = 1.0
MAX_WAITING = 1_024

_CREDENTIALS = struct.Struct("3i")
# The kernel has no room now, and will have some: the queue is full, or too many sockets are on their way.
_LATER = (errno.EAGAIN, errno.ETOOMANYREFS, errno.ENOBUFS)
# To name a link's process state by a word, states it may have said nothing about yet.
_UNHEARD = "starting"

log = structlog.get_logger("proxy")


class Offer(Protocol):
    """A socket that a node shall have."""

    sock: socket.socket
    datagram: bytes

    def on_taken(self) -> None:
        """The node has it."""

    def on_left(self) -> None:
        """The node is gone, or its queue was full for too long."""


class _Waiting:
    __slots__ = ("offer", "until")

    def __init__(self, offer: Offer, until: float) -> None:
        self.offer = offer
        self.until = until


class Link(Upstream):
    """The way to one node of this machine.

    Args:
        loop: Watches the connection.
        slot: The node's.
        sock: A connection to its Unix socket.
        now: The time.
        on_heard: Called once when the node has said how it is for the first time.
        on_gone: Called once when the node is no more.
    """

    def __init__(
        self,
        loop: Loop,
        slot: int,
        sock: socket.socket,
        now: float,
        on_heard: Callable[[], None],
        on_gone: Callable[[Link], None],
    ) -> None:
        super().__init__(f"node-{slot}", None, now)
        self.slot = slot
        self.state = _UNHEARD
        self.pid: int | None = None
        self.load = 0.0
        self.closed = False
        self.deadline = 0.0
        self._loop = loop
        self._sock = sock
        self._on_heard = on_heard
        self._on_gone = on_gone
        self._waiting: deque[_Waiting] = deque()
        self._writing = False
        loop.add(sock.fileno(), self)

    # What the loop calls.

    def on_ready(self) -> None:
        if self._waiting:
            self._flush()
        try:
            while not self.closed:
                self._hear(self._sock.recv(MAX_DATAGRAM, socket.MSG_DONTWAIT))
        except BlockingIOError:
            pass
        except (OSError, ProtocolError):
            # An empty datagram, which is the end, is none that can be decoded.
            self.close()

    def _hear(self, datagram: bytes) -> None:
        message = decode(datagram)
        if not isinstance(message, NodeState) or message.slot != self.slot:
            raise ProtocolError("not the state of the node that listens there")
        now = trio.current_time()
        if message.state == "ready" and self.state != "ready" and self.heard_at is not None:
            self.fresh_since = now
        if message.state != self.state:
            log.info("node", slot=self.slot, state=message.state)
        self.state, self.incarnation = message.state, message.incarnation
        self.sessions, self.load, self.pid = message.sessions, message.load, message.pid
        self.sent = 0
        first, self.heard_at = self.heard_at is None, now
        if first:
            self._on_heard()

    def on_failed(self) -> None:
        self.close()

    # Handing over.

    def give(self, sock: socket.socket, datagram: bytes) -> bool | None:
        """Hand a socket over; False when the node is gone, None when it may take it later."""
        if self._waiting:
            return None
        if self.closed:
            return False
        try:
            socket.send_fds(self._sock, [datagram], [sock.fileno()], socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError as exc:
            if exc.errno in _LATER:
                return None
            self.close()
            return False
        self.total += 1
        return True

    def wait_for(self, offer: Offer, now: float) -> bool:
        """Hand it over when the node has room for it; False when too many wait already."""
        if len(self._waiting) >= MAX_WAITING or self.closed:
            return False
        self._waiting.append(_Waiting(offer, now + PASS_SECONDS))
        self.deadline = self._waiting[0].until
        self._loop.timed.add(self)
        self._loop.change(self._sock.fileno(), READ | WRITE)
        return True

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        while waiting and not self.closed:
            offer = waiting[0].offer
            taken = self.give(offer.sock, offer.datagram)
            if taken is None:
                break
            waiting.popleft()
            if taken:
                offer.on_taken()
            else:
                offer.on_left()
        self._waiting = waiting
        if self.closed:
            self._leave_all()
        elif waiting:
            self.deadline = waiting[0].until
        else:
            self._loop.timed.discard(self)
            self._loop.change(self._sock.fileno(), READ)

    def on_deadline(self) -> None:
        now = trio.current_time()
        late = []
        while self._waiting and self._waiting[0].until <= now:
            late.append(self._waiting.popleft())
        if self._waiting:
            self.deadline = self._waiting[0].until
        else:
            self._loop.timed.discard(self)
            self._loop.change(self._sock.fileno(), READ)
        for one in late:
            one.offer.on_left()

    def close(self) -> None:
        """The node is gone, or we are."""
        if self.closed:
            return
        self.closed = True
        self._loop.timed.discard(self)
        self._loop.remove(self._sock.fileno())
        self._sock.close()
        self._on_gone(self)
        self._leave_all()

    def _leave_all(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for one in waiting:
            one.offer.on_left()


def connect(path: Path) -> socket.socket | None:
    """A connection to the node that listens there; None when nobody does, or somebody else's process."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    try:
        sock.connect(os.fspath(path))
        if peer_uid(sock) == os.geteuid():
            return sock
    except OSError:
        pass
    sock.close()
    return None


def peer_uid(sock: socket.socket) -> int:
    """Whose process is at the other end of a Unix socket."""
    uid: int = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))[1]
    return uid


def default_run_dir() -> Path:
    """Where nodes of this user meet unless they are told otherwise."""
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "rtserver"
    return Path(f"/tmp/rtserver-{os.geteuid()}")


def make_run_dir(directory: Path) -> None:
    """Make the run directory if it is not there.

    Raises:
        PermissionError: It is not our own, or others may enter it.
        OSError: It cannot be made.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.mkdir(mode=0o700, exist_ok=True)
    if not is_private(directory):
        raise PermissionError(errno.EPERM, "not a directory of our own with mode 0700", str(directory))


def is_private(directory: Path) -> bool:
    """Whether it is a directory of our own that nobody else may enter."""
    found = directory.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077


def find_sockets(directory: Path) -> dict[int, Path]:
    """The sockets of nodes in the directory, by slot; some may be left from nodes that died."""
    found = {}
    for path in directory.iterdir():
        slot = slot_of(path.name)
        if slot is not None:
            found[slot] = path
    return found
