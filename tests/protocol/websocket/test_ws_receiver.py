"""Frames on their way in, case by case after the Autobahn test suite."""

from __future__ import annotations

import itertools
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtserver.protocol.websocket.deflate import Inflater, deflate, negotiate
from rtserver.protocol.websocket.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, client_frame
from rtserver.protocol.websocket.receiver import Close, Item, Ping, Pong, Receiver, Violation

MASK = b"\x37\xfa\x21\x3d"


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    return client_frame(opcode, payload, MASK, fin=fin)


def everything(wire: bytes, **options: Any) -> list[Item]:
    return Receiver(options.pop("max_size", 1_000_000), **options).feed(wire)


def byte_by_byte(wire: bytes, **options: Any) -> list[Item]:
    receiver = Receiver(options.pop("max_size", 1_000_000), **options)
    return [item for at in range(len(wire)) for item in receiver.feed(wire[at : at + 1])]


def code(number: int) -> bytes:
    return number.to_bytes(2, "big")


# (case of the Autobahn suite, wire, what comes of it; the code where it is a violation)
ROWS: list[tuple[str, bytes, list[Any]]] = [
    *(
        (f"1.1 text {size}", frame(TEXT, b"*" * size), ["*" * size])
        for size in (0, 1, 125, 126, 127, 128, 65_535, 65_536)
    ),
    *(
        (f"1.2 binary {size}", frame(BINARY, b"\xfe" * size), [b"\xfe" * size])
        for size in (0, 125, 126, 127, 65_535, 65_536)
    ),
    ("2.1 empty ping", frame(PING), [Ping(b"")]),
    ("2.4 ping of 125", frame(PING, b"\xfe" * 125), [Ping(b"\xfe" * 125)]),
    ("2.5 ping of 126", frame(PING, b"\xfe" * 126), [1002]),
    ("2.7 unsolicited pong", frame(PONG, b"p"), [Pong(b"p")]),
    ("2.10 ten pings", b"".join(frame(PING, bytes([i])) for i in range(10)), [Ping(bytes([i])) for i in range(10)]),
    ("3.1 RSV 1", bytes([0x90 | TEXT]) + frame(TEXT, b"a")[1:], [1002]),
    ("3.2 RSV 2 after a message", frame(TEXT, b"ok") + bytes([0xA0 | TEXT]) + frame(TEXT, b"a")[1:], ["ok", 1002]),
    ("3.4 RSV 4 without extension", bytes([0xC0 | TEXT]) + frame(TEXT, b"a")[1:], [1002]),
    ("3.6 RSV on a ping", bytes([0xF0 | PING]) + frame(PING, b"a")[1:], [1002]),
    *((f"4.1 opcode {opcode}", frame(opcode, b""), [1002]) for opcode in (3, 4, 5, 6, 7)),
    *((f"4.2 opcode {opcode}", frame(opcode, b""), [1002]) for opcode in (11, 12, 13, 14, 15)),
    ("5.1 fragmented ping", frame(PING, b"a", fin=False), [1002]),
    ("5.2 fragmented pong", frame(PONG, b"a", fin=False), [1002]),
    ("5.3 two fragments", frame(TEXT, b"ab", fin=False) + frame(CONTINUATION, b"cd"), ["abcd"]),
    (
        "5.6 a ping between fragments",
        frame(TEXT, b"ab", fin=False) + frame(PING, b"p") + frame(CONTINUATION, b"cd"),
        [Ping(b"p"), "abcd"],
    ),
    ("5.9 continuation of nothing", frame(CONTINUATION, b"a") + frame(TEXT, b"b"), [1002]),
    ("5.12 unfinished continuation of nothing", frame(CONTINUATION, b"a", fin=False), [1002]),
    (
        "5.15 continuation after the end",
        frame(TEXT, b"a", fin=False) + frame(CONTINUATION) + frame(CONTINUATION),
        ["a", 1002],
    ),
    ("5.18 text inside a fragmented text", frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), [1002]),
    ("6.1 fragments of nothing", frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) + frame(CONTINUATION), [""]),
    (
        "6.2 UTF-8 cut in a character",
        frame(TEXT, "κό".encode()[:3], fin=False) + frame(CONTINUATION, "κό".encode()[3:]),
        ["κό"],
    ),
    ("6.3 invalid UTF-8", frame(TEXT, b"\xce\xba\xed\xa0\x80edited"), [1007]),
    ("6.4 invalid UTF-8, failing early", frame(TEXT, b"\xce\xba\xf4\x90", fin=False), [1007]),
    ("6.5 UTF-8 that ends too soon", frame(TEXT, b"\xce", fin=False) + frame(CONTINUATION), [1007]),
    ("6.12 overlong", frame(TEXT, b"\xc0\xaf"), [1007]),
    (
        "6.20 binary is not text",
        frame(BINARY, b"\xff\xfe", fin=False) + frame(CONTINUATION, b"\xff"),
        [b"\xff\xfe\xff"],
    ),
    ("7.1 nothing after a close", frame(CLOSE, code(1000)) + frame(TEXT, b"late"), [Close(1000, "")]),
    ("7.3.1 empty close", frame(CLOSE), [Close(1005, "")]),
    ("7.3.2 close of one byte", frame(CLOSE, b"a"), [1002]),
    ("7.3.4 close with a reason", frame(CLOSE, code(1000) + b"bye"), [Close(1000, "bye")]),
    ("7.3.6 close too long", frame(CLOSE, code(1000) + b"*" * 124), [1002]),
    ("7.5.1 reason is no UTF-8", frame(CLOSE, code(1000) + b"\xed\xa0\x80"), [1007]),
    *(
        (f"7.7 code {number}", frame(CLOSE, code(number)), [Close(number, "")])
        for number in (1000, 1003, 1007, 1011, 3000, 4999)
    ),
    *(
        (f"7.9 code {number}", frame(CLOSE, code(number)), [1002])
        for number in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)
    ),
    ("9 a megabyte", frame(TEXT, b"*" * 1_000_000), ["*" * 1_000_000]),
    ("9 a byte more", frame(TEXT, b"*" * 1_000_001), [1009]),
    ("unmasked", b"\x81\x01a", [1002]),
    ("length in more bytes than needed", b"\x81\xfe\x00\x05" + MASK + b"hello", [1002]),
    ("length in far more bytes than needed", b"\x81\xff" + (5).to_bytes(8, "big") + MASK + b"hello", [1002]),
    ("length with its highest bit", b"\x82\xff" + (2**63).to_bytes(8, "big") + MASK, [1002]),
    ("huge announced", b"\x82\xff" + (2**62).to_bytes(8, "big"), [1009]),
]


