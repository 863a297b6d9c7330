"""Events that reach for more than handlers, acknowledgements that are not one's own, and hostile msgpack."""

from __future__ import annotations

import struct
from typing import Any

import msgspec
import pytest
import trio

from rtserver import Ack, MsgpackParser, Server, Socket
from rtserver.client import open_socket
from rtserver.protocol.websocket.frames import BINARY, client_frame
from tests.attacks.support import MASK, PATIENCE, UPGRADE, Raw, build, text, under_attack

RESERVED = ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]


def listening(heard: list[Any]) -> Server:
    """The usual application, with listeners for everything that may happen to a socket of the attacker."""
    io = build()

    @io.on_connect
    def joined(socket: Socket) -> None:
        socket.on_any(lambda name, *args: heard.append(name))

    @io.on_disconnecting
    def leaving(socket: Socket, reason: str) -> None:
        heard.append(("disconnecting", reason))

    @io.on_disconnect
    def gone(socket: Socket, reason: str) -> None:
        heard.append(("disconnect", reason))

    return io


@pytest.mark.parametrize("name", RESERVED)
@pytest.mark.parametrize("wire", ['42["%s","forged"]', '421["%s","forged"]', '42["echo"]|42["%s"]'])
async def test_a_reserved_event_reaches_nobody(name: str, wire: str) -> None:
    heard: list[Any] = []
    async with under_attack(io=listening(heard)) as target, target.raw() as raw:
        await raw.become_websocket()
        heard.clear()
        await raw.send(b"".join(text(packet) for packet in (wire % name).split("|")))
        await raw.to_the_end()
        assert [event for event in heard if event != "echo"] == [
            ("disconnecting", "parse error"),
            ("disconnect", "parse error"),
        ]


PRYING = ["__init__", "__class__", "__proto__", "constructor", "emit", "on_connect", "say ", "SAY", "echo\0", "", "*"]


@pytest.mark.parametrize("name", PRYING, ids=ascii)
async def test_only_registered_handlers_are_called(name: str) -> None:
    async with under_attack() as target, target.raw() as raw:
        await raw.become_websocket()
        event = msgspec.json.encode([name, "walkers", 1]).decode()
        await raw.send(text(f"42{event}") + text(f"421{event}") + text('422["echo"]'))
        # It is told so if it asks, and the connection is none the worse.
        answered = await raw.until(b"432[[]]")
        assert b"430" not in answered
        assert answered.count(b'431[{"error":{"code":"unknown_event"') == 1


async def test_an_answer_to_somebody_elses_question_is_dropped() -> None:
    io = build()
    answers: list[Any] = []
    asked = trio.Event()

    @io.on("ask")
    async def ask(socket: Socket, ack: Ack) -> None:
        asked.set()
        answers.append(await socket.call("question"))
        ack("thanks")

    async with under_attack(io=io) as target, target.raw() as victim, target.raw() as attacker:
        await victim.become_websocket()
        await attacker.become_websocket()
        await victim.send(text('427["ask"]'))
        question = await victim.until(b'["question"]')
        number = question.partition(b"42")[2].removesuffix(b'["question"]').decode()
        await asked.wait()
        for ack_id in {number, *map(str, range(50))}:
            await attacker.send(text(f'43{ack_id}["forged"]'))
        await attacker.send(text('428["echo"]'))
        await attacker.until(b"438[[]]")
        assert answers == []
        await victim.send(text(f'43{number}["mine"]') + text(f'43{number}["again"]'))
        assert (await victim.until(b'437["thanks"]')).endswith(b'437["thanks"]')
        assert answers == ["mine"]


async def test_broadcast_questions_are_not_answered_by_who_was_not_asked() -> None:
    io = build()
    async with under_attack(io=io) as target, target.raw() as member, target.raw() as attacker:
        await member.become_websocket()
        await attacker.become_websocket()
        await member.send(text('420["join","circle"]'))
        await member.until(b"430[]")
        async with trio.open_nursery() as nursery:
            answers: list[Any] = []

            async def ask() -> None:
                with trio.fail_after(PATIENCE):
                    answers.extend(await io.to("circle").call("question"))

            nursery.start_soon(ask)
            question = await member.until(b'["question"]')
            number = question.rpartition(b"42")[2].removesuffix(b'["question"]').decode()
            await attacker.send(text(f'43{number}["forged"]') + text('428["echo"]'))
            await attacker.until(b"438[[]]")
            await member.send(text(f'43{number}["mine"]'))
        assert answers == ["mine"]


async def test_attachments_that_are_too_much_together_end_their_connection() -> None:
    places = ",".join(f'{{"_placeholder":true,"num":{number}}}' for number in range(10))
    async with under_attack(max_http_buffer_size=100_000) as target, target.raw() as raw:
        await raw.become_websocket()
        await raw.send(text(f'4510-["echo",{places}]'))
        for _ in range(10):
            await raw.send(client_frame(BINARY, b"x" * 15_000, MASK))
        await raw.to_the_end()


