"""Every time-out of a node, from one heap and one task.

Rule: an item owns its deadline and may move it later without telling anybody;
the heap wakes early, asks, and goes back to sleep. Only an *earlier* deadline
needs ``watch`` to be called again.
"""

from __future__ import annotations

import heapq
import itertools
import math
from typing import Protocol

import structlog
import trio

log = structlog.get_logger("rtserver.deadlines")


class Timed(Protocol):
    """Something with a deadline. ``scheduled_at`` belongs to the heap; start it at ``math.inf``."""

    scheduled_at: float

    def next_deadline(self) -> float | None:
        """When ``on_deadline`` wants to run, in seconds of Trio's clock; None for never again."""

    def on_deadline(self, now: float) -> None:
        """The deadline has come."""


class Deadlines:
    """A heap of ``Timed`` items and the task that runs those that are due."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timed]] = []
        self._order = itertools.count()
        self._stale = 0
        self._sleep = trio.CancelScope()

    def __len__(self) -> int:
        return len(self._heap)

    def watch(self, item: Timed) -> None:
        """Make sure that ``item`` is woken by its next deadline."""
        when = item.next_deadline()
        if when is None or when >= item.scheduled_at:
            return
        item.scheduled_at = when
        heapq.heappush(self._heap, (when, next(self._order), item))
        if when < self._sleep.deadline:
            self._sleep.deadline = when

    def discard(self, item: Timed) -> None:
        """``item`` has no deadline any more. Keeps dead entries below half of the heap."""
        if item.scheduled_at == math.inf:
            return
        item.scheduled_at = math.inf
        self._stale += 1
        if self._stale > 256 and self._stale * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[0] == entry[2].scheduled_at]
            heapq.heapify(self._heap)
            self._stale = 0

    def fire(self, now: float) -> None:
        """Run whatever is due at ``now``."""
        while self._heap and self._heap[0][0] <= now:
            when, _, item = heapq.heappop(self._heap)
            if when != item.scheduled_at:
                self._stale = max(0, self._stale - 1)
                continue
            item.scheduled_at = math.inf
            due = item.next_deadline()
            if due is not None and due <= now:
                try:
                    item.on_deadline(now)
                except Exception:
                    # Not watched again: whatever is due would be due at once.
                    log.exception("deadline_failed")
                    continue
            self.watch(item)

    async def run(self) -> None:
        """Sleep until the earliest deadline, for ever."""
        while True:
            with trio.CancelScope() as self._sleep:
                self._sleep.deadline = self._heap[0][0] if self._heap else math.inf
                await trio.sleep_forever()
            self.fire(trio.current_time())
