"""Frames on their way in, from a client to a server.

Rule: ``feed`` never raises. What breaks the protocol ends the list as a
``Violation`` with the close code that RFC 6455 wants; after that, and after a
Close, nothing is read and nothing is kept. A header that announces too much is
refused before its payload. Source: RFC 6455, sections 5 and 7; RFC 7692.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import TypeAlias

from rtserver.errors import ProtocolError
from rtserver.protocol.websocket.deflate import Inflater, TooBig
from rtserver.protocol.websocket.frames import BINARY, CLOSE, CONTINUATION, MAX_CONTROL, PING, PONG, TEXT
from rtserver.protocol.websocket.masking import apply_mask

PROTOCOL, BAD_DATA, POLICY, TOO_BIG = 1002, 1007, 1008, 1009
NO_CODE = 1005
# A message may have one fragment more for each so many bytes. What a fragment costs beside
# its payload is then bounded by about the payload itself. Source: Autobahn's cases 9.3 and 9.4 send 64 bytes in each.
_FRAGMENT_WORTH = 64
# Codes that may stand in a Close frame. Source: RFC 6455, 7.4, and the IANA registry.
_CODES = frozenset([1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014])


@dataclass(frozen=True, slots=True)
class Ping:
    data: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    data: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """The client says goodbye; ``code`` is 1005 if it gave none."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Violation:
    """The client broke the protocol: close with ``code``."""

    code: int
    reason: str


Item: TypeAlias = str | bytes | Ping | Pong | Close | Violation
"""A text message, a binary message, a control frame, or the end."""


