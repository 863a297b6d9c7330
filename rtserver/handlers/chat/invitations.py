"""Invitations into rooms: given, taken, declined.

Rule: an invitation is for one user and one room, and used once. Into a private room only
its moderators and its owner invite.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, func, insert, select

from rtserver import EventRefused
from rtserver.handlers.chat.events import MAX_INVITATIONS, Invitation, InviteByName, UserRef
from rtserver.handlers.chat.queries import locked_room, now, require_role, role_in, room_of
from rtserver.handlers.storage.database import Database
from rtserver.handlers.storage.names import name_key
from rtserver.handlers.storage.tables import invitations, rooms, users


class Invitations:
    """All invitations that were neither taken nor declined.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def invite(self, user_id: str, wanted: InviteByName) -> tuple[UserRef, Invitation]:
        """Invite somebody by name: who that is, and what they are told.

        Raises:
            RoomRefused: The user is not in the room.
            EventRefused: They may not invite, there is nobody of that name, they are in the room
                already, or have too many invitations.
            Unavailable: The database does not answer.
        """

        def change(connection: Connection) -> tuple[UserRef, Invitation]:
            room = locked_room(connection, wanted.room)
            require_role(connection, wanted.room, user_id, "moderator" if room.private else "member")
            query = select(users.c.id, users.c.name).where(users.c.name_key == name_key(wanted.name))
            found = connection.execute(query).one_or_none()
            if found is None:
                raise EventRefused("no_such_user", "there is no user of this name")
            if role_in(connection, wanted.room, found.id) is not None:
                raise EventRefused("already_member", "they are in the room already")
            take_invitation(connection, wanted.room, found.id)
            pending = select(func.count()).where(invitations.c.user_id == found.id)
            if connection.execute(pending).scalar_one() >= MAX_INVITATIONS:
                raise EventRefused("too_many_invitations", "they have too many invitations")
            values = {"room_id": wanted.room, "user_id": found.id, "invited_by": user_id, "created_at": now()}
            connection.execute(insert(invitations).values(**values))
            given = [one for one in invitations_of(connection, found.id) if one.room.id == wanted.room]
            return UserRef(found.id, found.name), given[0]

        return await self._database.write(change)

    async def decline(self, user_id: str, room_id: str) -> None:
        """Do without an invitation. It is no error if there was none.

        Raises:
            Unavailable: The database does not answer.
        """
        await self._database.write(lambda connection: take_invitation(connection, room_id, user_id))


def invitations_of(connection: Connection, user_id: str) -> list[Invitation]:
    """The invitations of a user, newest first."""
    query = (
        select(rooms, invitations.c.created_at.label("at"), users.c.id.label("by_id"), users.c.name.label("by_name"))
        .join(invitations, invitations.c.room_id == rooms.c.id)
        .join(users, users.c.id == invitations.c.invited_by)
        .where(invitations.c.user_id == user_id)
        .order_by(invitations.c.created_at.desc(), rooms.c.id)
        .limit(MAX_INVITATIONS)
    )
    return [Invitation(room_of(row), UserRef(row.by_id, row.by_name), row.at) for row in connection.execute(query)]


def take_invitation(connection: Connection, room_id: str, user_id: str) -> bool:
    """Use an invitation up, if there is one."""
    chosen = (invitations.c.room_id == room_id, invitations.c.user_id == user_id)
    return connection.execute(delete(invitations).where(*chosen)).rowcount > 0
