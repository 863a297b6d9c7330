"""Bytes that the clients' own packages wrote, and values that they read from ours.

Made with socket.io-parser 4.2.7, socket.io-msgpack-parser 3.0.2 (notepack.io 2.2.0) and engine.io-parser 5.2.3.
"""

from __future__ import annotations

import datetime as dt

import pytest

from rtserver.protocol.engineio.packet import Packet as EnginePacket
from rtserver.protocol.engineio.packet import PacketType as EngineType
from rtserver.protocol.engineio.payload import decode_payload, encode_payload
from rtserver.protocol.socketio.json_parser import JSONParser
from rtserver.protocol.socketio.msgpack_parser import MsgpackParser
from rtserver.protocol.socketio.packet import Packet, PacketType

JSON = JSONParser()
MSGPACK = MsgpackParser()


def at(milliseconds: int) -> dt.datetime:
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=milliseconds)


# (wire, attachments, value); ours and theirs are the same bytes.
JSON_ROWS: list[tuple[str, tuple[bytes, ...], Packet]] = [
    ("0", (), Packet(PacketType.CONNECT)),
    ('0{"token":"1"}', (), Packet(PacketType.CONNECT, "/", {"token": "1"})),
    ("0/woot,", (), Packet(PacketType.CONNECT, "/woot")),
    ('0/woot,{"a":1}', (), Packet(PacketType.CONNECT, "/woot", {"a": 1})),
    ("1", (), Packet(PacketType.DISCONNECT)),
    ("1/woot,", (), Packet(PacketType.DISCONNECT, "/woot")),
    ('2["a",1,{}]', (), Packet(PacketType.EVENT, "/", ["a", 1, {}])),
    ('2/test,123["a"]', (), Packet(PacketType.EVENT, "/test", ["a"], 123)),
    ('20["a"]', (), Packet(PacketType.EVENT, "/", ["a"], 0)),
    ('29007199254740991["a"]', (), Packet(PacketType.EVENT, "/", ["a"], 9007199254740991)),
    (
        '2["grüße 😀 \u2028\u2029 \\u0000\\u001f\\"\\\\/"]',
        (),
        Packet(PacketType.EVENT, "/", ['grüße 😀 \u2028\u2029 \x00\x1f"\\/']),
    ),
    ('2/ü😀,["é"]', (), Packet(PacketType.EVENT, "/ü😀", ["é"])),
    ('2["",[],{},null,true,false]', (), Packet(PacketType.EVENT, "/", ["", [], {}, None, True, False])),
    ('2[7,"x"]', (), Packet(PacketType.EVENT, "/", [7, "x"])),
    (
        '2["n",0,-1,127,128,255,256,65535,65536,-32,-33,-128,-129,-32768,-32769,2147483647,-2147483648,4294967295,4294967296,9007199254740991,-9007199254740991]',
        (),
        Packet(
            PacketType.EVENT,
            "/",
            [
                "n",
                0,
                -1,
                127,
                128,
                255,
                256,
                65535,
                65536,
                -32,
                -33,
                -128,
                -129,
                -32768,
                -32769,
                2147483647,
                -2147483648,
                4294967295,
                4294967296,
                9007199254740991,
                -9007199254740991,
            ],
        ),
    ),
    (
        '2["big",10000000000000000,123456789012345680000]',
        (),
        Packet(PacketType.EVENT, "/", ["big", 10000000000000000, 123456789012345680000]),
    ),
    (
        '2["d","2023-11-14T22:13:20.123Z",{"at":"1969-12-31T23:59:59.999Z"}]',
        (),
        Packet(PacketType.EVENT, "/", ["d", "2023-11-14T22:13:20.123Z", {"at": "1969-12-31T23:59:59.999Z"}]),
    ),
    ('2["u",null,{"b":1}]', (), Packet(PacketType.EVENT, "/", ["u", None, {"b": 1}])),
    (
        '2["deep",[[[[{"a":[{"b":[null]}]}]]]]]',
        (),
        Packet(PacketType.EVENT, "/", ["deep", [[[[{"a": [{"b": [None]}]}]]]]]),
    ),
    (
        '2["s31","xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx","xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx","éééééééééééééééééééé"]',
        (),
        Packet(
            PacketType.EVENT,
            "/",
            ["s31", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "éééééééééééééééééééé"],
        ),
    ),
    ('51-["b",{"_placeholder":true,"num":0}]', (b"abc",), Packet(PacketType.BINARY_EVENT, "/", ["b", b"abc"])),
    (
        '52-/cool,23["a",{"x":{"_placeholder":true,"num":0},"y":[{"_placeholder":true,"num":1}]}]',
        (
            b"",
            b"\xff",
        ),
        Packet(PacketType.BINARY_EVENT, "/cool", ["a", {"x": b"", "y": [b"\xff"]}], 23),
    ),
    (
        '52-["two",{"_placeholder":true,"num":0},{"deep":[{"er":{"_placeholder":true,"num":1}}]},"tail"]',
        (
            b"\x01",
            b"\x00\xff\x1e",
        ),
        Packet(PacketType.BINARY_EVENT, "/", ["two", b"\x01", {"deep": [{"er": b"\x00\xff\x1e"}]}, "tail"]),
    ),
    (
        '51-["ab",{"_placeholder":true,"num":0}]',
        (b"\x01\x02\x03",),
        Packet(PacketType.BINARY_EVENT, "/", ["ab", b"\x01\x02\x03"]),
    ),
    (
        '53-["ab8",{"_placeholder":true,"num":0},"2023-11-14T22:13:20.123Z",{"_placeholder":true,"num":1},null,{"_placeholder":true,"num":2}]',
        (
            b"\x00\x00\x00\x00\x00\x00\xf8?",
            b"\t",
            b"",
        ),
        Packet(
            PacketType.BINARY_EVENT,
            "/",
            ["ab8", b"\x00\x00\x00\x00\x00\x00\xf8?", "2023-11-14T22:13:20.123Z", b"\t", None, b""],
        ),
    ),
    ('3123["tobi",null]', (), Packet(PacketType.ACK, "/", ["tobi", None], 123)),
    ("3/test,0[]", (), Packet(PacketType.ACK, "/test", [], 0)),
    (
        '61-/back,127[{"_placeholder":true,"num":0},"b"]',
        (b"xxx",),
        Packet(PacketType.BINARY_ACK, "/back", [b"xxx", "b"], 127),
    ),
    ('4/a,{"message":"no"}', (), Packet(PacketType.CONNECT_ERROR, "/a", {"message": "no"})),
    (
        '4{"message":"no","data":{"code":7,"why":"ünknown"}}',
        (),
        Packet(PacketType.CONNECT_ERROR, "/", {"message": "no", "data": {"code": 7, "why": "ünknown"}}),
    ),
]

