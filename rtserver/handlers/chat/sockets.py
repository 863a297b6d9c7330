"""Whose a socket is, and what reaches whom.

Rule: whoever has opened the chat is in a room of the adapter for each of their rooms, on
every device; nothing but a membership puts a socket there.
"""

from __future__ import annotations

from typing import Any, Protocol

from rtserver import Broadcast, Namespace, Socket, user_room
from rtserver.handlers.chat.events import UserRef

_PREFIX = "room:"


def room_key(room_id: str) -> str:
    """The room of the adapter that the members of a room are in."""
    return _PREFIX + room_id


def room_of_key(key: str) -> str | None:
    """The room that a room of the adapter is for; None if for none."""
    return key.removeprefix(_PREFIX) if key.startswith(_PREFIX) else None


def user_id(socket: Socket) -> str:
    """The id of a socket's user, whom authentication has made sure of."""
    found: str = socket.user.id
    return found


def name_of(socket: Socket) -> str:
    """The name of a socket's user, as their token says it."""
    claims: Any = getattr(socket.user, "claims", {})
    return str(claims.get("name", socket.user.id))


def ref_of(socket: Socket) -> UserRef:
    return UserRef(user_id(socket), name_of(socket))


class Attendance(Protocol):
    """Who keeps the lists of those who are online."""

    def opened(self, socket: Socket) -> None:
        """A socket is in the rooms of its user."""

    def changed(self, user: str) -> None:
        """The rooms of a user are others now."""


class Audience:
    """Those who are told of something.

    Args:
        namespace: Of the chat.
        attendance: Is told of every change of a membership.
    """

    def __init__(self, namespace: Namespace, attendance: Attendance) -> None:
        self.namespace = namespace
        self._attendance = attendance

    def room(self, room_id: str) -> Broadcast:
        """The members of a room, on all their devices."""
        return self.namespace.in_(room_key(room_id))

    def user(self, user: str) -> Broadcast:
        """All devices of a user."""
        return self.namespace.in_(user_room(user))

    def add(self, user: str, room_id: str) -> None:
        """Somebody is a member now."""
        self.user(user).sockets_join(room_key(room_id))
        self._attendance.changed(user)

    def drop(self, user: str, room_id: str) -> None:
        """Somebody is a member no longer."""
        self.user(user).sockets_leave(room_key(room_id))
        self._attendance.changed(user)

    def drop_all(self, room_id: str) -> None:
        """A room is no more."""
        self.room(room_id).sockets_leave(room_key(room_id))

    def opened(self, socket: Socket) -> None:
        """A socket is in the rooms of its user."""
        self._attendance.opened(socket)
