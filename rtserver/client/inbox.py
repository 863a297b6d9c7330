"""The events of a socket that no handler has taken, for whoever asks for them.

Rule: bounded. The oldest give way, and whoever asks for an event afterwards that
may have been among them is told so once.
"""

from __future__ import annotations

from collections import deque

import trio

from rtserver.client.handlers import Received
from rtserver.errors import LimitExceeded


class Inbox:
    """A queue that can be searched by name.

    Args:
        bound: How many events it keeps.
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._events: deque[Received] = deque()
        self._arrival = trio.lowlevel.ParkingLot()
        self._lost: set[str] = set()
        self.dropped = 0

    def put(self, received: Received) -> None:
        """Keep an event."""
        if len(self._events) >= self._bound:
            oldest = self._events.popleft()
            self.dropped += 1
            if len(self._lost) < self._bound:
                self._lost.add(oldest.name)
        self._events.append(received)
        self._arrival.unpark_all()

    def take(self, name: str | None) -> Received | None:
        """The oldest event of that name, or of any; None if there is none.

        Raises:
            LimitExceeded: Such an event had to give way since the last time.
        """
        if self._lost and (name is None or name in self._lost):
            self._lost.clear() if name is None else self._lost.remove(name)
            raise LimitExceeded(f"{name or 'events'}: more arrived than the inbox holds ({self._bound})")
        for index, received in enumerate(self._events):
            if name is None or received.name == name:
                del self._events[index]
                return received
        return None

    def drain(self, name: str) -> list[Received]:
        """All events of that name, oldest first. Those that gave way are not missed."""
        self._lost.discard(name)
        drained = [received for received in self._events if received.name == name]
        self._events = deque(received for received in self._events if received.name != name)
        return drained

    async def arrival(self) -> None:
        """Wait until something may have changed."""
        await self._arrival.park()

    def wake(self) -> None:
        """Let everybody who waits look again."""
        self._arrival.unpark_all()
