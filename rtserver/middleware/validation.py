"""``Validation``: what the types of events do not say.

Rule: a typed event's payload is checked where it is decoded, and not again here. This adds
limits on size, depth and texts for all events, schemas for those that have only a name, and a look at
what the server itself sends. A refusal names the path and the rule, never the value.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from rtserver.core.acks import Ack
from rtserver.core.pipeline import EmitContext, EventContext, Middleware, Proceed, Result
from rtserver.errors import ConfigurationError, EventRefused, RTServerError
from rtserver.events import Event
from rtserver.protocol.socketio.values import BINARY, UNSENDABLE, dump
from rtserver.schema import CODE, Convert, converter, path_of

# One kind for the one argument, a list with one for each of several, None for no argument. A
# kind is a type or a JSON Schema as a dictionary.
Schema: TypeAlias = Any

_PLAIN = (str, int, bool, bytes)
_OTHER_SIZE = 8
_NO_LIMIT = 1 << 62


class WrongOutput(RTServerError, ValueError):
    """The server was about to send what its own schema forbids: a bug of the application."""


class Validation(Middleware):
    """Checks events, their acknowledgements and, if asked to, what is sent.

    ```python
    Validation({"say": {"type": "string", "maxLength": 500}, "move": [int, int]}, max_size=10_000)
    ```

    Acknowledgements of typed events are checked against their ``ack``. What a handler gives that does
    not fit is its bug: it is logged, and the client is told ``internal error``.

    Args:
        events: Schemas of arguments, by the name of the event. A type gives the handler its value.
        acks: Schemas of acknowledgements, by the name of the event.
        emits: Schemas of the arguments of sent events, by name.
        declared_emits: Whether sent events that were declared by ``emits`` with a type are checked, too.
        max_size: Of an event: the lengths of all texts, keys and binaries, and 8 for each other value.
        max_depth: Of lists and objects in one another.
        max_text: Characters of each text, and bytes of each binary.

    Raises:
        ConfigurationError: A schema or a limit cannot be used.
    """

    def __init__(
        self,
        events: Mapping[str, Schema] | None = None,
        *,
        acks: Mapping[str, Schema] | None = None,
        emits: Mapping[str, Schema] | None = None,
        declared_emits: bool = False,
        max_size: int | None = None,
        max_depth: int | None = 32,
        max_text: int | None = None,
    ) -> None:
        self._events = {name: _Arguments(kind) for name, kind in (events or {}).items()}
        self._acks = {name: _Arguments(kind) for name, kind in (acks or {}).items()}
        self._emits = {name: _Arguments(kind) for name, kind in (emits or {}).items()}
        self._declared_emits = declared_emits
        self._max_size = _limit("max_size", max_size)
        self._max_depth = _limit("max_depth", max_depth)
        self._max_text = _limit("max_text", max_text)
        # Those of typed events, found at the first of each.
        self._typed: dict[Event[Any, Any], tuple[_Arguments | None, _Arguments | None]] = {}

    # What comes in, and what answers it.

    def event(self, context: EventContext, proceed: Proceed[EventContext]) -> Result:
        args = context.args
        self._measure(args)
        name = context.event
        arguments = self._events.get(name)
        if arguments is not None:
            context = msgspec.structs.replace(context, args=arguments.taken(args))
        answer = self._answer_of(context)
        if answer is None:
            return proceed(context)
        if context.ack is not None:
            # It answers by itself, so what it returns goes nowhere.
            return proceed(msgspec.structs.replace(context, ack=_checking(context.ack, name, answer)))
        result = proceed(context)
        if type(result) is answer.exact:
            return result
        if inspect.isawaitable(result):
            return _check_later(result, name, answer)
        answer.check("acknowledgement of", name, _values(result))
        return result

    def _answer_of(self, context: EventContext) -> _Arguments | None:
        given = self._acks.get(context.event)
        if given is not None or not context.known:
            return given
        handler = context.socket.namespace.registry.handlers.get(context.event)
        typed = None if handler is None else handler.event
        return None if typed is None or typed.ack is None else self._of(typed)[1]

    def _of(self, typed: Event[Any, Any]) -> tuple[_Arguments | None, _Arguments | None]:
        found = self._typed.get(typed)
        if found is None:
            ack = None if typed.ack is None else _Arguments(typed.ack)
            found = self._typed[typed] = (_Arguments(typed.payload), ack)
        return found

    # What goes out.

    def emit(self, context: EmitContext, proceed: Proceed[EmitContext]) -> Result:
        arguments = self._emits.get(context.event)
        if arguments is None and self._declared_emits:
            typed = context.namespace.registry.emitted.get(context.event)
            arguments = None if typed is None else self._of(typed)[0]
        if arguments is not None:
            arguments.check("event", context.event, context.args)
        return proceed(context)

    # Limits.

    def _measure(self, args: Sequence[Any]) -> None:
        """Raises ``EventRefused`` for what is too large, too deep or too long."""
        size = 0
        index = 0
        try:
            for value in args:
                # Most arguments are one short text, and a call would cost more than the check.
                short = type(value) is str and len(value) <= self._max_text
                size += len(value) if short else self._size_of(value, 0)
                index += 1
            if size > self._max_size:
                raise _Beyond(f"expected a size of at most {self._max_size}")
        except _Beyond as beyond:
            at = path_of(reversed(beyond.path))
            raise EventRefused(CODE, _in_argument(f"{beyond.rule} - at `{at}`", index, args)) from None

    def _size_of(self, value: Any, depth: int) -> int:
        kind = type(value)
        if kind is str or kind is bytes:
            if len(value) > self._max_text:
                raise _Beyond(f"expected at most {self._max_text} {'characters' if kind is str else 'bytes'}")
            return len(value)
        if kind is not dict and kind is not list:
            return _OTHER_SIZE
        if depth >= self._max_depth:
            raise _Beyond(f"expected at most {self._max_depth} levels")
        size = _OTHER_SIZE
        key: Any = None
        try:
            # The same for both, but for the keys.
            for key, inner in value.items() if kind is dict else enumerate(value):
                if kind is dict:
                    size += self._size_of(key, depth)
                size += self._size_of(inner, depth + 1)
        except _Beyond as beyond:
            beyond.path.append(key)
            raise
        return size


class _Beyond(Exception):
    """A limit is passed; the path to where grows on the way up."""

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule
        self.path: list[Any] = []


class _Arguments:
    """The schemas of an event's arguments.

    Attributes:
        exact: The type of the one argument, if it is one of which every value fits.
    """

    def __init__(self, schema: Schema) -> None:
        kinds = [] if schema is None else list(schema) if isinstance(schema, (list, tuple)) else [schema]
        self._converts: list[Convert] = [converter(kind) for kind in kinds]
        # Pydantic's models have been checked when they were made, and lose their types when they are written.
        self._models = [kind if hasattr(kind, "model_validate") else None for kind in kinds]
        self.exact = kinds[0] if len(kinds) == 1 and kinds[0] in _PLAIN else object

    def taken(self, args: Sequence[Any]) -> list[Any]:
        """The arguments as the schemas want them.

        Raises:
            EventRefused: They are not what they should be.
        """
        if len(args) != len(self._converts):
            raise EventRefused(CODE, f"expected {_count(len(self._converts))}, got {len(args)}")
        values = []
        for index, (convert, value) in enumerate(zip(self._converts, args, strict=True)):
            try:
                values.append(convert(value))
            except EventRefused as refused:
                raise EventRefused(CODE, _in_argument(refused.message, index, args)) from refused
        return values

    def check(self, what: str, name: str, values: Sequence[Any]) -> None:
        """Look at what is sent, as it will be on the wire.

        Raises:
            WrongOutput: It is not what it should be.
        """
        known = zip(self._models, values, strict=False)
        if len(values) == len(self._models) and all(kind is not None and isinstance(v, kind) for kind, v in known):
            return
        try:
            plain = msgspec.to_builtins(values, builtin_types=BINARY, enc_hook=dump)
        except UNSENDABLE:
            # Whoever writes it finds out, and says so better.
            return
        try:
            self.taken(plain)
        except EventRefused as refused:
            raise WrongOutput(f"{what} {name!r}: {refused.message}") from None


async def _check_later(result: Awaitable[Any], name: str, answer: _Arguments) -> Any:
    value = await result
    answer.check("acknowledgement of", name, _values(value))
    return value


def _checking(ack: Ack, name: str, answer: _Arguments) -> Ack:
    """The same, for values that fit only."""
    if not ack.wanted:
        return ack

    def check(values: Sequence[Any]) -> None:
        answer.check("acknowledgement of", name, values)
        ack(*values)

    return Ack(check)


def _values(result: Any) -> Sequence[Any]:
    return () if result is None else (result,)


def _in_argument(message: str, index: int, args: Sequence[Any]) -> str:
    return message if len(args) == 1 else f"argument {index + 1}: {message}"


def _count(arguments: int) -> str:
    return "1 argument" if arguments == 1 else f"{arguments or 'no'} arguments"


def _limit(setting: str, given: int | None) -> int:
    if given is None:
        return _NO_LIMIT
    if not isinstance(given, int) or isinstance(given, bool) or given < 0:
        raise ConfigurationError(setting, given, "a number from 0 on, or None")
    return given
