"""The Autobahn test suite's sections 1-7, 9 and 10, case by case, as far as they concern the codec.

Each case is fed whole, frame by frame and octet by octet: that is what tells many cases of the suite apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from rtserver.protocol.websocket.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, client_frame
from rtserver.protocol.websocket.receiver import Close, Item, Ping, Pong, Receiver, Violation

MASK = b"\x37\xfa\x21\x3d"
HELLO = b"Hello, world!"
GREEK = bytes.fromhex("cebae1bdb9cf83cebcceb5")
MIXED = "Hello-µ@ßöäüàá-UTF-8!!".encode()
SURROGATE = b"\xed\xa0\x80"
TOO_HIGH = b"\xf4\x90\x80\x80"
MEBI = 2**20

PROTOCOL, BAD_DATA = 1002, 1007


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
    wire = client_frame(opcode, payload, MASK, fin=fin)
    return bytes([wire[0] | rsv << 4]) + wire[1:]


def fragments(opcode: int, *pieces: bytes) -> list[bytes]:
    """The frames of a message that is sent in these pieces."""
    last = len(pieces) - 1
    return [frame(CONTINUATION if at else opcode, piece, fin=at == last) for at, piece in enumerate(pieces)]


def cut(payload: bytes, size: int) -> list[bytes]:
    return [payload[at : at + size] for at in range(0, len(payload), size)]


def close(number: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, number.to_bytes(2, "big") + reason)


PINGS = [b"payload-%d" % number for number in range(10)]
ORPHAN = [frame(CONTINUATION, b"non-continuation payload"), frame(TEXT, HELLO)]
UNFINISHED_ORPHAN = [frame(CONTINUATION, b"non-continuation payload", fin=False), frame(TEXT, HELLO)]

# (case, frames, what comes of them; a number is a violation with that code)
Row = tuple[str, list[bytes], list[Any]]
ROWS: list[Row] = [
    *(
        (f"1.1.{case} text of {size}", [frame(TEXT, b"*" * size)], ["*" * size])
        for case, size in enumerate((0, 125, 126, 127, 128, 65_535, 65_536), 1)
    ),
    *(
        (f"1.2.{case} binary of {size}", [frame(BINARY, b"\xfe" * size)], [b"\xfe" * size])
        for case, size in enumerate((0, 125, 126, 127, 128, 65_535, 65_536), 1)
    ),
    ("2.1 empty ping", [frame(PING)], [Ping(b"")]),
    ("2.2 ping with text", [frame(PING, HELLO)], [Ping(HELLO)]),
    ("2.3 ping with binary", [frame(PING, b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff")], [Ping(b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff")]),
    ("2.4 2.6 ping of 125", [frame(PING, b"\xfe" * 125)], [Ping(b"\xfe" * 125)]),
    ("2.5 ping of 126", [frame(PING, b"\xfe" * 126)], [PROTOCOL]),
    ("2.7 unsolicited empty pong", [frame(PONG)], [Pong(b"")]),
    ("2.8 unsolicited pong", [frame(PONG, b"unsolicited")], [Pong(b"unsolicited")]),
    ("2.9 unsolicited pong, then ping", [frame(PONG, b"unsolicited"), frame(PING, b"ping")], [Pong(b"unsolicited"), Ping(b"ping")]),
    ("2.10 2.11 ten pings", [frame(PING, data) for data in PINGS], [Ping(data) for data in PINGS]),
    ("3.1 text with RSV 1", [frame(TEXT, HELLO, rsv=1)], [PROTOCOL]),
    *(
        (f"3.{rsv} text with RSV {rsv} after a text", [frame(TEXT, HELLO), frame(TEXT, HELLO, rsv=rsv), frame(PING)], [HELLO.decode(), PROTOCOL])
        for rsv in (2, 3, 4)
    ),
    ("3.5 binary with RSV 5", [frame(BINARY, b"\x00\xff\xfe", rsv=5)], [PROTOCOL]),
    ("3.6 ping with RSV 6", [frame(PING, HELLO, rsv=6)], [PROTOCOL]),
    ("3.7 close with RSV 7", [frame(CLOSE, rsv=7)], [PROTOCOL]),
    *(
        row
        for section, first in ((1, 3), (2, 11))
        for row in (
            (f"4.{section}.1 opcode {first}", [frame(first)], [PROTOCOL]),
            (f"4.{section}.2 opcode {first + 1} with payload", [frame(first + 1, b"reserved")], [PROTOCOL]),
            (f"4.{section}.3 opcode {first + 2} after a text", [frame(TEXT, HELLO), frame(first + 2), frame(PING)], [HELLO.decode(), PROTOCOL]),
            (f"4.{section}.4 opcode {first + 3} with payload after a text", [frame(TEXT, HELLO), frame(first + 3, HELLO), frame(PING)], [HELLO.decode(), PROTOCOL]),
            (f"4.{section}.5 opcode {first + 4} with payload after a text", [frame(TEXT, HELLO), frame(first + 4, HELLO), frame(PING)], [HELLO.decode(), PROTOCOL]),
        )
    ),
    ("5.1 fragmented ping", fragments(PING, b"fragment1", b"fragment2"), [PROTOCOL]),
    ("5.2 fragmented pong", fragments(PONG, b"fragment1", b"fragment2"), [PROTOCOL]),
    ("5.3-5.5 two fragments", fragments(TEXT, b"fragment1", b"fragment2"), ["fragment1fragment2"]),
    (
        "5.6-5.8 a ping between two fragments",
        [frame(TEXT, b"fragment1", fin=False), frame(PING, b"ping"), frame(CONTINUATION, b"fragment2")],
        [Ping(b"ping"), "fragment1fragment2"],
    ),
    ("5.9-5.11 continuation of nothing", ORPHAN, [PROTOCOL]),
    ("5.12-5.14 unfinished continuation of nothing", UNFINISHED_ORPHAN, [PROTOCOL]),
    (
        "5.15 unfinished continuation after a message",
        [*fragments(TEXT, b"fragment1", b"fragment2"), frame(CONTINUATION, b"fragment3", fin=False), frame(TEXT, b"fragment4")],
        ["fragment1fragment2", PROTOCOL],
    ),
    ("5.16 unfinished continuation before a message, twice", [frame(CONTINUATION, b"fragment1", fin=False), *fragments(TEXT, b"fragment2", b"fragment3")] * 2, [PROTOCOL]),
    ("5.17 continuation before a message, twice", [frame(CONTINUATION, b"fragment1"), *fragments(TEXT, b"fragment2", b"fragment3")] * 2, [PROTOCOL]),
    ("5.18 two first fragments", [frame(TEXT, b"fragment1", fin=False), frame(TEXT, b"fragment2")], [PROTOCOL]),
    (
        "5.19 5.20 pings among five fragments",
        [
            frame(TEXT, b"fragment1", fin=False),
            frame(CONTINUATION, b"fragment2", fin=False),
            frame(PING, b"pongme 1!"),
            frame(CONTINUATION, b"fragment3", fin=False),
            frame(CONTINUATION, b"fragment4", fin=False),
            frame(PING, b"pongme 2!"),
            frame(CONTINUATION, b"fragment5"),
        ],
        [Ping(b"pongme 1!"), Ping(b"pongme 2!"), "fragment1fragment2fragment3fragment4fragment5"],
    ),
    ("6.1.1 empty text", [frame(TEXT)], [""]),
    ("6.1.2 three empty fragments", fragments(TEXT, b"", b"", b""), [""]),
    ("6.1.3 a fragment between empty ones", fragments(TEXT, b"", b"middle frame payload", b""), ["middle frame payload"]),
    ("6.2.1 valid text", [frame(TEXT, MIXED)], [MIXED.decode()]),
    ("6.2.2 cut between characters", fragments(TEXT, MIXED[:12], MIXED[12:]), [MIXED.decode()]),
    ("6.2.3 cut within characters", fragments(TEXT, *cut(MIXED, 1)), [MIXED.decode()]),
    ("6.2.4 cut within characters", fragments(TEXT, *cut(GREEK, 1)), [GREEK.decode()]),
    ("6.3.1 invalid text", [frame(TEXT, GREEK + SURROGATE + b"edited")], [BAD_DATA]),
    ("6.3.2 invalid text in octets", fragments(TEXT, *cut(GREEK + SURROGATE + b"edited", 1)), [BAD_DATA]),
    # 6.4.3 and 6.4.4 are one frame in chops: refused when it is complete, which the suite calls non-strict.
    ("6.4.3 6.4.4 invalid text in chops", [frame(TEXT, GREEK + TOO_HIGH + b"edited")], [BAD_DATA]),
    ("7.1.1 text, close", [frame(TEXT, HELLO), close(1000)], [HELLO.decode(), Close(1000, "")]),
    ("7.1.2 two closes", [close(1000), close(1000)], [Close(1000, "")]),
    ("7.1.3 ping after close", [close(1000), frame(PING)], [Close(1000, "")]),
    ("7.1.4 text after close", [close(1000), frame(TEXT, HELLO)], [Close(1000, "")]),
    ("7.1.5 close between fragments", [frame(TEXT, b"fragment1", fin=False), close(1000), frame(CONTINUATION, b"fragment2")], [Close(1000, "")]),
    ("7.1.6 256 K, close, ping", [frame(TEXT, b"BAsd7&jh23" * 26_214), close(1000), frame(PING)], ["BAsd7&jh23" * 26_214, Close(1000, "")]),
    ("7.3.1 close without payload", [frame(CLOSE)], [Close(1005, "")]),
    ("7.3.2 close with one byte", [frame(CLOSE, b"a")], [PROTOCOL]),
    ("7.3.3 close with a code", [close(1000)], [Close(1000, "")]),
    ("7.3.4 close with a reason", [close(1000, b"Hello World!")], [Close(1000, "Hello World!")]),
    ("7.3.5 close with the longest reason", [close(1000, b"*" * 123)], [Close(1000, "*" * 123)]),
    ("7.3.6 close with a reason too long", [close(1000, b"*" * 124)], [PROTOCOL]),
    ("7.5.1 close with an invalid reason", [close(1000, GREEK + SURROGATE + b"edited")], [BAD_DATA]),
    *(
        (f"7.7.{case} close with {number}", [close(number)], [Close(number, "")])
        for case, number in enumerate((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999), 1)
    ),
    *(
        (f"7.9.{case} close with {number}", [close(number)], [PROTOCOL])
        for case, number in enumerate((0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999), 1)
    ),
    ("7.13.1 close with 5000", [close(5_000)], [PROTOCOL]),
    ("7.13.2 close with the highest code", [close(65_535)], [PROTOCOL]),
    ("10.1.1 text of 65536 in fragments of 1300", fragments(TEXT, *cut(b"*" * 65_536, 1_300)), ["*" * 65_536]),
]  # fmt: skip

# What is missing at the end of a sequence; 6.14 has them one by one, 6.15 together.
INCOMPLETE = ["c0", "e080", "f08080", "f8808080", "fc80808080", "df", "efbf", "f7bfbf", "fbbfbfbf", "fdbfbfbfbf"]


def lonely(first: int, after: int) -> str:
    return "".join(f"{start:02x}20" for start in range(first, after))


# (section, whether it is UTF-8, payloads in hexadecimal)
UTF_8: list[tuple[int, bool, list[str]]] = [
    (5, True, [b"hello$world".hex(), "hello¢world".encode().hex(), "hello€world".encode().hex(), "hello𤭢world".encode().hex(), GREEK.hex()]),
    (7, True, ["00", "c280", "e0a080", "f0908080"]),
    (8, False, ["f888808080", "fc8480808080"]),
    (9, True, ["7f", "dfbf", "efbfbf", "f48fbfbf"]),
    (10, False, ["f7bfbfbf", "fbbfbfbfbf", "fdbfbfbfbfbf"]),
    (11, True, ["ed9fbf", "ee8080", "efbfbd", "f48fbfbf"]),
    (12, False, ["80", "bf", "80bf", "80bf80", "80bf80bf", "80bf80bf80", "80bf80bf80bf", bytes(range(0x80, 0xBF)).hex()]),
    (13, False, [lonely(0xC0, 0xDF), lonely(0xE0, 0xEF), lonely(0xF0, 0xF7), lonely(0xF8, 0xFB), lonely(0xFC, 0xFD)]),
    (14, False, INCOMPLETE),
    (15, False, ["".join(INCOMPLETE)]),
    (16, False, ["fe", "ff", "fefeffff"]),
    (17, False, ["c0af", "e080af", "f08080af", "f8808080af", "fc80808080af"]),
    (18, False, ["c1bf", "e09fbf", "f08fbfbf", "f887bfbfbf", "fc83bfbfbfbf"]),
    (19, False, ["c080", "e08080", "f0808080", "f880808080", "fc8080808080"]),
    (20, False, ["eda080", "edadbf", "edae80", "edafbf", "edb080", "edbe80", "edbfbf"]),
    (21, False, [high + low for high in ("eda080", "edadbf", "edae80", "edafbf") for low in ("edb080", "edbfbf")]),
    (22, True, [chr(plane << 16 | last).encode().hex() for plane in range(17) for last in (0xFFFE, 0xFFFF)]),
    (23, True, [chr(special).encode().hex() for special in range(0xFFF9, 0x10000)]),
]  # fmt: skip
PAYLOADS = [
    *((f"6.{section}.{case}", valid, bytes.fromhex(payload)) for section, valid, payloads in UTF_8 for case, payload in enumerate(payloads, 1)),
    # Of the prefixes of a text those are valid that end with a character.
    *((f"6.6.{size}", size in (2, 5, 7, 9, 11), GREEK[:size]) for size in range(1, 12)),
    ("6.11.5", False, TOO_HIGH),
]  # fmt: skip


def plain(items: Iterable[Item]) -> list[Any]:
    return [item.code if isinstance(item, Violation) else item for item in items]


def received(chops: Iterable[bytes], max_size: int = 16 * MEBI) -> list[Any]:
    receiver = Receiver(max_size)
    items = plain(item for chop in chops for item in receiver.feed(chop))
    assert receiver.buffered == 0
    return items


@pytest.mark.parametrize(("frames", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_case_has_one_outcome_however_it_is_chopped(frames: list[bytes], expected: list[Any]) -> None:
    wire = b"".join(frames)
    assert received([wire]) == expected
    assert received(frames) == expected
    assert received(cut(wire, 997)) == expected
    if len(wire) < 10_000:
        assert received(cut(wire, 1)) == expected


@pytest.mark.parametrize(("valid", "payload"), [row[1:] for row in PAYLOADS], ids=[row[0] for row in PAYLOADS])
def test_text_is_utf_8_or_is_refused(valid: bool, payload: bytes) -> None:
    expected = [payload.decode()] if valid else [BAD_DATA]
    for frames in ([frame(TEXT, payload)], fragments(TEXT, *cut(payload, 1))):
        wire = b"".join(frames)
        assert received([wire]) == expected
        assert received(cut(wire, 1)) == expected
    assert received([frame(TEXT, payload), frame(PING)])[:1] == expected


@pytest.mark.parametrize(
    ("good", "bad"),
    [([GREEK], TOO_HIGH), ([GREEK + b"\xf4"], b"\x90")],
    ids=["6.4.1", "6.4.2"],
)
def test_invalid_text_is_refused_with_the_fragment_that_breaks_it(good: list[bytes], bad: bytes) -> None:
    receiver = Receiver(MEBI)
    assert receiver.feed(frame(TEXT, good[0], fin=False)) == []
    assert plain(receiver.feed(frame(CONTINUATION, bad, fin=False))) == [BAD_DATA]
    assert receiver.feed(frame(CONTINUATION, b"edited")) == []


def large(opcode: int, size: int) -> tuple[bytes, str | bytes]:
    payload = b"*" * size
    return payload, payload.decode() if opcode == TEXT else payload


KINDS = [(TEXT, 0), (BINARY, 1)]


@pytest.mark.parametrize(
    ("opcode", "size"),
    [
        pytest.param(opcode, size, id=f"9.{1 + later}.{case}")
        for opcode, later in KINDS
        for case, size in enumerate((65_536, 262_144, MEBI, 4 * MEBI, 8 * MEBI, 16 * MEBI), 1)
    ],
)
def test_a_large_message_in_one_frame(opcode: int, size: int) -> None:
    payload, message = large(opcode, size)
    assert received(cut(frame(opcode, payload), 65_536)) == [message]


@pytest.mark.parametrize(
    ("opcode", "piece"),
    [
        pytest.param(opcode, 64 * 4**power, id=f"9.{3 + later}.{power + 1}")
        for opcode, later in KINDS
        for power in range(9)
    ],
)
def test_four_mebibytes_in_fragments(opcode: int, piece: int) -> None:
    payload, message = large(opcode, 4 * MEBI)
    wire = b"".join(fragments(opcode, *cut(payload, piece)))
    assert received(cut(wire, 65_536)) == [message]


@pytest.mark.parametrize(
    ("opcode", "chop"),
    [
        pytest.param(opcode, 64 * 2**power, id=f"9.{5 + later}.{power + 1}")
        for opcode, later in KINDS
        for power in range(6)
    ],
)
def test_a_mebibyte_in_chops(opcode: int, chop: int) -> None:
    payload, message = large(opcode, MEBI)
    assert received(cut(frame(opcode, payload), chop)) == [message]


@pytest.mark.parametrize(
    ("opcode", "size"),
    [
        pytest.param(opcode, size, id=f"9.{7 + later}.{case}")
        for opcode, later in KINDS
        for case, size in enumerate((0, 16, 64, 256, 1_024, 4_096), 1)
    ],
)
def test_a_thousand_messages(opcode: int, size: int) -> None:
    payload, message = large(opcode, size)
    frames = [frame(opcode, payload)] * 1_000
    assert received(frames) == received(cut(b"".join(frames), 65_536)) == [message] * 1_000