# The same numbers, spelt otherwise.
JSON_ROWS_THAT_ARE_READ: list[tuple[str, tuple[bytes, ...], Packet]] = [
    (
        '2["f",1.5,-0.25,1e+21,1e-7,5e-324,1.7976931348623157e+308]',
        (),
        Packet(PacketType.EVENT, "/", ["f", 1.5, -0.25, 1e21, 1e-07, 5e-324, 1.7976931348623157e308]),
    ),
]

# (wire in hex, value).
MSGPACK_ROWS = [
    ("82a47479706500a36e7370a12f", Packet(PacketType.CONNECT)),
    ("83a47479706500a36e7370a12fa46461746181a5746f6b656ea131", Packet(PacketType.CONNECT, "/", {"token": "1"})),
    ("82a47479706500a36e7370a52f776f6f74", Packet(PacketType.CONNECT, "/woot")),
    ("83a47479706500a36e7370a52f776f6f74a46461746181a16101", Packet(PacketType.CONNECT, "/woot", {"a": 1})),
    ("82a47479706501a36e7370a12f", Packet(PacketType.DISCONNECT)),
    ("82a47479706501a36e7370a52f776f6f74", Packet(PacketType.DISCONNECT, "/woot")),
    ("83a47479706502a36e7370a12fa46461746193a1610180", Packet(PacketType.EVENT, "/", ["a", 1, {}])),
    ("84a47479706502a36e7370a52f74657374a46461746191a161a269647b", Packet(PacketType.EVENT, "/test", ["a"], 123)),
    ("84a47479706502a36e7370a12fa46461746191a161a2696400", Packet(PacketType.EVENT, "/", ["a"], 0)),
    (
        "84a47479706502a36e7370a12fa46461746191a161a26964cf001fffffffffffff",
        Packet(PacketType.EVENT, "/", ["a"], 9007199254740991),
    ),
    (
        "83a47479706502a36e7370a12fa46461746191b96772c3bcc39f6520f09f988020e280a8e280a920001f225c2f",
        Packet(PacketType.EVENT, "/", ['grüße 😀 \u2028\u2029 \x00\x1f"\\/']),
    ),
    ("83a47479706502a36e7370a72fc3bcf09f9880a46461746191a2c3a9", Packet(PacketType.EVENT, "/ü😀", ["é"])),
    (
        "83a47479706502a36e7370a12fa46461746196a09080c0c3c2",
        Packet(PacketType.EVENT, "/", ["", [], {}, None, True, False]),
    ),
    ("83a47479706502a36e7370a12fa4646174619207a178", Packet(PacketType.EVENT, "/", [7, "x"])),
    (
        "83a47479706502a36e7370a12fa464617461dc0015a16e00ff7fcc80ccffcd0100cdffffce00010000e0d0dfd080d1ff7fd18000d2ffff7fffce7fffffffd280000000ceffffffffcf0000000100000000cf001fffffffffffffd3ffe0000000000001",
        Packet(
            PacketType.EVENT,
            "/",
            [
                "n",
                0,
                -1,
                127,
                128,
                255,
                256,
                65535,
                65536,
                -32,
                -33,
                -128,
                -129,
                -32768,
                -32769,
                2147483647,
                -2147483648,
                4294967295,
                4294967296,
                9007199254740991,
                -9007199254740991,
            ],
        ),
    ),
    (
        "83a47479706502a36e7370a12fa46461746193a164d7000000018bcfe5687b81a26174d700ffffffffffffffff",
        Packet(PacketType.EVENT, "/", ["d", at(1700000000123), {"at": at(-1)}]),
    ),
    (
        "83a47479706502a36e7370a12fa46461746192a4646565709191919181a1619181a16291c0",
        Packet(PacketType.EVENT, "/", ["deep", [[[[{"a": [{"b": [None]}]}]]]]]),
    ),
    (
        "83a47479706502a36e7370a12fa46461746194a3733331bf78787878787878787878787878787878787878787878787878787878787878d9207878787878787878787878787878787878787878787878787878787878787878d928c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9",
        Packet(
            PacketType.EVENT,
            "/",
            ["s31", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "éééééééééééééééééééé"],
        ),
    ),
    ("83a47479706502a36e7370a12fa46461746192a162c403616263", Packet(PacketType.EVENT, "/", ["b", b"abc"])),
    (
        "84a47479706502a36e7370a52f636f6f6ca46461746192a16182a178c400a17991c401ffa2696417",
        Packet(PacketType.EVENT, "/cool", ["a", {"x": b"", "y": [b"\xff"]}], 23),
    ),
    (
        "83a47479706502a36e7370a12fa46461746194a374776fc4010181a4646565709181a26572c40300ff1ea47461696c",
        Packet(PacketType.EVENT, "/", ["two", b"\x01", {"deep": [{"er": b"\x00\xff\x1e"}]}, "tail"]),
    ),
    ("84a47479706503a36e7370a12fa46461746192a4746f6269c0a269647b", Packet(PacketType.ACK, "/", ["tobi", None], 123)),
    ("84a47479706503a36e7370a52f74657374a46461746190a2696400", Packet(PacketType.ACK, "/test", [], 0)),
    (
        "84a47479706503a36e7370a52f6261636ba46461746192c403787878a162a269647f",
        Packet(PacketType.ACK, "/back", [b"xxx", "b"], 127),
    ),
    (
        "83a47479706504a36e7370a22f61a46461746181a76d657373616765a26e6f",
        Packet(PacketType.CONNECT_ERROR, "/a", {"message": "no"}),
    ),
    (
        "83a47479706504a36e7370a12fa46461746182a76d657373616765a26e6fa46461746182a4636f646507a3776879a8c3bc6e6b6e6f776e",
        Packet(PacketType.CONNECT_ERROR, "/", {"message": "no", "data": {"code": 7, "why": "ünknown"}}),
    ),
]

