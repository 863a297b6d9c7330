"""Rooms that only the server fills.

Rule: their names begin with a character that ``enter`` refuses, so no client can ask its way in.
"""

from __future__ import annotations

from rtserver.types import Room

PRIVATE = "\0"
_USER = f"{PRIVATE}user:"


def user_room(user_id: str) -> Room:
    """The room of every socket of a user, on every node: authentication puts them there."""
    return _USER + user_id


def user_of(rooms: object) -> str | None:
    """Whose socket it is that is in these rooms; None if nobody's.

    Args:
        rooms: Any iterable of room names.
    """
    if isinstance(rooms, (frozenset, set, list, tuple)):
        for room in rooms:
            if isinstance(room, str) and room.startswith(_USER):
                return room.removeprefix(_USER)
    return None