async def test_a_packet_that_waits_for_attachments_is_not_kept_with_its_client() -> None:
    async with under_attack() as target:
        for _ in range(20):
            async with target.raw() as raw:
                await raw.become_websocket()
                await raw.send(text('4510-["echo",{"_placeholder":true,"num":0}]'))
                await raw.send(client_frame(BINARY, b"x" * 100_000, MASK))


async def test_names_of_namespaces_that_are_absurd_are_refused_and_make_none() -> None:
    async with under_attack() as target, target.raw() as raw:
        await raw.become_websocket()
        before = len(target.io.namespaces)
        for name in ("/__proto__", "/constructor", "/../admin", "/" + "a" * 5_000, "/%2e%2e", "/a b", "/é\u2028"):
            await raw.send(text(f"40{name},"))
            await raw.until(b'{"message":"Invalid namespace"}')
        assert len(target.io.namespaces) == before


# Msgpack: `{"type": 2, "nsp": "/", "data": ["say", "walkers", …]}` with something at its end.

HEAD = b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x93\xa3say\xa7walkers"
MSGPACK = {
    "not msgpack": b"\xc1",
    "cut off": HEAD,
    "an array of 2^32-1": HEAD + b"\xdd\xff\xff\xff\xff",
    "a map of 2^32-1": HEAD + b"\xdf\xff\xff\xff\xff",
    "bytes of 2^32-1": HEAD + b"\xc6\xff\xff\xff\xff",
    "text of 2^32-1": HEAD + b"\xdb\xff\xff\xff\xff",
    "an extension of 2^32-1": HEAD + b"\xc9\xff\xff\xff\xff\x01",
    "too deep": HEAD + b"\x91" * 100_000 + b"\xc0",
    "bad UTF-8": HEAD + b"\xa2\xff\xff",
    "something behind it": HEAD + b"\xc0\xc0",
    "a packet that is a list": b"\x92\x02\xa1/",
    "a type out of range": msgspec.msgpack.encode({"type": 9, "nsp": "/"}),
    "a type that is text": msgspec.msgpack.encode({"type": "2", "nsp": "/", "data": ["echo"]}),
    "a type that is true": msgspec.msgpack.encode({"type": True, "nsp": "/", "data": ["echo"]}),
    "a namespace that is a number": msgspec.msgpack.encode({"type": 2, "nsp": 7, "data": ["echo"]}),
    "a negative id": msgspec.msgpack.encode({"type": 2, "nsp": "/", "data": ["echo"], "id": -1}),
    "an id out of range": msgspec.msgpack.encode({"type": 2, "nsp": "/", "data": ["echo"], "id": 2**53}),
    "an id that is true": msgspec.msgpack.encode({"type": 2, "nsp": "/", "data": ["echo"], "id": True}),
    "a reserved event": msgspec.msgpack.encode({"type": 2, "nsp": "/", "data": ["disconnect"]}),
}


async def become_msgpack(raw: Raw) -> None:
    await raw.send(UPGRADE)
    await raw.until(b"\r\n\r\n")
    await raw.until(b"}")
    await raw.send(client_frame(BINARY, msgspec.msgpack.encode({"type": 0, "nsp": "/"}), MASK))
    await raw.until(b"sid")


@pytest.mark.parametrize("name", list(MSGPACK))
async def test_msgpack_that_is_no_packet_ends_its_connection_and_no_other(name: str) -> None:
    async with under_attack(io=build(parser=MsgpackParser())) as target, target.raw() as raw:
        await become_msgpack(raw)
        await raw.send(client_frame(BINARY, MSGPACK[name], MASK))
        assert b"\x88" in await raw.to_the_end()


ODD = {
    "not a number": b"\xcb" + struct.pack(">d", float("nan")),
    "infinity": b"\xcb" + struct.pack(">d", float("-inf")),
    "a list as a key": b"\x81\x91\x01\x02",
    "a date that is none": b"\xd7\x00\x7f" + b"\xff" * 7,
    "an unknown extension": b"\xd4\x63\x01",
}


@pytest.mark.parametrize("name", list(ODD))
async def test_msgpack_that_only_msgpack_can_say_harms_nobody_who_hears_it(name: str) -> None:
    parser = MsgpackParser()
    async with (
        under_attack(io=build(parser=parser)) as target,
        target.raw() as raw,
        open_socket(target.url, transports=["websocket"], parser=parser) as hearer,
    ):
        await hearer.call("join", "cellars")
        await become_msgpack(raw)
        await raw.send(client_frame(BINARY, HEAD.replace(b"walkers", b"cellars") + ODD[name], MASK))
        with trio.fail_after(PATIENCE):
            await hearer.receive("said")
        assert await hearer.call("echo", "unharmed") == ["unharmed"]
