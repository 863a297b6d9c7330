"""The msgpack parser: bytes of socket.io-msgpack-parser 3, read and written."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtserver.errors import EncodeError, ProtocolError
from rtserver.protocol.socketio.msgpack_parser import MsgpackParser
from rtserver.protocol.socketio.packet import MAX_ID, Packet, PacketType

PARSER = MsgpackParser()

# (wire, value): maps in the order type, nsp, data, id.
ROWS = [
    (b"\x82\xa4type\x00\xa3nsp\xa1/", Packet(PacketType.CONNECT)),
    (b"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\x81\xa1a\x01", Packet(PacketType.CONNECT, "/", {"a": 1})),
    (b"\x82\xa4type\x01\xa3nsp\xa2/a", Packet(PacketType.DISCONNECT, "/a")),
    (b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1e\xc4\x01\xff", Packet(PacketType.EVENT, "/", ["e", b"\xff"])),
    (b"\x84\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xa1e\xa2id\x07", Packet(PacketType.EVENT, "/", ["e"], 7)),
    (b"\x84\xa4type\x03\xa3nsp\xa1/\xa4data\x90\xa2id\x00", Packet(PacketType.ACK, "/", [], 0)),
    (
        b"\x83\xa4type\x04\xa3nsp\xa1/\xa4data\x81\xa7message\xa2no",
        Packet(PacketType.CONNECT_ERROR, "/", {"message": "no"}),
    ),
]


@pytest.mark.parametrize(("wire", "packet"), ROWS)
def test_a_row_is_written_and_read(wire: bytes, packet: Packet) -> None:
    assert PARSER.decode_binary(wire) == packet
    written = PARSER.encode(packet)
    assert (written.text, written.attachments) == (None, (wire,))


def test_binary_packets_are_plain_ones() -> None:
    event = PARSER.encode(Packet(PacketType.BINARY_EVENT, "/", ["e", b"x"]))
    assert PARSER.decode_binary(event.attachments[0]).type is PacketType.EVENT
    ack = PARSER.encode_ack("/", [b"x"], 3)
    assert PARSER.decode_binary(ack.attachments[0]) == Packet(PacketType.ACK, "/", [b"x"], 3)
    assert not PARSER.encode_event("/", ["e"], compress=False).compress


def wire_of(**packet: Any) -> bytes:
    return msgspec.msgpack.encode(packet)


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"\xc1",
        b"\x90",
        b"\x81",
        msgspec.msgpack.encode("text"),
        wire_of(nsp="/", data=["e"]),
        wire_of(type=5, nsp="/", data=["e"]),
        wire_of(type=-1, nsp="/", data=["e"]),
        wire_of(type=True, nsp="/", data=["e"]),
        wire_of(type=2, data=["e"]),
        wire_of(type=2, nsp="chat", data=["e"]),
        wire_of(type=2, nsp=7, data=["e"]),
        wire_of(type=2, nsp="/", data=["e"], id=-1),
        wire_of(type=2, nsp="/", data=["e"], id=True),
        wire_of(type=2, nsp="/", data=["e"], id=1.0),
        wire_of(type=2, nsp="/", data=["e"], id=MAX_ID + 1),
        wire_of(type=2, nsp="/"),
        wire_of(type=2, nsp="/", data=[]),
        wire_of(type=2, nsp="/", data=["connect"]),
        wire_of(type=0, nsp="/", data=[]),
        wire_of(type=1, nsp="/", data={}),
        wire_of(type=3, nsp="/", data={}),
        wire_of(type=2, nsp="/", data=["e"]) + b"\x00",
        b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data" + b"\x91" * 100_000,
        b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1e" + b"\x91" * 120 + b"\x90",
        b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1e\xa2\xff\xff",
        b"\x81\x91\x01\x02",
    ],
)
def test_a_malformed_packet_is_refused(wire: bytes) -> None:
    with pytest.raises(ProtocolError):
        PARSER.decode_binary(wire)


def test_text_is_refused() -> None:
    with pytest.raises(ProtocolError):
        PARSER.decode_text('2["e"]')


HEAD = b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1e"
DATE = dt.datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=dt.UTC)
DATE_WIRE = b"\xd7\x00" + (1_700_000_000_123).to_bytes(8, "big")


@pytest.mark.parametrize(
    ("wire", "value"),
    [
        (b"\xd4\x00\x00", None),
        (DATE_WIRE, DATE),
        (b"\xd7\x00" + b"\xff" * 8, dt.datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=dt.UTC)),
        # ArrayBuffers, also those as long as a date or as ``undefined``.
        (b"\xc7\x00\x00", b""),
        (b"\xc7\x01\x00\x09", b"\x09"),
        (b"\xc7\x03\x00abc", b"abc"),
        (b"\xc7\x08\x00" + b"\x00" * 8, b"\x00" * 8),
        (b"\x93" + DATE_WIRE + b"\xc7\x08\x00" + b"\x00" * 8 + b"\xd4\x00\x00", [DATE, b"\x00" * 8, None]),
        # The same bytes inside of something else are left alone.
        (b"\x92\xc4\x03\xc7\x08\x00" + DATE_WIRE, [b"\xc7\x08\x00", DATE]),
        # msgpack's own timestamp, which other clients send.
        (b"\xd6\xff" + (1_700_000_000).to_bytes(4, "big"), DATE.replace(microsecond=0)),
    ],
)
def test_extensions_are_understood(wire: bytes, value: Any) -> None:
    assert PARSER.decode_binary(HEAD + wire).data == ["e", value]


@pytest.mark.parametrize(
    "wire",
    [
        b"\xd4\x05\x09",
        b"\xd7\x00" + (8_640_000_000_000_000).to_bytes(8, "big"),
        b"\xd7\x00\x7f" + b"\xff" * 7,
    ],
)
def test_an_extension_that_python_has_no_value_for_is_passed_on(wire: bytes) -> None:
    packet = PARSER.decode_binary(HEAD + wire)
    assert PARSER.encode(packet).attachments == (HEAD + wire,)


class Meeting(msgspec.Struct):
    at: dt.datetime
    tags: tuple[str, ...] = ()


def test_dates_leave_as_javascript_writes_them() -> None:
    for value in (DATE, DATE.replace(microsecond=123_456), DATE.astimezone(dt.timezone(dt.timedelta(hours=2)))):
        assert PARSER.encode_event("/", ["e", value]).attachments == (HEAD + DATE_WIRE,)
    ancient = dt.datetime(1, 1, 1, tzinfo=dt.UTC)
    assert PARSER.decode_binary(PARSER.encode_event("/", ["e", ancient]).attachments[0]).data == ["e", ancient]
    inside = PARSER.encode_event("/", ["e", {"list": [Meeting(DATE, ("a",)), b"\xd7\xff", -1, (DATE,)]}])
    assert PARSER.decode_binary(inside.attachments[0]).data == [
        "e",
        {"list": [{"at": DATE, "tags": ["a"]}, b"\xd7\xff", -1, [DATE]]},
    ]


def test_a_date_without_a_zone_is_text() -> None:
    naive, aware = DATE.replace(tzinfo=None), DATE
    sent = PARSER.encode_event("/", ["e", [naive, aware]])
    assert PARSER.decode_binary(sent.attachments[0]).data == ["e", ["2023-11-14T22:13:20.123000", DATE]]


def test_malformed_wire_with_an_array_buffer_is_refused() -> None:
    with pytest.raises(ProtocolError):
        PARSER.decode_binary(HEAD + b"\xc7\x08\x00")


BLANK = Meeting(DATE)
del BLANK.at


@pytest.mark.parametrize("value", [object(), 2**70, "\ud800", memoryview(b"a-b-")[::2], BLANK])
def test_what_has_no_msgpack_form_cannot_be_sent(value: Any) -> None:
    with pytest.raises(EncodeError):
        PARSER.encode_event("/", ["e", value])


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
    # What could be taken for an extension.
    | st.lists(st.sampled_from([0, 1, 8, 0xC7, 0xD4, 0xD7, 0xFF]), max_size=6).map(bytes)
    | st.datetimes(timezones=st.just(dt.UTC)).map(lambda at: at.replace(microsecond=at.microsecond // 1_000 * 1_000)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(st.lists(VALUES, max_size=4), st.none() | st.integers(0, MAX_ID))
def test_an_event_comes_back_as_it_was_sent(args: list[Any], ack_id: int | None) -> None:
    written = PARSER.encode_event("/chat", ["name", *args], ack_id)
    assert PARSER.decode_binary(written.attachments[0]) == Packet(PacketType.EVENT, "/chat", ["name", *args], ack_id)


@given(
    st.binary()
    | st.lists(st.sampled_from([b"\x91", b"\xc7\x08\x00", b"\xd7\x00", b"\xff" * 8])).map(b"".join).map(HEAD.__add__)
)
def test_garbage_is_parsed_or_refused(wire: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        PARSER.decode_binary(wire)
