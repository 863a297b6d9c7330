"""The tables, as queries see them. ``migrations`` makes them.

Rule: times are milliseconds since the epoch, ids are random texts, and what a room counts
(its messages, how far somebody has read) is a number of the room, so that nothing is ever
counted by looking at all messages.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    text,
)

metadata = MetaData()

users = Table(
    "users",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    # What is compared: "Ann" and "ann" are one name.
    Column("name_key", Text, nullable=False, unique=True),
    # None for a guest, who can never sign in again.
    Column("password_hash", Text),
    Column("scopes", Text, nullable=False, server_default=""),
    Column("created_at", BigInteger, nullable=False),
)

rooms = Table(
    "rooms",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),
    Column("private", Boolean(create_constraint=False), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    # The number of the newest message. Whoever adds one holds the row, so numbers have no gaps.
    Column("last_seq", BigInteger, nullable=False, server_default="0"),
    Column("last_at", BigInteger, nullable=False),
    Column("member_count", Integer, nullable=False, server_default="0"),
)
Index(
    "rooms_public_name",
    rooms.c.name_key,
    unique=True,
    sqlite_where=text("NOT private"),
    postgresql_where=text("NOT private"),
)

members = Table(
    "members",
    metadata,
    Column("room_id", Text, ForeignKey("rooms.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("role", Text, nullable=False),
    Column("read_seq", BigInteger, nullable=False, server_default="0"),
    Column("joined_at", BigInteger, nullable=False),
)
Index("members_user", members.c.user_id)

invitations = Table(
    "invitations",
    metadata,
    Column("room_id", Text, ForeignKey("rooms.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("invited_by", Text, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
Index("invitations_user", invitations.c.user_id)

messages = Table(
    "messages",
    metadata,
    Column("room_id", Text, ForeignKey("rooms.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("author_id", Text, ForeignKey("users.id"), nullable=False),
    # The client's own id of the message: a retry finds what the first attempt has stored.
    Column("client_id", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("edited_at", BigInteger),
    Column("deleted_at", BigInteger),
)
Index("messages_client_id", messages.c.room_id, messages.c.author_id, messages.c.client_id, unique=True)
Index("messages_author", messages.c.author_id)
