"""The task of one socket, in which its async handlers run, in order, one at a time.

Rule: started when first needed, in the server's nursery; its queue is bounded, and
while it is full the client's connection is not read. Answers, pongs and closes
never pass through it, so a handler may wait for its own client.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeAlias

import trio

from rtserver.core.handlers import Handler

# A drained queue whose handlers never wait must still let other tasks run.
YIELD_EVERY = 16
# While the server waits for an answer of this client, reading goes on past the
# bound by this factor: the answer may be behind the events.
AWAITING_FACTOR = 16

# A handler, the event's name and arguments, and the id of the acknowledgement if one is wanted.
Job: TypeAlias = tuple[Handler, Sequence[Any], int | None]


class Owner(Protocol):
    """The socket, as its worker sees it."""

    @property
    def awaits_answer(self) -> bool: ...

    @property
    def max_pending_events(self) -> int: ...

    def start_task(self, task: Callable[[], Awaitable[None]]) -> None: ...

    async def run_job(self, job: Job) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Worker:
    """Runs a socket's jobs."""

    __slots__ = ("_beside", "_ended", "_owner", "_parked", "_paused", "_queue", "_running")

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._queue: deque[Job] = deque()
        self._parked: trio.lowlevel.Task | None = None
        self._running = False
        self._paused = False
        self._ended = False
        self._beside = 0
        owner.start_task(self._run)

    @property
    def busy(self) -> bool:
        """Whether an event that came now would have to wait for another one."""
        return self._running or bool(self._queue)

    def put(self, job: Job) -> None:
        """Run ``job`` after those that are waiting."""
        self._queue.append(job)
        self._wake()
        self._check()

    def put_beside(self, job: Job) -> None:
        """Run ``job`` in a task of its own."""
        self._beside += 1
        self._owner.start_task(lambda: self._run_beside(job))
        self._check()

    def end(self) -> None:
        """Finish what is waiting, then end the task."""
        self._ended = True
        self._wake()

    def reconsider(self) -> None:
        """The owner has begun to wait for an answer: read on if that is why nothing can arrive."""
        if self._paused and self._pending < self._bound:
            self._paused = False
            self._owner.resume_reading()

    @property
    def _pending(self) -> int:
        return len(self._queue) + self._beside

    @property
    def _bound(self) -> int:
        bound = self._owner.max_pending_events
        return bound * AWAITING_FACTOR if self._owner.awaits_answer else bound

    def _check(self) -> None:
        if not self._paused and self._pending >= self._bound:
            self._paused = True
            self._owner.pause_reading()

    def _finished_one(self) -> None:
        if self._paused and self._pending <= self._owner.max_pending_events // 2:
            self._paused = False
            self._owner.resume_reading()

    def _wake(self) -> None:
        task, self._parked = self._parked, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    async def _run(self) -> None:
        queue = self._queue
        done = 0
        while True:
            while queue:
                self._running = True
                await self._owner.run_job(queue.popleft())
                self._running = False
                self._finished_one()
                done += 1
                if done % YIELD_EVERY == 0:
                    await trio.lowlevel.checkpoint()
            if self._ended:
                return
            self._parked = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._unpark)

    def _unpark(self, _: Any) -> trio.lowlevel.Abort:
        self._parked = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def _run_beside(self, job: Job) -> None:
        try:
            await self._owner.run_job(job)
        finally:
            self._beside -= 1
            self._finished_one()
