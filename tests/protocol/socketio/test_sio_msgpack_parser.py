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


def test_extensions_of_javascript_are_understood() -> None:
    head = b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1e"
    undefined = PARSER.decode_binary(head + b"\xd4\x00\x00")
    assert undefined.data == ["e", None]
    date = PARSER.decode_binary(head + b"\xd6\xff" + (1_700_000_000).to_bytes(4, "big"))
    assert date.data[1] == dt.datetime.fromtimestamp(1_700_000_000, dt.UTC)
    other = PARSER.decode_binary(head + b"\xd4\x05\x09")
    assert other.data[1].code == 5
    assert PARSER.encode(other).attachments == (head + b"\xd4\x05\x09",)


@pytest.mark.parametrize("value", [object(), 2**70, "\ud800"])
def test_what_has_no_msgpack_form_cannot_be_sent(value: Any) -> None:
    with pytest.raises(EncodeError):
        PARSER.encode_event("/", ["e", value])


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary(),
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


@given(st.binary())
def test_garbage_is_parsed_or_refused(wire: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        PARSER.decode_binary(wire)
