"""Looking into payloads: binary inside of them, how deep they are, what has no wire form.

Rule: linear in the number of values, and nearly free for the flat arguments that
most events have. What msgspec cannot tell by a type is walked.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from functools import lru_cache
from typing import Any, TypeGuard, cast, get_origin

import msgspec

from rtserver.errors import EncodeError, ProtocolError

_SCALARS = frozenset([str, int, bool, type(None)])
BINARY = (bytes, bytearray, memoryview)
_SEQUENCES = (list, tuple, set, frozenset)
# What looking at a value, or writing it, may raise when it has no wire form; a field without a value is an
# AttributeError, a memoryview with gaps a BufferError.
UNSENDABLE = (
    TypeError,
    ValueError,
    OverflowError,
    RecursionError,
    AttributeError,
    BufferError,
    msgspec.MsgspecError,
)


def dump(value: Any) -> Any:
    """The hook for what msgspec does not know: pydantic models, known by what they can do.

    Raises:
        TypeError: It is something else.
    """
    if hasattr(value, "model_dump"):
        return value.model_dump()
    raise TypeError(f"a {type(value).__name__} has no wire form")


def holds_binary(value: Any) -> bool:
    """Whether there are bytes anywhere in ``value``.

    Raises:
        EncodeError: There is a float that JSON does not have.
    """
    kind = type(value)
    if kind is float:
        # Infinity and NaN are the floats that do not cancel themselves out.
        if value - value != 0.0:
            raise EncodeError(f"{value!r} has no JSON form")
        return False
    # Subclasses too: msgspec writes an OrderedDict as it writes a dict, bytes as base64 included.
    if isinstance(value, dict):
        return any_holds_binary(value.values())
    if isinstance(value, _SEQUENCES):
        return any_holds_binary(value)
    if isinstance(value, BINARY):
        return True
    if not _must_look(cast(Hashable, kind)):
        return False
    return holds_binary(_opened(value))


def any_holds_binary(values: Iterable[Any]) -> bool:
    """Whether there are bytes in one of ``values``; all of them are looked at."""
    found = False
    for value in values:
        if type(value) not in _SCALARS and holds_binary(value):
            found = True
    return found


def _opened(value: Any) -> Any:
    """One layer of an object as dictionaries and lists, bytes left as they are."""
    if hasattr(value, "model_dump"):
        return value.model_dump()
    return msgspec.to_builtins(value, builtin_types=BINARY, enc_hook=dump)


def extract_binary(value: Any, attachments: list[bytes]) -> Any:
    """``value`` with placeholders for its bytes, which go to ``attachments`` in the order of a depth-first walk.

    Raises:
        EncodeError: There is a dictionary that the receiver would take for a placeholder.
    """
    kind = type(value)
    if kind in _SCALARS or kind is float:
        return value
    if isinstance(value, BINARY):
        attachments.append(bytes(value))
        return {"_placeholder": True, "num": len(attachments) - 1}
    if isinstance(value, dict):
        if value.get("_placeholder") is True:
            # What one client sent as plain data would make the others drop their connections.
            raise EncodeError("a placeholder among the data of a binary packet")
        return {key: extract_binary(item, attachments) for key, item in value.items()}
    if isinstance(value, _SEQUENCES):
        return [extract_binary(item, attachments) for item in value]
    if not _must_look(cast(Hashable, kind)):
        return value
    return extract_binary(_opened(value), attachments)


def _must_look(kind: Hashable) -> bool:
    """Whether an object of this type may hold bytes or floats, as far as its fields say."""
    inner = _inner_classes(kind)
    # A child may have fields that its parent does not tell of; asked each time, as one may be defined late.
    return inner is None or any(map(type.__subclasses__, inner))


@lru_cache(maxsize=4_096)
def _inner_classes(kind: Hashable) -> tuple[type, ...] | None:
    """The classes of objects inside of one of this type; None if it may hold bytes or floats even without them."""
    if hasattr(kind, "model_dump"):
        return None
    found: dict[Any, type] = {}
    try:
        return None if _may_hold(msgspec.inspect.type_info(kind), found) else tuple(found.values())
    except (NameError, TypeError, AttributeError):
        # Annotations that cannot be resolved, of a class inside a function for one, tell nothing.
        return None


def _may_hold(info: Any, found: dict[Any, type]) -> bool:
    inspect = msgspec.inspect
    match info:
        case (
            inspect.BytesType()
            | inspect.ByteArrayType()
            | inspect.MemoryViewType()
            | inspect.FloatType()
            | inspect.AnyType()
            # ``object``, a protocol, a pydantic model: anything may be behind it.
            | inspect.CustomType()
        ):
            return True
        case inspect.StructType() | inspect.DataclassType() | inspect.NamedTupleType() | inspect.TypedDictType():
            if info.cls in found:
                return False
            # A generic one is there once for each of its parameters.
            found[info.cls] = get_origin(info.cls) or info.cls
    inner = [field.type for field in getattr(info, "fields", ())]
    inner += [getattr(info, name) for name in ("item_type", "key_type", "value_type") if hasattr(info, name)]
    inner += [*getattr(info, "item_types", ()), *getattr(info, "types", ())]
    return any(_may_hold(item, found) for item in inner)


def check_depth(value: Any, limit: int) -> None:
    """Raises ``ProtocolError`` if ``value`` nests deeper than ``limit``."""
    level = [value]
    for _ in range(limit):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is list or type(inner) is dict
        ]
        if not level:
            return
    raise ProtocolError(f"nested deeper than {limit}")


def fill_placeholders(value: Any, attachments: list[bytes]) -> Any:
    """``value`` with its attachments in place; each has to be used exactly once.

    Raises:
        ProtocolError: A placeholder names none, or one is named twice or never.
    """
    unused: list[bytes | None] = list(attachments)
    filled = _fill(value, unused)
    if any(attachment is not None for attachment in unused):
        raise ProtocolError("an attachment has no placeholder")
    return filled


def _fill(value: Any, unused: list[bytes | None]) -> Any:
    if type(value) is list:
        return [_fill(item, unused) for item in value]
    if type(value) is not dict:
        return value
    if value.get("_placeholder") is not True:
        return {key: _fill(item, unused) for key, item in value.items()}
    number = value.get("num")
    if not _is_index(number) or number >= len(unused):
        raise ProtocolError("placeholder out of range")
    attachment, unused[number] = unused[number], None
    if attachment is None:
        raise ProtocolError("an attachment has two placeholders")
    return attachment


def _is_index(value: Any) -> TypeGuard[int]:
    return type(value) is int and value >= 0
