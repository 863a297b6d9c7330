"""Listening sockets: made here, inherited, or taken over from a proxy that is leaving.

Rule: a listening socket is passed on and not made anew, so that nobody who has connected to
it is turned away in between. Source: sd_listen_fds(3).
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping
from typing import NamedTuple

import structlog
import trio

from proxy.edge import Edge
from proxy.loop import EXCLUSIVE, READ
from proxy.settings import Settings
from proxy.values import Address, read_address

BACKLOG = 4_096
ACCEPT_BATCH = 64
PAUSE_SECONDS = 0.1
FIRST_INHERITED = 3
# How a worker is told which of its descriptors are listening sockets: ``7=plain,8=tls``.
INHERITED = "RTSERVER_PROXY_INHERITED"

log = structlog.get_logger("proxy")


class Listening(NamedTuple):
    """A listening socket; ``tls`` when its clients speak TLS."""

    sock: socket.socket
    tls: bool

    @property
    def url(self) -> str:
        name = self.sock.getsockname()
        return f"{'https' if self.tls else 'http'}://{Address(name[0], name[1])}"


def inherited(environment: Mapping[str, str] = os.environ) -> list[Listening]:
    """The listening sockets that whoever started us has opened: a service manager, or the first of the workers."""
    found = []
    for pair in environment.get(INHERITED, "").split(","):
        fd, _, kind = pair.partition("=")
        if fd.isdigit():
            found.append(Listening(socket.socket(fileno=int(fd)), kind == "tls"))
    count = environment.get("LISTEN_FDS", "")
    if not found and count.isdigit() and environment.get("LISTEN_PID", str(os.getpid())) == str(os.getpid()):
        names = environment.get("LISTEN_FDNAMES", "").split(":")
        for number in range(int(count)):
            sock = socket.socket(fileno=FIRST_INHERITED + number)
            found.append(Listening(sock, number < len(names) and names[number] == "tls"))
    for one in found:
        one.sock.setblocking(False)
    return found


def listen(settings: Settings) -> list[Listening]:
    """Make the listening sockets.

    Raises:
        OSError: One cannot be made; the message names the address.
    """
    found: list[Listening] = []
    try:
        for tls, texts in ((False, settings.listen), (True, settings.tls_listen)):
            for text in texts:
                address = read_address(text)
                assert address is not None
                found.append(Listening(_listen(address), tls))
    except OSError:
        for one in found:
            one.sock.close()
        raise
    return found


def _listen(address: Address) -> socket.socket:
    try:
        family, *_, name = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # On [::] for IPv4 too.
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address.host != "::")
            sock.bind(name)
            sock.listen(BACKLOG)
        except OSError:
            sock.close()
            raise
    except OSError as exc:
        raise OSError(exc.errno, f"cannot listen on {address}: {exc.strerror}") from exc
    return sock


class Listener:
    """A listening socket on the loop.

    Args:
        edge: Takes what is accepted.
        listening: The socket, shared with other processes perhaps.
    """

    def __init__(self, edge: Edge, listening: Listening) -> None:
        self._edge = edge
        self._sock = listening.sock
        self._tls = listening.tls
        self._paused = False
        # Given up for a moment when there is no other one to tell a client so.
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self.deadline = 0.0
        edge.loop.add(self._sock.fileno(), self, READ | EXCLUSIVE)

    def on_ready(self) -> None:
        take, accept, tls = self._edge.take, self._sock.accept, self._tls
        for _ in range(ACCEPT_BATCH):
            try:
                sock, address = accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:
                self._out_of_descriptors(exc)
                return
            take(sock, address, tls)

    def _out_of_descriptors(self, exc: OSError) -> None:
        self._edge.quiet.warning("accept_failed", error=errno.errorcode.get(exc.errno or 0, str(exc.errno)))
        os.close(self._spare)
        try:
            sock, _ = self._sock.accept()
            with sock:
                self._edge.turn_away(sock)
        except OSError:
            pass
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        # Leave the queue alone for a moment instead of spinning.
        self._edge.loop.remove(self._sock.fileno())
        self._paused = True
        self.deadline = trio.current_time() + PAUSE_SECONDS
        self._edge.loop.timed.add(self)

    def on_deadline(self) -> None:
        self._edge.loop.timed.discard(self)
        self._paused = False
        self._edge.loop.add(self._sock.fileno(), self, READ | EXCLUSIVE)

    def on_failed(self) -> None:
        """One connection could not be taken; the next one may be."""

    def close(self) -> None:
        """Accept nobody any more. Whoever waits in the queue is taken, if no other process may do so."""
        if not self._paused:
            self.on_ready()
        self._edge.loop.timed.discard(self)
        self._edge.loop.remove(self._sock.fileno())
        self._sock.close()
        os.close(self._spare)
