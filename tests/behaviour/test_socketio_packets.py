from __future__ import annotations

import pytest

from rtserver import Server, Socket
from tests.behaviour.support import Kind, Peer, Record, Serve, Wire

PLACE = '{"_placeholder":true,"num":%s}'


def echoing(record: Record, **options: int) -> Server:
    io = Server(**options)  # type: ignore[arg-type]

    @io.on("echo")
    def echo(socket: Socket, *args: object) -> None:
        socket.emit("echo", *args)

    @io.on("ask")
    def ask(socket: Socket, *args: object) -> object:
        return args[0] if len(args) == 1 else list(args)

    @io.on_disconnect
    def gone(socket: Socket, reason: str) -> None:
        record.add(reason)

    return io


async def joined(serve: Serve, kind: Kind, record: Record, **options: int) -> Peer:
    site = await serve(echoing(record, **options))
    peer = await site.open(kind)
    await peer.join()
    return peer


@pytest.mark.parametrize(
    "packet",
    [
        '42["echo"]',
        '42["echo",null,true,-1,1.5,"\u00fc\u20ac\U0001f600","\\n\\"\\\\"]',
        '42["echo",{"a":{"b":[1,[2]]}},[]]',
        '42["echo","]},["]',
    ],
)
async def test_an_event_comes_back_as_the_same_compact_packet(serve: Serve, kind: Kind, packet: str) -> None:
    peer = await joined(serve, kind, Record())
    await peer.send(packet)
    assert await peer.receive() == packet


@pytest.mark.parametrize(("id_", "argument"), [("0", "1"), ("12", '"x"'), ("9007199254740991", "[1,2]")])
async def test_an_acknowledgement_carries_the_events_id(serve: Serve, kind: Kind, id_: str, argument: str) -> None:
    peer = await joined(serve, kind, Record())
    await peer.send(f'42{id_}["ask",{argument}]')
    assert await peer.receive() == f"43{id_}[{argument}]"


async def test_the_server_gets_acknowledgements_too(serve: Serve, kind: Kind) -> None:
    record = Record()
    io = echoing(record)

    @io.on("go")
    async def go(socket: Socket) -> None:
        record.add(await socket.call("question", 1))

    site = await serve(io)
    peer = await site.open(kind)
    await peer.join()
    await peer.send('42["go"]')
    assert await peer.receive() == '420["question",1]'
    await peer.send('430["answer"]')
    assert await record.next() == "answer"
    await peer.send('42["go"]')
    assert await peer.receive() == '421["question",1]'
    await peer.send(f"461-1[{PLACE % 0}]", b"\x00")
    assert await record.next() == b"\x00"


async def test_an_acknowledgement_that_nobody_waits_for_is_dropped(serve: Serve, kind: Kind) -> None:
    record = Record()
    peer = await joined(serve, kind, record)
    await peer.send('437["x"]', "43[]", '42["echo"]')
    assert await peer.receive() == '42["echo"]'
    assert record.empty


# Attachments.


async def test_attachments_follow_their_packet_in_order(serve: Serve, kind: Kind) -> None:
    peer = await joined(serve, kind, Record())
    packet = f'452-["echo",{{"a":{PLACE % 0}}},[{PLACE % 1}]]'
    await peer.send(packet, b"one", b"")
    assert [await peer.receive() for _ in range(3)] == [packet, b"one", b""]


async def test_placeholders_may_come_in_any_order(serve: Serve, kind: Kind) -> None:
    peer = await joined(serve, kind, Record())
    await peer.send(f'452-["echo",{PLACE % 1},{PLACE % 0}]', b"one", b"two")
    packet = f'452-["echo",{PLACE % 0},{PLACE % 1}]'
    assert [await peer.receive() for _ in range(3)] == [packet, b"two", b"one"]


async def test_an_acknowledgement_may_carry_attachments(serve: Serve, kind: Kind) -> None:
    peer = await joined(serve, kind, Record())
    await peer.send(f'451-3["ask",{PLACE % 0}]', b"\xff")
    assert [await peer.receive() for _ in range(2)] == [f"461-3[{PLACE % 0}]", b"\xff"]


async def test_ten_attachments_are_allowed_and_eleven_are_not(serve: Serve, kind: Kind) -> None:
    record = Record()
    peer = await joined(serve, kind, record)
    places = ",".join(PLACE % n for n in range(10))
    await peer.send(f'4510-["echo",{places}]', *([b"x"] * 10))
    assert [await peer.receive() for _ in range(11)] == [f'4510-["echo",{places}]', *([b"x"] * 10)]
    await peer.send(f'4511-["echo",{places},{PLACE % 10}]')
    assert await record.next() == "parse error"
    assert await peer.rest() == []


