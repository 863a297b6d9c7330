"""Extension 0 of notepack.io, by which JavaScript sends what msgpack does not have.

Rule: read as notepack does, by the form and not only by the length. Extension 0
is ``undefined`` as a fixext of one byte, a date as a fixext of eight (milliseconds,
signed), and an ArrayBuffer in any other form. Source: notepack.io 2.2,
``encode.js`` and ``decode.js``; it reads msgpack's own timestamp, extension −1,
as a pair of a number and bytes, so dates must never leave in that form.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator
from typing import Any

import msgspec

from rtserver.protocol.socketio.values import BINARY, dump

CODE = 0
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MILLISECOND = dt.timedelta(milliseconds=1)
# An ArrayBuffer as long as a date or as ``undefined``: only the byte before its length tells.
_AMBIGUOUS = (b"\xc7\x08\x00", b"\xc7\x01\x00")
_TIMESTAMPS = (b"\xd6\xff", b"\xd7\xff", b"\xc7\x0c\xff")


def _read(code: int, data: memoryview, is_buffer: bool = False) -> Any:
    value = bytes(data)
    if code != CODE:
        return msgspec.msgpack.Ext(code, value)
    if len(value) == 1 and not is_buffer:
        return None
    if len(value) == 8 and not is_buffer:
        try:
            return _EPOCH + int.from_bytes(value, "big", signed=True) * _MILLISECOND
        except OverflowError:
            # JavaScript's years go further than ours. Kept, so that it can be passed on as it is.
            return msgspec.msgpack.Ext(code, value)
    return value


_decode = msgspec.msgpack.Decoder(ext_hook=_read).decode


def decode(wire: bytes) -> Any:
    """What ``wire`` holds: dates as ``datetime``, ArrayBuffers as ``bytes``, ``undefined`` as None.

    Raises:
        MsgspecError, RecursionError, TypeError, ValueError: It is no msgpack.
    """
    if not any(mark in wire for mark in _AMBIGUOUS):
        return _decode(wire)
    forms = _forms(wire)

    def read(code: int, data: memoryview) -> Any:
        return _read(code, data, next(forms, False))

    return msgspec.msgpack.decode(wire, ext_hook=read)


def _forms(wire: bytes) -> Iterator[bool]:
    """Whether it is an ArrayBuffer, for each extension in ``wire`` in order.

    The form is lost when msgspec hands an extension over. So another reading comes first, in which extensions of that
    form have another code. Where the same bytes stand in something else, that reading has another value there, which
    nobody looks at.
    """
    found: list[bool] = []

    def note(code: int, data: memoryview) -> None:
        found.append(code != CODE)

    marked = wire
    for mark in _AMBIGUOUS:
        marked = marked.replace(mark, mark[:2] + b"\x01")
    # Malformed wire is refused by the reading that counts.
    with contextlib.suppress(msgspec.MsgspecError, RecursionError, TypeError, ValueError):
        msgspec.msgpack.decode(marked, ext_hook=note)
    return iter(found)


def encode(value: Any) -> bytes:
    """``value`` in msgpack, aware dates as JavaScript writes them."""
    wire = _encode(value)
    if b"\xff" in wire and any(mark in wire for mark in _TIMESTAMPS):
        # A date, or bytes that look like one.
        plain = msgspec.to_builtins(value, builtin_types=(*BINARY, dt.datetime, msgspec.msgpack.Ext), enc_hook=dump)
        return _encode(_with_dates(plain))
    return wire


_encode = msgspec.msgpack.Encoder(enc_hook=dump).encode


def _with_dates(value: Any) -> Any:
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        milliseconds = (value - _EPOCH) // _MILLISECOND
        return msgspec.msgpack.Ext(CODE, milliseconds.to_bytes(8, "big", signed=True))
    if isinstance(value, dict):
        return {key: _with_dates(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_dates(item) for item in value]
    return value
