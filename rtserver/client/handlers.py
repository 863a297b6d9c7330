"""The functions that an application gives a socket, and the answers that they give.

Rule: what can be known of a function is found out when it is registered. As in
JavaScript, arguments that it has no parameter for are left out, so that a server
may add some.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from rtserver.core.acks import single

AnyFunction: TypeAlias = Callable[..., Any]
UNLIMITED = 1_000_000


class Ack:
    """Answers an event by hand. A handler that has a parameter ``ack`` gets one.

    Calling it sends its arguments, once; further calls do nothing. If the server
    did not ask for an acknowledgement, ``wanted`` is False and calls do nothing.
    """

    __slots__ = ("_answer",)

    def __init__(self, answer: Callable[[Sequence[Any]], None] | None) -> None:
        self._answer = answer

    @property
    def wanted(self) -> bool:
        """Whether an answer would still reach the server."""
        return self._answer is not None

    def __call__(self, *values: Any) -> None:
        if self._answer is not None:
            # What cannot be encoded raises, and leaves the answer to be given.
            self._answer(values)
            self._answer = None


@dataclass(frozen=True, slots=True)
class Received:
    """An event from the server.

    Attributes:
        name: The event's name.
        args: Its arguments.
        ack: Answers it, if the server asked for an acknowledgement.
    """

    name: str
    args: tuple[Any, ...]
    ack: Ack

    @property
    def value(self) -> Any:
        """The argument, if there is one; None without any, a tuple of several."""
        return single(self.args)


class Handler:
    """A function and what was found out about it.

    Attributes:
        function: What the application registered.
        is_async: Whether running it may wait.
        takes_ack: Whether it answers by itself through ``ack``.
    """

    __slots__ = ("_most", "function", "is_async", "takes_ack")

    def __init__(self, function: AnyFunction) -> None:
        if not callable(function):
            raise TypeError(f"a handler is a function, not {function!r}")
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - an object whose __call__ is async
        )
        self._most, self.takes_ack = _parameters(function)

    def __call__(self, received: Received) -> Any:
        """Run the function; the result may have to be awaited."""
        args = received.args[: self._most]
        return self.function(*args, ack=received.ack) if self.takes_ack else self.function(*args)


def _parameters(function: AnyFunction) -> tuple[int, bool]:
    """How many arguments ``function`` takes, and whether it wants ``ack``."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return UNLIMITED, False  # A builtin that does not tell.
    takes_ack = any(parameter.name == "ack" for parameter in parameters)
    most = 0
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            most = UNLIMITED
        elif parameter.name != "ack" and parameter.kind not in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD):
            most += 1
    return most, takes_ack
