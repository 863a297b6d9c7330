"""Engine.IO packets, payloads and messages made ready."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtserver.errors import ProtocolError
from rtserver.protocol.engineio.outbound import COMPRESS_FROM, Outbound
from rtserver.protocol.engineio.packet import Packet, PacketType
from rtserver.protocol.engineio.payload import decode_payload, encode_payload
from rtserver.protocol.websocket.frames import binary_frame, text_frame

# (wire, value), read both ways.
ROWS = [
    ('0{"sid":"x"}', Packet(PacketType.OPEN, '{"sid":"x"}')),
    ("1", Packet(PacketType.CLOSE)),
    ("2", Packet(PacketType.PING)),
    ("2probe", Packet(PacketType.PING, "probe")),
    ("3probe", Packet(PacketType.PONG, "probe")),
    ("4hello €", Packet(PacketType.MESSAGE, "hello €")),
    ("5", Packet(PacketType.UPGRADE)),
    ("6", Packet(PacketType.NOOP)),
    (b"\x01\x02", Packet(PacketType.MESSAGE, b"\x01\x02")),
    (b"", Packet(PacketType.MESSAGE, b"")),
]


@pytest.mark.parametrize(("wire", "packet"), ROWS)
def test_a_row_is_written_and_read(wire: str | bytes, packet: Packet) -> None:
    assert packet.encode() == wire
    assert Packet.decode(wire) == packet


@pytest.mark.parametrize("wire", ["", "7", "b", "٤text", "²", "-1", " 4", "\x00"])
def test_an_unknown_type_is_refused(wire: str) -> None:
    with pytest.raises(ProtocolError, match="packet type"):
        Packet.decode(wire)


@given(st.text() | st.binary())
def test_a_garbage_packet_is_parsed_or_refused(wire: str | bytes) -> None:
    with contextlib.suppress(ProtocolError):
        assert Packet.decode(wire).encode() == wire


def test_a_payload_is_split() -> None:
    packets = decode_payload("4hello\x1e2\x1ebAQID", max_packets=3)
    assert packets == [
        Packet(PacketType.MESSAGE, "hello"),
        Packet(PacketType.PING),
        Packet(PacketType.MESSAGE, b"\x01\x02\x03"),
    ]


def test_a_payload_of_too_many_packets_is_refused_whole() -> None:
    assert len(decode_payload("\x1e".join(["4"] * 5), max_packets=5)) == 5
    with pytest.raises(ProtocolError, match="more than 4"):
        decode_payload("\x1e".join(["4"] * 5), max_packets=4)


@pytest.mark.parametrize(
    "body", ["", "4a\x1e", "\x1e4a", "4a\x1e\x1e4b", "bAQI", "bAQID=", "bAQ==\n", "b@@@@", "bAR==", "bÄQID", "b A=="]
)
def test_a_malformed_payload_is_refused(body: str) -> None:
    with pytest.raises(ProtocolError):
        decode_payload(body, max_packets=10)


MESSAGES = st.lists(
    st.text(st.characters(exclude_characters="\x1e", exclude_categories=["Cs"])) | st.binary(), min_size=1
)


@given(MESSAGES)
def test_messages_survive_a_payload(messages: list[str | bytes]) -> None:
    parts = [
        b"4" + message.encode() if isinstance(message, str) else b"b" + base64.b64encode(message)
        for message in messages
    ]
    body = encode_payload(parts).decode()
    assert [packet.data for packet in decode_payload(body, max_packets=len(messages))] == messages


@given(st.text())
def test_a_garbage_payload_is_parsed_or_refused(body: str) -> None:
    with contextlib.suppress(ProtocolError):
        decode_payload(body, max_packets=5)


def test_a_text_message_is_one_frame() -> None:
    message = Outbound(b'2["a"]')
    assert message.frames == text_frame(b'42["a"]')
    assert message.count == 1
    assert message.parts() == (b'42["a"]',)
    assert message.packets() == ['42["a"]']


def test_what_is_left_of_a_message_goes_as_it_is_and_is_no_packet_more() -> None:
    message = Outbound(b'2["a"]')
    rest = message.rest(3)
    assert rest.frames == message.frames[3:]
    assert (rest.count, rest.compress) == (0, False)
    assert (message.count, message.compress) == (1, True)


def test_attachments_follow_their_packet() -> None:
    message = Outbound(b"52-[]", (b"\x01", b"\x02\x03"))
    assert message.frames == text_frame(b"452-[]") + binary_frame(b"\x01") + binary_frame(b"\x02\x03")
    assert message.count == 3
    assert message.parts() == (b"452-[]", b"bAQ==", b"bAgM=")
    assert message.parts() is message.parts()
    assert message.packets() == ["452-[]", b"\x01", b"\x02\x03"]


def test_a_message_may_be_binary_alone() -> None:
    message = Outbound(None, (b"\x84",))
    assert message.frames == binary_frame(b"\x84")
    assert message.count == 1
    assert message.parts() == (b"bhA==",)
    assert message.packets() == [b"\x84"]
    assert message.deflated(15) == message.frames


def test_only_what_is_worth_it_is_compressed_and_only_once() -> None:
    large = b"x" * COMPRESS_FROM
    message = Outbound(large, (b"small", large))
    compressed = message.deflated(15)
    assert compressed is message.deflated(15)
    assert compressed[0] == 0xC1
    assert len(compressed) < 200
    assert binary_frame(b"small") in compressed
    assert Outbound(b"small").deflated(12) == text_frame(b"4small")
