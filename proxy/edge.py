"""The edge: accepts, reads the head, and hands over or starts a relay.

Rule: until its head is whole and sound a connection is known to nobody else, and nothing
waits for it. What follows a head is passed on with it, and whoever passes a connection on
never reads of it again.
"""

from __future__ import annotations

import contextlib
import resource
import socket
from typing import Protocol

import trio

from proxy.answers import refusal
from proxy.bodies import Bodies
from proxy.counters import Counters
from proxy.errors import BadGateway, BadRequest, UnknownSession
from proxy.forwarding import Client, Trust, address_key, without_forwarding
from proxy.handing import Handing
from proxy.head import RequestHead, parse_head, split_head
from proxy.links import Link
from proxy.logs import AccessLog, LimitedLog
from proxy.loop import Loop
from proxy.pool import Pool
from proxy.reading import RECEIVE_SIZE, Announced, Lingering, Reading
from proxy.routing import Route, Router, UnknownOwner
from proxy.settings import Settings
from proxy.sharing import Shares

# File descriptors kept for everything that is not a client's connection.
RESERVE = 64
# Connections that are answered and wait for their client; as many fit into the reserve with room to spare.
MAX_LINGERING = 32


class Relays(Protocol):
    """Whoever goes on with what is not handed over."""

    def start(self, sock: socket.socket, peer: Client, head: RequestHead, rest: bytes, route: Route | None) -> None:
        """A plain connection with a first request, and what has been read after its head."""

    def start_tls(self, sock: socket.socket, peer: Client) -> None:
        """A connection whose client wants to speak TLS."""


