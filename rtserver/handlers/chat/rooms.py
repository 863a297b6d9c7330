"""Rooms: made, found, joined and left.

Rule: every room has one owner. A private room answers those who are neither members nor
invited as one that does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from rtserver import EventRefused, RoomRefused
from rtserver.entropy import random_id
from rtserver.handlers.chat.events import (
    MAX_MEMBERS,
    MAX_ROOMS,
    ChatState,
    Member,
    NewRoom,
    Role,
    RoomPage,
    RoomQuery,
    RoomState,
    UserRef,
)
from rtserver.handlers.chat.invitations import invitations_of, take_invitation
from rtserver.handlers.chat.queries import (
    count_rooms,
    locked_room,
    now,
    require_role,
    role_in,
    room_of,
    room_state,
    set_role,
    state_of,
    take_out,
    user_ref,
)
from rtserver.handlers.storage.database import Database
from rtserver.handlers.storage.names import name_key
from rtserver.handlers.storage.tables import invitations, members, rooms


@dataclass(frozen=True, slots=True)
class Joined:
    """A room that a user is in now; ``new`` if they were not before."""

    state: RoomState
    member: Member
    new: bool


@dataclass(frozen=True, slots=True)
class Departed:
    """Somebody has left: who, and who owns the room now if that was they.

    A room that nobody is left in is no more; ``uninvited`` are those who were to come.
    """

    user: UserRef
    heir: Member | None = None
    uninvited: tuple[str, ...] = ()


class Rooms:
    """All rooms.

    Every method takes the id of the user who asks. Where that may not, it raises ``RoomRefused``
    or ``EventRefused``; it raises ``Unavailable`` where the database does not answer.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ids_of(self, user_id: str) -> list[str]:
        """The rooms that a user is in."""

        def read(connection: Connection) -> list[str]:
            query = select(members.c.room_id).where(members.c.user_id == user_id).limit(MAX_ROOMS)
            return list(connection.execute(query).scalars())

        return await self._database.read(read)

    async def state(self, user_id: str) -> ChatState:
        """Everything about a user."""

        def read(connection: Connection) -> ChatState:
            query = (
                select(rooms, members.c.role, members.c.read_seq)
                .join(members, members.c.room_id == rooms.c.id)
                .where(members.c.user_id == user_id)
                .order_by(rooms.c.last_at.desc(), rooms.c.id)
                .limit(MAX_ROOMS)
            )
            states = [state_of(row) for row in connection.execute(query)]
            return ChatState(user_ref(connection, user_id), states, invitations_of(connection, user_id))

        return await self._database.read(read)

    async def is_member(self, user_id: str, room_id: str) -> bool:
        """Whether a user is in a room, and so hears what is said."""
        return await self._database.read(lambda connection: role_in(connection, room_id, user_id) is not None)

    async def public(self, query: RoomQuery) -> RoomPage:
        """A page of the public rooms."""

        def read(connection: Connection) -> RoomPage:
            wanted = select(rooms).where(~rooms.c.private, rooms.c.name_key > query.after)
            if query.search:
                wanted = wanted.where(rooms.c.name_key.contains(name_key(query.search), autoescape=True))
            rows = connection.execute(wanted.order_by(rooms.c.name_key).limit(query.size + 1)).all()
            shown = rows[: query.size]
            return RoomPage([room_of(row) for row in shown], shown[-1].name_key if len(rows) > query.size else None)

        return await self._database.read(read)

    async def create(self, user_id: str, wanted: NewRoom) -> Joined:
        """Make a room, whose owner the user is.

        Raises:
            EventRefused: The name is taken or cannot be seen, or the user is in too many rooms.
        """
        name = " ".join(wanted.name.split())
        if not name or not name.isprintable():
            raise EventRefused("invalid_payload", "a name has characters that can be seen, and no others")

        def change(connection: Connection) -> Joined:
            _check_count(connection, user_id)
            room_id, at = random_id(15), now()
            values = {"id": room_id, "name": name, "name_key": name_key(name), "private": wanted.private}
            connection.execute(insert(rooms).values(**values, created_at=at, last_at=at))
            return _add(connection, room_id, user_id, "owner", read=0)

        try:
            return await self._database.write(change)
        except IntegrityError as exc:
            raise EventRefused("name_taken", "there is a room of this name") from exc

    async def join(self, user_id: str, room_id: str) -> Joined:
        """Become a member of a public room, or of a private one by invitation."""

        def change(connection: Connection) -> Joined:
            room = locked_room(connection, room_id)
            role = role_in(connection, room_id, user_id)
            if role is not None:
                member = Member(room_id, user_ref(connection, user_id), role)
                return Joined(room_state(connection, room_id, user_id), member, new=False)
            if not take_invitation(connection, room_id, user_id) and room.private:
                raise RoomRefused
            _check_count(connection, user_id)
            if room.members >= MAX_MEMBERS:
                raise EventRefused("room_full", f"a room has {MAX_MEMBERS} members at most")
            return _add(connection, room_id, user_id, "member", read=room.last_seq)

        return await self._database.write(change)

    async def leave(self, user_id: str, room_id: str) -> Departed:
        """Be a member no longer. An owner is followed by the one who has been there longest, moderators first."""

        def change(connection: Connection) -> Departed:
            locked_room(connection, room_id)
            role = require_role(connection, room_id, user_id)
            user = user_ref(connection, user_id)
            take_out(connection, room_id, user_id)
            if role != "owner":
                return Departed(user)
            rank = (members.c.role != "moderator", members.c.joined_at, members.c.user_id)
            heirs = select(members.c.user_id).where(members.c.room_id == room_id).order_by(*rank).limit(1)
            heir = connection.execute(heirs).scalar_one_or_none()
            if heir is None:
                return Departed(user, uninvited=_delete(connection, room_id))
            return Departed(user, heir=set_role(connection, room_id, heir, "owner"))

        return await self._database.write(change)

    async def close(self, user_id: str, room_id: str) -> tuple[str, ...]:
        """Remove a room with everything in it, as its owner: those who were invited to it."""

        def change(connection: Connection) -> tuple[str, ...]:
            locked_room(connection, room_id)
            require_role(connection, room_id, user_id, "owner")
            return _delete(connection, room_id)

        return await self._database.write(change)


def _delete(connection: Connection, room_id: str) -> tuple[str, ...]:
    query = select(invitations.c.user_id).where(invitations.c.room_id == room_id).limit(MAX_MEMBERS)
    invited = tuple(connection.execute(query).scalars())
    connection.execute(delete(rooms).where(rooms.c.id == room_id))
    return invited


def _check_count(connection: Connection, user_id: str) -> None:
    # The user may be joining another room at this moment: the bound is a soft one.
    if count_rooms(connection, user_id) >= MAX_ROOMS:
        raise EventRefused("too_many_rooms", f"you are in {MAX_ROOMS} rooms, which is the most")


def _add(connection: Connection, room_id: str, user_id: str, role: Role, *, read: int) -> Joined:
    user = user_ref(connection, user_id)
    values = {"room_id": room_id, "user_id": user_id, "role": role, "read_seq": read, "joined_at": now()}
    connection.execute(insert(members).values(**values))
    count = select(func.count()).where(members.c.room_id == room_id).scalar_subquery()
    connection.execute(update(rooms).where(rooms.c.id == room_id).values(member_count=count))
    return Joined(room_state(connection, room_id, user_id), Member(room_id, user, role), new=True)
