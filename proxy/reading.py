"""Connections on the loop: those whose head has not come yet, and those whose answer is on its way.

Rule: each has a deadline, and leaves the loop before anybody else may use its socket.
"""

from __future__ import annotations

import abc
import socket
from typing import Protocol

import trio

from proxy.counters import Counters
from proxy.errors import BadGateway, BadRequest, UnknownSession
from proxy.forwarding import Client
from proxy.head import RequestHead, split_head
from proxy.loop import EDGE, READ, Loop
from proxy.proxyprotocol import MAX_HEADER, read_header
from proxy.settings import Settings

# A head and what follows it must fit into one datagram.
RECEIVE_SIZE = 32_768
LINGER_SECONDS = 1.0


class Refuser(Protocol):
    """Whoever answers what goes nowhere. ``Edge`` does."""

    def refuse(
        self,
        sock: socket.socket,
        exc: BadRequest | BadGateway | UnknownSession,
        head: RequestHead | None,
        peer: Client,
    ) -> None:
        """Answer, and close when the client has read it."""


class Receiver(Refuser, Protocol):
    """Whoever goes on with a connection. ``Edge`` does."""

    loop: Loop
    settings: Settings
    counters: Counters

    def greet(self, sock: socket.socket, peer: Client, tls: bool, *, real: bool) -> None:
        """The peer is known."""

    def advance(self, sock: socket.socket, peer: Client, data: bytes, real: bool) -> bool:
        """So much has been read."""

    def release(self, peer: Client) -> None:
        """The connection is held no more."""


class Watched(abc.ABC):
    """A connection on the loop, with a deadline."""

    __slots__ = ("_loop", "deadline", "sock")

    def __init__(self, loop: Loop, sock: socket.socket, seconds: float, events: int = READ) -> None:
        self._loop = loop
        self.sock = sock
        self.deadline = trio.current_time() + seconds
        loop.add(sock.fileno(), self, events)
        loop.timed.add(self)

    def leave(self) -> None:
        """The loop knows it no more."""
        self._loop.timed.discard(self)
        self._loop.remove(self.sock.fileno())

    @abc.abstractmethod
    def on_ready(self) -> None:
        """Bytes, or the end of them, are waiting."""

    @abc.abstractmethod
    def on_deadline(self) -> None:
        """Its time is over."""

    def on_failed(self) -> None:
        if self.sock.fileno() >= 0:
            self.leave()
            self.sock.close()


class Lingering(Watched):
    """Answered, and not yet read by the client: closing now would take the answer away from it.

    Args:
        loop: Watches it.
        sock: The client's.
        among: All such ones; it puts itself there, and takes itself out.
    """

    __slots__ = ("_among",)

    def __init__(self, loop: Loop, sock: socket.socket, among: dict[Lingering, None]) -> None:
        super().__init__(loop, sock, LINGER_SECONDS)
        self._among = among
        among[self] = None

    def on_ready(self) -> None:
        try:
            if self.sock.recv(RECEIVE_SIZE, socket.MSG_DONTWAIT):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self.on_failed()

    def on_deadline(self) -> None:
        self.on_failed()

    def on_failed(self) -> None:
        self._among.pop(self, None)
        super().on_failed()


class Reading(Watched):
    """A connection whose head is not whole yet."""

    __slots__ = ("_data", "_edge", "_peer", "_real")

    def __init__(self, edge: Receiver, sock: socket.socket, peer: Client, data: bytes, real: bool) -> None:
        super().__init__(edge.loop, sock, edge.settings.head_timeout)
        self._edge = edge
        self._peer = peer
        self._data = data
        self._real = real

    def on_ready(self) -> None:
        try:
            data = self.sock.recv(RECEIVE_SIZE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.on_failed()
            return
        self._data += data
        if b"\r\n\r\n" in self._data or len(self._data) >= self._edge.settings.max_head_size or self._is_wrong():
            self.leave()
            self._edge.release(self._peer)
            self._edge.advance(self.sock, self._peer, self._data, self._real)

    def _is_wrong(self) -> bool:
        try:
            return split_head(self._data, max_size=self._edge.settings.max_head_size) is not None
        except BadRequest:
            return True

    def on_deadline(self) -> None:
        self.leave()
        self._edge.release(self._peer)
        if self._data:
            self._edge.refuse(self.sock, BadRequest(408, "request timeout"), None, self._peer)
        else:
            self.sock.close()

    def on_failed(self) -> None:
        if self.sock.fileno() >= 0 and self in self._loop.timed:
            self._edge.release(self._peer)
        super().on_failed()


class Announced(Watched):
    """A connection whose PROXY protocol header has not come yet."""

    __slots__ = ("_edge", "_peer", "_tls")

    def __init__(self, edge: Receiver, sock: socket.socket, peer: Client, tls: bool) -> None:
        # What is only looked at stays readable: told of what comes, and not of what is there.
        super().__init__(edge.loop, sock, edge.settings.head_timeout, READ | EDGE)
        self._edge = edge
        self._peer = peer
        self._tls = tls

    def on_ready(self) -> None:
        try:
            data = self.sock.recv(MAX_HEADER, socket.MSG_DONTWAIT | socket.MSG_PEEK)
            header = read_header(data) if data else None
            if header is None and data:
                return
            if header is not None:
                self.sock.recv(header.size, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except (OSError, BadRequest):
            header = None
        if header is None:
            self._edge.counters.refused += 1
            self.on_failed()
            return
        self.leave()
        peer = self._peer if header.client is None else header.client._replace(secure=self._tls or header.client.secure)
        self._edge.greet(self.sock, peer, self._tls, real=header.client is None)

    def on_deadline(self) -> None:
        self.on_failed()