class Edge:
    """Takes connections.

    Args:
        loop: Watches them.
        pool: The upstreams.
        settings: Limits and trust.
        relays: Goes on with what is not handed over.

    Attributes:
        settings: The ones in force.
        router: Knows whose a request is.
        bodies: Those that wait.
        held: How many connections each address has that are ours yet.
        shares: The same of all workers, if there are several.
        connections: How many there are of all addresses.
        draining: Whether the proxy wants to end.
    """

    def __init__(self, loop: Loop, pool: Pool, settings: Settings, relays: Relays) -> None:
        self.loop = loop
        self.pool = pool
        self.relays = relays
        self.counters = Counters()
        self.quiet = LimitedLog()
        self.access: AccessLog | None = None
        self.bodies = Bodies()
        self.held: dict[str, int] = {}
        self.shares: Shares | None = None
        self.connections = 0
        self.draining = False
        # Waits for the next request on a connection: ended when the proxy wants to leave.
        self.idle: set[trio.CancelScope] = set()
        # In the order in which they came.
        self._lingering: dict[Lingering, None] = {}
        self._emptied = trio.Event()
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        """From now on these are in force."""
        self.settings = settings
        self.trust = Trust(settings.trusted)
        self.router = Router(self.pool, settings)
        self.limit = settings.max_connections or _descriptor_limit()
        self.bodies.limit = settings.max_bodies
        self._hands_over = settings.affinity.kind == "sid"
        self._log_requests = settings.access_log != ""

    # From accepting to a whole head.

    def take(self, sock: socket.socket, address: object, tls: bool) -> None:
        """Begin with an accepted connection."""
        self.counters.accepted += 1
        host, port = (str(address[0]), int(address[1])) if isinstance(address, tuple) else ("", 0)
        peer = Client(host.removeprefix("::ffff:"), port, tls)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.connections >= self.limit:
            self.refuse(sock, BadGateway(503, "too many connections"), None, peer)
        elif self.settings.proxy_protocol:
            if peer.host in self.trust:
                Announced(self, sock, peer, tls)
            else:
                self.counters.refused += 1
                self.quiet.warning("untrusted_peer", peer=peer.host)
                sock.close()
        else:
            self.greet(sock, peer, tls, real=True)

    def greet(self, sock: socket.socket, peer: Client, tls: bool, *, real: bool) -> None:
        """The peer is known: read of it what has come already."""
        if tls:
            if self.hold(sock, peer):
                self.relays.start_tls(sock, peer)
            return
        try:
            data = sock.recv(RECEIVE_SIZE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            data = None
        except OSError:
            sock.close()
            return
        if data == b"":
            sock.close()
        elif (data is None or not self.advance(sock, peer, data, real)) and self.hold(sock, peer):
            Reading(self, sock, peer, data or b"", real)

    def hold(self, sock: socket.socket, peer: Client) -> bool:
        """Count a connection that stays with us; False when its address has too many, and it is refused."""
        key = address_key(peer.host)
        count = self.held.get(key, 0)
        total = count if self.shares is None else self.shares.total(key)
        if total >= self.settings.max_connections_per_address and peer.host and peer.host not in self.trust:
            self.quiet.warning("too_many_of_one_address", peer=peer.host)
            self.refuse(sock, BadRequest(429, "too many connections"), None, peer)
            return False
        self.held[key] = count + 1
        if self.shares is not None:
            self.shares.add(key, 1)
        self.connections += 1
        return True

    def release(self, peer: Client) -> None:
        """A connection that was held is ours no more."""
        key = address_key(peer.host)
        count = self.held[key] - 1
        if count:
            self.held[key] = count
        else:
            del self.held[key]
        if self.shares is not None:
            self.shares.add(key, -1)
        self.connections -= 1
        if not self.connections:
            self._emptied.set()
            self._emptied = trio.Event()

    async def empty(self) -> None:
        """Let go of idle connections, and wait until all others have ended."""
        self.draining = True
        for scope in self.idle:
            scope.cancel()
        while self.connections:
            await self._emptied.wait()

    def advance(self, sock: socket.socket, peer: Client, data: bytes, real: bool) -> bool:
        """Go on with what has been read; False while the head is not whole."""
        head = None
        try:
            found = split_head(data, max_size=self.settings.max_head_size)
            if found is None:
                return False
            head = parse_head(found[0], max_headers=self.settings.max_headers)
            self.begin(sock, peer, head, found[1], real)
        except (BadRequest, UnknownSession) as exc:
            self.refuse(sock, exc, head, peer)
        return True

    def begin(self, sock: socket.socket, peer: Client, head: RequestHead, rest: bytes, real: bool) -> None:
        """A first request is whole.

        Raises:
            UnknownSession: It names a session that nobody can have.
        """
        self.counters.requests += 1
        try:
            route = self.router.route(head, peer.host, trio.current_time())
        except UnknownOwner:
            if self.settings.redis_url is None:
                raise
            # A node of another machine may have come just now. The relay asks, and routes again.
            self.relay(sock, peer, head, rest, None)
            return
        upstream = route.upstream
        if upstream is None:
            self.refuse(sock, BadGateway(503, "no upstream is ready"), head, peer)
        elif isinstance(upstream, Link) and self.may_hand_over(peer, head):
            self.hand_over(sock, peer, head, rest, route, real)
        else:
            self.relay(sock, peer, head, rest, route)

    def relay(self, sock: socket.socket, peer: Client, head: RequestHead, rest: bytes, route: Route | None) -> None:
        if self.hold(sock, peer):
            self.relays.start(sock, peer, head, rest, route)

    # Handing over.

    def may_hand_over(self, peer: Client, head: RequestHead) -> bool:
        """Whether all that follows on the connection is the same client's.

        A trusted peer may send requests of many clients by one connection, until it is a WebSocket. A node
        ends the connection of an upgrade that it refuses, but only on the path that is its own.
        """
        if not self._hands_over:
            return False
        return peer.host not in self.trust or (head.wants_websocket and self.router.is_engines(head.path))

    def hand_over(
        self, sock: socket.socket, peer: Client, head: RequestHead, rest: bytes, route: Route, real: bool
    ) -> None:
        """Give a connection to a node of this machine, with all that was read of it."""
        raw = head.raw
        client = peer
        if peer.host in self.trust:
            client = self.trust.client(head, peer)
        elif head.forwards:
            raw = without_forwarding(head)
        told = None if real and client is peer else client
        Handing(self, sock, peer, head, raw + rest, route, told).start()

    def note(self, peer: Client, head: RequestHead, **fields: object) -> None:
        """A line of the access log, if there is one."""
        if self._log_requests and self.access is not None:
            self.access.add(peer=peer.host, method=head.method, path=head.path, **fields)

    # Endings.

    def turn_away(self, sock: socket.socket) -> None:
        """There is no room for a connection, not even to wait until its client has read the answer."""
        exc = BadGateway(503, "too many connections")
        self.counters.refuse(exc)
        with contextlib.suppress(OSError):
            sock.send(refusal(exc, None, self.settings), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def refuse(
        self,
        sock: socket.socket,
        exc: BadRequest | BadGateway | UnknownSession,
        head: RequestHead | None,
        peer: Client,
    ) -> None:
        """Answer by ourselves, and close when the client has read it."""
        self.counters.refuse(exc)
        if head is not None:
            self.note(peer, head, status=400 if isinstance(exc, UnknownSession) else exc.status)
        try:
            sock.send(refusal(exc, head, self.settings), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            sock.close()
        else:
            self.linger(sock)

    def linger(self, sock: socket.socket) -> None:
        """Let the client read its answer, unless too many do so: then whoever has waited longest has had its time."""
        if len(self._lingering) >= MAX_LINGERING:
            next(iter(self._lingering)).on_failed()
        Lingering(self.loop, sock, self._lingering)

    def close(self) -> None:
        """End every connection whose head is not whole."""
        for one in [one for one in self.loop.timed if isinstance(one, Reading | Lingering)]:
            one.on_failed()


def _descriptor_limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1_000_000 if soft == resource.RLIM_INFINITY else max(1, soft - RESERVE)
