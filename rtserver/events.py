"""Typed events: a name, what it carries, and what acknowledges it.

Rule: an ``Event`` is the one source of a payload's type: handlers, emitters and
documents are checked against it, never against annotations found elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar, cast, overload

from rtserver.errors import ConfigurationError, EventRefused
from rtserver.schema import converter

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

    __slots__ = ("_convert", "_convert_ack", "ack", "name", "payload")

    def __init__(self, name: str, payload: Any, ack: Any) -> None:
        if not isinstance(name, str) or name in RESERVED:
            raise ConfigurationError("event name", name, "a string that Socket.IO does not reserve")
        self.name = name
        self.payload = payload
        self.ack = ack
        self._convert = converter(payload)
        self._convert_ack = converter(ack)

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
        return cast(P, self._convert(args[0]))

    def decode_ack(self, args: Sequence[Any]) -> A:
        """The acknowledgement in ``args``.

        Raises:
            EventRefused: It is not one.
        """
        if self.ack is None:
            return cast(A, args[0] if args else None)
        if len(args) != 1:
            raise EventRefused("invalid_ack", f"expected one value, got {len(args)}")
        return cast(A, self._convert_ack(args[0]))


@overload
def event(name: str) -> Event[None, Any]: ...
@overload
def event(name: str, payload: type[P]) -> Event[P, Any]: ...
@overload
def event(name: str, payload: type[P], *, ack: type[A]) -> Event[P, A]: ...
@overload
def event(name: str, payload: None = None, *, ack: type[A]) -> Event[None, A]: ...
@overload
def event(name: str, payload: Mapping[str, Any], *, ack: Any = None) -> Event[Any, Any]: ...
def event(name: str, payload: Any = None, *, ack: Any = None) -> Event[Any, Any]:
    """Declare an event.

    Args:
        name: On the wire; not one of the names that Socket.IO reserves.
        payload: The type of its one argument: a msgspec ``Struct``, a dataclass, a
            ``TypedDict``, a builtin such as ``str``, a pydantic model, or a JSON Schema as a
            dictionary, which leaves the payload as it is. None for no argument.
        ack: The type of the acknowledgement, if it is to be checked.

    Raises:
        ConfigurationError: The name is reserved, or a dictionary is no JSON Schema.
    """
    return Event(name, payload, ack)


def _name_of(kind: Any) -> str:
    return getattr(kind, "__name__", repr(kind))