class _Broken(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Receiver:
    """Turns the bytes of a client into messages.

    Args:
        max_size: Bytes of a message, as it is sent; the inflater has a limit of its own.
        inflater: If permessage-deflate was agreed on.
        max_fragments: Frames of one message that carry next to nothing; each 64 bytes of it allow one more.
    """

    __slots__ = (
        "_buffer",
        "_compressed",
        "_decoder",
        "_ended",
        "_fragments",
        "_inflater",
        "_max_fragments",
        "_max_size",
        "_missing",
        "_opcode",
        "_size",
    )

    def __init__(self, max_size: int, *, inflater: Inflater | None = None, max_fragments: int = 1_024) -> None:
        self._max_size = max_size
        self._max_fragments = max_fragments
        self._inflater = inflater
        self._ended = False
        # Bytes that are not a whole frame yet, and how many it takes until a look is worth it.
        self._buffer: bytearray | None = None
        self._missing = 0
        # The fragmented message that is being received.
        self._opcode = 0
        self._compressed = False
        self._fragments: list[bytes] | None = None
        self._size = 0
        self._decoder: codecs.IncrementalDecoder | None = None

    @property
    def buffered(self) -> int:
        """Bytes held for frames and messages that are not complete."""
        return self._size + (0 if self._buffer is None else len(self._buffer))

    def feed(self, data: bytes) -> list[Item]:
        """What is complete with ``data``."""
        if self._buffer is None:
            # Nearly always: nothing held, one whole masked frame of a text message.
            # Parsed here in one go, as the general way costs twice as much.
            size = len(data)
            if size > 6 and data[0] == 0x81 and not self._ended and self._fragments is None:
                length = data[1] - 0x80
                if length < 126:
                    start = 2
                elif length == 126:
                    length = (data[2] << 8) | data[3]
                    start = 4 if length > 125 else size
                else:
                    start = size
                if size == start + 4 + length and 0 <= length <= self._max_size:
                    try:
                        return [apply_mask(data[start + 4 :], data[start : start + 4]).decode()]
                    except UnicodeDecodeError:
                        return [self._end(BAD_DATA, "invalid UTF-8")]
        else:
            self._buffer += data
            if len(self._buffer) < self._missing:
                return []
            data = bytes(self._buffer)
            self._buffer = None
        return self._feed(data)

    def _feed(self, data: bytes) -> list[Item]:
        items: list[Item] = []
        at, available = 0, len(data)
        try:
            while not self._ended:
                # Again short texts in one go, for a client that sends many at a time: half the time of the general way.
                if available - at > 6 and data[at] == 0x81 and 0x80 <= data[at + 1] < 0xFE and self._fragments is None:
                    start = at + 6
                    end = start + data[at + 1] - 0x80
                    if end <= available and end - start <= self._max_size:
                        items.append(apply_mask(data[start:end], data[start - 4 : start]).decode())
                        at = end
                        continue
                frame = self._frame(data, at)
                if frame is None:
                    break
                fin, opcode, compressed, start, at = frame
                payload = apply_mask(data[start:at], data[start - 4 : start])
                item = self._take(fin, opcode, compressed, payload)
                if item is not None:
                    items.append(item)
        except _Broken as exc:
            items.append(self._end(exc.code, exc.reason))
        except UnicodeDecodeError:
            items.append(self._end(BAD_DATA, "invalid UTF-8"))
        if not self._ended and at < available:
            self._buffer = bytearray(data[at:])
            self._missing -= at
        return items

    def _end(self, code: int, reason: str) -> Violation:
        self._forget()
        return Violation(code, reason)

    def _forget(self) -> None:
        self._ended = True
        self._buffer = None
        self._fragments = None
        self._decoder = None
        self._size = 0

    def _frame(self, data: bytes, at: int) -> tuple[bool, int, bool, int, int] | None:
        """The header at ``at``, and where its payload starts and ends; None if it is not all there."""
        available = len(data) - at
        if available < 2:
            self._missing = at + 2
            return None
        first, second = data[at], data[at + 1]
        opcode = first & 0x0F
        compressed = self._check_first(first, opcode)
        if not second & 0x80:
            raise _Broken(PROTOCOL, "unmasked frame")
        length = second & 0x7F
        extra = 0 if length < 126 else 2 if length == 126 else 8
        if extra and opcode >= CLOSE:
            raise _Broken(PROTOCOL, "control frame too long")
        if available < 2 + extra:
            self._missing = at + 2 + extra
            return None
        if extra:
            length = int.from_bytes(data[at + 2 : at + 2 + extra], "big")
            if length < (126 if extra == 2 else 65_536) or length >> 63:
                raise _Broken(PROTOCOL, "malformed length")
        if opcode < CLOSE and length + self._size > self._max_size:
            raise _Broken(TOO_BIG, "message too big")
        start = at + 6 + extra
        end = start + length
        if end > len(data):
            self._missing = end
            return None
        return bool(first & 0x80), opcode, compressed, start, end

    def _check_first(self, first: int, opcode: int) -> bool:
        reserved = first & 0x70
        if reserved and (reserved != 0x40 or self._inflater is None or opcode not in (TEXT, BINARY)):
            raise _Broken(PROTOCOL, "reserved bits")
        if opcode >= CLOSE:
            if opcode > PONG:
                raise _Broken(PROTOCOL, "reserved opcode")
            if not first & 0x80:
                raise _Broken(PROTOCOL, "fragmented control frame")
        elif opcode > BINARY:
            raise _Broken(PROTOCOL, "reserved opcode")
        elif opcode == CONTINUATION and self._fragments is None:
            raise _Broken(PROTOCOL, "continuation of nothing")
        elif opcode != CONTINUATION and self._fragments is not None:
            raise _Broken(PROTOCOL, "message inside a fragmented message")
        return bool(reserved)

    def _take(self, fin: bool, opcode: int, compressed: bool, payload: bytes) -> Item | None:
        if opcode >= CLOSE:
            return self._control(opcode, payload)
        if opcode != CONTINUATION and fin:
            return self._message(opcode, compressed, payload)
        if opcode != CONTINUATION:
            self._opcode = opcode
            self._compressed = compressed
            self._fragments = []
            if opcode == TEXT and not compressed:
                self._decoder = codecs.getincrementaldecoder("utf-8")()
        return self._fragment(fin, payload)

    def _fragment(self, fin: bool, payload: bytes) -> Item | None:
        assert self._fragments is not None
        self._fragments.append(payload)
        self._size += len(payload)
        if len(self._fragments) > self._max_fragments + self._size // _FRAGMENT_WORTH:
            raise _Broken(POLICY, "too many fragments")
        if self._decoder is not None:
            # Only to fail early: the text is decoded in one piece at the end.
            self._decoder.decode(payload, fin)
        if not fin:
            return None
        whole = b"".join(self._fragments)
        self._fragments = None
        self._decoder = None
        self._size = 0
        return self._message(self._opcode, self._compressed, whole)

    def _message(self, opcode: int, compressed: bool, payload: bytes) -> str | bytes:
        if compressed:
            assert self._inflater is not None
            try:
                payload = self._inflater.inflate(payload)
            except TooBig as exc:
                raise _Broken(TOO_BIG, "message too big") from exc
            except ProtocolError as exc:
                raise _Broken(BAD_DATA, "invalid compressed data") from exc
        return payload if opcode == BINARY else payload.decode()

    def _control(self, opcode: int, payload: bytes) -> Item:
        assert len(payload) <= MAX_CONTROL
        if opcode == PING:
            return Ping(payload)
        if opcode == PONG:
            return Pong(payload)
        close = _read_close(payload)
        self._forget()
        return close


def _read_close(payload: bytes) -> Close:
    if not payload:
        return Close(NO_CODE, "")
    if len(payload) == 1:
        raise _Broken(PROTOCOL, "malformed close")
    code = int.from_bytes(payload[:2], "big")
    if code not in _CODES and not 3_000 <= code < 5_000:
        raise _Broken(PROTOCOL, "bad close code")
    return Close(code, payload[2:].decode())