# What we write otherwise: ``undefined`` is None for us, and an ArrayBuffer is bytes.
MSGPACK_ROWS_THAT_ARE_READ = [
    (
        "83a47479706502a36e7370a12fa46461746193a175d4000082a161d40000a16201",
        Packet(PacketType.EVENT, "/", ["u", None, {"a": None, "b": 1}]),
    ),
    (
        "83a47479706502a36e7370a12fa46461746192a26162c70300010203",
        Packet(PacketType.EVENT, "/", ["ab", b"\x01\x02\x03"]),
    ),
    (
        "83a47479706502a36e7370a12fa46461746196a3616238c70800000000000000f83fd7000000018bcfe5687bc7010009d40000c70000",
        Packet(PacketType.EVENT, "/", ["ab8", b"\x00\x00\x00\x00\x00\x00\xf8?", at(1700000000123), b"\t", None, b""]),
    ),
]

PAYLOAD = '0{"sid":"x"}\x1e1\x1e2\x1e2probe\x1e3probe\x1e4hello €\x1ebAQL/\x1eb\x1e4\x1e5\x1e6'
PACKETS = [
    EnginePacket(EngineType.OPEN, '{"sid":"x"}'),
    EnginePacket(EngineType.CLOSE),
    EnginePacket(EngineType.PING),
    EnginePacket(EngineType.PING, "probe"),
    EnginePacket(EngineType.PONG, "probe"),
    EnginePacket(EngineType.MESSAGE, "hello €"),
    EnginePacket(EngineType.MESSAGE, b"\x01\x02\xff"),
    EnginePacket(EngineType.MESSAGE, b""),
    EnginePacket(EngineType.MESSAGE),
    EnginePacket(EngineType.UPGRADE),
    EnginePacket(EngineType.NOOP),
]


