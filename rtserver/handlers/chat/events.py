"""What the ``/chat`` namespace says and hears about rooms and messages.

Rule: whoever has opened the chat is told of everything that changes in their rooms, so a
client never has to ask again. A message is known by its room and its number ``seq``;
numbers have no gaps, so whoever misses one sees it, and reads it with ``after``.
All times are milliseconds since the epoch.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from rtserver import event

MAX_TEXT = 2_000
MAX_PAGE = 50
MAX_SEQ = 2**53 - 1
# Of one user. Also how many rooms are listed when the chat is opened.
MAX_ROOMS = 100
MAX_INVITATIONS = 100
MAX_MEMBERS = 1_000

# PostgreSQL stores no NUL.
NO_NUL = r"^[^\x00]+$"

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern="^[A-Za-z0-9_-]+$")]
MessageText = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT, pattern=NO_NUL)]
RoomName = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=NO_NUL)]
Cursor = Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00]*$")]
Seq = Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)]
PageSize = Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)]
Role = Literal["owner", "moderator", "member"]


# What there is.


class UserRef(msgspec.Struct, frozen=True):
    """A user."""

    id: str
    name: str


class Room(msgspec.Struct, frozen=True):
    """A room. ``last_seq`` is the number of its newest message, 0 without one."""

    id: str
    name: str
    private: bool
    members: int
    last_seq: int
    last_at: int


class RoomState(msgspec.Struct, frozen=True):
    """A room, as one of its members sees it: read up to ``read``, with ``unread`` messages after it."""

    room: Room
    role: Role
    read: int
    unread: int


class Member(msgspec.Struct, frozen=True):
    """A user in a room."""

    room: str
    user: UserRef
    role: Role


class Invitation(msgspec.Struct, frozen=True):
    """``by`` would like the user in the room."""

    room: Room
    by: UserRef
    at: int


class Message(msgspec.Struct, frozen=True):
    """A message that is stored. ``id`` is what its author's client gave it; a deleted one has no text."""

    room: str
    seq: int
    id: str
    author: UserRef
    text: str
    at: int
    edited_at: int | None = None
    deleted: bool = False


class ChatState(msgspec.Struct, frozen=True):
    """Everything about a user: the rooms, newest activity first, and the invitations."""

    user: UserRef
    rooms: list[RoomState]
    invitations: list[Invitation]


# What is asked for.


class RoomQuery(msgspec.Struct, frozen=True):
    """A page of public rooms whose names contain ``search``; ``after`` is the ``next`` of the page before."""

    search: Cursor = ""
    after: Cursor = ""
    size: PageSize = MAX_PAGE


class RoomPage(msgspec.Struct, frozen=True):
    """Rooms by name; ``next`` is None on the last page."""

    rooms: list[Room]
    next: str | None


class NewRoom(msgspec.Struct, frozen=True):
    """A room that shall be made. Names of public rooms are taken once."""

    name: RoomName
    private: bool = False


class RoomRef(msgspec.Struct, frozen=True):
    """A room."""

    room: Id


class MemberQuery(msgspec.Struct, frozen=True):
    """A page of a room's members; ``after`` is the ``next`` of the page before."""

    room: Id
    after: Cursor = ""
    size: PageSize = MAX_PAGE


class MemberPage(msgspec.Struct, frozen=True):
    """Members by name; ``next`` is None on the last page."""

    members: list[Member]
    next: str | None


class InviteByName(msgspec.Struct, frozen=True):
    """Somebody who shall be invited, by name."""

    room: Id
    name: RoomName


class MemberRef(msgspec.Struct, frozen=True):
    """A member of a room, by id."""

    room: Id
    user: Id


class NewRole(msgspec.Struct, frozen=True):
    """What a member shall be. A new owner takes the place of the present one."""

    room: Id
    user: Id
    role: Role


class Draft(msgspec.Struct, frozen=True):
    """A message that shall be stored. Sent again with the same ``id`` it is stored once."""

    room: Id
    id: Id
    text: MessageText


class Edit(msgspec.Struct, frozen=True):
    """Another text for a message."""

    room: Id
    seq: Seq
    text: MessageText


class MessageRef(msgspec.Struct, frozen=True):
    """A message."""

    room: Id
    seq: Seq


class HistoryQuery(msgspec.Struct, frozen=True):
    """The messages before one, newest first, or those after one, oldest first; without either the newest."""

    room: Id
    before: Seq | None = None
    after: Seq | None = None
    size: PageSize = MAX_PAGE


class HistoryPage(msgspec.Struct, frozen=True):
    """Messages, and whether there are more in that direction."""

    messages: list[Message]
    more: bool


class TypingIn(msgspec.Struct, frozen=True):
    """The user writes in a room, or has stopped."""

    room: Id
    typing: bool = True


# What has happened.


class Done(msgspec.Struct, frozen=True):
    """It is done."""

    done: bool = True


class ReadState(msgspec.Struct, frozen=True):
    """How far the user has read, on another device too."""

    room: str
    read: int
    unread: int


class Left(msgspec.Struct, frozen=True):
    """Somebody is no longer a member."""

    room: str
    user: UserRef


class RoomGone(msgspec.Struct, frozen=True):
    """The user is no longer a member, and why."""

    room: str
    reason: Literal["left", "removed", "closed"]


class Typing(msgspec.Struct, frozen=True):
    """Somebody writes, or has stopped. Take it back after some seconds by yourself: it may get lost."""

    room: str
    user: UserRef
    typing: bool


OPEN = event("chat:open", ack=ChatState)
ROOMS = event("chat:rooms", RoomQuery, ack=RoomPage)
CREATE = event("chat:create", NewRoom, ack=RoomState)
JOIN = event("chat:join", RoomRef, ack=RoomState)
LEAVE = event("chat:leave", RoomRef, ack=Done)
CLOSE = event("chat:close", RoomRef, ack=Done)
MEMBERS = event("chat:members", MemberQuery, ack=MemberPage)
INVITE = event("chat:invite", InviteByName, ack=UserRef)
DECLINE = event("chat:decline", RoomRef, ack=Done)
REMOVE = event("chat:remove", MemberRef, ack=Done)
SET_ROLE = event("chat:set_role", NewRole, ack=Member)
POST = event("chat:post", Draft, ack=Message)
EDIT = event("chat:edit", Edit, ack=Message)
DELETE = event("chat:delete", MessageRef, ack=Message)
HISTORY = event("chat:history", HistoryQuery, ack=HistoryPage)
READ = event("chat:read", MessageRef, ack=ReadState)
TYPING_IN = event("chat:typing_in", TypingIn)

POSTED = event("chat:posted", Message)
EDITED = event("chat:edited", Message)
DELETED = event("chat:deleted", Message)
JOINED = event("chat:joined", Member)
LEFT = event("chat:left", Left)
ROLE_CHANGED = event("chat:role_changed", Member)
ROOM_OPENED = event("chat:room_opened", RoomState)
ROOM_GONE = event("chat:room_gone", RoomGone)
INVITED = event("chat:invited", Invitation)
UNINVITED = event("chat:uninvited", RoomRef)
WAS_READ = event("chat:was_read", ReadState)
TYPING = event("chat:typing", Typing)

ABOUT_MESSAGES = (POSTED, EDITED, DELETED, WAS_READ, TYPING)
ABOUT_ROOMS = (JOINED, LEFT, ROLE_CHANGED, ROOM_OPENED, ROOM_GONE, INVITED, UNINVITED)
