"""A node's Unix socket: proxies and other nodes give it connections, and hear how it is.

Rule: whoever connects is told the state at once, each second and when it changes; what
they say is checked as if they were strangers, and one that says nonsense is hung up on.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

from rtserver.cluster.datagrams import is_ours, listen_at, receive
from rtserver.errors import ProtocolError
from rtserver.logs import LimitedLog
from rtserver.protocol.handoff import DrainOrder, PassedConnection, decode
from rtserver.transports.door import FrontDoor

# Datagrams of one caller in one round, so that no caller keeps the others waiting.
_BATCH = 64


class Caller:
    """Somebody who is connected: a proxy, another node, or an operator."""

    def __init__(self, control: Control, sock: socket.socket) -> None:
        self._control = control
        self._sock = sock
        self.closed = False
        control.door.loop.add(sock, self)

    def on_readable(self) -> None:
        for _ in range(_BATCH):
            if self.closed:
                return
            try:
                data, passed = receive(self._sock)
            except BlockingIOError:
                return
            except ProtocolError as exc:
                # Out of descriptors, most of all: the connection is lost, the caller need not be.
                self._control.failed(exc)
                continue
            except OSError:
                self.close()
                return
            self._take(data, passed)

    def _take(self, data: bytes, passed: socket.socket | None) -> None:
        if not data:
            self.close()
            return
        try:
            message = decode(data)
            if isinstance(message, PassedConnection) and passed is not None:
                # Refused or served, it is the door's from here on.
                sock, passed = passed, None
                self._control.door.adopt(sock, message.metadata, message.received)
                self._control.adopted()
            elif isinstance(message, DrainOrder) and passed is None:
                self._control.on_drain()
            else:
                raise ProtocolError("a message that is none for a node")
        except ProtocolError as exc:
            self._control.failed(exc)
            if passed is not None:
                passed.close()

    def tell(self, announcement: bytes) -> None:
        """Send a state; one that does not fit in is followed by a newer one soon."""
        try:
            self._sock.send(announcement)
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    def on_writable(self) -> None:
        """Never asked for."""

    def on_failed(self) -> None:
        self.close()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._control.door.loop.remove(self._sock)
            self._sock.close()
            self._control.callers.discard(self)


class Control:
    """Listens on a node's Unix socket for as long as the node serves.

    Args:
        path: Where.
        door: Goes on with passed connections.
        announcement: Makes the datagram that tells the state.
        on_adopted: Called after each passed connection.
        on_drain: Called when somebody orders the node to drain.

    Attributes:
        failures: Messages and passed connections that were dropped, since the start.
    """

    def __init__(
        self,
        path: Path,
        door: FrontDoor,
        announcement: Callable[[], bytes],
        on_adopted: Callable[[], None],
        on_drain: Callable[[], None],
    ) -> None:
        self.door = door
        self.callers: set[Caller] = set()
        self.failures = 0
        self.on_drain = on_drain
        self.adopted = on_adopted
        self._quiet = LimitedLog()
        self._path = path
        self._announcement = announcement
        self._sock = listen_at(path)
        door.loop.add(self._sock, self)

    def on_readable(self) -> None:
        while True:
            try:
                sock, _ = self._sock.accept()
            except OSError:
                # Nobody waits any more, or we are out of descriptors and are called again.
                return
            if not is_ours(sock):
                self.failed(ProtocolError("a caller of another user"))
                sock.close()
                continue
            sock.setblocking(False)
            caller = Caller(self, sock)
            self.callers.add(caller)
            caller.tell(self._announcement())

    def on_writable(self) -> None:
        """Never asked for."""

    def on_failed(self) -> None:
        """One caller could not be taken in; the next one may."""

    def failed(self, exc: ProtocolError) -> None:
        """Something had to be dropped."""
        self.failures += 1
        self._quiet.warning("handoff_failed", error=str(exc))

    def announce(self) -> None:
        """Tell everybody how the node is."""
        announcement = self._announcement()
        for caller in list(self.callers):
            caller.tell(announcement)

    def close(self) -> None:
        """Hang up on everybody: to them the node is gone."""
        self.door.loop.remove(self._sock)
        self._sock.close()
        self._path.unlink(missing_ok=True)
        for caller in list(self.callers):
            caller.close()
