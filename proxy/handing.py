"""A connection on its way to a node of this machine.

Rule: the node has it when the kernel has taken the datagram, and then our own copy of the
socket is closed. If the node cannot have it, another one may, unless a session is named.
"""

from __future__ import annotations

import socket
from typing import Protocol

import trio

from proxy.counters import Counters
from proxy.errors import BadGateway, UnknownSession
from proxy.forwarding import Client
from proxy.head import RequestHead
from proxy.links import Link
from proxy.pool import Pool
from proxy.reading import Refuser
from proxy.routing import Route
from proxy.upstreams import Upstream
from rtserver.protocol.handoff import Metadata, encode_connection, write_peer

MAX_TRIES = 3
# What is said of most: the socket itself tells who the client is.
_PLAIN = Metadata(hops=0, secure=False)


class Giver(Refuser, Protocol):
    """Whose connection it is until a node has it. ``Edge`` is."""

    pool: Pool
    counters: Counters

    def note(self, peer: Client, head: RequestHead, **fields: object) -> None:
        """For the access log."""

    def relay(self, sock: socket.socket, peer: Client, head: RequestHead, rest: bytes, route: Route | None) -> None:
        """To an upstream that is not of this machine."""


class Handing:
    """One connection.

    Args:
        giver: Whose it is until then.
        sock: The client's.
        peer: Who is at its other end.
        head: Of the request that it begins with.
        received: Every byte that was read of it.
        route: To a ``Link``.
        told: The client, when the socket itself does not tell.
    """

    __slots__ = ("_giver", "_head", "_peer", "_received", "_route", "_tried", "datagram", "sock")

    def __init__(
        self,
        giver: Giver,
        sock: socket.socket,
        peer: Client,
        head: RequestHead,
        received: bytes,
        route: Route,
        told: Client | None,
    ) -> None:
        self._giver = giver
        self._peer = peer
        self._head = head
        self._received = received
        self._route = route
        self._tried: tuple[Upstream, ...] = ()
        self.sock = sock
        self.datagram = encode_connection(_PLAIN if told is None else metadata_of(told), received)

    def start(self) -> None:
        """Hand it over, now or when the node has room."""
        link = self._route.upstream
        assert isinstance(link, Link)
        taken = link.give(self.sock, self.datagram)
        if taken:
            self.on_taken()
        elif taken is False or not link.wait_for(self, trio.current_time()):
            self.on_left()

    def on_taken(self) -> None:
        self.sock.close()
        self._giver.counters.handed += 1
        link = self._route.upstream
        assert link is not None
        self._giver.pool.succeeded(link)
        self._giver.note(self._peer, self._head, to=link.name, how="handed over")

    def on_left(self) -> None:
        link = self._route.upstream
        assert isinstance(link, Link)
        if not link.closed:
            self._giver.pool.failed(link)
        if self._route.pinned:
            gone = UnknownSession() if link.closed else BadGateway(503, "the session's node is too busy")
            self._refuse(gone)
            return
        self._tried = (*self._tried, link)
        other = None
        if len(self._tried) < MAX_TRIES:
            other = self._giver.pool.pick(trio.current_time(), self._tried)
        if other is None:
            self._refuse(BadGateway(503, "no upstream is ready"))
            return
        self._giver.counters.retried += 1
        self._route = Route(other)
        if isinstance(other, Link):
            self.start()
        else:
            rest = self._received.partition(b"\r\n\r\n")[2]
            self._giver.relay(self.sock, self._peer, self._head, rest, self._route)

    def _refuse(self, exc: BadGateway | UnknownSession) -> None:
        self._giver.refuse(self.sock, exc, self._head, self._peer)


def metadata_of(client: Client) -> Metadata:
    """What a node is told of a client that the socket does not tell itself."""
    return Metadata(hops=0, secure=client.secure, peer=write_peer(client.host, client.port) if client.host else None)
