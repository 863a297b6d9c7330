"""Who is online in a room: asked for once, and then told of every change.

Rule: what a node announces is read off its own sockets, and what others announce is checked
and forgotten with them. An announcement is as large as the rooms of one user, whatever the
number of users; everything is said again only to who has missed something.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import msgspec
import trio

from rtserver import Namespace, RoomRefused, Server, Socket
from rtserver.entropy import random_id
from rtserver.handlers.presence.events import CHANGED, MAX_LISTED, ONLINE, Online, OnlineQuery, OnlineUser, Presence
from rtserver.handlers.presence.roster import ALIVE_EVERY, MAX_ROOMS, Change, Entry, Roster
from rtserver.logs import LimitedLog

NAMESPACE = "/chat"
# Users in one message to the other nodes.
PART = 100
# Between two looks at who has asked for everything, in seconds.
TICK = 1.0

Text = Annotated[str, msgspec.Meta(max_length=256)]
Number = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
Names = Annotated[list[Text], msgspec.Meta(max_length=MAX_ROOMS)]


class Announced(msgspec.Struct, frozen=True):
    """A user on a node."""

    user: Text
    name: Text
    rooms: Names


class Announcement(msgspec.Struct, frozen=True):
    """What one node tells the others: users, in one of several ``parts`` if it is everything."""

    node: Text
    number: Number
    users: Annotated[list[Announced], msgspec.Meta(max_length=PART)] = []
    part: Number = 0
    parts: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1


class Attendance:
    """Tells who is online.

    Args:
        namespace: Whose sockets count.
        room_key: The room of the adapter in which the members of a room are.
        name_of: The name of a socket's user.
    """

    def __init__(self, namespace: Namespace, room_key: Callable[[str], str], name_of: Callable[[Socket], str]) -> None:
        self._namespace = namespace
        self._room_key = room_key
        self._prefix = room_key("")
        self._name_of = name_of
        self.node = random_id(12)
        self.roster = Roster()
        self._here: dict[str, set[Socket]] = {}
        self._number = 0
        self._wanted = False
        self._parts: dict[str, list[Announcement]] = {}
        self._quiet = LimitedLog()

    # What happens on this node.

    def opened(self, socket: Socket) -> None:
        """A socket is in the rooms of its user."""
        if socket.connected:
            self._here.setdefault(socket.user.id, set()).add(socket)
            self._announce(socket.user.id)

    def closed(self, socket: Socket) -> None:
        """A socket has gone."""
        user = str(getattr(socket.user, "id", ""))
        sockets = self._here.get(user)
        if sockets is None or socket not in sockets:
            return
        sockets.discard(socket)
        if not sockets:
            del self._here[user]
        self._announce(user)

    def changed(self, user: str) -> None:
        """The rooms of a user are others now, on every node."""
        self.look_again(user)
        self._namespace.server_side_emit("presence:changed", user)

    def look_again(self, user: Any) -> None:
        """The rooms of a user may be others now, on this node."""
        if isinstance(user, str) and user in self._here:
            self._announce(user)

    def _announce(self, user: str) -> None:
        entry = self._entry(user)
        if self.roster.users_of(self.node).get(user, Entry("", frozenset())) == entry:
            return
        self._number += 1
        self._tell(self.roster.hear(self.node, self._number, user, entry, trio.current_time()))
        self._send("presence:set", Announcement(self.node, self._number, [_announced(user, entry)]))

    def _entry(self, user: str) -> Entry:
        sockets = self._here.get(user)
        if not sockets:
            return Entry("", frozenset())
        start = len(self._prefix)
        rooms = {room[start:] for socket in sockets for room in socket.rooms if room.startswith(self._prefix)}
        return Entry(self._name_of(next(iter(sockets))), frozenset(sorted(rooms)[:MAX_ROOMS]))

    # What is said between nodes.

    async def run(self) -> None:
        """Say that this node lives, and notice those that do not."""
        alive_at = 0.0
        while True:
            now = trio.current_time()
            if self._wanted:
                self._wanted = False
                self._say_everything()
            if now >= alive_at:
                alive_at = now + ALIVE_EVERY
                self._send("presence:alive", Announcement(self.node, self._number))
            self._tell(self.roster.expire(now, own=self.node))
            await trio.sleep(TICK)

    def say_everything(self, node: Any) -> None:
        """Another node has missed something of ``node``."""
        if node == self.node:
            self._wanted = True

    def _say_everything(self) -> None:
        users = [_announced(user, entry) for user, entry in self.roster.users_of(self.node).items()]
        parts = [users[start : start + PART] for start in range(0, len(users), PART)] or [[]]
        for part, some in enumerate(parts):
            self._send("presence:all", Announcement(self.node, self._number, some, part, len(parts)))

    def _send(self, event: str, announcement: Announcement) -> None:
        self._namespace.server_side_emit(event, msgspec.to_builtins(announcement))

    def hear_set(self, raw: Any) -> None:
        """Another node has announced users."""
        said = self._checked(raw)
        if said is None:
            return
        for one in said.users:
            entry = Entry(one.name, frozenset(one.rooms))
            self._tell(self.roster.hear(said.node, said.number, one.user, entry, trio.current_time()))

    def hear_alive(self, raw: Any) -> None:
        """Another node has said that it lives, and how much it has announced."""
        said = self._checked(raw)
        if said is not None and not self.roster.hear_alive(said.node, said.number, trio.current_time()):
            self._namespace.server_side_emit("presence:ask", said.node)

    def hear_all(self, raw: Any) -> None:
        """Another node has said everything once more, because somebody has asked it to."""
        said = self._checked(raw)
        if said is None or self.roster.is_complete(said.node):
            return
        if said.part == 0:
            self._parts[said.node] = []
        parts = self._parts.get(said.node)
        if parts is None or len(parts) != said.part:
            self._parts.pop(said.node, None)
            return
        parts.append(said)
        if len(parts) == said.parts:
            del self._parts[said.node]
            users = {one.user: Entry(one.name, frozenset(one.rooms)) for part in parts for one in part.users}
            self._tell(self.roster.hear_all(said.node, said.number, users, trio.current_time()))

    def _checked(self, raw: Any) -> Announcement | None:
        """What another node has said, if it makes sense."""
        try:
            said = msgspec.convert(raw, Announcement)
        except msgspec.ValidationError as exc:
            self._quiet.warning("presence_not_understood", reason=str(exc))
            return None
        return None if said.node == self.node else said

    def _tell(self, changes: Iterable[Change]) -> None:
        for change in changes:
            rooms = [self._room_key(room) for room in change.rooms]
            self._namespace.local.to(*rooms).emit(CHANGED, Presence(change.user, change.online))


def _announced(user: str, entry: Entry) -> Announced:
    return Announced(user, entry.name, sorted(entry.rooms))


def register(io: Server, attendance: Attendance, room_key: Callable[[str], str]) -> None:
    """Serve who is online in ``/chat``.

    Args:
        io: The server.
        attendance: Knows it.
        room_key: The room of the adapter in which the members of a room are.
    """
    chat = io.of(NAMESPACE)
    chat.emits(CHANGED)

    @chat.on(ONLINE)
    def online(socket: Socket, query: OnlineQuery) -> Online:
        if room_key(query.room) not in socket.rooms:
            raise RoomRefused
        found = attendance.roster.online_in(query.room)
        first = heapq.nsmallest(MAX_LISTED, found.items(), key=lambda item: (item[1].casefold(), item[0]))
        return Online(query.room, [OnlineUser(user, name) for user, name in first], len(found))

    @chat.on_disconnect
    def gone(socket: Socket, reason: str) -> None:
        attendance.closed(socket)

    chat.on_server_side("presence:set")(attendance.hear_set)
    chat.on_server_side("presence:alive")(attendance.hear_alive)
    chat.on_server_side("presence:all")(attendance.hear_all)
    chat.on_server_side("presence:ask")(attendance.say_everything)
    chat.on_server_side("presence:changed")(attendance.look_again)
    io.background(attendance.run)
