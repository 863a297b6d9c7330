"""The words of ``@socket.io/redis-adapter`` 8.3 and its relatives, as the reference packages have written them."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtserver.adapters.base import Flags, SocketDetails, Target
from rtserver.adapters.redis import messages
from rtserver.adapters.redis.classic import Classic
from rtserver.adapters.redis.messages import Asked, Dialect, Message, Outgoing, Question
from rtserver.adapters.redis.sharded import Sharded
from rtserver.adapters.redis.wire import EMITTER
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


OTHER = "zzzzzz"
EVERYBODY = b"socket.io-request#/#"
RESPONSES = b"socket.io-response#/#"
ROOM1 = Target(frozenset(["room1"]))


@pytest.mark.parametrize(("golden", "namespace", "data", "target", "flags", "channel"), BROADCASTS)
def test_broadcasts_both_ways(
    golden: str, namespace: str, data: list[Any], target: Target, flags: Flags, channel: bytes
) -> None:
    outgoing = Classic(namespace, UID).broadcast(data, target, flags)
    assert (outgoing.channel, outgoing.payload.hex()) == (channel, golden)
    read = Classic(namespace, OTHER).read(*outgoing, {})
    assert read == messages.Broadcast(data, target, flags)
    assert Classic(namespace, UID).read(*outgoing, {}) is None


EMITTED: list[tuple[Outgoing, bytes, str]] = [
    (
        Classic("/", EMITTER).broadcast(["foo", "bar"], Target(), Flags()),
        b"socket.io#/#",
        (
            "93a7656d697474657283a47479706502a46461746192a3666f6fa3626172"
            "a36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677380"
        ),
    ),
    (
        Classic("/", EMITTER).broadcast(["foo"], ROOM1, Flags()),
        b"socket.io#/#room1#",
        (
            "93a7656d697474657283a47479706502a46461746191a3666f6fa36e7370a12f"
            "83a5726f6f6d7391a5726f6f6d31a665786365707490a5666c61677380"
        ),
    ),
]


@pytest.mark.parametrize(("outgoing", "channel", "wire"), EMITTED)
def test_the_emitter_writes_what_that_of_the_reference_does(outgoing: Outgoing, channel: bytes, wire: str) -> None:
    assert (outgoing.channel, outgoing.payload.hex()) == (channel, wire)


# Its options come in another order than the adapter's.
EMITTER_WROTE = (
    "93a7656d697474657283a47479706502a46461746192a3666f6f01a36e7370a42f6e737083a5726f6f6d7390"
    "a5666c61677381a8766f6c6174696c65c3a665786365707491a178"
)


def test_the_emitter_is_read_whatever_the_order_of_its_options() -> None:
    read = Classic("/nsp", UID).read(b"socket.io#/nsp#", bytes.fromhex(EMITTER_WROTE), {})
    assert read == messages.Broadcast(["foo", 1], Target(excluded=frozenset("x")), Flags(volatile=True))


CLASSIC = Classic("/", UID)
ANYBODY = Classic("/", EMITTER)
ASKED = Asked("UTnaGN")
ASKED_7 = Asked("Z2baZh")
REQUESTS: list[tuple[Outgoing, str, Message]] = [
    (
        CLASSIC.fetch(Target(), "UTnaGN"),
        '{"uid":"fAmfNZ","requestId":"UTnaGN","type":5,"opts":{"rooms":[],"except":[]}}',
        messages.FetchSockets(Target(), ASKED),
    ),
    (
        CLASSIC.join(ROOM1, ["x", "y"]),
        '{"uid":"fAmfNZ","type":2,"opts":{"rooms":["room1"],"except":[]},"rooms":["x","y"]}',
        messages.Join(ROOM1, ["x", "y"]),
    ),
    (
        CLASSIC.leave(ROOM1, ["x"]),
        '{"uid":"fAmfNZ","type":3,"opts":{"rooms":["room1"],"except":[]},"rooms":["x"]}',
        messages.Leave(ROOM1, ["x"]),
    ),
    (
        CLASSIC.disconnect(Target(frozenset(["JQ"])), True),
        '{"uid":"fAmfNZ","type":4,"opts":{"rooms":["JQ"],"except":[]},"close":true}',
        messages.Disconnect(Target(frozenset(["JQ"])), True),
    ),
    (
        CLASSIC.server_side(["ping2", "hello"]),
        '{"uid":"fAmfNZ","type":6,"data":["ping2","hello"]}',
        messages.ServerSide(["ping2", "hello"]),
    ),
    (
        CLASSIC.server_side(["ping2", "hello"], "0cmLYT"),
        '{"uid":"fAmfNZ","requestId":"0cmLYT","type":6,"data":["ping2","hello"]}',
        messages.ServerSide(["ping2", "hello"], Asked("0cmLYT")),
    ),
    (
        CLASSIC.list_rooms("UTnaGN"),
        '{"uid":"fAmfNZ","requestId":"UTnaGN","type":1}',
        messages.ListRooms(ASKED),
    ),
    (
        ANYBODY.join(ROOM1, ["x"]),
        '{"type":2,"opts":{"rooms":["room1"],"except":[]},"rooms":["x"]}',
        messages.Join(ROOM1, ["x"]),
    ),
    (
        ANYBODY.leave(Target(), ["x", "y"]),
        '{"type":3,"opts":{"rooms":[],"except":[]},"rooms":["x","y"]}',
        messages.Leave(Target(), ["x", "y"]),
    ),
    (
        ANYBODY.disconnect(Target(), True),
        '{"type":4,"opts":{"rooms":[],"except":[]},"close":true}',
        messages.Disconnect(Target(), True),
    ),
    (
        ANYBODY.server_side(["ping2", 1]),
        '{"uid":"emitter","type":6,"data":["ping2",1]}',
        messages.ServerSide(["ping2", 1]),
    ),
]


@pytest.mark.parametrize(("outgoing", "golden", "message"), REQUESTS)
def test_requests_are_written_as_the_reference_writes_them(outgoing: Outgoing, golden: str, message: Message) -> None:
    assert outgoing == (EVERYBODY, golden.encode())
    assert Classic("/", OTHER).read(*outgoing, {}) == message


def test_a_question_for_acknowledgements_is_msgpack() -> None:
    outgoing = CLASSIC.broadcast(["q"], Target(), Flags(), "Z2baZh")
    # The reference's flags also hold its own time-out.
    written = (
        "85a3756964a666416d664e5aa9726571756573744964a65a3262615a68a47479706507a67061636b6574"
        "83a47479706502a46461746191a171a36e7370a12fa46f70747383a5726f6f6d7390a665786365707490a5666c616773"
    )
    assert outgoing.channel == EVERYBODY
    assert outgoing.payload.hex() == written + "80"
    read = Classic("/", OTHER).read(EVERYBODY, bytes.fromhex(written + "81a774696d656f7574cd012c"), {})
    assert read == messages.Broadcast(["q"], Target(), Flags(), ASKED_7)
    # Whoever has asked does not answer, though this request carries no name in old versions.
    assert Classic("/", OTHER).read(*outgoing, {"Z2baZh": Question.ACKS}) is None


DETAILS = SocketDetails("a", frozenset(["a", "x"]), {"n": 1}, {"secure": False})
FOUND = SocketDetails("a", frozenset(["a", "x"]), {"n": 1}, {"secure": False}, local=False)
# As the reference writes them, and what we add: our name.
ANSWERS: list[tuple[Outgoing, str, Question, Message]] = [
    (
        CLASSIC.client_count(ASKED_7, 1),
        '{"type":8,"requestId":"Z2baZh","clientCount":1',
        Question.ACKS,
        messages.ClientCount("Z2baZh", UID, 1),
    ),
    (
        CLASSIC.found(ASKED, [DETAILS]),
        '{"requestId":"UTnaGN","sockets":[{"id":"a","handshake":{"secure":false},"rooms":["a","x"],"data":{"n":1}}]',
        Question.SOCKETS,
        messages.Found("UTnaGN", UID, [FOUND]),
    ),
    (
        CLASSIC.told(Asked("0cmLYT"), "pong"),
        '{"type":6,"requestId":"0cmLYT","data":"pong"',
        Question.SERVER_SIDE,
        messages.Told("0cmLYT", UID, "pong"),
    ),
    (
        CLASSIC.rooms(ASKED, ["x", "y"]),
        '{"requestId":"UTnaGN","rooms":["x","y"]',
        Question.ROOMS,
        messages.Rooms("UTnaGN", UID, ["x", "y"]),
    ),
]


@pytest.mark.parametrize(("outgoing", "golden", "question", "message"), ANSWERS)
def test_answers_are_those_of_the_reference_with_a_name(
    outgoing: Outgoing, golden: str, question: Question, message: Any
) -> None:
    assert outgoing == (RESPONSES, f'{golden},"uid":"{UID}"}}'.encode())
    other = Classic("/", OTHER)
    pending = {message.request: question}
    assert other.read(*outgoing, pending) == message
    assert other.read(RESPONSES + OTHER.encode() + b"#", outgoing.payload, pending) == message
    assert other.read(*outgoing, {}) is None
    nameless = other.read(RESPONSES, f"{golden}}}".encode(), pending)
    assert nameless == type(message)(message.request, None, *[getattr(message, name) for name in message.__slots__[2:]])


def test_acknowledgements_are_written_as_the_reference_writes_them() -> None:
    outgoing = CLASSIC.acknowledged(ASKED_7, ("r2",))
    assert outgoing.channel == RESPONSES
    assert outgoing.payload.hex() == "83a47479706509a9726571756573744964a65a3262615a68a67061636b6574a27232"
    assert CLASSIC.read(*outgoing, {"Z2baZh": Question.ACKS}) == messages.Acknowledged("Z2baZh", "r2")
    for args, value in (((), None), ((1, 2), [1, 2])):
        outgoing = CLASSIC.acknowledged(ASKED_7, args)
        assert CLASSIC.read(*outgoing, {"Z2baZh": Question.ACKS}) == messages.Acknowledged("Z2baZh", value)


OLD: list[tuple[dict[str, Any], Message]] = [
    (
        {"requestId": "UTnaGN", "type": 2, "sid": "abc", "room": "r"},
        messages.Join(Target(frozenset(["abc"])), ["r"], ASKED),
    ),
    (
        {"requestId": "UTnaGN", "type": 3, "sid": "abc", "room": "r"},
        messages.Leave(Target(frozenset(["abc"])), ["r"], ASKED),
    ),
    (
        {"requestId": "UTnaGN", "type": 4, "sid": "abc", "close": True},
        messages.Disconnect(Target(frozenset(["abc"])), True, ASKED),
    ),
    ({"requestId": "UTnaGN", "type": 0, "rooms": ["x"]}, messages.ListIds(Target(frozenset(["x"])), ASKED)),
]


@pytest.mark.parametrize(("wire", "message"), OLD)
def test_older_versions_are_understood(wire: dict[str, Any], message: Message) -> None:
    assert CLASSIC.read(EVERYBODY, json.dumps(wire).encode(), {}) == message
    assert CLASSIC.done(ASKED) == (RESPONSES, b'{"requestId":"UTnaGN"}')


@pytest.mark.parametrize(
    ("namespace", "pattern"),
    [("/", b"socket.io#/#*"), ("/a*?[b]\\", rb"socket.io#/a\*\?\[b\]\\#*"), ("/é", "socket.io#/é#*".encode())],
)
def test_characters_that_a_pattern_would_interpret_are_escaped(namespace: str, pattern: bytes) -> None:
    assert Classic(namespace, UID).patterns == (pattern,)


@pytest.mark.parametrize("dialect", [Classic("/chat", UID), Sharded("/chat", "401dd7c38b48e588")])
def test_the_room_is_found_in_the_channel_whatever_is_in_its_name(dialect: Dialect) -> None:
    for room in ("a", "a#b", "#", "é", "x" * 1000):
        outgoing = dialect.broadcast(["foo"], Target(frozenset([room])), Flags())
        assert dialect.room(outgoing.channel) == room
    for outgoing in (dialect.broadcast(["foo"], Target(), Flags()), dialect.fetch(Target(), "x")):
        assert dialect.room(outgoing.channel) is None
    for channel in dialect.channels:
        assert dialect.room(channel) is None


def test_rooms_may_be_numbers_as_javascript_has_them() -> None:
    wire = b'{"type":2,"uid":"x","opts":{"rooms":[7,"a"],"except":[8]},"rooms":[1]}'
    target = Target(frozenset(["7", "a"]), frozenset(["8"]))
    assert CLASSIC.read(EVERYBODY, wire, {}) == messages.Join(target, ["1"])


SHARDED = Sharded("/", "401dd7c38b48e588")
TO_US = b"socket.io#/#401dd7c38b48e588#"
PACKET = {"type": 2, "data": ["a"], "nsp": "/"}


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        [],
        ["uid"],
        ["uid", {}, {}],
        ["uid", {**PACKET, "type": 3}, {}],
        ["uid", {**PACKET, "data": []}, {}],
        ["uid", {**PACKET, "data": [None]}, {}],
        ["uid", {**PACKET, "data": ["connect"]}, {}],
        ["uid", {**PACKET, "data": "a"}, {}],
        ["uid", {**PACKET, "nsp": "/other"}, {}],
        ["uid", PACKET, {"rooms": "a"}],
        ["uid", PACKET, {"rooms": [None]}],
        ["uid", PACKET, {"rooms": [True]}],
        ["uid", PACKET, {"rooms": ["x"] * 20_000}],
        [7, PACKET, {}],
    ],
)
def test_what_is_no_broadcast_is_refused(value: Any) -> None:
    with pytest.raises(ProtocolError):
        CLASSIC.read(b"socket.io#/#", extensions.encode(value), {})


# A pickle that would call ``print``, were it read.
PICKLE = b"cbuiltins\nprint\n(Vhello\ntR."
DIALECTS = (CLASSIC, SHARDED)
CHANNELS = (b"socket.io#/#", b"socket.io#/#room#", EVERYBODY, RESPONSES, TO_US)


@pytest.mark.parametrize("payload", [b"", b"{", b"{}x", b"[]", b"\xc1", PICKLE, b"\x93" * 100_000, b"{" * 100_000])
@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_garbage_is_refused(dialect: Dialect, channel: bytes, payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        dialect.read(channel, payload, {})


@given(st.binary(max_size=200), st.sampled_from(CHANNELS), st.sampled_from(DIALECTS))
def test_whatever_comes_is_read_or_refused(payload: bytes, channel: bytes, dialect: Dialect) -> None:
    with contextlib.suppress(ProtocolError):
        dialect.read(channel, payload, {})


FIELDS = ["rooms", "except", "opts", "sid", "room", "packet", "sockets", "clientCount", "data", "close", "flags"]
VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.sampled_from([PACKET, {"rooms": [], "except": []}, ["a"]]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.integers(-1, 14),
    st.dictionaries(st.sampled_from(FIELDS), VALUES),
    st.sampled_from([None, 7, "", "r", "x" * 100]),
    st.sampled_from(list(Question)),
    st.sampled_from(CHANNELS),
)
def test_fields_of_any_type_are_read_or_refused(
    kind: int, fields: dict[str, Any], request: Any, question: Question, channel: bytes
) -> None:
    pending = {"r": question}
    classic = {**fields, "type": kind, "requestId": request, "uid": "x"}
    sharded = {"type": kind, "uid": "x", "nsp": "/", "data": {**fields, "requestId": request}}
    for dialect, message in ((CLASSIC, classic), (SHARDED, sharded)):
        with contextlib.suppress(ProtocolError):
            dialect.read(channel, json.dumps(message).encode(), pending)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_cannot_be_sent_is_an_error_of_whoever_sends_it(dialect: Dialect) -> None:
    with pytest.raises(EncodeError):
        dialect.broadcast(["a", object()], Target(), Flags())
    with pytest.raises(EncodeError):
        dialect.server_side(["a", object()])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_nodes_are_known_by_the_channel_that_each_has_to_itself(dialect: Dialect) -> None:
    assert dialect.peer(dialect.channels[-1]) == dialect.uid
    assert dialect.peer(dialect.everybody) is None
    assert dialect.peer(dialect.peers()) is None
