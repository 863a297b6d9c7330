"""Requests that are refused for how they are written, what is never reflected, and senders that take their time."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import quart
import trio
import trio.testing
from quart_trio import QuartTrio

from tests.attacks.support import HANDSHAKE, Raw, under_attack

PATHS = [HANDSHAKE, "/own"]
CHUNKED = "Transfer-Encoding: chunked"


@pytest.fixture
def clock() -> trio.testing.MockClock:
    return trio.testing.MockClock(rate=1.0)


@pytest.fixture
def app() -> QuartTrio:
    app = QuartTrio("users")

    @app.route("/own", methods=["GET", "POST"])
    async def own() -> dict[str, Any]:
        body = await quart.request.get_data()
        return {"headers": [[name.lower(), value] for name, value in quart.request.headers], "body": len(body)}

    return app


def request(path: str, *headers: str, method: str = "POST", body: str = "") -> bytes:
    return ("\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]) + body).encode("latin-1")


# (what it is, headers, body): all of it is 400 and the end of the connection.
AMBIGUOUS = [
    ("length in other digits", ["Content-Length: \xd9\xa3"], "abc"),
    ("a length with a space in it", ["Content-Length: 3 3"], "abc"),
    ("a length of 2^64 and a bit", ["Content-Length: 18446744073709551617"], "a"),
    ("no length and a length", ["Content-Length:", "Content-Length: 3"], "abc"),
    ("two codings in two lines", [CHUNKED, CHUNKED], "0\r\n\r\n"),
    ("identity", ["Transfer-Encoding: identity"], ""),
    ("nearly chunked", ["Transfer-Encoding: xchunked"], "0\r\n\r\n"),
    ("chunked with a parameter", ["Transfer-Encoding: chunked;q=1"], "0\r\n\r\n"),
    ("chunked in quotes", ['Transfer-Encoding: "chunked"'], "0\r\n\r\n"),
    ("chunked, and then something", ["Transfer-Encoding: chunked, identity"], "0\r\n\r\n"),
    ("chunked after a vertical tab", ["Transfer-Encoding: \x0bchunked"], "0\r\n\r\n"),
    ("a name without letters", [": x"], ""),
    ("a name with a NUL", ["X\0Y: x"], ""),
    ("a name in brackets", ["(X): x"], ""),
    ("a line without a colon", ["nothing"], ""),
    ("folding in the first header", [" folded", "X: y"], ""),
    ("a chunk size with a plus", [CHUNKED], "+3\r\nabc\r\n0\r\n\r\n"),
    ("a chunk size in hexadecimal notation", [CHUNKED], "0x3\r\nabc\r\n0\r\n\r\n"),
    ("a chunk size with an underscore", [CHUNKED], "0_3\r\nabc\r\n0\r\n\r\n"),
    ("a chunk size after a space", [CHUNKED], " 3\r\nabc\r\n0\r\n\r\n"),
    ("a chunk without a size", [CHUNKED], "\r\nabc\r\n0\r\n\r\n"),
    ("a chunk that ends with LF", [CHUNKED], "3\r\nabc\n0\r\n\r\n"),
    ("a chunk size that ends with LF", [CHUNKED], "3\nabc\r\n0\r\n\r\n"),
    ("a chunk size that ends with CR", [CHUNKED], "3\rabc\r\n0\r\n\r\n"),
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("name", "headers", "body"), AMBIGUOUS, ids=[row[0] for row in AMBIGUOUS])
async def test_what_others_might_read_differently_is_refused(
    path: str, name: str, headers: list[str], body: str, app: QuartTrio
) -> None:
    async with under_attack(app=app) as target:
        answer = await target.send(request(path, *headers, body=body))
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), answer
        assert answer.count(b"HTTP/1.1 ") == 1


LINES = {
    "without a version": b"GET %b\r\n\r\n",
    "of version 0.9": b"GET %b HTTP/0.9\r\nHost: x\r\n\r\n",
    "of version 1.2": b"GET %b HTTP/1.2\r\nHost: x\r\n\r\n",
    "of a version in lower case": b"GET %b http/1.1\r\nHost: x\r\n\r\n",
    "with a tab": b"GET\t%b\tHTTP/1.1\r\nHost: x\r\n\r\n",
    "with a NUL": b"GET %b\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "with a bare CR": b"GET %b HTTP/1.1\rHost: x\r\r\n\r\n",
    "with a method that is none": b"G@T %b HTTP/1.1\r\nHost: x\r\n\r\n",
    "that is TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03%b\r\n\r\n",
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", list(LINES))
async def test_a_first_line_that_is_none_is_refused(path: str, name: str, app: QuartTrio) -> None:
    async with under_attack(app=app) as target, target.raw() as raw:
        await raw.send(LINES[name] % path.encode())
        answer = await raw.to_the_end()
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 405 ", b"HTTP/1.1 501 ")), answer


async def test_trailers_are_no_headers(app: QuartTrio) -> None:
    async with under_attack(app=app) as target:
        body = "3\r\nabc\r\n0\r\nX-Admin: 1\r\nHost: evil\r\nContent-Length: 7\r\n\r\n"
        answer = await target.send(request("/own", CHUNKED, "Trailer: X-Admin", "Connection: close", body=body))
        assert b'x-admin"' not in answer.lower()
        assert b"evil" not in answer


@pytest.mark.parametrize("path", PATHS)
async def test_a_body_over_the_limit_is_refused_on_every_path(path: str, app: QuartTrio) -> None:
    async with under_attack(app=app, max_http_buffer_size=1_000) as target:
        answer = await target.send(request(path, "Content-Length: 100000000", "Expect: 100-continue"))
        # The application's own limit is behind a server that has said "go on" already.
        assert answer.startswith(b"HTTP/1.1 413 ") or (path == "/own" and b"\r\n\r\nHTTP/1.1 413 " in answer)


@pytest.mark.parametrize("path", PATHS)
async def test_chunks_without_end_are_refused_on_every_path(path: str, app: QuartTrio) -> None:
    async with under_attack(app=app, max_http_buffer_size=100_000) as target, target.raw() as raw:
        await raw.send(request(path, CHUNKED))
        with trio.fail_after(5):
            with suppress(trio.BrokenResourceError):
                await raw.send_for_ever(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
        assert b"HTTP/1.1 200" not in await raw.to_the_end()


SPLIT = "x%0d%0aSet-Cookie:%20evil=1%0d%0a%0d%0aHTTP/1.1%20200%20OK"
REFLECTING = {
    "a query": request(f"{HANDSHAKE}&t={SPLIT}", "Connection: close", method="GET"),
    "a sid": request(f"{HANDSHAKE}&sid={SPLIT}", "Connection: close", method="GET"),
    "a transport": request(f"/socket.io/?EIO=4&transport={SPLIT}", "Connection: close", method="GET"),
    "a path": request(f"/socket.io/../{SPLIT}", "Connection: close", method="GET"),
    "an origin": request(HANDSHAKE, f"Origin: http://good.example/{SPLIT}", "Connection: close", method="GET"),
    "a cookie": request(HANDSHAKE, f"Cookie: io={SPLIT}; evil=1", "Connection: close", method="GET"),
    "a preflight": request(
        HANDSHAKE,
        "Origin: http://good.example",
        "Access-Control-Request-Method: POST",
        f"Access-Control-Request-Headers: {SPLIT}, \xe9vil, <script>",
        "Connection: close",
        method="OPTIONS",
    ),
}


@pytest.mark.parametrize("name", list(REFLECTING))
async def test_nothing_of_a_request_becomes_a_header_of_its_own(name: str) -> None:
    async with under_attack(cors="http://good.example", cookie=True) as target:
        answer = await target.send(REFLECTING[name])
        head, _, _ = answer.partition(b"\r\n\r\n")
        assert answer.count(b"HTTP/1.1 ") == 1
        lines = head.split(b"\r\n")
        assert not [line for line in lines if line.lower().startswith(b"set-cookie:") and b"evil" in line]
        assert all(line.isascii() for line in lines)
        for session in list(target.io.engine.sessions.values()):
            if session.transport_name == "polling" and not session.handler.sockets:  # type: ignore[attr-defined]
                session.close(discard=True)


async def drip(raw: Raw, clock: trio.testing.MockClock, data: bytes) -> None:
    """One byte a second, as often as it is taken."""
    for byte in data:
        try:
            await raw.send(bytes([byte]))
        except trio.BrokenResourceError:
            return
        await trio.testing.wait_all_tasks_blocked(0.01)
        clock.jump(1)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("what", ["head", "body", "chunks"])
async def test_one_byte_a_second_is_too_slow(
    path: str, what: str, app: QuartTrio, clock: trio.testing.MockClock
) -> None:
    async with under_attack(app=app, ping_interval=1_000) as target, target.raw() as raw:
        if what == "head":
            await drip(raw, clock, request(path, method="GET")[:25])
        elif what == "body":
            await raw.send(request(path, "Content-Length: 10000"))
            await drip(raw, clock, b"x" * 25)
        else:
            await raw.send(request(path, CHUNKED, body="2000\r\n"))
            await drip(raw, clock, b"x" * 25)
        # Its time was up while it still sent, not only once it had stopped.
        with trio.fail_after(5):
            answer = await raw.to_the_end()
        # Behind the hand-over the body just ends, in the middle.
        assert answer == b"" or answer.startswith((b"HTTP/1.1 408 ", b"HTTP/1.1 400 ")), answer
