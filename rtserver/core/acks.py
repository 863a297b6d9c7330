"""Acknowledgements: those that a handler gives, and those that the server waits for.

Rule: an answer is taken once; unknown, used and foreign ids are dropped. Whoever
waits is woken by the answer or by the socket's end, and by nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import trio

from rtserver.errors import AckTimeout, Disconnected

# A call inside ``trio.fail_after(5)`` reports what it has this much before the
# five seconds are over: the time-out of the scope around it could only say that
# time is up, and not who has answered.
REPORT_BEFORE = 0.005


class Ack:
    """Answers an event by hand. A handler that has a parameter ``ack`` gets one.

    Calling it sends its arguments, once; further calls do nothing. If the client
    did not ask for an acknowledgement, ``wanted`` is False and calls do nothing.
    """

    __slots__ = ("_answer",)

    def __init__(self, answer: Callable[[Sequence[Any]], None] | None) -> None:
        self._answer = answer

    @property
    def wanted(self) -> bool:
        """Whether an answer would still reach somebody."""
        return self._answer is not None

    def __call__(self, *values: Any) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer(values)


class Waiter:
    """Waits for one acknowledgement of one socket."""

    __slots__ = ("_event", "_values")

    def __init__(self) -> None:
        self._event = trio.Event()
        self._values: Sequence[Any] | None = None

    def __call__(self, values: Sequence[Any] | None) -> None:
        self._values = values
        self._event.set()

    async def wait(self) -> Sequence[Any]:
        """The acknowledgement's arguments.

        Raises:
            Disconnected: The socket left first.
        """
        await self._event.wait()
        if self._values is None:
            raise Disconnected("the socket disconnected before it acknowledged")
        return self._values


class BroadcastAnswers:
    """Collects the acknowledgements of one broadcast. Implements ``adapters.base.PendingAnswers``."""

    __slots__ = ("_complete", "_event", "answers", "missing")

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.missing = 0
        self._complete = False
        self._event = trio.Event()

    def expect(self, count: int) -> None:
        self.missing += count

    def answered(self, args: Sequence[Any]) -> None:
        self.answers.append(single(args))
        self.left()

    def left(self) -> None:
        self.missing -= 1
        self._check()

    def all_asked(self) -> None:
        self._complete = True
        self._check()

    def _check(self) -> None:
        if self._complete and self.missing <= 0:
            self._event.set()

    async def wait(self) -> list[Any]:
        """Every answer, in the order of arrival.

        Raises:
            AckTimeout: The surrounding deadline is about to pass; it carries what there is.
        """
        deadline = trio.current_effective_deadline()
        try:
            with trio.move_on_at(deadline - REPORT_BEFORE):
                await self._event.wait()
                return self.answers
        except trio.Cancelled:
            # A busy loop may find both times passed at once; any other cancellation goes on.
            if not -math.inf < deadline <= trio.current_time():
                raise
        raise AckTimeout(self.answers, self.missing)


def single(args: Sequence[Any]) -> Any:
    """What a call returns: nothing, the one value, or a tuple of several."""
    match len(args):
        case 0:
            return None
        case 1:
            return args[0]
        case _:
            return tuple(args)
