"""Whatever is on the wire, read by us and by an independent implementation: one verdict, however it is cut."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, ParseFailed
from wsproto.frame_protocol import Opcode as PeerOpcode

from rtserver.protocol.websocket.frames import (
    TEXT,
    binary_frame,
    client_frame,
    close_frame,
    ping_frame,
    pong_frame,
    text_frame,
)
from rtserver.protocol.websocket.masking import apply_mask
from rtserver.protocol.websocket.receiver import Close, Item, Ping, Pong, Receiver, Violation

MASK = b"\x37\xfa\x21\x3d"
LIMIT = 1 << 22


def text(payload: bytes) -> bytes:
    return client_frame(TEXT, payload, MASK)


def ours(*pieces: bytes, max_size: int = LIMIT) -> list[Any]:
    """What we read: items, and a bare code where the wire is in violation."""
    receiver = Receiver(max_size)
    items: list[Item] = [item for piece in pieces for item in receiver.feed(piece)]
    return [item.code if isinstance(item, Violation) else item for item in items]


def theirs(wire: bytes, *, client: bool = False) -> list[Any]:
    """What wsproto reads of the same, in the same form."""
    peer = FrameProtocol(client=client, extensions=[])
    peer.receive_bytes(wire)
    items: list[Any] = []
    parts: list[Any] = []
    try:
        for one in peer.received_frames():
            match one.opcode:
                case PeerOpcode.PING | PeerOpcode.PONG:
                    assert isinstance(one.payload, bytes)
                    items.append((Ping if one.opcode is PeerOpcode.PING else Pong)(one.payload))
                case PeerOpcode.CLOSE:
                    assert isinstance(one.payload, tuple)
                    items.append(Close(int(one.payload[0]), one.payload[1]))
                case _:
                    parts.append(one.payload)
                    if one.frame_finished and one.message_finished:
                        items.append("".join(parts) if isinstance(parts[0], str) else b"".join(parts))
                        parts = []
    except ParseFailed as exc:
        items.append(int(exc.code))
    return items


LENGTHS = [0, 125, 126, 127, 128, 65_535, 65_536]


@pytest.mark.parametrize("size", LENGTHS)
def test_what_we_write_is_read_by_others(size: int) -> None:
    payload = b"*" * size
    wire = text_frame(payload) + binary_frame(payload) + ping_frame(payload[:125]) + pong_frame(payload[:125])
    expected = [payload.decode(), payload, Ping(payload[:125]), Pong(payload[:125]), Close(1001, "bye")]
    assert theirs(wire + close_frame(1001, "bye"), client=True) == expected


def raw_frame(first: int, payload: bytes, mask: bytes, length_bytes: int) -> bytes:
    """A frame with any first byte, and its length in 1, 2 or 8 bytes, whether it has to be or not."""
    size = len(payload)
    if length_bytes == 8:
        length = b"\xff" + size.to_bytes(8, "big")
    elif length_bytes == 2 or size > 125:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = bytes([0x80 | size])
    return bytes([first]) + length + mask + apply_mask(payload, mask)


GOOD_FIRST = st.sampled_from([0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8A])
PAYLOADS = (
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40).map(str.encode)
    | st.binary(max_size=20)
    | st.sampled_from([b"", b"\x03\xe8", b"\x03\xed", b"\xce\xba", b"\xed\xa0\x80", b"*" * 125, b"*" * 126, b"*" * 200])
)
MASKS = st.binary(min_size=4, max_size=4)
FRAMES = st.lists(
    st.builds(raw_frame, GOOD_FIRST, PAYLOADS, MASKS, st.just(1))
    | st.builds(
        raw_frame, GOOD_FIRST | st.just(0x88) | st.integers(0, 255), PAYLOADS, MASKS, st.sampled_from([1, 2, 8])
    ),
    max_size=8,
).map(b"".join)
WIRES = FRAMES | st.builds(lambda wire, tail: wire + tail, FRAMES, st.binary(max_size=30))


@given(FRAMES)
def test_any_frames_are_judged_as_another_implementation_does(wire: bytes) -> None:
    verdict = ours(wire)
    if verdict and isinstance(verdict[-1], Close) and verdict[-1].code == 1014:
        # Registered with the IANA after wsproto's list was made.
        verdict[-1] = 1002
    assert verdict == theirs(wire)


@given(WIRES, st.lists(st.integers(0, 600), max_size=8), st.sampled_from([0, 1, 50, 130, LIMIT]))
@example(text(b"ok") + text(b"\xff") + text(b"late"), [9], LIMIT)
def test_any_bytes_are_read_the_same_however_they_are_cut(wire: bytes, cuts: list[int], max_size: int) -> None:
    whole = ours(wire, max_size=max_size)
    assert ours(*(wire[at : at + 1] for at in range(len(wire))), max_size=max_size) == whole
    edges = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    assert ours(*(wire[start:end] for start, end in itertools.pairwise(edges)), max_size=max_size) == whole


@given(WIRES, st.binary(max_size=40))
def test_after_the_end_nothing_is_read_or_held(wire: bytes, late: bytes) -> None:
    receiver = Receiver(100)
    items = receiver.feed(wire)
    ends = [index for index, item in enumerate(items) if isinstance(item, (Close, Violation))]
    assert ends in ([], [len(items) - 1])
    if ends:
        assert receiver.buffered == 0
        assert receiver.feed(late) == []
        assert receiver.buffered == 0
