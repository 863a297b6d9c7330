"""Typed events: a name, what it carries, and what acknowledges it.

Rule: an ``Event`` is the one source of a payload's type: handlers, emitters and
documents are checked against it, never against annotations found elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar, cast, overload

import msgspec

from rtserver.errors import ConfigurationError, EventRefused

P = TypeVar("P")
A = TypeVar("A")

RESERVED = frozenset(["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"])


class Event(Generic[P, A]):
    """An event with a payload of type ``P`` that is acknowledged with an ``A``.

    Make one with ``event``. Without a payload type it carries nothing.

    Attributes:
        name: On the wire.
        payload: The payload's type, or None.
        ack: The acknowledgement's type, or None.
    """

    __slots__ = ("ack", "name", "payload")

    def __init__(self, name: str, payload: Any, ack: Any) -> None:
        if not isinstance(name, str) or name in RESERVED:
            raise ConfigurationError("event name", name, "a string that Socket.IO does not reserve")
        self.name = name
        self.payload = payload
        self.ack = ack

    def __repr__(self) -> str:
        return f"event({self.name!r}, {_name_of(self.payload)}, ack={_name_of(self.ack)})"

    def decode(self, args: Sequence[Any]) -> P:
        """The payload in ``args`` (the event's arguments without its name).

        Raises:
            EventRefused: It is not one; the message names the path and the rule, never the value.
        """
        if self.payload is None:
            if args:
                raise EventRefused("invalid_payload", "expected no payload")
            return cast(P, None)
        if len(args) != 1:
            raise EventRefused("invalid_payload", f"expected one payload, got {len(args)}")
        return cast(P, _convert(args[0], self.payload))

    def decode_ack(self, args: Sequence[Any]) -> A:
        """The acknowledgement in ``args``.

        Raises:
            EventRefused: It is not one.
        """
        if self.ack is None:
            return cast(A, args[0] if args else None)
        if len(args) != 1:
            raise EventRefused("invalid_ack", f"expected one value, got {len(args)}")
        return cast(A, _convert(args[0], self.ack))


@overload
def event(name: str) -> Event[None, Any]: ...
@overload
def event(name: str, payload: type[P]) -> Event[P, Any]: ...
@overload
def event(name: str, payload: type[P], *, ack: type[A]) -> Event[P, A]: ...
@overload
def event(name: str, payload: None = None, *, ack: type[A]) -> Event[None, A]: ...
def event(name: str, payload: Any = None, *, ack: Any = None) -> Event[Any, Any]:
    """Declare an event.

    Args:
        name: On the wire; not one of the names that Socket.IO reserves.
        payload: The type of its one argument: a msgspec ``Struct``, a dataclass, a
            ``TypedDict``, a builtin such as ``str``, or a pydantic model. None for no argument.
        ack: The type of the acknowledgement, if it is to be checked.

    Raises:
        ConfigurationError: The name is reserved.
    """
    return Event(name, payload, ack)


def _convert(value: Any, kind: Any) -> Any:
    # Pydantic is optional, so its models are known by what they can do.
    if hasattr(kind, "model_validate"):
        return _convert_pydantic(value, kind)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as exc:
        raise EventRefused("invalid_payload", _without_value(str(exc))) from exc


def _convert_pydantic(value: Any, kind: Any) -> Any:
    try:
        return kind.model_validate(value, strict=True)
    except ValueError as exc:
        errors = getattr(exc, "errors", None)
        if errors is None:
            raise EventRefused("invalid_payload", "invalid payload") from exc
        first = errors(include_input=False, include_url=False, include_context=False)[0]
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        raise EventRefused("invalid_payload", f"{first['type']} - at `${path}`") from exc


def _without_value(message: str) -> str:
    """msgspec quotes the value of a wrong enumeration member; a refusal must not."""
    if message.startswith("Invalid enum value"):
        _, at, path = message.rpartition(" - at ")
        return f"Invalid enum value{at}{path}" if at else "Invalid enum value"
    if message.startswith("Invalid value "):
        _, at, path = message.rpartition(" - at ")
        return f"Invalid value{at}{path}" if at else "Invalid value"
    return message


def _name_of(kind: Any) -> str:
    return getattr(kind, "__name__", repr(kind))
