"""What was sent lately, so that it can be sent again to whoever has missed it.

Rule: every event to clients takes its place in one row of positions, and tells the client that place as its
last argument: the offset. An event is made ready once, kept once, and given up when it is too old or too many
are kept; a trail, which is what one socket was sent, then knows that it has a gap.
Source: socket.io 4.8, ``SessionAwareAdapter``; protocol.md of Socket.IO, "connection state recovery".
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable

from rtserver.adapters.base import Target
from rtserver.entropy import random_bytes
from rtserver.protocol.engineio.outbound import Outbound

# Thirteen digits, like the milliseconds in the offsets of the reference's streams adapter, and unlike anybody else's.
_FIRST_MARK, _MARKS = 10**12, 9 * 10**12
_OFFSET = re.compile(r"([0-9]{13})-([0-9]{1,15})")
# What Python takes for keeping a small event, beyond its bytes.
_OVERHEAD = 500


class Kept:
    """An event that was sent.

    Attributes:
        position: Its place.
        rooms: Those that it was sent to; empty for everybody.
        message: The event itself; None when it was given up.
    """

    __slots__ = ("expires_at", "message", "position", "rooms", "size")

    def __init__(self, position: int, target: Target, message: Outbound, expires_at: float) -> None:
        self.position = position
        self.rooms = target.rooms
        self.message: Outbound | None = message
        self.size = _OVERHEAD + len(message.frames) + len(message.text or b"") + sum(map(len, message.attachments))
        self.expires_at = expires_at


class KeptOutbound(Outbound):
    """A message that knows under what it is kept."""

    __slots__ = ("kept",)

    def __init__(self, message: Outbound, position: int, target: Target, expires_at: float) -> None:
        # The same parts, framed already.
        self.text, self.attachments, self.compress = message.text, message.attachments, message.compress
        self.frames, self.count = message.frames, message.count
        self._parts, self._deflated = None, None
        self.kept = Kept(position, target, self, expires_at)


class Window:
    """The events of the last minutes, of all namespaces.

    Args:
        max_packets: As many are kept.
        max_bytes: Of this size together.
        seconds: For so long.

    Attributes:
        position: Of the last event that was kept.
        bytes: The size of those that are kept.
    """

    def __init__(self, *, max_packets: int, max_bytes: int, seconds: float) -> None:
        # Another process must not take an offset of this one for its own.
        self._mark = str(_FIRST_MARK + int.from_bytes(random_bytes(8)) % _MARKS)
        self._max_packets = max_packets
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._row: deque[Kept] = deque()
        self.position = 0
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._row)

    def offset(self, position: int) -> str:
        """How a client is told of a position."""
        return f"{self._mark}-{position}"

    def read_offset(self, offset: object) -> int | None:
        """The position in what a client says that it has received last.

        Returns:
            The position; 0 if it has received nothing from here; None if what it says is nonsense.
        """
        if offset is None:
            return 0
        found = _OFFSET.fullmatch(offset) if isinstance(offset, str) else None
        if found is None:
            return None
        if found[1] != self._mark:
            # The last one was another server's.
            return 0
        position = int(found[2])
        return position if position <= self.position else None

    def keep(self, make: Callable[[str], Outbound], target: Target, now: float) -> KeptOutbound:
        """Make an event ready and keep it.

        Args:
            make: Gives the message for an offset.
            target: Whom it is for.
            now: Seconds on Trio's clock.

        Raises:
            EncodeError: It cannot be sent; nothing has changed then.
        """
        position = self.position + 1
        message = KeptOutbound(make(self.offset(position)), position, target, now + self._seconds)
        self.position = position
        self._row.append(message.kept)
        self.bytes += message.kept.size
        self.give_up(now)
        return message

    def give_up(self, now: float) -> None:
        """Give up what is too old, and what is too much."""
        row = self._row
        while row and (len(row) > self._max_packets or self.bytes > self._max_bytes or row[0].expires_at <= now):
            oldest = row.popleft()
            oldest.message = None
            self.bytes -= oldest.size


class Trail:
    """What one socket was sent, through all of its connections, as far as it is kept.

    Args:
        limit: So many events at most.
    """

    __slots__ = ("_gone", "_limit", "_row")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._row: list[Kept] = []
        # The position of the last one that is not here any more.
        self._gone = 0

    def add(self, kept: Kept) -> None:
        """The socket was sent this, or would have been."""
        if len(self._row) >= self._limit:
            half = self._limit // 2 + 1
            self._gone = self._row[half - 1].position
            del self._row[:half]
        self._row.append(kept)

    def join(self, other: Trail) -> None:
        """Take in what was sent to the same client by another trail."""
        if other._row:
            self._row = sorted((*self._row, *other._row), key=lambda kept: kept.position)

    def after(self, position: int) -> list[Kept] | None:
        """What follows a position; None if not all of it is kept."""
        if self._gone > position:
            return None
        missed = [kept for kept in self._row if kept.position > position]
        return None if any(kept.message is None for kept in missed) else missed
