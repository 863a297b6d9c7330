"""The task of one socket, in which its async handlers run, in order, one at a time.

Rule: there is a task while there are jobs. The queue is bounded: ``room`` is awaited
before more is read from the connection. While the client waits for an
acknowledgement reading goes on past the bound by a factor: the answer may be behind
the events.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio

AWAITING_FACTOR = 16

Job: TypeAlias = Callable[[], Awaitable[None]]


class Worker:
    """Runs jobs one after another.

    Args:
        bound: How many may wait.
        awaits_answer: Whether the client waits for an acknowledgement right now.
        start: Starts a task.
    """

    def __init__(self, bound: int, awaits_answer: Callable[[], bool], start: Callable[[Job], None]) -> None:
        self._bound = bound
        self._awaits_answer = awaits_answer
        self._start = start
        self._jobs: deque[Job] = deque()
        self._taken = trio.lowlevel.ParkingLot()
        self.busy = False

    def put(self, job: Job) -> None:
        """Run ``job`` after those that are waiting. Await ``room`` before the next one."""
        self._jobs.append(job)
        if not self.busy:
            self.busy = True
            self._start(self._run)

    async def room(self) -> None:
        """Wait until another job may be put."""
        while len(self._jobs) >= self._bound * (AWAITING_FACTOR if self._awaits_answer() else 1):
            await self._taken.park()

    def reconsider(self) -> None:
        """Whether the client waits for an acknowledgement has changed."""
        self._taken.unpark_all()

    async def _run(self) -> None:
        while self._jobs:
            job = self._jobs.popleft()
            self._taken.unpark_all()
            await job()
            # Handlers that never wait must not keep the others from running.
            await trio.lowlevel.checkpoint()
        self.busy = False
