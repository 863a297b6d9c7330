"""Frames on their way out: bytes of RFC 6455, agreed on by independent implementations."""

from __future__ import annotations

import importlib.util
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from wsproto.frame_protocol import FrameProtocol

from rtserver.protocol.websocket import masking
from rtserver.protocol.websocket.frames import (
    binary_frame,
    client_frame,
    close_frame,
    ping_frame,
    pong_frame,
    text_frame,
)
from rtserver.protocol.websocket.masking import apply_mask, apply_mask_in_python

SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000]


@pytest.mark.parametrize("size", SIZES)
def test_a_text_frame_is_what_websockets_writes(size: int) -> None:
    payload = b"x" * size
    assert text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)


@pytest.mark.parametrize("size", SIZES)
def test_a_binary_frame_is_what_wsproto_writes(size: int) -> None:
    payload = b"\xff" * size
    assert binary_frame(payload) == FrameProtocol(client=False, extensions=[]).send_data(payload)


@pytest.mark.parametrize("size", SIZES)
def test_a_compressed_frame_has_its_bit(size: int) -> None:
    payload = b"x" * size
    for write in (text_frame, binary_frame):
        plain, flagged = write(payload), write(payload, rsv1=True)
        assert flagged[0] == plain[0] | 0x40
        assert flagged[1:] == plain[1:]


def test_control_frames_carry_their_data() -> None:
    assert ping_frame(b"a") == b"\x89\x01a"
    assert pong_frame(b"bc") == b"\x8a\x02bc"
    assert close_frame(1000) == b"\x88\x02\x03\xe8"
    assert close_frame(1009, "too big") == b"\x88\x09\x03\xf1too big"


def test_a_close_reason_is_cut_between_characters() -> None:
    frame = close_frame(1002, "ü" * 100)
    assert len(frame) == 2 + 2 + 122
    assert frame[4:].decode() == "ü" * 61


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_both_ways_of_masking_agree_and_undo_themselves(data: bytes, mask: bytes) -> None:
    masked = apply_mask(data, mask)
    assert masked == apply_mask_in_python(data, mask)
    assert apply_mask_in_python(masked, mask) == data


def test_without_the_extension_masking_is_done_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "websockets.speedups", None)
    spec = importlib.util.spec_from_file_location("masking_without_extension", masking.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.apply_mask is module.apply_mask_in_python
    assert module.apply_mask(b"hello", b"\1\2\3\4") == apply_mask(b"hello", b"\1\2\3\4")


def test_where_the_extension_is_it_masks() -> None:
    assert apply_mask is not apply_mask_in_python


@pytest.mark.parametrize("size", SIZES)
def test_a_client_frame_is_masked(size: int) -> None:
    payload = b"y" * size
    frame = client_frame(2, payload, b"\1\2\3\4")
    head = frame[: len(frame) - size - 4]
    assert head[1] & 0x80
    assert apply_mask(frame[-size:] if size else b"", b"\1\2\3\4") == payload


def test_a_client_frame_may_be_a_fragment() -> None:
    assert client_frame(1, b"", b"\0\0\0\0", fin=False) == b"\x01\x80\0\0\0\0"