def plain(items: list[Item]) -> list[Any]:
    return [item.code if isinstance(item, Violation) else item for item in items]


@pytest.mark.parametrize(("wire", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_autobahn_case(wire: bytes, expected: list[Any]) -> None:
    assert plain(everything(wire)) == expected
    if len(wire) < 10_000:
        assert plain(byte_by_byte(wire)) == expected


def test_fragments_are_counted_even_when_empty() -> None:
    wire = frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 10
    assert plain(everything(wire, max_fragments=5)) == [1008]


def test_the_sum_of_fragments_is_bounded_by_headers_alone() -> None:
    receiver = Receiver(10)
    assert receiver.feed(frame(BINARY, b"123456", fin=False)) == []
    assert receiver.buffered == 6
    announcing = frame(CONTINUATION, b"78901")[:6]
    assert plain(receiver.feed(announcing)) == [1009]
    assert receiver.buffered == 0


def test_nothing_is_kept_or_read_after_a_violation() -> None:
    receiver = Receiver(10)
    assert plain(receiver.feed(b"\x81\x01a")) == [1002]
    assert receiver.feed(frame(TEXT, b"a")) == []
    assert receiver.feed(b"x" * 100) == []
    assert receiver.buffered == 0


def test_an_incomplete_frame_is_buffered_and_no_more() -> None:
    receiver = Receiver(100)
    wire = frame(TEXT, b"hello")
    assert receiver.feed(wire[:4]) == []
    assert receiver.buffered == 4
    assert receiver.feed(wire[4:] + wire[:3]) == ["hello"]
    assert receiver.buffered == 3


MESSAGES = st.lists(st.text(max_size=200) | st.binary(max_size=200), max_size=6)


@given(MESSAGES, st.lists(st.integers(0, 1500), max_size=8), st.integers(1, 50))
def test_any_fragmentation_and_any_cut_gives_the_same_messages(
    messages: list[str | bytes], cuts: list[int], fragment: int
) -> None:
    wire = b""
    for message in messages:
        payload = message.encode() if isinstance(message, str) else message
        pieces = [payload[at : at + fragment] for at in range(0, len(payload), fragment)] or [b""]
        for index, piece in enumerate(pieces):
            opcode = CONTINUATION if index else TEXT if isinstance(message, str) else BINARY
            wire += frame(opcode, piece, fin=index == len(pieces) - 1)
    receiver = Receiver(1_000)
    edges = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    got = [item for start, end in itertools.pairwise(edges) for item in receiver.feed(wire[start:end])]
    assert got == messages
    assert receiver.buffered == 0


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_garbage_gives_items_and_never_an_exception(pieces: list[bytes]) -> None:
    receiver = Receiver(100)
    for piece in pieces:
        for item in receiver.feed(piece):
            assert isinstance(item, (str, bytes, Ping, Pong, Close, Violation))
    assert receiver.buffered <= 100 + 14 + 60


def inflating(offer: str = "permessage-deflate", max_size: int = 10_000) -> Receiver:
    agreement = negotiate(offer)
    assert agreement is not None
    return Receiver(max_size, inflater=Inflater(agreement, max_size))


def compressed(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    wire = frame(opcode, payload, fin=fin)
    return bytes([wire[0] | 0x40]) + wire[1:]


def test_autobahn_12_compressed_messages_are_inflated() -> None:
    receiver = inflating()
    assert receiver.feed(compressed(TEXT, deflate(b"hello " * 100))) == ["hello " * 100]
    assert receiver.feed(compressed(BINARY, deflate(b"\0" * 500))) == [b"\0" * 500]
    assert receiver.feed(frame(TEXT, b"plain")) == ["plain"]


def test_autobahn_12_a_compressed_message_may_be_fragmented() -> None:
    receiver = inflating()
    payload = deflate(b"abc" * 100)
    wire = compressed(TEXT, payload[:4], fin=False) + frame(CONTINUATION, payload[4:])
    assert receiver.feed(wire) == ["abc" * 100]


def test_autobahn_12_a_continuation_has_no_compression_bit() -> None:
    receiver = inflating()
    assert receiver.feed(compressed(TEXT, b"", fin=False)) == []
    assert plain(receiver.feed(compressed(CONTINUATION, b""))) == [1002]


def test_a_bomb_is_given_up_one_byte_past_the_limit() -> None:
    assert plain(inflating(max_size=1_000).feed(compressed(BINARY, deflate(b"\0" * 1_001)))) == [1009]
    assert inflating(max_size=1_000).feed(compressed(BINARY, deflate(b"\0" * 1_000))) == [b"\0" * 1_000]


def test_data_that_is_not_deflated_is_bad_data() -> None:
    assert plain(inflating().feed(compressed(BINARY, b"\xff\xff\xff\xff"))) == [1007]


def test_a_client_may_keep_its_context() -> None:
    packer = zlib.compressobj(wbits=-15)
    receiver = inflating()
    for _ in range(3):
        payload = (packer.compress(b"again and again") + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
        assert receiver.feed(compressed(TEXT, payload)) == ["again and again"]


def test_a_client_without_context_starts_afresh() -> None:
    receiver = inflating("permessage-deflate; client_no_context_takeover")
    for _ in range(3):
        assert receiver.feed(compressed(TEXT, deflate(b"alone"))) == ["alone"]


def test_a_final_block_ends_a_context_and_not_the_connection() -> None:
    packer = zlib.compressobj(wbits=-15)
    receiver = inflating()
    final = packer.compress(b"final") + packer.flush(zlib.Z_FINISH)
    assert receiver.feed(compressed(TEXT, final)) == ["final"]
    assert receiver.feed(compressed(TEXT, deflate(b"next"))) == ["next"]
