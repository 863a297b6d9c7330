"""The adapter of a single node: rooms in dictionaries, broadcasts straight to sockets.

Rule: a socket's own room is not stored: it is the socket's entry in ``_sockets``
until somebody else joins a room of that name. Most rooms of a busy node are own
rooms, and a set for each would cost more than the socket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Any

from rtserver.adapters.base import (
    Flags,
    Gathered,
    LocalSocket,
    NamespaceView,
    PendingAnswers,
    SocketDetails,
    Target,
    Watch,
)
from rtserver.errors import LimitExceeded
from rtserver.protocol.engineio.outbound import Outbound
from rtserver.types import Room


class MemoryAdapter:
    """Keeps the rooms of one namespace on this node."""

    def __init__(self, namespace: NamespaceView) -> None:
        self.namespace = namespace
        self._sockets: dict[str, LocalSocket] = {}
        # Those that were cut off, with their rooms. Most servers have none.
        self._away: dict[str, LocalSocket] = {}
        self._rooms: dict[Room, dict[LocalSocket, None]] = {}
        self._watches: list[Watch] = []

    # Membership.

    def add(self, socket: LocalSocket) -> None:
        self._sockets[socket.id] = socket
        if (room := self._rooms.get(socket.id)) is not None:
            room[socket] = None

    def suspend(self, socket: LocalSocket) -> None:
        self._sockets.pop(socket.id, None)
        self._away[socket.id] = socket

    def remove(self, socket: LocalSocket) -> None:
        # One that is refused may have asked to go on as another one, whose id it has.
        for known in (self._sockets, self._away):
            if known.get(socket.id) is socket:
                del known[socket.id]
        for room in list(socket.memberships or ()):
            self._drop(socket, room)
        socket.memberships = None
        if socket.id in self._rooms:
            self._drop(socket, socket.id)

    def join(self, socket: LocalSocket, room: Room) -> None:
        if room == socket.id:
            if room in self._rooms:
                self._rooms[room][socket] = None
            return
        members = self._rooms.get(room)
        if members is None:
            owner = self._owner(room)
            members = self._rooms[room] = {} if owner is None else {owner: None}
        members[socket] = None
        if socket.memberships is None:
            socket.memberships = set()
        socket.memberships.add(room)

    def leave(self, socket: LocalSocket, room: Room) -> None:
        if room == socket.id:
            # An empty room of its own name: the implicit membership is over.
            self._rooms.setdefault(room, {socket: None})
        elif socket.memberships is None or room not in socket.memberships:
            return
        else:
            socket.memberships.discard(room)
        self._drop(socket, room)

    def _drop(self, socket: LocalSocket, room: Room) -> None:
        members = self._rooms.get(room)
        if members is None:
            return
        members.pop(socket, None)
        # The own room of a connected socket stays, empty: see ``leave``.
        if not members and self._owner(room) is None:
            del self._rooms[room]

    def rooms_of(self, socket: LocalSocket) -> AbstractSet[Room]:
        rooms = set(socket.memberships or ())
        own = self._rooms.get(socket.id)
        if self._sockets.get(socket.id) is socket and (own is None or socket in own):
            rooms.add(socket.id)
        return rooms

    def local_rooms(self) -> Mapping[Room, int]:
        if not self._away:
            return {room: len(members) for room, members in self._rooms.items() if members}
        away = set(self._away.values())
        return {room: here for room, members in self._rooms.items() if (here := len(members.keys() - away))}

    def local_sockets(self, target: Target) -> Sequence[LocalSocket]:
        # Middleware may put a socket into rooms that is not let in yet, and may never be.
        return [socket for socket in self._addressed(target) if self._sockets.get(socket.id) is socket]

    def _addressed(self, target: Target) -> Sequence[LocalSocket]:
        rooms, excluded = target.rooms, target.excluded
        if not rooms:
            found: Iterable[LocalSocket] = self._sockets.values()
            if self._away:
                found = [*found, *self._away.values()]
        elif len(rooms) == 1:
            (room,) = rooms
            found = self._members(room)
        else:
            found = dict.fromkeys(socket for room in rooms for socket in self._members(room))
        if not excluded:
            return list(found)
        out = {socket for room in excluded for socket in self._members(room)}
        return [socket for socket in found if socket not in out]

    def _members(self, room: Room) -> Iterable[LocalSocket]:
        members = self._rooms.get(room)
        if members is not None:
            return members
        owner = self._owner(room)
        return () if owner is None else (owner,)

    def _owner(self, room: Room) -> LocalSocket | None:
        """The socket whose own room it is."""
        return self._sockets.get(room) or self._away.get(room)

    # For those who look at what passes.

    @property
    def ordered(self) -> bool:
        return False

    @contextmanager
    def watch(self) -> Iterator[Watch]:
        watch = Watch()
        self._watches.append(watch)
        try:
            yield watch
        finally:
            self._watches.remove(watch)

    def _changed(self) -> None:
        for watch in self._watches:
            watch.missed_any = True

    # Reaching sockets.

    def broadcast(self, args: Sequence[Any], target: Target, flags: Flags) -> None:
        self.deliver(self.namespace.event(args, target, flags), args, target, flags)

    def deliver(self, message: Outbound, args: Sequence[Any], target: Target, flags: Flags) -> None:
        """Send a message that is ready to the sockets of this node."""
        for watch in self._watches:
            watch.sent(target.rooms)
        # A socket that is not let in drops it by itself.
        self.namespace.deliver(self._addressed(target), message, flags.volatile, args)

    def broadcast_with_ack(
        self, args: Sequence[Any], target: Target, flags: Flags, answers: PendingAnswers
    ) -> Callable[[], None]:
        stop = self.ask(args, target, flags, answers)
        answers.all_asked()
        return stop

    def ask(self, args: Sequence[Any], target: Target, flags: Flags, answers: PendingAnswers) -> Callable[[], None]:
        """Ask the sockets of this node for acknowledgements."""
        ack_id = self.namespace.next_ack_id()
        message = self.namespace.question(args, ack_id, flags.compress)
        asked = self.local_sockets(target)
        answers.expect(len(asked))

        def listen(arrived: Sequence[Any] | None) -> None:
            if arrived is None:
                answers.left()
            else:
                answers.answered(arrived)

        def stop() -> None:
            for socket in asked:
                socket.forget_ack(ack_id)

        try:
            for socket in asked:
                socket.expect_ack(ack_id, listen)
        except LimitExceeded:
            stop()
            raise
        for socket in asked:
            socket.deliver(message, False, args)
        return stop

    async def fetch_sockets(self, target: Target, flags: Flags) -> Gathered[SocketDetails]:
        return Gathered(socket.details() for socket in self.local_sockets(target))

    async def all_rooms(self) -> AbstractSet[Room]:
        own = {sid for sid in self._sockets if sid not in self._rooms}
        return own.union(self.local_rooms())

    def sockets_join(self, target: Target, flags: Flags, rooms: Sequence[Room]) -> None:
        self._changed()
        refused: LimitExceeded | None = None
        for socket in self._addressed(target):
            if self._sockets.get(socket.id) is not socket and self._away.get(socket.id) is not socket:
                continue
            try:
                socket.join(*rooms)
            except LimitExceeded as exc:
                refused = exc
        if refused is not None:
            raise refused

    def sockets_leave(self, target: Target, flags: Flags, rooms: Sequence[Room]) -> None:
        self._changed()
        # Also whom middleware still looks at: what is taken from a user must not come back with them.
        for socket in self._addressed(target):
            socket.leave(*rooms)

    def disconnect_sockets(self, target: Target, flags: Flags, close: bool) -> None:
        self._changed()
        # As above: a user who is ended while they are let in is ended.
        for socket in self._addressed(target):
            socket.disconnect(close)

    # Other nodes: there are none.

    def server_side_emit(self, args: Sequence[Any]) -> None:
        """Nobody to send to."""

    async def server_side_call(self, args: Sequence[Any]) -> Gathered[Any]:
        return Gathered()

    async def server_count(self) -> int:
        return 1

    def close(self) -> None:
        """Nothing is held outside of this object."""
