"""The members of rooms: listed, promoted and removed.

Rule: whoever acts on somebody else is of a higher role than they are.
"""

from __future__ import annotations

from sqlalchemy import Connection, select

from rtserver import EventRefused
from rtserver.handlers.chat.events import Member, MemberPage, MemberQuery, MemberRef, NewRole, UserRef
from rtserver.handlers.chat.queries import RANKS, locked_room, require_role, role_in, set_role, take_out, user_ref
from rtserver.handlers.storage.database import Database
from rtserver.handlers.storage.tables import members, users


class Members:
    """The members of all rooms.

    Every method takes the id of the user who asks. Where that may not, it raises ``RoomRefused``
    or ``EventRefused``; it raises ``Unavailable`` where the database does not answer.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, user_id: str, query: MemberQuery) -> MemberPage:
        """A page of a room's members."""

        def read(connection: Connection) -> MemberPage:
            require_role(connection, query.room, user_id)
            wanted = (
                select(members.c.role, users.c.id, users.c.name, users.c.name_key)
                .join(users, users.c.id == members.c.user_id)
                .where(members.c.room_id == query.room, users.c.name_key > query.after)
                .order_by(users.c.name_key)
                .limit(query.size + 1)
            )
            rows = connection.execute(wanted).all()
            shown = rows[: query.size]
            found = [Member(query.room, UserRef(row.id, row.name), row.role) for row in shown]
            return MemberPage(found, shown[-1].name_key if len(rows) > query.size else None)

        return await self._database.read(read)

    async def remove(self, user_id: str, ref: MemberRef) -> UserRef:
        """Take somebody lower out of a room, as a moderator."""

        def change(connection: Connection) -> UserRef:
            locked_room(connection, ref.room)
            role = require_role(connection, ref.room, user_id, "moderator")
            theirs = role_in(connection, ref.room, ref.user)
            if theirs is None:
                raise EventRefused("no_such_member", "they are not in the room")
            if RANKS[theirs] >= RANKS[role]:
                raise EventRefused("not_allowed", "only for somebody higher")
            user = user_ref(connection, ref.user)
            take_out(connection, ref.room, ref.user)
            return user

        return await self._database.write(change)

    async def set_role(self, user_id: str, wanted: NewRole) -> list[Member]:
        """Make a member something else, as the owner: all who are something else now."""

        def change(connection: Connection) -> list[Member]:
            locked_room(connection, wanted.room)
            require_role(connection, wanted.room, user_id, "owner")
            if role_in(connection, wanted.room, wanted.user) is None:
                raise EventRefused("no_such_member", "they are not in the room")
            if user_id == wanted.user:
                raise EventRefused("not_allowed", "make somebody else the owner")
            changed = [set_role(connection, wanted.room, wanted.user, wanted.role)]
            if wanted.role == "owner":
                changed.append(set_role(connection, wanted.room, user_id, "moderator"))
            return changed

        return await self._database.write(change)
