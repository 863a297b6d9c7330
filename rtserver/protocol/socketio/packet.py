"""Socket.IO packets. Source: Socket.IO protocol v5, "Exchange protocol"."""

from __future__ import annotations

import enum
from typing import Any

import msgspec

RESERVED_EVENTS = frozenset(
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]
)
# The largest integer that JavaScript holds exactly.
MAX_ID = 2**53 - 1


class PacketType(enum.IntEnum):
    """The first character of a packet."""

    CONNECT = 0
    DISCONNECT = 1
    EVENT = 2
    ACK = 3
    CONNECT_ERROR = 4
    BINARY_EVENT = 5
    BINARY_ACK = 6


class Packet(msgspec.Struct, frozen=True):
    """A packet with all of its attachments in place.

    ``data`` is a list for events and acknowledgements, an object or None for
    CONNECT, an object for CONNECT_ERROR, and None for DISCONNECT.
    """

    type: PacketType
    nsp: str = "/"
    data: Any = None
    id: int | None = None
