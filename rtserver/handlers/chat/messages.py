"""Messages: stored once each, numbered in their room, read by page.

Rule: a message that ``post`` returns is committed.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, Select, insert, select, update

from rtserver import EventRefused
from rtserver.handlers.chat.events import (
    Draft,
    Edit,
    HistoryPage,
    HistoryQuery,
    Message,
    MessageRef,
    ReadState,
    UserRef,
)
from rtserver.handlers.chat.queries import RANKS, locked_room, now, require_role, role_in, room_state
from rtserver.handlers.storage.database import Database
from rtserver.handlers.storage.tables import members, messages, rooms, users


class Messages:
    """The messages of all rooms.

    Every method takes the id of the user who asks, and raises ``RoomRefused`` where that is
    no member of the room, or ``Unavailable``.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def post(self, user_id: str, draft: Draft) -> Message:
        """Store a message. One that was stored before is not stored again, and comes back as it is now."""

        def change(connection: Connection) -> Message:
            room = locked_room(connection, draft.room)
            stored = connection.execute(
                _select().where(
                    messages.c.room_id == draft.room,
                    messages.c.author_id == user_id,
                    messages.c.client_id == draft.id,
                )
            ).one_or_none()
            require_role(connection, draft.room, user_id)
            if stored is not None:
                return _message(stored)
            seq, at = room.last_seq + 1, now()
            values = {"room_id": draft.room, "seq": seq, "author_id": user_id, "client_id": draft.id}
            connection.execute(insert(messages).values(**values, text=draft.text, created_at=at))
            connection.execute(update(rooms).where(rooms.c.id == draft.room).values(last_seq=seq, last_at=at))
            # Whoever writes has seen what is there.
            member = (members.c.room_id == draft.room, members.c.user_id == user_id)
            connection.execute(update(members).where(*member).values(read_seq=seq))
            return _one(connection, draft.room, seq)

        return await self._database.write(change)

    async def edit(self, user_id: str, edit: Edit) -> Message:
        """Give a message of one's own another text.

        Raises:
            EventRefused: It is somebody else's, or deleted, or there is none.
        """

        def change(connection: Connection) -> Message:
            locked_room(connection, edit.room)
            require_role(connection, edit.room, user_id)
            message = _one(connection, edit.room, edit.seq)
            if message.author.id != user_id:
                raise EventRefused("not_allowed", "it is somebody else's message")
            if message.deleted:
                raise EventRefused("no_such_message", "there is no such message")
            if message.text != edit.text:
                _update(connection, edit.room, edit.seq, text=edit.text, edited_at=now())
            return _one(connection, edit.room, edit.seq)

        return await self._database.write(change)

    async def delete(self, user_id: str, ref: MessageRef) -> Message:
        """Take a message's text away: one's own, or as a moderator anybody's who is no higher.

        Raises:
            EventRefused: It is not for this user to delete, or there is none.
        """

        def change(connection: Connection) -> Message:
            locked_room(connection, ref.room)
            role = require_role(connection, ref.room, user_id)
            message = _one(connection, ref.room, ref.seq)
            if message.author.id != user_id:
                theirs = role_in(connection, ref.room, message.author.id)
                if role == "member" or (theirs is not None and RANKS[theirs] > RANKS[role]):
                    raise EventRefused("not_allowed", "only for its author and moderators")
            if not message.deleted:
                _update(connection, ref.room, ref.seq, text="", deleted_at=now())
            return _one(connection, ref.room, ref.seq)

        return await self._database.write(change)

    async def history(self, user_id: str, query: HistoryQuery) -> HistoryPage:
        """A page of messages.

        Raises:
            EventRefused: Both directions are asked for.
        """
        if query.before is not None and query.after is not None:
            raise EventRefused("invalid_payload", "either before or after")

        def read(connection: Connection) -> HistoryPage:
            require_role(connection, query.room, user_id)
            wanted = _select().where(messages.c.room_id == query.room).limit(query.size + 1)
            if query.after is not None:
                wanted = wanted.where(messages.c.seq > query.after).order_by(messages.c.seq)
            else:
                wanted = wanted.order_by(messages.c.seq.desc())
            if query.before is not None:
                wanted = wanted.where(messages.c.seq < query.before)
            found = [_message(row) for row in connection.execute(wanted)]
            return HistoryPage(found[: query.size], len(found) > query.size)

        return await self._database.read(read)

    async def mark_read(self, user_id: str, ref: MessageRef) -> ReadState:
        """Say that everything up to a message was read. It never goes back."""

        def change(connection: Connection) -> ReadState:
            # Without the room's lock, for which those who write would wait: its newest number only grows.
            state = room_state(connection, ref.room, user_id)
            seq = min(ref.seq, state.room.last_seq)
            member = (members.c.room_id == ref.room, members.c.user_id == user_id)
            connection.execute(update(members).where(*member, members.c.read_seq < seq).values(read_seq=seq))
            state = room_state(connection, ref.room, user_id)
            return ReadState(ref.room, state.read, state.unread)

        return await self._database.write(change)


def _select() -> Select[Any]:
    return select(*messages.c, users.c.name).join(users, users.c.id == messages.c.author_id)


def _one(connection: Connection, room_id: str, seq: int) -> Message:
    query = _select().where(messages.c.room_id == room_id, messages.c.seq == seq)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise EventRefused("no_such_message", "there is no such message")
    return _message(row)


def _message(row: Row[Any]) -> Message:
    return Message(
        room=row.room_id,
        seq=row.seq,
        id=row.client_id,
        author=UserRef(row.author_id, row.name),
        text=row.text,
        at=row.created_at,
        edited_at=row.edited_at,
        deleted=row.deleted_at is not None,
    )


def _update(connection: Connection, room_id: str, seq: int, **values: Any) -> None:
    connection.execute(update(messages).where(messages.c.room_id == room_id, messages.c.seq == seq).values(**values))
