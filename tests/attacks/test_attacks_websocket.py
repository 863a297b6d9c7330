"""WebSocket requests and frames that RFC 6455 forbids, and what compression must not do."""

from __future__ import annotations

import zlib

import pytest
import trio

from rtserver.protocol.websocket.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT, client_frame
from tests.attacks.support import MASK, PATIENCE, UPGRADE, build, under_attack


def close_frame(code: int | None, reason: bytes = b"") -> bytes:
    return client_frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason, MASK)


def close_code(wire: bytes) -> int:
    """The code of the Close frame at the end; 1005 if it has none."""
    at = wire.rindex(b"\x88")
    return int.from_bytes(wire[at + 2 : at + 4], "big") if wire[at + 1] else 1005


def masked(first: int, payload: bytes, length: bytes | None = None) -> bytes:
    return bytes([first]) + (length or bytes([0x80 | len(payload)])) + b"\0\0\0\0" + payload


# (what it is, the bytes, the code of RFC 6455)
FRAMES: list[tuple[str, bytes, int]] = [
    *((f"reserved bit {bit:02x}", masked(0x81 | bit, b"4"), 1002) for bit in (0x40, 0x20, 0x10)),
    *((f"opcode {code}", masked(0x80 | code, b""), 1002) for code in (3, 7, 11, 15)),
    *((f"close code {code}", close_frame(code), 1002) for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000)),
    ("a close of one byte", client_frame(CLOSE, b"\x03", MASK), 1002),
    ("a close with a bad reason", close_frame(1000, b"\xff\xfe"), 1007),
    ("a long close", close_frame(1000, b"x" * 124), 1002),
    ("a fragmented close", client_frame(CLOSE, b"\x03\xe8", MASK, fin=False), 1002),
    ("nothing to continue", client_frame(CONTINUATION, b"x", MASK), 1002),
    ("a message in a message", client_frame(TEXT, b"4", MASK, fin=False) + client_frame(TEXT, b"4", MASK), 1002),
    ("a length of 2^63", masked(0x82, b"", b"\xff" + (2**63).to_bytes(8, "big")), 1002),
    ("a character cut by a fragment", client_frame(TEXT, b"4\xe2\x82", MASK, fin=False)
     + client_frame(CONTINUATION, b"x", MASK), 1007),
    ("a surrogate", client_frame(TEXT, b"4\xed\xa0\x80", MASK), 1007),
    ("compressed without agreement", masked(0xC1, b"4"), 1002),
]  # fmt: skip


@pytest.mark.parametrize(("name", "wire", "code"), FRAMES, ids=[row[0] for row in FRAMES])
async def test_a_frame_that_the_rfc_forbids_gets_its_code(name: str, wire: bytes, code: int) -> None:
    async with under_attack() as target, target.raw() as raw:
        await raw.become_websocket()
        await raw.send(wire)
        assert close_code(await raw.to_the_end()) == code


@pytest.mark.parametrize("code", [None, 1000, 1001, 1011, 1014, 3000, 4999])
async def test_a_close_that_is_allowed_is_answered(code: int | None) -> None:
    async with under_attack() as target, target.raw() as raw:
        await raw.become_websocket()
        await raw.send(close_frame(code))
        assert close_code(await raw.to_the_end()) in (1000, 1005, code)


@pytest.mark.parametrize("step", [1, 3])
async def test_a_frame_that_comes_in_pieces_has_the_same_end(step: int) -> None:
    wire = client_frame(TEXT, b'420["echo"]', MASK) + client_frame(TEXT, b"4\xff", MASK)
    async with under_attack() as target, target.raw() as raw:
        await raw.become_websocket()
        for at in range(0, len(wire), step):
            await raw.send(wire[at : at + step])
        received = await raw.to_the_end()
        assert b"430[[]]" in received
        assert close_code(received) == 1007


async def test_pings_without_end_are_answered_and_hold_nothing() -> None:
    async with under_attack() as target, target.raw() as raw:
        await raw.become_websocket()

        async def flood() -> None:
            for _ in range(50):
                await raw.send(client_frame(PING, b"x" * 100, MASK) * 100)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            answered = 0
            with trio.fail_after(PATIENCE):
                while answered < 5_000 * 102:
                    answered += len(await raw.stream.receive_some())


