"""Requests that must not pass, whoever they are for: nobody behind the proxy sees them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import BadRequest
from proxy.head import parse_head, split_head
from proxy.streams import Chunks, MalformedChunk
from tests.cluster.support import start_node
from tests.proxy.support import HANDSHAKE, Upstream, proxied

PATHS = [HANDSHAKE, "/page"]


def request(path: str, *headers: str, line: str = "", body: str = "") -> bytes:
    first = line or f"POST {path} HTTP/1.1"
    return ("\r\n".join([first, "Host: x", *headers, "", ""]) + body).encode("latin-1")


# (what it is, the request for PATH, the status that it gets)
REFUSED = [
    ("length and chunks", request("PATH", "Content-Length: 3", "Transfer-Encoding: chunked", body="0\r\n\r\n"), 400),
    ("two lengths", request("PATH", "Content-Length: 3", "Content-Length: 3", body="abc"), 400),
    *(
        (f"length {length!r}", request("PATH", f"Content-Length: {length}", body="abc"), 400)
        for length in ("+3", "3, 3", "0x3", "1_0", "-3", "²", "", "9" * 20)
    ),
    ("chunked twice", request("PATH", "Transfer-Encoding: chunked, chunked", body="0\r\n\r\n"), 400),
    ("two codings", request("PATH", *["Transfer-Encoding: chunked"] * 2, body="0\r\n\r\n"), 400),
    ("another coding", request("PATH", "Transfer-Encoding: gzip, chunked", body="0\r\n\r\n"), 400),
    ("chunked, quoted", request("PATH", 'Transfer-Encoding: "chunked"', body="0\r\n\r\n"), 400),
    ("chunked on 1.0", request("PATH", "Transfer-Encoding: chunked", line="POST PATH HTTP/1.0", body="0\r\n\r\n"), 400),
    ("space before the colon", request("PATH", "X-Header : 1"), 400),
    ("bare CR", request("PATH", "X-Header: a\rb"), 400),
    ("NUL", request("PATH", "X-Header: a\0b"), 400),
    ("folding", request("PATH", "X-Header: a", " folded"), 400),
    ("folding of a coding", request("PATH", "Transfer-Encoding:", " chunked", body="0\r\n\r\n"), 400),
    ("bare LF", b"GET PATH HTTP/1.1\nHost: x\n\n", 400),
    ("bare LF in the head", b"GET PATH HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", 400),
    ("fragment", request("PATH", line="GET PATH#x HTTP/1.1"), 400),
    ("space in the target", request("PATH", line="GET PATH x HTTP/1.1"), 400),
    ("HTTP/2 as text", request("PATH", line="GET PATH HTTP/2.0"), 400),
    ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ("no host", b"GET PATH HTTP/1.1\r\n\r\n", 400),
    ("two hosts", request("PATH", "Host: y"), 400),
    ("a target of another host", request("PATH", line="GET http://evil.example/ HTTP/1.1"), 400),
    ("a target of another kind", request("PATH", line="GET ftp://x/ HTTP/1.1"), 400),
    ("CONNECT", b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    ("TRACE", request("PATH", line="TRACE PATH HTTP/1.1"), 405),
    ("an upgrade with a body", request("PATH", "Upgrade: websocket", "Content-Length: 1", body="x"), 400),
    ("a huge head", request("PATH", "X-Header: " + "a" * 17_000), 431),
    ("a huge target", request("PATH", line=f"GET PATH{'a' * 17_000} HTTP/1.1"), 414),
    ("too many headers", request("PATH", *(f"X-{i}: 1" for i in range(101))), 431),
    ("garbage", b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
]


@pytest.mark.parametrize("behind", ["node", "upstream"])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("name", "wire", "status"), REFUSED, ids=[row[0] for row in REFUSED])
async def test_a_request_that_can_be_read_in_two_ways_reaches_nobody(
    tmp_path: Path, name: str, wire: bytes, status: int, path: str, behind: str
) -> None:
    async with trio.open_nursery() as nursery:
        upstream = await Upstream().start(nursery)
        site = await start_node(nursery, tmp_path / "run") if behind == "node" else None
        given = (
            {} if behind == "node" else {"affinity": "cookie", "upstreams": upstream.address, "probe_path": "/probe"}
        )
        async with proxied(tmp_path / "run", **given) as through:
            await through.knows(1)
            answer = await through.raw(wire.replace(b"PATH", path.encode()))
            assert answer.startswith(b"HTTP/1.1 %d " % status), answer
            assert answer.count(b"HTTP/1.1 ") == 1
            assert b"\r\nConnection: close\r\n" in answer
            assert (through.counters.handed, through.counters.relayed) == (0, 0)
            assert through.counters.answered == {status: 1}
        if site is not None:
            await site.end()
        assert b"page" not in b"".join(upstream.heads)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("limit", ["max_head_size", "max_headers"])
async def test_the_limits_of_a_head_are_settings(tmp_path: Path, limit: str) -> None:
    async with proxied(tmp_path / "run", **{limit: 3 if limit == "max_headers" else 100}) as through:
        assert (await through.raw(request("/", "A: 1", "B: 2", "C: " + "3" * 90))).startswith(b"HTTP/1.1 431 ")
        assert (await through.raw(request("/", "A: 1"))).startswith(b"HTTP/1.1 503 ")


@pytest.mark.parametrize("line", ["GET http://x/a?b=c HTTP/1.1", "GET HTTP://X/a?b=c HTTP/1.1"])
def test_a_target_may_name_the_host_once_more(line: str) -> None:
    head = parse_head(request("", line=line))
    assert (head.path, head.query) == ("/a", "b=c")


@given(
    st.binary(max_size=200) | st.text(max_size=50).map(lambda text: b"GET / HTTP/1.1\r\n" + text.encode() + b"\r\n\r\n")
)
def test_garbage_is_a_head_or_refused(wire: bytes) -> None:
    with contextlib.suppress(BadRequest):
        found = split_head(wire)
        if found is not None:
            parse_head(found[0])


CHUNKED = b"3\r\nabc\r\n5;name=value\r\ndefgh\r\n0\r\nX-Trailer: 1\r\n\r\n"


@pytest.mark.parametrize("step", [1, 2, 7, 1_000])
def test_chunks_are_read_to_their_end_and_no_further(step: int) -> None:
    wire = CHUNKED + b"GET / HTTP/1.1"
    chunks, payload, rest = Chunks(), b"", b""
    for start in range(0, len(wire), step):
        if chunks.complete:
            rest += wire[start : start + step]
            continue
        some, rest = chunks.feed(wire[start : start + step])
        payload += some
    assert (payload, rest) == (b"abcdefgh", b"GET / HTTP/1.1")


@pytest.mark.parametrize(
    "wire",
    [
        b"zz\r\n",
        b"-1\r\n",
        b"+3\r\nabc\r\n",
        b"0x3\r\nabc\r\n",
        b"3 \r\nabc\r\n",
        b"3\nabc\n",
        b"3\r\nabcX\r\n",
        b"3\r\nabc\rX",
        b"fffffffff\r\n",
        b"3;" + b"a" * 2_000,
        b"0\r\nno trailer\r\n\r\n",
        b"0\r\n" + b"A: 1\r\n" * 100 + b"\r\n",
        b"\r\n",
    ],
)
def test_malformed_chunks_are_refused(wire: bytes) -> None:
    with pytest.raises(MalformedChunk):
        Chunks().feed(wire)


@given(st.binary(max_size=100) | st.binary(max_size=20).map(lambda data: CHUNKED[: len(data)] + data))
def test_garbage_is_chunks_or_refused(wire: bytes) -> None:
    with contextlib.suppress(MalformedChunk):
        Chunks().feed(wire)


async def test_a_head_that_stalls_is_given_up(tmp_path: Path) -> None:
    async with proxied(tmp_path / "run", head_timeout=0.3) as through:
        assert (await through.raw(b"GET / HTTP/1.1\r\nHost:")).startswith(b"HTTP/1.1 408 ")
        assert await through.raw(b"") == b""
        assert through.proxy.edge.held == {}


async def test_a_head_that_dribbles_in_is_given_up_at_the_same_time(tmp_path: Path) -> None:
    async with proxied(tmp_path / "run", head_timeout=0.4) as through:
        client = await through.http()
        began = trio.current_time()
        await client.stream.send_all(b"GET / HTTP/1.1\r\nX: ")
        async with trio.open_nursery() as nursery:

            async def dribble() -> None:
                with contextlib.suppress(trio.BrokenResourceError):
                    while True:
                        await client.stream.send_all(b"x")
                        await trio.lowlevel.checkpoint()

            nursery.start_soon(dribble)
            # Faster than a person, and yet no head.
            assert (await client.receive()).status in (408, 431)
            nursery.cancel_scope.cancel()
        assert trio.current_time() - began < 5
