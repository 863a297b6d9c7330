"""The acknowledgements that a socket waits for.

Rule: an answer is taken once; unknown and used ids are dropped. Whoever waits is
woken by the answer or by the end of the session, and by nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import trio

from rtserver.errors import Disconnected, LimitExceeded


class Waiter:
    """Waits for one acknowledgement."""

    __slots__ = ("_answered", "_values")

    def __init__(self) -> None:
        self._answered = trio.Event()
        self._values: Sequence[Any] | None = None

    def answer(self, values: Sequence[Any] | None) -> None:
        """Wake the one who waits; with None there will be no answer."""
        self._values = values
        self._answered.set()

    async def wait(self) -> Sequence[Any]:
        """The acknowledgement's arguments.

        Raises:
            Disconnected: The session ended first.
        """
        await self._answered.wait()
        if self._values is None:
            raise Disconnected("the connection ended before the server acknowledged")
        return self._values


class PendingAcks:
    """What is being waited for, by id.

    Args:
        bound: How many at most.
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._waiters: dict[int, Waiter] = {}
        self._next_id = 0

    def __len__(self) -> int:
        return len(self._waiters)

    def expect(self) -> tuple[int, Waiter]:
        """A new id, and what waits for its answer.

        Raises:
            LimitExceeded: Too many are being waited for.
        """
        if len(self._waiters) >= self._bound:
            raise LimitExceeded(f"{self._bound} acknowledgements are being waited for already")
        ack_id, self._next_id = self._next_id, self._next_id + 1
        waiter = self._waiters[ack_id] = Waiter()
        return ack_id, waiter

    def answered(self, ack_id: int | None, values: Sequence[Any]) -> None:
        """An answer has arrived."""
        if ack_id is not None and (waiter := self._waiters.pop(ack_id, None)) is not None:
            waiter.answer(values)

    def forget(self, ack_id: int) -> None:
        """Nobody waits for it any more."""
        self._waiters.pop(ack_id, None)

    def lose(self, unsent: Collection[int] = ()) -> None:
        """The session has ended: no answer will come, except to what was not sent yet."""
        for ack_id in [ack_id for ack_id in self._waiters if ack_id not in unsent]:
            self._waiters.pop(ack_id).answer(None)
