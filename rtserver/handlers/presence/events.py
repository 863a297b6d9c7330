"""What the ``/chat`` namespace says and hears about who is online.

Rule: a user is online while at least one of their sockets has opened the chat, on whatever
node and device.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from rtserver import event

# So many are listed of a room, the first by name.
MAX_LISTED = 200

RoomId = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern="^[A-Za-z0-9_-]+$")]


class OnlineQuery(msgspec.Struct, frozen=True):
    """A room of which one is a member."""

    room: RoomId


class OnlineUser(msgspec.Struct, frozen=True):
    """A user who is online."""

    id: str
    name: str


class Online(msgspec.Struct, frozen=True):
    """Some of the ``total`` users who are online in a room."""

    room: str
    users: list[OnlineUser]
    total: int


class Presence(msgspec.Struct, frozen=True):
    """Somebody with whom one shares a room has come, or has gone."""

    user: str
    online: bool


ONLINE = event("presence:online", OnlineQuery, ack=Online)
CHANGED = event("presence:changed", Presence)
