"""Rooms that only the server fills, and rooms of one socket alone.

Rule: the names of the first begin with a character that ``enter`` refuses, and those of the
second say of themselves what they are, so no client can ask its way into either on any node.
"""

from __future__ import annotations

import base64
import zlib

from rtserver.entropy import random_bytes
from rtserver.types import Room

PRIVATE = "\0"
_USER = f"{PRIVATE}user:"

# 20 characters, the form of the reference's ids; three of the 15 bytes are the sum of the others.
_RANDOM, _SUM, _LENGTH = 12, 3, 20


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


def new_socket_id() -> str:
    """The public id of a socket. Nobody can guess it, and ``is_socket_id`` knows it for what it is."""
    chosen = random_bytes(_RANDOM)
    return base64.urlsafe_b64encode(chosen + _sum(chosen)).decode("ascii")


def is_socket_id(room: Room) -> bool:
    """Whether ``room`` is the own room of a socket, wherever that is and whether it is still there.

    A name that somebody has thought of looks like one in one of 16 million cases, if it has 20 characters.
    """
    if len(room) != _LENGTH or not room.isascii():
        return False
    try:
        # Strict, with the alphabet of socket ids.
        decoded = base64.b64decode(room, altchars=b"-_", validate=True)
    except ValueError:
        return False
    return decoded[_RANDOM:] == _sum(decoded[:_RANDOM])


def _sum(chosen: bytes) -> bytes:
    return (zlib.crc32(chosen) & 0xFFFFFF).to_bytes(_SUM, "big")
