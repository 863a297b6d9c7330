"""Ends sockets whose tokens have run out: one task and one heap for all of them.

Rule: a socket that has left, or has shown a newer token, is passed over when its turn comes.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable

import trio

from rtserver.core.socket import Socket

# The wall clock may be set, so it is looked at this often.
LONGEST_SLEEP = 30.0


class Expiry:
    """Who is to go when.

    Args:
        now: Seconds since the epoch, as tokens count.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._heap: list[tuple[float, int, Socket]] = []
        self._due: dict[Socket, float] = {}
        self._order = itertools.count()
        self._sleep = trio.CancelScope()

    def watch(self, socket: Socket, expires_at: float | None) -> None:
        """Disconnect ``socket`` at ``expires_at``, in seconds since the epoch; never, if that is None."""
        if expires_at is None:
            self._due.pop(socket, None)
            return
        self._due[socket] = expires_at
        heapq.heappush(self._heap, (expires_at, next(self._order), socket))
        self._sleep.cancel()

    def forget(self, socket: Socket) -> None:
        """``socket`` has left."""
        self._due.pop(socket, None)
        if len(self._heap) > 64 and len(self._heap) > 2 * len(self._due):
            self._heap = [entry for entry in self._heap if self._due.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)

    def __len__(self) -> int:
        return len(self._due)

    async def run(self) -> None:
        """Disconnect those that are due, for ever."""
        while True:
            now = self._now()
            while self._heap and self._heap[0][0] <= now:
                expires_at, _, socket = heapq.heappop(self._heap)
                if self._due.get(socket) == expires_at:
                    del self._due[socket]
                    socket.disconnect()
            wait = min(LONGEST_SLEEP, self._heap[0][0] - now) if self._heap else LONGEST_SLEEP
            with trio.move_on_after(wait) as self._sleep:
                await trio.sleep_forever()
