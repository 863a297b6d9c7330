"""Engine.IO packets. Source: Engine.IO protocol v4, "Packet encoding"."""

from __future__ import annotations

import enum

import msgspec

from rtserver.errors import ProtocolError


class PacketType(enum.IntEnum):
    """The first character of a text packet."""

    OPEN = 0
    CLOSE = 1
    PING = 2
    PONG = 3
    MESSAGE = 4
    UPGRADE = 5
    NOOP = 6


_TYPES = {str(int(kind)): kind for kind in PacketType}


# Made for each message of polling: a Struct takes a sixth of the time of a frozen dataclass.
class Packet(msgspec.Struct, frozen=True, gc=False):
    """A packet; ``bytes`` are the data of a binary message."""

    type: PacketType
    data: str | bytes = ""

    def encode(self) -> str | bytes:
        """What a WebSocket carries: text, or the bare bytes of a binary message."""
        if isinstance(self.data, bytes):
            return self.data
        return f"{self.type:d}{self.data}"

    @classmethod
    def decode(cls, wire: str | bytes) -> Packet:
        """Read what a WebSocket carried.

        Raises:
            ProtocolError: The first character is no packet type.
        """
        if isinstance(wire, bytes):
            return cls(PacketType.MESSAGE, wire)
        kind = _TYPES.get(wire[:1])
        if kind is None:
            raise ProtocolError(f"unknown packet type {wire[:1]!r}")
        return cls(kind, wire[1:])