async def test_who_sends_pings_and_reads_no_pongs_is_cut_off() -> None:
    io = build(max_queue_bytes=100_000)
    async with under_attack(io=io) as target, target.raw() as raw:
        await raw.become_websocket()
        with trio.fail_after(PATIENCE), pytest.raises(trio.BrokenResourceError):
            await raw.send_for_ever(client_frame(PING, b"x" * 125, MASK) * 1_000)


def without(header: bytes) -> bytes:
    return b"\r\n".join(line for line in UPGRADE.split(b"\r\n") if not line.startswith(header))


REFUSED = {
    "with a body": (UPGRADE.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nhello"), (400,)),
    "with chunks": (UPGRADE.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), (400,)),
    "without a key": (without(b"Sec-WebSocket-Key"), (400,)),
    "with two keys": (UPGRADE.replace(b"Sec-", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-", 1), (400,)),
    "with a long key": (UPGRADE.replace(b"AAAA==", b"AAAAAAAA=="), (400,)),
    "with a key that is no base64": (UPGRADE.replace(b"AAAA==", b"A!A_=="), (400,)),
    "without a version": (without(b"Sec-WebSocket-Version"), (400, 426)),
    "of an odd version": (UPGRADE.replace(b"Version: 13", b"Version: 13, 8"), (426,)),
    "by POST": (UPGRADE.replace(b"GET ", b"POST "), (400, 405)),
    "on HTTP/1.0": (UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"), (400,)),
    "without Connection": (without(b"Connection"), (400,)),
    "to something else": (UPGRADE.replace(b"Upgrade: websocket", b"Upgrade: websockets"), (400,)),
    "from a foreign origin": (UPGRADE.replace(b"Host: x", b"Host: x\r\nOrigin: http://evil.example"), (403,)),
}


@pytest.mark.parametrize("name", list(REFUSED))
async def test_an_upgrade_that_is_not_one_is_refused_before_101(name: str) -> None:
    wire, allowed = REFUSED[name]
    async with under_attack(cors="http://good.example") as target, target.raw() as raw:
        await raw.send(wire)
        answer = await raw.until(b"\r\n\r\n")
        assert int(answer[9:12]) in allowed, answer


async def test_white_space_behind_a_value_is_none_of_it() -> None:
    async with under_attack() as target, target.raw() as raw:
        await raw.send(UPGRADE.replace(b"Upgrade: websocket\r", b"Upgrade: websocket \t\r"))
        assert (await raw.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")


async def test_frames_that_come_with_the_upgrade_are_taken_after_it() -> None:
    async with under_attack() as target:
        answer = await target.send(UPGRADE + b"x\x80\0\0\0\0")
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert close_code(answer) == 1002


OFFER = UPGRADE.replace(b"Host: x", b"Host: x\r\nSec-WebSocket-Extensions: permessage-deflate")


async def test_deflate_is_off_unless_it_was_asked_for() -> None:
    async with under_attack() as target, target.raw() as raw:
        await raw.send(OFFER)
        assert b"permessage-deflate" not in await raw.until(b"\r\n\r\n")


@pytest.mark.parametrize("fragments", [1, 4])
async def test_a_bomb_is_inflated_no_further_than_the_limit(fragments: int) -> None:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = deflater.compress(b"4" + b"\0" * 100_000_000) + deflater.flush(zlib.Z_SYNC_FLUSH)
    bomb = bomb.removesuffix(b"\0\0\xff\xff")
    size = len(bomb) // fragments + 1
    pieces = [bomb[at : at + size] for at in range(0, len(bomb), size)]
    async with under_attack(per_message_deflate=True) as target, target.raw() as raw:
        await raw.send(OFFER)
        assert b"permessage-deflate" in await raw.until(b"\r\n\r\n")
        for number, piece in enumerate(pieces):
            frame = client_frame(CONTINUATION if number else BINARY, piece, MASK, fin=number == len(pieces) - 1)
            wire = frame if number else bytes([frame[0] | 0x40]) + frame[1:]
            try:
                await raw.send(wire)
            except trio.BrokenResourceError:
                break
        assert close_code(await raw.to_the_end()) == 1009


async def test_what_is_no_deflate_ends_its_connection() -> None:
    async with under_attack(per_message_deflate=True) as target, target.raw() as raw:
        await raw.send(OFFER)
        await raw.until(b"\r\n\r\n")
        frame = client_frame(TEXT, b"\xff" * 100, MASK)
        await raw.send(bytes([frame[0] | 0x40]) + frame[1:])
        assert close_code(await raw.to_the_end()) in (1002, 1007)
