"""The server side of ``@socket.io/admin-ui``, so that the official page connects to a node.

Rule: off unless switched on, and then behind a password. In ``development`` mode every
event is shown, which costs a message for each message; ``production`` only counts.
Source: ``@socket.io/admin-ui`` 0.5.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import socket as sockets
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import trio

from rtserver import ConfigurationError, ConnectRefused, Middleware, Namespace, RemoteSocket, Server, Socket

EVERY = 2.0
MAX_SESSIONS = 1_000
LEVERS = ("EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT")


class Instrument:
    """What the handlers share: who has signed in, and what was counted last."""

    def __init__(self, io: Server, namespace: Namespace, username: str, password: str) -> None:
        self.io = io
        self.namespace = namespace
        self._username = username
        self._password = password
        # Session ids of those that have signed in, the oldest first.
        self._sessions: dict[str, None] = {}
        self._counted: dict[str, int] = {}
        self._rooms: dict[tuple[str, str], frozenset[str]] = {}

    def admit(self, socket: Socket) -> None:
        """Raises ``ConnectRefused`` unless the client knows the password, or a session id that it was given."""
        auth = socket.handshake.auth
        session = auth.get("sessionId")
        if isinstance(session, str) and session in self._sessions:
            return
        # Both are compared whatever comes of the first, in the same time.
        known = _same(auth.get("username"), self._username) & _same(auth.get("password"), self._password)
        if not known:
            raise ConnectRefused("invalid credentials")
        session = secrets.token_hex(8)
        while len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        self._sessions[session] = None
        socket.emit("session", session)

    def statistics(self) -> dict[str, Any]:
        """What ``server_stats`` tells."""
        io = self.io
        statistics = io.statistics()
        host = sockets.gethostname()
        return {
            "serverId": f"{host}#{os.getpid()}",
            "hostname": host,
            "pid": os.getpid(),
            "uptime": 0 if statistics.started_at is None else time.time() - statistics.started_at,
            "clientsCount": statistics.engine.sessions,
            "pollingClientsCount": statistics.engine.polling,
            "aggregatedEvents": list(self._since_last_time(statistics)),
            "namespaces": [{"name": one.name, "socketsCount": one.sockets} for one in statistics.namespaces],
        }

    def _since_last_time(self, statistics: Any) -> Iterable[dict[str, Any]]:
        engine, node = statistics.engine, statistics.node
        counted = {
            "rawConnection": engine.opened,
            "rawDisconnection": engine.opened - engine.sessions,
            "packetsIn": sum(one.events_received for one in statistics.namespaces),
            "packetsOut": engine.packets_out,
            "bytesIn": 0 if node is None else node.bytes_in,
            "bytesOut": 0 if node is None else node.bytes_out,
        }
        before, self._counted = self._counted, counted
        at = int(time.time()) * 1000
        for kind, value in counted.items():
            if (more := value - before.get(kind, 0)) > 0:
                yield {"timestamp": at, "type": kind, "count": more}

    def tell_rooms(self) -> None:
        """Say which rooms were joined and left since the last time."""
        now = {(name, one.id): frozenset(one.rooms) for name, space in self._others() for one in space.sockets.values()}
        for (name, socket_id), rooms in now.items():
            before = self._rooms.get((name, socket_id), frozenset((socket_id,)))
            for room in sorted(rooms - before):
                self.namespace.emit("room_joined", name, room, socket_id, _now())
            for room in sorted(before - rooms):
                self.namespace.emit("room_left", name, room, socket_id, _now())
        self._rooms = now

    def has_told_rooms(self, socket: Socket) -> None:
        """They came with the socket."""
        self._rooms[(socket.namespace.name, socket.id)] = frozenset(socket.rooms)

    def _others(self) -> list[tuple[str, Namespace]]:
        return [(name, space) for name, space in self.io.namespaces.items() if space is not self.namespace]

    def of(self, name: object, room: object) -> Any:
        """Whom a command addresses; None if there is no such namespace."""
        space = self.io.namespaces.get(name) if isinstance(name, str) else None
        if space is None:
            return None
        return space.in_(room) if isinstance(room, str) and room else space


def instrument(
    io: Server,
    *,
    username: str,
    password: str,
    namespace: str = "/admin",
    read_only: bool = False,
    mode: str = "production",
    exempt_from: Sequence[Middleware] = (),
) -> None:
    """Let the official admin UI connect.

    Args:
        io: The server. Namespaces that are declared later are counted, but their events are not shown.
        username: What the page has to give.
        password: The same; at least eight characters.
        namespace: Where the page connects to, which one types there among the advanced options.
        read_only: Show, and take no commands.
        mode: ``development`` shows sockets and events one by one.
        exempt_from: Middleware of the server that knows nothing of the page's users: its authentication, and
            what asks whom that has found. It leaves this namespace alone, and no other one.

    Raises:
        ConfigurationError: The password is too short, the mode unknown, or the namespace in use.
    """
    if len(password) < 8:
        raise ConfigurationError("password", "…", "at least eight characters")
    if mode not in ("development", "production"):
        raise ConfigurationError("mode", mode, "development or production")
    if namespace in io.namespaces:
        raise ConfigurationError("namespace", namespace, "one that nobody uses")
    others = list(io.namespaces.values())
    admin = io.of(namespace)
    admin.exempt_from(*exempt_from)
    shared = Instrument(io, admin, username, password)
    admin.use(shared.admit)
    features = [*(() if read_only else LEVERS), "AGGREGATED_EVENTS", *(["ALL_EVENTS"] if mode == "development" else [])]

    @admin.on_connect
    async def joined(socket: Socket) -> None:
        socket.emit("config", {"supportedFeatures": features})
        if mode == "development":
            socket.emit("all_sockets", [one for space in others for one in await _all_of(space)])

    @io.background
    async def tell() -> None:
        # The page may be at another node, and shows all of them.
        while True:
            admin.emit("server_stats", shared.statistics())
            if mode == "development":
                shared.tell_rooms()
            await trio.sleep(EVERY)

    if not read_only:
        _register_commands(shared)
    if mode == "development":
        for space in others:
            _show_everything(shared, space)


def _register_commands(shared: Instrument) -> None:
    @shared.namespace.on("emit")
    def emit(socket: Socket, name: Any, room: Any, event: Any, *args: Any) -> None:
        if (target := shared.of(name, room)) is not None and isinstance(event, str):
            target.emit(event, *args)

    @shared.namespace.on("join")
    def join(socket: Socket, name: Any, room: Any, among: Any = None) -> None:
        if (target := shared.of(name, among)) is not None and isinstance(room, str):
            target.sockets_join(room)

    @shared.namespace.on("leave")
    def leave(socket: Socket, name: Any, room: Any, among: Any = None) -> None:
        if (target := shared.of(name, among)) is not None and isinstance(room, str):
            target.sockets_leave(room)

    @shared.namespace.on("_disconnect")
    def disconnect(socket: Socket, name: Any, close: Any = False, among: Any = None) -> None:
        if (target := shared.of(name, among)) is not None:
            target.disconnect_sockets(close is True)


def _show_everything(shared: Instrument, space: Namespace) -> None:
    admin = shared.namespace

    @space.on_connect
    def joined(socket: Socket) -> None:
        shared.has_told_rooms(socket)
        admin.emit("socket_connected", _serialized(socket), _now())

        @socket.on_any
        def received(*args: Any) -> None:
            admin.emit("event_received", space.name, socket.id, args, _now())

        @socket.on_any_outgoing
        def sent(*args: Any) -> None:
            admin.emit("event_sent", space.name, socket.id, args, _now())

    @space.on_disconnect
    def gone(socket: Socket, reason: str) -> None:
        admin.emit("socket_disconnected", space.name, socket.id, reason, _now())


async def _all_of(space: Namespace) -> list[dict[str, Any]]:
    """The sockets of a namespace on every node, as far as the nodes answer."""
    return [_found(space, one) for one in await space.fetch_sockets()]


def _found(space: Namespace, found: RemoteSocket) -> dict[str, Any]:
    here = space.sockets.get(found.id)
    if here is not None:
        return _serialized(here)
    # Another node does not tell which transport a socket has.
    return _described(found.id, space.name, "", found.data, found.handshake, found.rooms)


def _serialized(socket: Socket) -> dict[str, Any]:
    details = socket.handshake.details()
    return _described(socket.id, socket.namespace.name, socket.transport, socket.data, details, socket.rooms)


def _described(
    socket_id: str, name: str, transport: str, data: Any, details: Mapping[str, Any], rooms: Iterable[str]
) -> dict[str, Any]:
    handshake = {key: value for key, value in details.items() if key != "auth"}
    headers = {
        key: value
        for key, value in handshake.get("headers", {}).items()
        if key.lower() not in ("authorization", "cookie")
    }
    issued = handshake.get("issued")
    return {
        "id": socket_id,
        # The engine's id lets its holder speak for the client, so it is not told to anybody.
        "clientId": socket_id[:12],
        "transport": transport,
        "nsp": name,
        "data": data,
        "handshake": {
            **handshake,
            "headers": headers,
            "time": time.ctime(issued / 1000) if isinstance(issued, int | float) else "",
        },
        "rooms": sorted(map(str, rooms)),
    }


def _same(given: object, expected: str) -> bool:
    text = given if isinstance(given, str) else ""
    digests = [hashlib.sha256(one.encode("utf-8", "surrogatepass")).digest() for one in (text, expected)]
    return hmac.compare_digest(*digests)


def _now() -> str:
    now = time.time()
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now * 1000) % 1000:03}Z"
