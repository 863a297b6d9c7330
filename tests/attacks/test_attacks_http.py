"""Requests that must not pass, on the engine's path and on the application's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing
from quart_trio import QuartTrio

from tests.attacks.support import HANDSHAKE, UPGRADE, under_attack

PATHS = [HANDSHAKE, "/healthz"]


def request(path: str, *headers: str, line: str = "", body: str = "") -> bytes:
    first = line or f"POST {path} HTTP/1.1"
    return ("\r\n".join([first, "Host: x", *headers, "", ""]) + body).encode("latin-1")


# (what it is, the request for a path, the status that it gets)
REFUSED: list[tuple[str, Callable[[str], bytes], int]] = [
    (
        "length and chunks",
        lambda path: request(path, "Content-Length: 3", "Transfer-Encoding: chunked", body="0\r\n\r\n"),
        400,
    ),
    ("two lengths", lambda path: request(path, "Content-Length: 3", "Content-Length: 3", body="abc"), 400),
    *(
        (f"length {length!r}", lambda path, length=length: request(path, f"Content-Length: {length}", body="abc"), 400)
        for length in ("+3", "3, 3", "0x3", "1_0", "-3", "²", "")
    ),
    ("chunked twice", lambda path: request(path, "Transfer-Encoding: chunked, chunked", body="0\r\n\r\n"), 400),
    ("another coding", lambda path: request(path, "Transfer-Encoding: gzip, chunked", body="0\r\n\r\n"), 400),
    (
        "chunked on 1.0",
        lambda path: request(path, "Transfer-Encoding: chunked", line=f"POST {path} HTTP/1.0", body="0\r\n\r\n"),
        400,
    ),
    ("space before the colon", lambda path: request(path, "X-Header : 1"), 400),
    ("bare CR", lambda path: request(path, "X-Header: a\rb"), 400),
    ("NUL", lambda path: request(path, "X-Header: a\0b"), 400),
    ("folding", lambda path: request(path, "X-Header: a", " folded"), 400),
    ("folding of a coding", lambda path: request(path, "Transfer-Encoding:", " chunked", body="0\r\n\r\n"), 400),
    ("bare LF", lambda path: f"GET {path} HTTP/1.1\nHost: x\n\n".encode(), 400),
    ("bare LF in the head", lambda path: f"GET {path} HTTP/1.1\r\nHost: x\nX: y\r\n\r\n".encode(), 400),
    ("fragment", lambda path: request(path, line=f"GET {path}#x HTTP/1.1"), 400),
    ("space in the target", lambda path: request(path, line=f"GET {path} x HTTP/1.1"), 400),
    ("HTTP/2 as text", lambda path: request(path, line=f"GET {path} HTTP/2.0"), 400),
    ("HTTP/2 preface", lambda path: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ("no host", lambda path: f"GET {path} HTTP/1.1\r\n\r\n".encode(), 400),
    ("two hosts", lambda path: request(path, "Host: y"), 400),
    ("CONNECT", lambda path: b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    ("TRACE", lambda path: request(path, line=f"TRACE {path} HTTP/1.1"), 405),
    ("a huge head", lambda path: request(path, "X-Header: " + "a" * 17_000), 431),
    ("a huge target", lambda path: request(path, line=f"GET {path}{'a' * 17_000} HTTP/1.1"), 414),
    ("too many headers", lambda path: request(path, *(f"X-{i}: 1" for i in range(101))), 431),
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("name", "make", "status"), REFUSED, ids=[row[0] for row in REFUSED])
async def test_a_request_that_can_be_read_in_two_ways_is_refused(
    path: str, name: str, make: Callable[[str], bytes], status: int
) -> None:
    async with under_attack() as target:
        answer = await target.send(make(path))
        assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer
        assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "body",
    [
        "zz\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcX\r\n0\r\n\r\n",
        "-1\r\n\r\n",
        "3 ; x\nabc\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n",
    ],
)
async def test_malformed_chunks_are_refused(body: str) -> None:
    async with under_attack() as target:
        answer = await target.send(request(HANDSHAKE, "Transfer-Encoding: chunked", body=body))
        assert answer.startswith(b"HTTP/1.1 400 ")


async def test_sound_chunks_are_read_and_end_the_connection() -> None:
    async with under_attack() as target:
        body = "2;ext=1\r\n40\r\n0\r\nTrailer: x\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
        answer = await target.send(request(HANDSHAKE, "Transfer-Encoding: chunked", body=body))
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"Bad handshake method" in answer
        assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("headers", [[], ["Expect: 100-continue"]])
async def test_a_body_over_the_limit_is_refused_before_it_is_read(headers: list[str]) -> None:
    async with under_attack(max_http_buffer_size=1_000) as target:
        answer = await target.send(request(HANDSHAKE, "Content-Length: 1001", *headers))
        assert answer.startswith(b"HTTP/1.1 413 ")


async def test_chunks_over_the_limit_are_refused_while_they_come() -> None:
    async with under_attack(max_http_buffer_size=1_000) as target:
        chunk = f"{600:x}\r\n{'a' * 600}\r\n"
        answer = await target.send(request(HANDSHAKE, "Transfer-Encoding: chunked", body=chunk * 2))
        assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_client_is_told_to_go_on_if_it_asks() -> None:
    async with under_attack() as target, target.raw() as raw:
        await raw.send(request(HANDSHAKE, "Content-Length: 2", "Expect: 100-continue"))
        assert await raw.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await raw.send(b"40")
        assert (await raw.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


async def test_a_compressed_body_is_refused() -> None:
    async with under_attack() as target:
        answer = await target.send(request(HANDSHAKE, "Content-Length: 2", "Content-Encoding: gzip", body="xx"))
        assert answer.startswith(b"HTTP/1.1 415 ")


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with under_attack() as target:
        first = f"GET {HANDSHAKE} HTTP/1.1\r\nHost: x\r\n\r\n"
        second = "GET /socket.io/?EIO=4&transport=none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        answer = await target.send((first + first + second).encode())
        assert [part[:12] for part in answer.split(b"HTTP/1.1 ")[1:]] == [
            b"200 OK\r\nCont",
            b"200 OK\r\nCont",
            b"400 Bad Requ",
        ]
        for session in list(target.io.engine.sessions.values()):
            if session.transport_name == "polling" and not session.handler.sockets:  # type: ignore[attr-defined]
                session.close(discard=True)


@pytest.mark.parametrize("path", PATHS)
async def test_h2c_is_ignored(path: str) -> None:
    async with under_attack() as target:
        headers = ["Connection: Upgrade, HTTP2-Settings, close", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQ"]
        answer = await target.send(request(path, *headers, line=f"GET {path}x HTTP/1.1"))
        assert not answer.startswith(b"HTTP/1.1 101")
        assert answer.startswith(b"HTTP/1.1 ")


def upgrade(path: str, *extra: str, tail: bytes = b"") -> bytes:
    head = UPGRADE.replace(b"/socket.io/?EIO=4&transport=websocket", path.encode()).removesuffix(b"\r\n")
    return head + "".join(f"{line}\r\n" for line in extra).encode("latin-1") + b"\r\n" + tail


HARD = {
    "a body": (["Content-Length: 5"], b"hello"),
    "a trailing byte": ([], b"x"),
    "an odd subprotocol": (["Sec-WebSocket-Protocol: caf\xe9"], b""),
    "a malformed extension": (["Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=x"], b""),
}


@pytest.mark.parametrize("websockets", [False, True])
@pytest.mark.parametrize("path", ["/own", "/socket.io/?EIO=4&transport=websocket"])
@pytest.mark.parametrize("kind", list(HARD))
async def test_upgrades_that_are_hard_on_servers_hurt_nobody(kind: str, path: str, websockets: bool) -> None:
    app = QuartTrio("users")

    @app.websocket("/own")
    async def own() -> None: ...

    extra, tail = HARD[kind]
    async with under_attack(app=app, websockets=websockets) as target, target.raw() as raw:
        await raw.send(upgrade(path, *extra, tail=tail))
        await raw.stream.send_eof()
        await raw.to_the_end()


@pytest.mark.parametrize(
    "change",
    [("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8", b"426"), ("AAAAAAAAAAAAAAAAAAAAAA==", "short", b"400")],
)
async def test_a_bad_upgrade_is_refused_before_101(change: tuple[str, str, bytes]) -> None:
    async with under_attack() as target:
        answer = await target.send(UPGRADE.replace(change[0].encode(), change[1].encode()))
        assert answer.startswith(b"HTTP/1.1 " + change[2])
        assert (b"Sec-WebSocket-Version: 13" in answer) == (change[2] == b"426")


async def test_a_full_node_says_so() -> None:
    async with under_attack(max_connections=4) as target, target.raw(), target.raw():
        await trio.testing.wait_all_tasks_blocked(0.05)
        answer = await target.send(request(HANDSHAKE))
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1" in answer


@pytest.fixture
def clock() -> trio.testing.MockClock:
    return trio.testing.MockClock(rate=1.0)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("sent", ["", "GET ", "GET / HTTP/1.1\r\nHost"])
async def test_a_slow_head_is_given_up(sent: str, path: str, clock: trio.testing.MockClock) -> None:
    async with under_attack(ping_interval=1_000) as target, target.raw() as raw:
        await raw.send(sent.replace(" /", f" {path}").encode())
        await trio.testing.wait_all_tasks_blocked(0.05)
        clock.jump(10.1)
        answer = await raw.to_the_end()
        assert answer.startswith(b"HTTP/1.1 408 ") or (answer == b"" and not sent)


async def test_a_body_that_drips_is_given_up(clock: trio.testing.MockClock) -> None:
    async with under_attack(ping_interval=1_000) as target, target.raw() as raw:
        await raw.send(request(HANDSHAKE, "Content-Length: 10000", body="a" * 500))
        await trio.testing.wait_all_tasks_blocked(0.05)
        clock.jump(10.1)
        assert (await raw.to_the_end()).startswith(b"HTTP/1.1 408 ")
