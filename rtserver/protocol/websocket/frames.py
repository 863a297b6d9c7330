"""Frames on their way out.

Rule: a server never masks. ``text_frame`` runs once for every message or broadcast.
Source: RFC 6455, section 5.2.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from rtserver.protocol.websocket.masking import apply_mask

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FIN, RSV1 = 0x80, 0x40
MAX_CONTROL = 125

_SHORT: Callable[[int, int, int], bytes] = struct.Struct("!BBH").pack
_LONG: Callable[[int, int, int], bytes] = struct.Struct("!BBQ").pack
# The two-byte heads of short frames, made once.
_TEXT_HEADS = tuple(bytes((FIN | TEXT, size)) for size in range(126))


def text_frame(payload: bytes, *, rsv1: bool = False) -> bytes:
    """A whole text message; ``payload`` is its UTF-8."""
    size = len(payload)
    if size < 126 and not rsv1:
        return _TEXT_HEADS[size] + payload
    return _head(FIN | TEXT | (RSV1 if rsv1 else 0), size) + payload


def binary_frame(payload: bytes, *, rsv1: bool = False) -> bytes:
    """A whole binary message."""
    return _head(FIN | BINARY | (RSV1 if rsv1 else 0), len(payload)) + payload


def ping_frame(data: bytes = b"") -> bytes:
    """A Ping; at most 125 bytes of ``data``."""
    return _head(FIN | PING, len(data)) + data


def pong_frame(data: bytes) -> bytes:
    """The answer to a Ping that carried ``data``."""
    return _head(FIN | PONG, len(data)) + data


def close_frame(code: int, reason: str = "") -> bytes:
    """A Close; ``reason`` is cut to what fits a control frame."""
    text = reason.encode()[: MAX_CONTROL - 2].decode("utf-8", "ignore").encode()
    return _head(FIN | CLOSE, len(text) + 2) + code.to_bytes(2, "big") + text


def client_frame(opcode: int, payload: bytes, mask: bytes, *, fin: bool = True) -> bytes:
    """A masked frame, as clients send them. For tests and tools."""
    size = len(payload)
    head = bytearray(_head((FIN if fin else 0) | opcode, size))
    head[1] |= 0x80
    return bytes(head) + mask + apply_mask(payload, mask)


def _head(first: int, size: int) -> bytes:
    if size < 126:
        return bytes((first, size))
    if size < 65_536:
        return _SHORT(first, 126, size)
    return _LONG(first, 127, size)
