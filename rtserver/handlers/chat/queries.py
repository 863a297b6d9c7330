"""What rooms and messages both ask of the database, inside a transaction.

Rule: whoever changes a room locks its row first, so what they then read stays true until
they commit.
"""

from __future__ import annotations

import time
from typing import Any, cast

from sqlalchemy import Connection, Row, delete, func, select, update

from rtserver import EventRefused, RoomRefused
from rtserver.handlers.chat.events import Member, Role, Room, RoomState, UserRef
from rtserver.handlers.storage.tables import members, rooms, users

RANKS: dict[Role, int] = {"member": 0, "moderator": 1, "owner": 2}


def now() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def locked_room(connection: Connection, room_id: str) -> Room:
    """A room that nobody else changes before the transaction ends.

    Raises:
        RoomRefused: There is none. Whoever may not enter a private one is told the same.
    """
    row = connection.execute(select(rooms).where(rooms.c.id == room_id).with_for_update()).one_or_none()
    if row is None:
        raise RoomRefused
    return room_of(row)


def room_of(row: Row[Any]) -> Room:
    return Room(row.id, row.name, bool(row.private), row.member_count, row.last_seq, row.last_at)


def role_in(connection: Connection, room_id: str, user_id: str) -> Role | None:
    """What a user is in a room; None if no member."""
    query = select(members.c.role).where(members.c.room_id == room_id, members.c.user_id == user_id)
    return cast("Role | None", connection.execute(query).scalar_one_or_none())


def require_role(connection: Connection, room_id: str, user_id: str, least: Role = "member") -> Role:
    """What a user is in a room.

    Raises:
        RoomRefused: They are no member.
        EventRefused: They are less than ``least``.
    """
    role = role_in(connection, room_id, user_id)
    if role is None:
        raise RoomRefused
    if RANKS[role] < RANKS[least]:
        raise EventRefused("not_allowed", f"only for a {least}")
    return role


def user_ref(connection: Connection, user_id: str) -> UserRef:
    """A user by id.

    Raises:
        EventRefused: There is none.
    """
    row = connection.execute(select(users.c.id, users.c.name).where(users.c.id == user_id)).one_or_none()
    if row is None:
        raise EventRefused("no_such_user", "there is no such user")
    return UserRef(row.id, row.name)


def room_state(connection: Connection, room_id: str, user_id: str) -> RoomState:
    """A room as one of its members sees it.

    Raises:
        RoomRefused: They are no member.
    """
    query = select(rooms, members.c.role, members.c.read_seq).join(members, members.c.room_id == rooms.c.id)
    row = connection.execute(query.where(rooms.c.id == room_id, members.c.user_id == user_id)).one_or_none()
    if row is None:
        raise RoomRefused
    return state_of(row)


def state_of(row: Row[Any]) -> RoomState:
    return RoomState(room_of(row), row.role, row.read_seq, row.last_seq - row.read_seq)


def count_rooms(connection: Connection, user_id: str) -> int:
    """How many rooms a user is in."""
    query = select(func.count()).select_from(members).where(members.c.user_id == user_id)
    return connection.execute(query).scalar_one()


def take_out(connection: Connection, room_id: str, user_id: str) -> None:
    """End a membership of a room that is locked."""
    connection.execute(delete(members).where(members.c.room_id == room_id, members.c.user_id == user_id))
    count = select(func.count()).where(members.c.room_id == room_id).scalar_subquery()
    connection.execute(update(rooms).where(rooms.c.id == room_id).values(member_count=count))


def set_role(connection: Connection, room_id: str, user_id: str, role: Role) -> Member:
    """Make a member of a room that is locked something else."""
    member = (members.c.room_id == room_id, members.c.user_id == user_id)
    connection.execute(update(members).where(*member).values(role=role))
    return Member(room_id, user_ref(connection, user_id), role)
