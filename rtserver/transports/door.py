"""The front door: listens, accepts, and decides who serves a request.

Rule: Engine.IO's requests stay on the loop; all others leave it, with the bytes
read so far, for whoever was given as ``others``. See ``handover``.
"""

from __future__ import annotations

import errno
import resource
import socket
from collections.abc import Callable
from typing import Protocol

import structlog
import trio

from rtserver.config import Config
from rtserver.errors import ProtocolError
from rtserver.protocol.handoff import Metadata, read_peer
from rtserver.transports.connection import Connection
from rtserver.transports.engine import Engine
from rtserver.transports.http import DIRECT, HttpConnection, Neighbour
from rtserver.transports.loop import Loop
from rtserver.transports.request import Request, Response
from rtserver.transports.websocket import RawWebSocket

log = structlog.get_logger("rtserver.door")

ACCEPT_BATCH = 64
# File descriptors kept for everything that is not a client's connection.
RESERVE = 64
PAUSE_SECONDS = 0.1

_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)

Others = Callable[[socket.socket, str, Request, bytes], None]


class Neighbourhood(Protocol):
    """The other nodes of a cluster."""

    def find(self, request: Request, hops: int) -> Neighbour | None:
        """Who a request is for, if it is another node's."""


class Listener:
    """A listening socket on the loop."""

    scheduled_at = float("inf")

    def __init__(self, door: FrontDoor, sock: socket.socket) -> None:
        self._door = door
        self.sock = sock
        self._resume_at: float | None = None
        door.loop.add(sock, self)

    def on_readable(self) -> None:
        for _ in range(ACCEPT_BATCH):
            try:
                sock, address = self.sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:
                self._pause(exc)
                return
            self._door.admit(sock, address)

    def on_writable(self) -> None:
        """Never asked for."""

    def on_failed(self) -> None:
        """A connection that could not be admitted is lost; the next one may do better."""

    def _pause(self, exc: OSError) -> None:
        """Out of descriptors or memory: leave the queue alone for a moment instead of spinning."""
        log.warning("accept_paused", error=errno.errorcode.get(exc.errno or 0, str(exc.errno)))
        self._door.loop.remove(self.sock)
        self._resume_at = trio.current_time() + PAUSE_SECONDS
        self._door.deadlines.watch(self)

    def next_deadline(self) -> float | None:
        return self._resume_at

    def on_deadline(self, now: float) -> None:
        self._resume_at = None
        self._door.loop.add(self.sock, self)

    def close(self) -> None:
        if self._resume_at is None:
            self._door.loop.remove(self.sock)
        self._resume_at = None
        self.sock.close()


class FrontDoor:
    """Accepts connections for an engine.

    Args:
        engine: Serves what is under its path.
        loop: Drives the sockets.
        others: Takes a connection whose request is not the engine's; None answers 404.

    Attributes:
        neighbourhood: The other nodes, in a cluster.
        accepted: Connections since the start.
        adopted: Those of them that somebody else had accepted.
        passed_on: Connections given to another node since the start.
        turned_away: Refused since the start because the node was full.
        limit: The most connections at a time.
    """

    def __init__(self, engine: Engine, loop: Loop, others: Others | None) -> None:
        self.engine = engine
        self.config: Config = engine.config
        self.loop = loop
        self.deadlines = engine.deadlines
        self.connections: set[Connection] = set()
        self.counters = engine.counters
        self.neighbourhood: Neighbourhood | None = None
        self.accepted = 0
        self.adopted = 0
        self.passed_on = 0
        self.turned_away = 0
        self._listeners: list[Listener] = []
        self._others = others
        self.limit = self.config.max_connections or _descriptor_limit()

    # Listening.

    def listen(self, sock: socket.socket) -> None:
        """Serve a listening socket."""
        sock.setblocking(False)
        self._listeners.append(Listener(self, sock))

    def stop_listening(self) -> None:
        """Accept nobody any more; those already here stay."""
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.close()

    def admit(self, sock: socket.socket, address: object) -> None:
        """Begin to serve an accepted connection, or turn it away when the node is full."""
        self._begin(sock, str(address[0]) if isinstance(address, tuple) else "", DIRECT)

    def adopt(self, sock: socket.socket, metadata: Metadata, received: bytes) -> None:
        """Go on with a connection that somebody else has accepted and read ``received`` of.

        Raises:
            ProtocolError: It is no connection of a client; it is closed.
        """
        try:
            if sock.type != socket.SOCK_STREAM or sock.family not in _FAMILIES:
                raise ProtocolError(f"a passed socket of {sock.family!r} and {sock.type!r}")
            address = sock.getpeername()
        except OSError:
            # The client has left on the way.
            sock.close()
            return
        except ProtocolError:
            sock.close()
            raise
        peer = read_peer(metadata.peer)[0] if metadata.peer else address[0] if isinstance(address, tuple) else ""
        self.adopted += 1
        connection = self._begin(sock, peer, metadata)
        if connection is not None and received:
            # What these bytes lead to is a matter of this connection alone.
            self.loop.soon(lambda: connection.take(received))

    def _begin(self, sock: socket.socket, peer: str, metadata: Metadata) -> HttpConnection | None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self.connections) >= self.limit:
            self.turn_away(sock)
            return None
        self.accepted += 1
        return HttpConnection(self, sock, peer, metadata)

    def turn_away(self, sock: socket.socket) -> None:
        """Tell a client to come back later, and close."""
        self.turned_away += 1
        response = Response(503, b"too many connections", [("Retry-After", "1")], close=True)
        try:
            sock.send(response.encode(keep_alive=False))
        except OSError:
            pass
        finally:
            sock.close()

    # What HTTP connections ask for.

    def owns(self, path: str) -> bool:
        return self.engine.owns(path)

    def on_exchange(self, exchange: HttpConnection, body: bytes) -> None:
        if exchange.request.wants_websocket:
            self.engine.on_upgrade(exchange)
        else:
            self.engine.on_request(exchange, body)

    def hand_over(self, connection: HttpConnection, request: Request, received: bytes) -> None:
        if self._others is None:
            connection.refuse(404, "not found")
            return
        peer = connection.peer
        self._others(connection.detach(), peer, request, received)

    def elsewhere(self, request: Request, hops: int) -> Neighbour | None:
        return None if self.neighbourhood is None else self.neighbourhood.find(request, hops)

    def pass_on(self, connection: HttpConnection, neighbour: Neighbour, received: bytes) -> None:
        self.passed_on += 1
        metadata = connection.metadata
        passed = Metadata(hops=metadata.hops + 1, secure=metadata.secure, peer=metadata.peer)
        neighbour.take(connection.detach(), passed, received)

    def headers_of_refusal(self, request: Request) -> list[tuple[str, str]]:
        return self.engine.origins.headers(request)

    # The end.

    def close_idle(self) -> None:
        """Close the connections that belong to no session."""
        for connection in list(self.connections):
            if not isinstance(connection, RawWebSocket) or connection.session is None:
                connection.finish()

    def close(self) -> None:
        """Close whatever is left."""
        self.stop_listening()
        for connection in list(self.connections):
            connection.close()


def _descriptor_limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 1_000_000
    return max(1, soft - RESERVE)
