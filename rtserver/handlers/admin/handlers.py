"""The ``/admin`` namespace: the cluster as it is, every second, and a few levers.

Rule: who has no permission never joins, so every handler may trust its socket.
Nodes tell one another by server-side events; whatever one of them says is checked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import trio

from rtserver import ConnectRefused, EventRefused, Server, Socket, user_of, user_room
from rtserver.handlers.admin import events
from rtserver.handlers.admin.reports import Reporter, Reports
from rtserver.handlers.admin.watching import Watches

NAMESPACE = "/admin"
SCOPE = "admin"
EVERY = 1.0
# How many watches of sockets one administrator may have.
MAX_WATCHES = 10
WATCHERS = "watchers:"


def has_scope(socket: Socket) -> bool:
    """Whether the user of ``socket`` has the scope ``admin``."""
    return SCOPE in getattr(socket.user, "scopes", ())


class Admin:
    """What the handlers share.

    Args:
        io: The server.
        disconnect_user: Ends every connection of a user, on every node.
        drain: Takes this node out of service.
    """

    def __init__(
        self, io: Server, disconnect_user: Callable[[str], Awaitable[None]] | None, drain: Callable[[], None]
    ) -> None:
        self.io = io
        self.namespace = io.of(NAMESPACE)
        self.reporter = Reporter(io)
        self.reports = Reports()
        self.watches = Watches(io, self._show)
        self.disconnect_user = disconnect_user
        self.drain = drain

    async def report_every_second(self) -> None:
        while True:
            now = trio.current_time()
            report = self.reporter.report()
            self.reports.put(report, now)
            self.namespace.server_side_emit("report", msgspec.to_builtins(report))
            if self.namespace.sockets:
                self.namespace.local.emit(events.REPORT, self.reports.summary(now))
            self.watches.expire(now)
            for room in self.namespace.adapter.local_rooms():
                if room.startswith(WATCHERS):
                    self.watch(*room.removeprefix(WATCHERS).split(" ", 1))
            await trio.sleep(EVERY)

    def watch(self, namespace: str, socket_id: str) -> None:
        """Have a socket watched, wherever it is."""
        self.watches.renew(namespace, socket_id, trio.current_time())
        self.namespace.server_side_emit("watch", namespace, socket_id)

    def _show(self, seen: events.SocketEvent) -> None:
        self.namespace.to(room_of(seen.namespace, seen.id)).emit(events.SOCKET_EVENT, seen)


def room_of(namespace: str, socket_id: str) -> str:
    """The room of those who watch a socket."""
    return f"{WATCHERS}{namespace} {socket_id}"


def register(
    io: Server,
    *,
    allowed: Callable[[Socket], bool] = has_scope,
    disconnect_user: Callable[[str], Awaitable[None]] | None = None,
    drain: Callable[[], None] | None = None,
) -> None:
    """Serve the namespace ``/admin`` on ``io``.

    Args:
        io: The server; authentication middleware must have set ``socket.user`` by then.
        allowed: Whether a socket may join; those with the scope ``admin`` unless given.
        disconnect_user: Ends every connection of a user; without it the event is refused.
        drain: Takes this node out of service; ``io.stop`` unless given.
    """
    admin = Admin(io, disconnect_user, drain or io.stop)
    namespace = admin.namespace
    namespace.emits(events.REPORT, events.SOCKET_EVENT)

    @namespace.use
    def check(socket: Socket) -> None:
        if not allowed(socket):
            raise ConnectRefused("not allowed")

    @namespace.on_connect
    def joined(socket: Socket) -> None:
        admin.reports.put(admin.reporter.report(), trio.current_time())
        socket.emit(events.REPORT, admin.reports.summary(trio.current_time()))

    io.background(admin.report_every_second)
    _register_searches(admin)
    _register_levers(admin)
    _register_relay(admin)


def _register_searches(admin: Admin) -> None:
    @admin.namespace.on(events.SOCKETS)
    async def sockets(socket: Socket, query: events.SocketsQuery) -> events.SocketsPage:
        found = await _namespace(admin, query.namespace).fetch_sockets()
        matching = [one for one in map(_summary, found) if _matches(one, query.search)]
        matching.sort(key=lambda one: (one.since, one.id))
        return events.SocketsPage(len(matching), matching[query.offset : query.offset + query.size], found.silent)

    @admin.namespace.on(events.ROOMS)
    async def rooms(socket: Socket, query: events.RoomsQuery) -> events.RoomsPage:
        sizes: dict[str, int] = {}
        for one in await _namespace(admin, query.namespace).fetch_sockets():
            # Names of rooms that only the server fills are not printable.
            for room in filter(str.isprintable, one.rooms):
                if room != one.id and query.search in room:
                    sizes[room] = sizes.get(room, 0) + 1
        ranked = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[query.offset : query.offset + query.size]
        return events.RoomsPage(len(sizes), [events.RoomSummary(name, size) for name, size in ranked])


def _register_levers(admin: Admin) -> None:
    @admin.namespace.on(events.WATCH)
    def watch(socket: Socket, target: events.SocketRef) -> events.Done:
        if sum(room.startswith(WATCHERS) for room in socket.rooms) >= MAX_WATCHES:
            raise EventRefused("too_many", f"at most {MAX_WATCHES} sockets can be watched")
        socket.join(room_of(target.namespace, target.id))
        admin.watch(target.namespace, target.id)
        return events.Done()

    @admin.namespace.on(events.UNWATCH)
    def unwatch(socket: Socket, target: events.SocketRef) -> events.Done:
        socket.leave(room_of(target.namespace, target.id))
        return events.Done()

    @admin.namespace.on(events.DISCONNECT_SOCKET)
    def disconnect_socket(socket: Socket, target: events.SocketRef) -> events.Done:
        _namespace(admin, target.namespace).in_(target.id).disconnect_sockets(close=True)
        return events.Done()

    @admin.namespace.on(events.DISCONNECT_USER)
    async def disconnect_user(socket: Socket, target: events.UserRef) -> events.Done:
        if admin.disconnect_user is None:
            raise EventRefused("unavailable", "this server has no users")
        await admin.disconnect_user(target.id)
        return events.Done()

    @admin.namespace.on(events.DRAIN)
    def drain(socket: Socket, target: events.NodeRef) -> events.Done:
        if target.id not in {node.id for node in admin.reports.summary(trio.current_time()).nodes}:
            raise EventRefused("unknown_node", "no such node")
        if target.id == admin.reporter.id:
            _drain_soon(admin)
        else:
            admin.namespace.server_side_emit("drain", target.id)
        return events.Done()


def _register_relay(admin: Admin) -> None:
    @admin.namespace.on_server_side("report")
    def reported(raw: Any) -> None:
        admin.reports.take(raw, trio.current_time())

    @admin.namespace.on_server_side("watch")
    def watch(namespace: Any, socket_id: Any) -> None:
        admin.watches.renew(namespace, socket_id, trio.current_time())

    @admin.namespace.on_server_side("drain")
    def drain(node: Any) -> None:
        if node == admin.reporter.id:
            _drain_soon(admin)


def _drain_soon(admin: Admin) -> None:
    """Once whoever asked has been answered."""

    async def begin() -> None:
        await trio.lowlevel.checkpoint()
        admin.drain()

    admin.io.start_task(begin)


def _namespace(admin: Admin, name: str) -> Any:
    found = admin.io.namespaces.get(name)
    if found is None:
        raise EventRefused("unknown_namespace", "no such namespace")
    return found


def _summary(found: Any) -> events.SocketSummary:
    handshake = found.handshake if isinstance(found.handshake, dict) else {}
    user = user_of(found.rooms)
    own = {found.id} if user is None else {found.id, user_room(user)}
    rooms = sorted(room for room in found.rooms if room not in own)
    since = handshake.get("issued")
    return events.SocketSummary(
        id=found.id,
        user=user,
        address=str(handshake.get("address", "")),
        since=since if isinstance(since, int) else 0,
        rooms=rooms[: events.PAGE_SIZE],
    )


def _matches(one: events.SocketSummary, search: str) -> bool:
    return not search or any(search in text for text in (one.id, one.user or "", one.address, *one.rooms))
