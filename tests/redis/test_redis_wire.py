"""The format of ``@socket.io/redis-adapter`` 8.3, as the reference packages have written it."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtserver.adapters.base import Flags, Target
from rtserver.adapters.redis import wire
from rtserver.adapters.redis.wire import Channels, RequestType
from rtserver.errors import EncodeError, ProtocolError
from rtserver.protocol.socketio import extensions

UID = "fAmfNZ"
BROADCASTS: list[tuple[str, str, list[Any], Target, Flags, bytes]] = [
    (
        "93a666416d664e5a83a47479706502a46461746194a3666f6f01a2c3a981a16192c3c0a36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677380",
        "/",
        ["foo", 1, "é", {"a": [True, None]}],
        Target(),
        Flags(),
        b"socket.io#/#",
    ),
    (
        "93a666416d664e5a83a47479706502a46461746191a3666f6fa36e7370a12f83a5726f6f6d7391a5726f6f6d31a665786365707490a5666c61677380",
        "/",
        ["foo"],
        Target(frozenset(["room1"])),
        Flags(),
        b"socket.io#/#room1#",
    ),
    (
        "93a666416d664e5a83a47479706502a46461746191a3666f6fa36e7370a12f83a5726f6f6d7392a27231a27232a665786365707491a27233a5666c61677382a8636f6d7072657373c2a8766f6c6174696c65c3",
        "/",
        ["foo"],
        Target(frozenset(["r1", "r2"]), frozenset(["r3"])),
        Flags(volatile=True, compress=False),
        b"socket.io#/#",
    ),
    (
        "93a666416d664e5a83a47479706502a46461746192a3666f6fc403010203a36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677380",
        "/",
        ["foo", b"\x01\x02\x03"],
        Target(),
        Flags(),
        b"socket.io#/#",
    ),
    (
        "93a666416d664e5a83a47479706502a46461746191a3666f6fa36e7370a42f6e737083a5726f6f6d7390a665786365707490a5666c61677380",
        "/nsp",
        ["foo"],
        Target(),
        Flags(),
        b"socket.io#/nsp#",
    ),
]


@pytest.mark.parametrize(("golden", "namespace", "data", "target", "flags", "channel"), BROADCASTS)
def test_broadcasts_both_ways(
    golden: str, namespace: str, data: list[Any], target: Target, flags: Flags, channel: bytes
) -> None:
    assert wire.encode_broadcast(UID, namespace, data, target, flags).hex() == golden
    packet = wire.decode_broadcast(bytes.fromhex(golden), namespace)
    assert (packet.uid, packet.data, packet.target, packet.flags) == (UID, data, target, flags)
    assert Channels.of(namespace, UID).of_room(target.rooms) == channel


EMITTED = (
    "93a7656d697474657283a47479706502a46461746192a3666f6fa3626172"
    "a36e7370a12f83a5726f6f6d7390a5666c61677380a665786365707490"
)


def test_the_emitter_is_read_whatever_the_order_of_its_options() -> None:
    packet = wire.decode_broadcast(bytes.fromhex(EMITTED), "/")
    assert (packet.uid, packet.data) == ("emitter", ["foo", "bar"])


REQUESTS: list[tuple[bytes, str]] = [
    (
        wire.encode_request(RequestType.REMOTE_FETCH, uid=UID, requestId="UTnaGN", target=Target()),
        '{"uid":"fAmfNZ","requestId":"UTnaGN","type":5,"opts":{"rooms":[],"except":[]}}',
    ),
    (
        wire.encode_request(RequestType.REMOTE_JOIN, uid=UID, target=Target(frozenset(["room1"])), rooms=["x", "y"]),
        '{"uid":"fAmfNZ","type":2,"opts":{"rooms":["room1"],"except":[]},"rooms":["x","y"]}',
    ),
    (
        wire.encode_request(RequestType.REMOTE_LEAVE, uid=UID, target=Target(frozenset(["room1"])), rooms=["x"]),
        '{"uid":"fAmfNZ","type":3,"opts":{"rooms":["room1"],"except":[]},"rooms":["x"]}',
    ),
    (
        wire.encode_request(RequestType.REMOTE_DISCONNECT, uid=UID, target=Target(frozenset(["JQ"])), close=True),
        '{"uid":"fAmfNZ","type":4,"opts":{"rooms":["JQ"],"except":[]},"close":true}',
    ),
    (
        wire.encode_request(RequestType.SERVER_SIDE_EMIT, uid=UID, data=["ping2", "hello"]),
        '{"uid":"fAmfNZ","type":6,"data":["ping2","hello"]}',
    ),
    (
        wire.encode_request(RequestType.SERVER_SIDE_EMIT, uid=UID, requestId="0cmLYT", data=["ping2", "hello"]),
        '{"uid":"fAmfNZ","requestId":"0cmLYT","type":6,"data":["ping2","hello"]}',
    ),
]


@pytest.mark.parametrize(("written", "golden"), REQUESTS)
def test_requests_are_written_as_the_reference_writes_them(written: bytes, golden: str) -> None:
    assert written == golden.encode()


def test_acknowledgements_are_written_as_the_reference_writes_them() -> None:
    assert (
        wire.encode_ack("Z2baZh", ("r2",)).hex()
        == "83a47479706509a9726571756573744964a65a3262615a68a67061636b6574a27232"
    )


@pytest.mark.parametrize(
    ("namespace", "pattern"),
    [("/", b"socket.io#/#*"), ("/a*?[b]\\", rb"socket.io#/a\*\?\[b\]\\#*"), ("/é", "socket.io#/é#*".encode())],
)
def test_characters_that_a_pattern_would_interpret_are_escaped(namespace: str, pattern: bytes) -> None:
    assert Channels.of(namespace, UID).pattern == pattern


def test_the_room_is_found_in_the_channel_whatever_is_in_its_name() -> None:
    channels = Channels.of("/chat", UID)
    for room in ("a", "a#b", "#", "é", "x" * 1000):
        assert channels.room(channels.of_room(frozenset([room]))) == room
    assert channels.room(channels.broadcast) is None


def test_rooms_may_be_numbers_as_javascript_has_them() -> None:
    assert wire.read_target({"opts": {"rooms": [7, "a"], "except": [8]}}) == Target(
        frozenset(["7", "a"]), frozenset(["8"])
    )
    assert wire.read_rooms({"rooms": [1]}) == ["1"]
    assert wire.read_target({"sid": "abc"}) == Target(frozenset(["abc"]))
    assert wire.read_rooms({"room": "r"}) == ["r"]


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        [],
        ["uid"],
        ["uid", {}, {}],
        ["uid", {"type": 3, "data": ["a"], "nsp": "/"}, {}],
        ["uid", {"type": 2, "data": [], "nsp": "/"}, {}],
        ["uid", {"type": 2, "data": [None], "nsp": "/"}, {}],
        ["uid", {"type": 2, "data": ["connect"], "nsp": "/"}, {}],
        ["uid", {"type": 2, "data": "a", "nsp": "/"}, {}],
        ["uid", {"type": 2, "data": ["a"], "nsp": "/other"}, {}],
        ["uid", {"type": 2, "data": ["a"], "nsp": "/"}, {"rooms": "a"}],
        ["uid", {"type": 2, "data": ["a"], "nsp": "/"}, {"rooms": [None]}],
        ["uid", {"type": 2, "data": ["a"], "nsp": "/"}, {"rooms": [True]}],
        ["uid", {"type": 2, "data": ["a"], "nsp": "/"}, {"rooms": ["x"] * 20_000}],
        [7, {"type": 2, "data": ["a"], "nsp": "/"}, {}],
    ],
)
def test_what_is_no_broadcast_is_refused(value: Any) -> None:
    with pytest.raises(ProtocolError):
        wire.decode_broadcast(extensions.encode(value), "/")


# A pickle that would call ``print``, were it read.
PICKLE = b"cbuiltins\nprint\n(Vhello\ntR."


@pytest.mark.parametrize("payload", [b"", b"{", b"{}x", b"[]", b"\xc1", PICKLE, b"\x93" * 100_000, b"{" * 100_000])
def test_garbage_is_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        wire.decode_message(payload)
    with pytest.raises(ProtocolError):
        wire.decode_broadcast(payload, "/")


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_or_refused(payload: bytes) -> None:
    for read in (lambda: wire.decode_broadcast(payload, "/"), lambda: wire.decode_message(payload)):
        with contextlib.suppress(ProtocolError):
            read()


@given(
    st.dictionaries(
        st.sampled_from(["id", "rooms", "data", "handshake", "opts", "sid", "room", "packet", "nsp"]),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
            max_leaves=8,
        ),
    )
)
def test_fields_of_any_type_are_read_or_refused(message: dict[str, Any]) -> None:
    for read in (
        lambda: wire.read_details(message),
        lambda: wire.read_target(message),
        lambda: wire.read_rooms(message),
        lambda: wire.read_packet(message, "/"),
    ):
        with contextlib.suppress(ProtocolError):
            read()


def test_what_cannot_be_sent_is_an_error_of_whoever_sends_it() -> None:
    with pytest.raises(EncodeError):
        wire.encode_broadcast(UID, "/", ["a", object()], Target(), Flags())
    with pytest.raises(EncodeError):
        wire.to_json({"data": object()})
    assert json.loads(wire.to_json({"a": 1})) == {"a": 1}