def read_json(wire: str, attachments: tuple[bytes, ...]) -> Packet:
    packet = JSON.decode_text(wire)
    for attachment in attachments:
        assert not isinstance(packet, Packet)
        packet = packet.add(attachment) or packet
    assert isinstance(packet, Packet)
    return packet


@pytest.mark.parametrize(("wire", "attachments", "packet"), JSON_ROWS)
def test_a_row_of_json_is_read_and_written(wire: str, attachments: tuple[bytes, ...], packet: Packet) -> None:
    assert read_json(wire, attachments) == packet
    written = JSON.encode(packet)
    assert written.text == wire.encode()
    assert written.attachments == attachments


@pytest.mark.parametrize(("wire", "attachments", "packet"), JSON_ROWS_THAT_ARE_READ)
def test_a_row_of_json_is_read(wire: str, attachments: tuple[bytes, ...], packet: Packet) -> None:
    assert read_json(wire, attachments) == packet


@pytest.mark.parametrize(("wire", "packet"), MSGPACK_ROWS)
def test_a_row_of_msgpack_is_read_and_written(wire: str, packet: Packet) -> None:
    assert MSGPACK.decode_binary(bytes.fromhex(wire)) == packet
    assert MSGPACK.encode(packet).attachments == (bytes.fromhex(wire),)


@pytest.mark.parametrize(("wire", "packet"), MSGPACK_ROWS_THAT_ARE_READ)
def test_a_row_of_msgpack_is_read(wire: str, packet: Packet) -> None:
    assert MSGPACK.decode_binary(bytes.fromhex(wire)) == packet


def test_a_payload_is_read_and_written() -> None:
    assert decode_payload(PAYLOAD, max_packets=len(PACKETS)) == PACKETS
    assert encode_payload(part.encode() for part in PAYLOAD.split("\x1e")) == PAYLOAD.encode()