async def test_the_sum_of_a_packets_attachments_is_bounded(serve: Serve, kind: Kind) -> None:
    record = Record()
    peer = await joined(serve, kind, record, max_http_buffer_size=300)
    await peer.send(f'452-["echo",{PLACE % 0},{PLACE % 1}]')
    await peer.send(b"x" * 200)
    await peer.send(b"x" * 200)
    assert await record.next() == "parse error"


PLACEHOLDERS = ["-1", "1", "0.5", '"0"', "true", "null", "[0]", "1e1"]


@pytest.mark.parametrize("num", PLACEHOLDERS)
async def test_a_placeholder_that_is_not_in_range_closes_the_connection(serve: Serve, kind: Kind, num: str) -> None:
    record = Record()
    peer = await joined(serve, kind, record)
    await peer.send(f'451-["echo",{PLACE % num}]', b"x")
    assert await record.next() == "parse error"
    assert await peer.rest() == []


FORBIDDEN: list[tuple[Wire, ...]] = [
    # Attachments.
    (f'451-["echo",{PLACE % 0}]', '42["echo"]'),
    (f'451-["echo",{PLACE % 0}]', f'451-["echo",{PLACE % 0}]'),
    (b"\x00",),
    ('42["echo"]', b"\x00"),
    ('451-["echo",1]', b"x"),
    (f'452-["echo",{PLACE % 0}]', b"x", b"y"),
    (f'452-["echo",{PLACE % 0},{PLACE % 0}]', b"x", b"y"),
    ('450-["echo"]',),
    ('45["echo"]',),
    ('45-["echo"]',),
    ('45x-["echo"]',),
    (f'45\u0661-["echo",{PLACE % 0}]', b"x"),
    (f'45-1-["echo",{PLACE % 0}]', b"x"),
    ("460-1[]",),
    # The packet.
    ("4",),
    ("47",),
    ("4x",),
    ("4\u0662[]",),
    ('42["echo"',),
    ('42["echo"]]',),
    ('42["echo"] x',),
    ('42["echo",NaN]',),
    ('42["echo",1e400]',),
    ("42" + "[" * 50_000,),
    # EVENT: a non-empty array that begins with a number or a string.
    ("42",),
    ("42[]",),
    ("42{}",),
    ('42"echo"',),
    ("42[null]",),
    ("42[true]",),
    ("42[{}]",),
    ('42[["echo"]]',),
    # Reserved names.
    ('42["connect"]',),
    ('42["connect_error"]',),
    ('42["disconnect"]',),
    ('42["disconnecting"]',),
    ('42["newListener"]',),
    ('42["removeListener"]',),
    # Ids are ASCII digits, and safe integers.
    ('42-1["echo"]',),
    ('42\u0661["echo"]',),
    ('421.5["echo"]',),
    ('429007199254740993["echo"]',),
    ("42" + "9" * 5_000 + '["echo"]',),
    # ACK is an array, with an id.
    ("431{}",),
    ('431"x"',),
    ("431",),
    # CONNECT is an object or nothing, DISCONNECT nothing.
    ("40/chat,[]",),
    ('40/chat,"x"',),
    ("40/chat,{",),
    ("41{}",),
    ('41["x"]',),
]


@pytest.mark.parametrize("packets", FORBIDDEN, ids=lambda packets: ascii(packets)[:60])
async def test_a_packet_that_the_protocol_forbids_closes_the_connection(
    serve: Serve, kind: Kind, packets: tuple[Wire, ...]
) -> None:
    record = Record()
    peer = await joined(serve, kind, record)
    await peer.send(*packets)
    assert await record.next() == "parse error"
    assert [packet for packet in await peer.rest() if packet != '42["echo"]'] == []


async def test_an_event_may_be_named_by_a_number(serve: Serve, kind: Kind) -> None:
    record = Record()
    peer = await joined(serve, kind, record)
    await peer.send("42[7,1]", '42["echo"]')
    assert await peer.receive() == '42["echo"]'
    assert record.empty


@pytest.mark.parametrize(
    "name", ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]
)
async def test_a_reserved_name_cannot_be_emitted(serve: Serve, name: str) -> None:
    record = Record()
    io = Server()

    @io.on_connect
    def connected(socket: Socket) -> None:
        for emit in (socket.emit, io.emit, io.to("room").emit):
            with pytest.raises(ValueError, match=name):
                emit(name)
        record.add("refused")

    site = await serve(io)
    peer = await site.open_websocket()
    await peer.join()
    assert await record.next() == "refused"


async def test_a_namespace_ends_at_the_comma(serve: Serve, kind: Kind) -> None:
    io = Server()
    for name in ("/a", "/a-b", "/a/b.c"):
        chat = io.of(name)
        chat.on("who")(lambda socket: socket.namespace.name)
    site = await serve(io)
    peer = await site.open(kind)
    for name in ("/a", "/a-b", "/a/b.c"):
        await peer.join(name)
        await peer.send(f'42{name},1["who"]')
        assert await peer.receive() == f'43{name},1["{name}"]'
