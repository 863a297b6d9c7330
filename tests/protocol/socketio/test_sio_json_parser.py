"""The default parser: rows of the wire read both ways, rules, and whatever cannot be sent."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime as dt
import decimal
import json
from typing import Any, Generic, NamedTuple, TypedDict, TypeVar

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtserver.errors import EncodeError, ProtocolError
from rtserver.protocol.engineio.outbound import Outbound
from rtserver.protocol.socketio.json_parser import JSONParser
from rtserver.protocol.socketio.packet import MAX_ID, RESERVED_EVENTS, Packet, PacketType

PARSER = JSONParser()
T = TypeVar("T")


def decode(wire: str, *attachments: bytes, parser: JSONParser = PARSER) -> Packet:
    packet = parser.decode_text(wire)
    for attachment in attachments:
        assert not isinstance(packet, Packet)
        packet = packet.add(attachment) or packet
    assert isinstance(packet, Packet)
    return packet


def text(message: Outbound) -> str:
    assert message.text is not None
    return message.text.decode()


# (wire, attachments, value), as socket.io-parser 4.2 writes and reads them.
ROWS: list[tuple[str, tuple[bytes, ...], Packet]] = [
    ("0", (), Packet(PacketType.CONNECT)),
    ('0{"token":"1"}', (), Packet(PacketType.CONNECT, "/", {"token": "1"})),
    ("0/woot,", (), Packet(PacketType.CONNECT, "/woot")),
    ('0/woot,{"a":1}', (), Packet(PacketType.CONNECT, "/woot", {"a": 1})),
    ("1", (), Packet(PacketType.DISCONNECT)),
    ("1/woot,", (), Packet(PacketType.DISCONNECT, "/woot")),
    ('2["a",1,{}]', (), Packet(PacketType.EVENT, "/", ["a", 1, {}])),
    ('21["a",1,{}]', (), Packet(PacketType.EVENT, "/", ["a", 1, {}], 1)),
    ('2/test,123["a"]', (), Packet(PacketType.EVENT, "/test", ["a"], 123)),
    ('2["grüße 😀"]', (), Packet(PacketType.EVENT, "/", ["grüße 😀"])),
    ('3123["tobi",null]', (), Packet(PacketType.ACK, "/", ["tobi", None], 123)),
    ("3/test,0[]", (), Packet(PacketType.ACK, "/test", [], 0)),
    ('4/a,{"message":"no"}', (), Packet(PacketType.CONNECT_ERROR, "/a", {"message": "no"})),
    (
        '51-["a",{"_placeholder":true,"num":0}]',
        (b"abc",),
        Packet(PacketType.BINARY_EVENT, "/", ["a", b"abc"]),
    ),
    (
        '52-/cool,23["a",{"x":{"_placeholder":true,"num":0},"y":[{"_placeholder":true,"num":1}]}]',
        (b"", b"\xff"),
        Packet(PacketType.BINARY_EVENT, "/cool", ["a", {"x": b"", "y": [b"\xff"]}], 23),
    ),
    (
        '61-/back,127[{"_placeholder":true,"num":0},"b"]',
        (b"xxx",),
        Packet(PacketType.BINARY_ACK, "/back", [b"xxx", "b"], 127),
    ),
]


@pytest.mark.parametrize(("wire", "attachments", "packet"), ROWS)
def test_a_row_is_written_and_read(wire: str, attachments: tuple[bytes, ...], packet: Packet) -> None:
    assert decode(wire, *attachments) == packet
    written = PARSER.encode(packet)
    assert text(written) == wire
    assert written.attachments == attachments


def test_wires_that_are_only_read() -> None:
    assert decode("0/woot") == Packet(PacketType.CONNECT, "/woot")
    assert decode('2 ["a"]') == Packet(PacketType.EVENT, "/", ["a"])
    assert decode("2[1,2]").data == [1, 2]
    assert decode("2[1.5]").data == [1.5]
    assert decode(f'2{MAX_ID}["a"]').id == MAX_ID
    assert decode('4{"message":"x"}').type is PacketType.CONNECT_ERROR
    assert decode("01") == Packet(PacketType.CONNECT, id=1)
    assert decode('4"text"').data == "text"


@pytest.mark.parametrize(
    "wire",
    [
        "",
        "7",
        "x",
        "٢[]",
        "2",
        "2[]",
        "2{}",
        '2"a"',
        "2[null]",
        "2[true]",
        "2[[1]]",
        '2["a"',
        '2["a"]x',
        '2["a"]]',
        '2-["a"]',
        '21-["a"]',
        f'2{MAX_ID + 1}["a"]',
        '2{}["a"]'.format("9" * 5000),
        '2²["a"]',
        '2٣["a"]',
        '2-1["a"]',
        '2["a",NaN]',
        '2["a",Infinity]',
        '2["a",-Infinity]',
        '2["a",1e400]',
        '2["a",{}]'.format("9" * 5000),
        '2["a","\\ud800"]',
        '2["a","\ud800"]',
        '2["a",undefined]',
        "2['a']",
        '2/nsp["a"]',
        "0[]",
        '0"a"',
        "1{}",
        "0/\ud800,",
        '2/\ud800,["a"]',
        '1["a"]',
        "3{}",
        "31",
        "3",
        "4",
        "4[]",
        '5["a"]',
        '50-["a"]',
        '511-["a"]',
        '5{}-["a"]'.format("1" * 400),
        "51-{}",
        '51-"a"',
        "51-",
        *(f'2["{name}"]' for name in RESERVED_EVENTS),
    ],
)
def test_a_malformed_packet_is_refused(wire: str) -> None:
    with pytest.raises(ProtocolError):
        decode(wire)


@pytest.mark.parametrize(
    "placeholder",
    [
        '{"_placeholder":true,"num":1}',
        '{"_placeholder":true,"num":-1}',
        '{"_placeholder":true,"num":0.0}',
        '{"_placeholder":true,"num":false}',
        '{"_placeholder":true,"num":"0"}',
        '{"_placeholder":true}',
        '{"_placeholder":1,"num":0}',
        '{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}',
        '"none"',
    ],
)
def test_a_placeholder_that_does_not_fit_is_refused(placeholder: str) -> None:
    with pytest.raises(ProtocolError):
        decode(f'51-["a",{placeholder}]', b"x")


def test_the_name_of_a_binary_event_is_checked_too() -> None:
    for name in ('"connect"', '{"_placeholder":true,"num":0}'):
        with pytest.raises(ProtocolError):
            decode(f'51-[{name},{{"_placeholder":true,"num":0}}]', b"x")


def test_a_packet_tells_how_many_attachments_are_missing() -> None:
    packet = PARSER.decode_text('52-["a",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]')
    assert not isinstance(packet, Packet)
    assert packet.missing == 2
    assert packet.add(b"0") is None
    assert packet.missing == 1
    assert packet.add(b"1") == Packet(PacketType.BINARY_EVENT, "/", ["a", b"1", b"0"])


def test_a_bare_binary_message_is_refused() -> None:
    with pytest.raises(ProtocolError, match="none is expected"):
        PARSER.decode_binary(b"x")


def test_depth_is_bounded_whatever_strings_look_like() -> None:
    def nested(depth: int) -> str:
        return '2["a",' + "[" * (depth - 1) + "]" * (depth - 1) + "]"

    assert decode(nested(100)).data[0] == "a"
    with pytest.raises(ProtocolError, match="deeper"):
        decode(nested(101))
    with pytest.raises(ProtocolError):
        decode(nested(100_000))
    objects = '2["a",' + '{"a":' * 100 + "1" + "}" * 100 + "]"
    with pytest.raises(ProtocolError, match="deeper"):
        decode(objects)
    brackets = "[{" * 500
    assert decode(f'2["a","{brackets}"]').data == ["a", brackets]
    assert len(decode('2["a"' + ",[]" * 500 + "]").data) == 501


class Picture(msgspec.Struct):
    name: str
    data: bytes


class Album(msgspec.Struct):
    pictures: list[Picture]


class Note(msgspec.Struct):
    text: str
    next: Note | None = None


class Reading(msgspec.Struct):
    value: float


@dataclasses.dataclass
class File:
    name: str
    data: bytes


class Model(pydantic.BaseModel):
    name: str
    data: bytes | None = None


class Parent(msgspec.Struct):
    name: str


class Child(Parent):
    data: bytes


class Family(msgspec.Struct):
    member: Parent


class Box(msgspec.Struct, Generic[T]):
    inside: T


class Boxes(msgspec.Struct):
    number: Box[int]
    other: Box[bytes]


class Numbered(msgspec.Struct):
    box: Box[int]
    point: Point
    size: Size


class Point(NamedTuple):
    x: int
    y: int


class Size(TypedDict):
    width: int


class Anything(msgspec.Struct):
    inside: object


class Pair(NamedTuple):
    first: bytes
    second: bytes


class Odd:
    pass


def of_a_local_class() -> Any:
    # Its annotations are texts that cannot be resolved from outside.
    class Inner(msgspec.Struct):
        data: bytes

    class Outer(msgspec.Struct):
        inner: Inner

    return Outer(Inner(b"x"))


def without_a_value() -> Reading:
    reading = Reading(1.0)
    del reading.value
    return reading


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Note("a", Note("b")), '{"text":"a","next":{"text":"b","next":null}}'),
        (Reading(1.5), '{"value":1.5}'),
        (Numbered(Box(1), Point(2, 3), {"width": 4}), '{"box":{"inside":1},"point":[2,3],"size":{"width":4}}'),
        (Anything(Note("a")), '{"inside":{"text":"a","next":null}}'),
        (Model(name="m"), '{"name":"m","data":null}'),
        (dt.datetime(2026, 1, 2, tzinfo=dt.UTC), '"2026-01-02T00:00:00Z"'),
        (decimal.Decimal("1.50"), '"1.50"'),
        ((1, 2), "[1,2]"),
        ({1: "a"}, '{"1":"a"}'),
        (2**70, str(2**70)),
    ],
)
def test_objects_have_their_json_form(value: Any, expected: str) -> None:
    assert text(PARSER.encode_event("/", ["e", value])) == f'2["e",{expected}]'


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (bytearray(b"x"), 1),
        (memoryview(b"x"), 1),
        (Picture("n", b"x"), 1),
        (Album([Picture("n", b"x"), Picture("m", b"y")]), 2),
        (File("n", b"x"), 1),
        (Model(name="m", data=b"x"), 1),
        ({"plain": Note("a"), "deep": [(b"x",), 1.5]}, 1),
        (collections.OrderedDict(a=b"x"), 1),
        (Pair(b"x", b"y"), 2),
        (Family(Child("n", b"x")), 1),
        (Boxes(Box(1), Box(b"x")), 1),
        (Anything(b"x"), 1),
        (Anything([Anything({"a": b"x"})]), 1),
        (of_a_local_class(), 1),
        (memoryview(b"a-b-")[::2], 1),
    ],
)
def test_binary_is_found_wherever_it_is(value: Any, count: int) -> None:
    written = PARSER.encode_event("/", ["e", value], 7, compress=False)
    assert text(written).startswith(f"5{count}-7[")
    assert len(written.attachments) == count
    assert not written.compress
    packet = decode(text(written), *written.attachments)
    assert packet.type is PacketType.BINARY_EVENT


def test_binary_is_found_in_a_child_that_is_defined_late() -> None:
    class Early(msgspec.Struct):
        name: str

    holder = msgspec.defstruct("Holder", [("member", Early)])
    assert PARSER.encode_event("/", ["e", holder(Early("n"))]).attachments == ()

    class Late(Early):
        data: bytes

    assert PARSER.encode_event("/", ["e", holder(Late("n", b"x"))]).attachments == (b"x",)


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        [{"a": float("-inf")}],
        Reading(float("nan")),
        "\ud800",
        {(1, 2): 3},
        collections.OrderedDict(a=float("nan")),
        Odd(),
        without_a_value(),
        CYCLE,
        [b"x", "\ud800"],
    ],
)
def test_what_has_no_json_form_cannot_be_sent(value: Any) -> None:
    with pytest.raises(EncodeError):
        PARSER.encode_event("/", ["e", value])
    with pytest.raises(EncodeError):
        PARSER.encode_ack("/", [value], 1)
    if value is not CYCLE and not isinstance(value, list):
        with pytest.raises(EncodeError):
            PARSER.encode(Packet(PacketType.CONNECT_ERROR, "/", {"data": value}))


def test_more_attachments_than_clients_take_cannot_be_sent() -> None:
    assert PARSER.encode_event("/", ["e", *[b"x"] * 10]).count == 11
    with pytest.raises(EncodeError, match="11 attachments, and 10 are allowed"):
        PARSER.encode_event("/", ["e", *[b"x"] * 11])
    assert JSONParser(max_attachments=11).encode_ack("/", [b"x"] * 11, 1).count == 12


def test_a_namespace_with_a_lone_surrogate_cannot_be_sent() -> None:
    for packet in (Packet(PacketType.CONNECT, "/\ud800"), Packet(PacketType.EVENT, "/\ud800", ["a"])):
        with pytest.raises(EncodeError):
            PARSER.encode(packet)


def test_what_looks_like_a_placeholder_is_not_sent_beside_binary() -> None:
    lookalike = {"_placeholder": True, "num": 9}
    assert text(PARSER.encode_event("/", ["e", lookalike])) == '2["e",{"_placeholder":true,"num":9}]'
    assert PARSER.encode_event("/", ["e", {"_placeholder": False}, b"x"]).attachments == (b"x",)
    with pytest.raises(EncodeError, match="placeholder"):
        PARSER.encode_event("/", ["e", [lookalike], b"x"])


def test_an_acknowledgement_needs_an_id() -> None:
    with pytest.raises(EncodeError, match="id"):
        PARSER.encode(Packet(PacketType.ACK, "/", []))


def test_an_acknowledgement_is_written() -> None:
    assert text(PARSER.encode_ack("/", ["x"], 12)) == '312["x"]'
    assert text(PARSER.encode_ack("/", [], 12)) == "312[]"
    assert text(PARSER.encode_ack("/n", [True, {"a": None}], 0)) == '3/n,0[true,{"a":null}]'


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"])).filter(lambda key: key != "_placeholder"),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
NAMESPACES = st.sampled_from(["/", "/chat", "/a/b", "/ü"])


@given(NAMESPACES, st.lists(VALUES, max_size=4), st.none() | st.integers(0, MAX_ID))
def test_an_event_comes_back_as_it_was_sent(nsp: str, args: list[Any], ack_id: int | None) -> None:
    parser = JSONParser(max_attachments=100)
    written = parser.encode_event(nsp, ["name", *args], ack_id)
    packet = decode(text(written), *written.attachments, parser=parser)
    assert (packet.nsp, packet.id, packet.data) == (nsp, ack_id, ["name", *args])


@given(st.text() | st.text(st.sampled_from('0123456/,-[]{}":ab')).map(lambda tail: "2" + tail))
def test_garbage_is_parsed_or_refused(wire: str) -> None:
    with contextlib.suppress(ProtocolError):
        PARSER.decode_text(wire)


@given(VALUES.filter(lambda value: not isinstance(value, bytes)))
def test_other_json_readers_agree(value: Any) -> None:
    written = PARSER.encode_event("/", ["e", value])
    if not written.attachments:
        assert json.loads(text(written)[1:]) == ["e", value]
