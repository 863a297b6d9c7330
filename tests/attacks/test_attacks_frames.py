"""Frames and packets that must not pass, from a client that has come in properly."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from rtserver import Server, Socket
from rtserver.client import open_socket
from rtserver.protocol.websocket.frames import BINARY, CONTINUATION, PING, TEXT, client_frame
from rtserver.types import TransportName
from tests.attacks.support import HANDSHAKE, MASK, Raw, build, text, under_attack


def close_code(wire: bytes) -> int:
    at = wire.rindex(b"\x88")
    return int.from_bytes(wire[at + 2 : at + 4], "big")


FRAMES = {
    "announces too much": (b"\x82\xff" + (2**40).to_bytes(8, "big") + MASK, 1009),
    "unmasked": (b"\x81\x02hi", 1002),
    "reserved bits": (b"\xf1\x80" + MASK, 1002),
    "bad opcode": (b"\x83\x80" + MASK, 1002),
    "long ping": (client_frame(PING, b"x" * 126, MASK), 1002),
    "fragmented ping": (client_frame(PING, b"x", MASK, fin=False), 1002),
    "bad UTF-8": (client_frame(TEXT, b"4\xff", MASK), 1007),
    "endless empty fragments": (
        client_frame(TEXT, b"", MASK, fin=False) + client_frame(CONTINUATION, b"", MASK, fin=False) * 2_000,
        1008,
    ),
    "fragments without end": (
        client_frame(BINARY, b"x" * 60_000, MASK, fin=False)
        + client_frame(CONTINUATION, b"x" * 60_000, MASK, fin=False) * 20,
        1009,
    ),
}


@pytest.mark.parametrize("name", list(FRAMES))
async def test_a_frame_that_breaks_the_protocol_ends_its_connection(name: str) -> None:
    wire, code = FRAMES[name]
    async with under_attack() as target, target.raw() as raw:
        await raw.become_websocket()
        await raw.send(wire)
        assert close_code(await raw.to_the_end()) == code


async def test_who_goes_on_sending_after_an_oversize_frame_is_cut_off() -> None:
    async with under_attack() as target, target.raw() as raw:
        await raw.become_websocket()
        await raw.send(FRAMES["announces too much"][0])
        with trio.fail_after(2.5), pytest.raises(trio.BrokenResourceError):
            await raw.send_for_ever()


PACKETS = {
    "not a number": '42["say","walkers",NaN]',
    "infinity": '42["say","walkers",1e400]',
    "too deep": '42["say","walkers",' + "[" * 5_000 + "]" * 5_000 + "]",
    "a huge integer": '42["echo",' + "9" * 100_000 + "]",
    "a lone surrogate": '42["say","walkers","\\ud800"]',
    "a reserved event": '42["disconnect"]',
    "another reserved event": '42["connect_error"]',
    "no event": "42[]",
    "no array": '42{"a":1}',
    "a bad id": '42٣["echo"]',
    "an id out of range": f'42{2**53}["echo"]',
    "a bad type": "49",
    "a server's packet": '44{"message":"x"}',
    "an open packet": "0{}",
    "a ping": "2",
    "an empty packet": "",
    "an unknown packet": "9",
    "connect twice": "40",
    "an event elsewhere": '42/other,["echo"]',
    "too many attachments": '4511-["echo"]',
    "no attachments": '450-["echo"]',
    "a placeholder out of range": None,
    "text instead of an attachment": None,
}


async def provoke(raw: Raw, name: str) -> None:
    wire = PACKETS[name]
    if wire is not None:
        await raw.send(text(wire))
        return
    await raw.send(text('451-["echo",{"_placeholder":true,"num":7}]'))
    await raw.send(client_frame(BINARY, b"x", MASK) if "range" in name else text('42["echo"]'))


@pytest.mark.parametrize("name", list(PACKETS))
async def test_a_malformed_packet_ends_its_connection_and_no_other(name: str) -> None:
    async with under_attack() as target, target.raw() as raw:
        await raw.become_websocket()
        await provoke(raw, name)
        await raw.to_the_end()


async def test_a_bare_binary_message_ends_its_connection() -> None:
    async with under_attack() as target, target.raw() as raw:
        await raw.become_websocket()
        await raw.send(client_frame(BINARY, b"x", MASK))
        await raw.to_the_end()


async def test_acknowledgements_that_nobody_waits_for_are_dropped() -> None:
    async with under_attack() as target, target.raw() as raw:
        await raw.become_websocket()
        for number in (0, 1, 7, 2**53 - 1):
            await raw.send(text(f"43{number}[1]"))
        await raw.send(text('429["echo"]'))
        assert (await raw.until(b"439[[]]")).endswith(b"439[[]]")


async def test_pongs_without_number_add_nothing() -> None:
    async with under_attack() as target, target.raw() as raw:
        await raw.become_websocket()
        await raw.send(text("3"))
        before = len(target.io.engine.deadlines)
        await raw.send(text("3") * 5_000)
        await raw.send(text('421["echo"]'))
        await raw.until(b"431[[]]")
        assert len(target.io.engine.deadlines) <= before


async def test_namespaces_of_a_client_are_bounded() -> None:
    io = build(max_namespaces=3)
    io.of(lambda name, auth: True)
    async with under_attack(io=io) as target, target.raw() as raw:
        await raw.become_websocket()
        for number in range(10):
            await raw.send(text(f"40/n-{number},"))
        await raw.send(text('421["echo"]'))
        answer = await raw.until(b"431[[]]")
        assert answer.count(b'"sid"') == 2
        assert answer.count(b"Too many namespaces") == 8


async def test_a_client_that_does_not_read_is_cut_off_alone() -> None:
    io = build(max_queue_bytes=200_000)
    async with (
        under_attack(io=io) as target,
        target.raw() as raw,
        open_socket(target.url, transports=["websocket"]) as reader,
    ):
        await raw.become_websocket()
        await raw.send(text('420["join","busy"]'))
        await raw.until(b"430[]")
        await reader.call("join", "busy")
        sent = 0
        while not io.engine.slow_consumers:
            io.to("busy").emit("said", "x" * 50_000)
            sent += 1
            with trio.fail_after(5):
                assert await reader.receive("said") == "x" * 50_000
        assert sent < 1_000
        assert io.engine.slow_consumers == 1
        await reader.call("echo")


async def test_what_two_messages_of_one_read_ask_for_is_bounded_before_the_read_is_done() -> None:
    io = build(max_queue_bytes=200_000)

    @io.on("much")
    def much(socket: Socket) -> None:
        # Fewer than may be kept back, and more bytes than the kernel takes.
        for _ in range(30):
            socket.emit("said", "x" * 500_000)

    async with under_attack(io=io) as target, target.raw() as raw:
        await raw.become_websocket()
        await raw.send(text('42["much"]') + text('42["nothing"]'))
        await raw.to_the_end()
        assert io.engine.slow_consumers == 1


async def test_a_client_that_does_not_read_does_not_delay_the_end() -> None:
    async with under_attack() as target:
        stuck = await trio.open_tcp_stream("127.0.0.1", target.port)
        raw = Raw(stuck)
        await raw.become_websocket()
        socket = next(s for s in target.io.sockets.values() if not s.rooms - {s.id})
        for _ in range(15):
            socket.emit("said", "x" * 60_000)
        with trio.fail_after(8):
            socket.disconnect(close=True)
            await raw.to_the_end()
        await stuck.aclose()


async def test_a_poller_that_never_polls_has_a_bounded_queue() -> None:
    io = build(max_queue_packets=50)
    async with under_attack(io=io) as target, target.raw() as raw:
        await raw.send(f"GET {HANDSHAKE} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        sid = (await raw.until(b"}")).partition(b'"sid":"')[2].partition(b'"')[0].decode()
        path = f"{HANDSHAKE}&sid={sid}"
        await raw.send(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n40".encode())
        await raw.until(b"ok")
        for _ in range(60):
            io.except_("walkers", "pollers").emit("gossip")
        await trio.testing.wait_all_tasks_blocked()
        await raw.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert b"HTTP/1.1 400 " in await raw.to_the_end()
        assert io.engine.slow_consumers == 1


async def test_a_burst_for_a_client_that_polls_or_upgrades_is_not_held_against_it() -> None:
    io = build(max_queue_packets=50)

    @io.on("burst")
    def burst(socket: Socket) -> None:
        for number in range(200):
            socket.emit("number", number)

    async with under_attack(io=io) as target:
        ways: list[list[TransportName]] = [["polling"], ["polling", "websocket"]]
        for transports in ways:
            async with open_socket(target.url, transports=transports) as socket:
                await socket.call("burst")
                assert [await socket.receive("number") for _ in range(200)] == list(range(200))
        assert io.engine.slow_consumers == 0


async def test_more_packets_than_allowed_are_refused_whole() -> None:
    heard: list[str] = []
    io: Server = build(max_packets_per_payload=5)

    @io.on("mark")
    def mark(socket: Socket) -> None:
        heard.append(socket.id)

    async with under_attack(io=io) as target, target.raw() as raw:
        await raw.send(f"GET {HANDSHAKE} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        sid = (await raw.until(b"}")).partition(b'"sid":"')[2].partition(b'"')[0].decode()
        body = "\x1e".join(["40", *(['42["mark"]'] * 5)])
        head = f"POST {HANDSHAKE}&sid={sid} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        await raw.send((head + body).encode())
        assert (await raw.to_the_end()).startswith(b"HTTP/1.1 400 ")
    assert heard == []


@pytest.mark.parametrize("sid", ["__proto__", "constructor", "a" * 10_000, "%00", "..%2f..", "'\"<>", "%ff"])
async def test_absurd_session_ids_are_just_unknown(sid: str) -> None:
    async with under_attack() as target, target.raw() as raw:
        await raw.send(f"GET {HANDSHAKE}&sid={sid} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = await raw.to_the_end()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.endswith(b'{"code":1,"message":"Session ID unknown"}')


async def test_churn_leaves_nothing_behind() -> None:
    async with under_attack() as target:

        async def come_and_go() -> None:
            for _ in range(100):
                async with target.raw() as raw:
                    await raw.become_websocket()

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(come_and_go)
        assert target.io.engine.opened >= 1_000
        assert len(target.io.engine.deadlines) < 900
