"""Frames on their way in: limits, what is held and what is not, compression."""

from __future__ import annotations

import itertools
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtserver.protocol.websocket.deflate import Inflater, deflate, negotiate
from rtserver.protocol.websocket.frames import BINARY, CLOSE, CONTINUATION, TEXT, client_frame
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


# (name, wire, what comes of it; the code where it is a violation). Autobahn's cases are in a file of their own.
ROWS: list[tuple[str, bytes, list[Any]]] = [
    ("as much as is allowed", frame(TEXT, b"*" * 1_000_000), ["*" * 1_000_000]),
    ("a byte more", frame(TEXT, b"*" * 1_000_001), [1009]),
    ("a byte more in a short frame", frame(BINARY, b"*" * 999_999, fin=False) + frame(CONTINUATION, b"ab"), [1009]),
    ("unmasked", b"\x81\x01a", [1002]),
    ("unmasked after a message", frame(TEXT, b"ok") + b"\x81\x08unmasked", ["ok", 1002]),
    ("length in more bytes than needed", b"\x81\xfe\x00\x05" + MASK + b"hello", [1002]),
    ("length in far more bytes than needed", b"\x81\xff" + (5).to_bytes(8, "big") + MASK + b"hello", [1002]),
    ("length with its highest bit", b"\x82\xff" + (2**63).to_bytes(8, "big") + MASK, [1002]),
    ("huge announced", b"\x82\xff" + (2**62).to_bytes(8, "big"), [1009]),
    ("bad text among many", frame(TEXT, b"a") * 2 + frame(TEXT, b"\xff") + frame(TEXT, b"b"), ["a", "a", 1007]),
    ("a byte-order mark is text", frame(TEXT, b"\xef\xbb\xbfa"), ["\ufeffa"]),
    *((f"close with {number}", frame(CLOSE, code(number)), [Close(number, "")]) for number in (1012, 1013, 1014)),
    ("close with 1015", frame(CLOSE, code(1015)), [1002]),
]


def plain(items: list[Item]) -> list[Any]:
    return [item.code if isinstance(item, Violation) else item for item in items]


@pytest.mark.parametrize(("wire", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_wire_has_one_outcome_whole_and_byte_by_byte(wire: bytes, expected: list[Any]) -> None:
    assert plain(everything(wire)) == expected
    if len(wire) < 10_000:
        assert plain(byte_by_byte(wire)) == expected


def test_fragments_are_counted_even_when_empty() -> None:
    wire = frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 10
    assert plain(everything(wire, max_fragments=5)) == [1008]


@pytest.mark.parametrize(("piece", "outcome"), [(b"*" * 64, [b"*" * 64 * 500]), (b"*" * 63, [1008])])
def test_fragments_that_carry_64_bytes_are_never_too_many(piece: bytes, outcome: list[Any]) -> None:
    wire = frame(BINARY, piece, fin=False) + frame(CONTINUATION, piece, fin=False) * 499 + frame(CONTINUATION)
    assert plain(everything(wire, max_fragments=2)) == outcome


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
    # Section 7.2.3.4 of RFC 7692: a sender may close its last byte with an empty block.
    assert receiver.feed(compressed(TEXT, final + b"\0")) == ["final"]
    assert receiver.feed(compressed(TEXT, deflate(b"next"))) == ["next"]


@pytest.mark.parametrize("more", [b"junk", deflate(b"more"), b"\0" * 2])
def test_data_after_a_final_block_is_refused_and_not_lost(more: bytes) -> None:
    packer = zlib.compressobj(wbits=-15)
    final = packer.compress(b"final") + packer.flush(zlib.Z_FINISH)
    assert plain(inflating().feed(compressed(TEXT, final + more))) == [1007]


# The examples of RFC 7692, section 7.2.3.
@pytest.mark.parametrize(
    "payload",
    ["f248cdc9c90700", "000500faff48656c6c6f00", "f348cdc9c9070000", "f24805000000ffffcac9c90700"],
    ids=["7.2.3.1", "7.2.3.3", "7.2.3.4", "7.2.3.5"],
)
def test_the_examples_of_the_rfc_are_inflated(payload: str) -> None:
    assert inflating().feed(compressed(TEXT, bytes.fromhex(payload))) == ["Hello"]


def test_the_example_of_a_shared_context_is_inflated() -> None:
    receiver = inflating()
    assert receiver.feed(compressed(TEXT, bytes.fromhex("f248cdc9c90700"))) == ["Hello"]
    assert receiver.feed(compressed(TEXT, bytes.fromhex("f200110000"))) == ["Hello"]


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_garbage_is_inflated_or_refused(first: bytes, second: bytes) -> None:
    receiver = inflating(max_size=200)
    for wire in (compressed(BINARY, first), compressed(TEXT, second)):
        for item in receiver.feed(wire):
            assert isinstance(item, (str, bytes, Violation))
            assert isinstance(item, Violation) or len(item) <= 200


@given(st.binary(max_size=3_000), st.integers(9, 15))
def test_what_is_deflated_is_inflated_whatever_the_window(message: bytes, bits: int) -> None:
    agreement = negotiate(f"permessage-deflate; client_max_window_bits={bits}")
    assert agreement is not None
    assert Inflater(agreement, 3_000).inflate(deflate(message, bits)) == message
