"""Upstreams of other machines: what they get, what they may answer, and what clients see of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from tests.behaviour.support import ACCEPT, KEY
from tests.cluster.support import eventually
from tests.proxy.support import Connection, Upstream, lines_of, proxied, says

UPGRADE = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Key", KEY),
    ("Sec-WebSocket-Version", "13"),
)
SWITCHED = "\r\n".join(
    [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {ACCEPT}",
        "",
        "",
    ]
)
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def given(*upstreams: Upstream, **more: Any) -> dict[str, Any]:
    """Listed upstreams, which nobody probes during the test."""
    listed = ",".join(one.address for one in upstreams)
    return {"affinity": "address", "upstreams": listed, "probe_interval": 600, "probe_path": "/probe", **more}


async def test_each_request_of_a_connection_is_relayed_by_itself(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        upstream = await Upstream().start(nursery)
        async with proxied(tmp_path, **given(upstream)) as through:
            await through.knows(1)
            client = await through.http()
            for number in range(5):
                answer = await client.request("POST", f"/{number}?a=b", b"body %d" % number)
                assert answer.facts == (200, "hello")
                assert answer.header("connection") == "keep-alive"
            assert [head.split(b" ")[1] for head in upstream.heads] == [b"/%d?a=b" % number for number in range(5)]
            assert upstream.bodies == [b"body %d" % number for number in range(5)]
            assert upstream.connections == 1
        nursery.cancel_scope.cancel()


async def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        upstream = await Upstream().start(nursery)
        async with proxied(tmp_path, **given(upstream)) as through:
            await through.knows(1)
            client = await through.http()
            pipelined = [f"POST /{n} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab" for n in range(3)]
            await client.stream.send_all("".join(pipelined).encode())
            assert [(await client.receive()).status for _ in range(3)] == [200] * 3
            assert [head.split(b" ")[1] for head in upstream.heads] == [b"/0", b"/1", b"/2"]
        nursery.cancel_scope.cancel()


async def test_a_chunked_body_reaches_the_upstream_with_its_length_and_without_its_trailers(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        upstream = await Upstream().start(nursery)
        async with proxied(tmp_path, **given(upstream)) as through:
            await through.knows(1)
            client = await through.http()
            chunks = "3\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: secret\r\n\r\n"
            head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Trailer\r\n\r\n"
            await client.stream.send_all((head + chunks).encode() + GET)
            assert [(await client.receive()).status for _ in range(2)] == [200] * 2
            assert upstream.bodies == [b"abcde", b""]
            assert lines_of(upstream.heads[0], "content-length") == ["5"]
            assert lines_of(upstream.heads[0], "transfer-encoding") == []
            assert b"secret" not in b"".join(upstream.heads)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("Content-Length: 1001\r\n\r\n", 413),
        ("Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n", 413),
        (
            "Transfer-Encoding: chunked\r\n\r\n190\r\n"
            + "a" * 400
            + "\r\n190\r\n"
            + "a" * 400
            + "\r\n190\r\n"
            + "a" * 400,
            413,
        ),
        ("Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        ("Content-Length: 10\r\n\r\nabc", 408),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nabc", 408),
    ],
)
async def test_a_body_that_is_too_large_malformed_or_too_slow_reaches_nobody(
    tmp_path: Path, head: str, status: int
) -> None:
    async with trio.open_nursery() as nursery:
        upstream = await Upstream().start(nursery)
        async with proxied(tmp_path, **given(upstream, max_body=1_000, head_timeout=0.3)) as through:
            await through.knows(1)
            answer = await through.raw(f"POST / HTTP/1.1\r\nHost: x\r\n{head}".encode())
            assert answer.startswith(f"HTTP/1.1 {status} ".encode())
            assert upstream.heads == []
        nursery.cancel_scope.cancel()


async def test_a_client_that_asks_whether_to_go_on_is_told_by_the_proxy(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        upstream = await Upstream().start(nursery)
        async with proxied(tmp_path, **given(upstream)) as through:
            await through.knows(1)
            client = await through.http()
            await client.send("POST", "/", headers=[("Expect", "100-continue"), ("X", "y")])
            # The length is written by the client of the tests: none, so there is nothing to wait for.
            assert (await client.receive()).status == 200
            await client.stream.send_all(
                b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
            )
            while b"\r\n\r\n" not in client.received:
                client.received += await client.stream.receive_some()
            assert client.received == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.received = b""
            await client.stream.send_all(b"ab")
            assert (await client.receive()).status == 200
            assert lines_of(upstream.heads[-1], "expect") == []
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("wire", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.0 200 OK\r\n\r\nold", b"old"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", b"x"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\n\r\nsmuggled", b"abc"),
    ],
)
async def test_an_answer_ends_where_it_says(tmp_path: Path, wire: bytes, body: bytes) -> None:
    async with trio.open_nursery() as nursery:
        upstream = await Upstream(says(wire)).start(nursery)
        async with proxied(tmp_path, **given(upstream)) as through:
            await through.knows(1)
            answer = await through.raw(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            head, _, rest = answer.partition(b"\r\n\r\n")
            assert rest == body
            assert lines_of(head, "connection") == ["close"]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ],
)
async def test_an_answer_that_is_none_is_a_bad_gateway(tmp_path: Path, wire: bytes) -> None:
    async with trio.open_nursery() as nursery:
        upstream = await Upstream(says(wire)).start(nursery)
        async with proxied(tmp_path, **given(upstream, cors="https://a.example")) as through:
            await through.knows(1)
            answer = await through.request("GET", "/", headers=[("Origin", "https://a.example")])
            assert answer.facts == (502, '{"code":502,"message":"bad gateway"}')
            assert answer.header("access-control-allow-origin") == "https://a.example"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("partial", [b"", b"HTTP/1.1 200 OK\r\n"])
async def test_an_upstream_that_answers_nothing_is_a_gateway_timeout(tmp_path: Path, partial: bytes) -> None:
    async with trio.open_nursery() as nursery:
        upstream = await Upstream(says(partial, hang_up=False)).start(nursery)
        async with proxied(tmp_path, **given(upstream, response_timeout=0.2, cors="*")) as through:
            await through.knows(1)
            answer = await through.request("GET", "/")
            assert answer.facts == (504, '{"code":504,"message":"gateway timeout"}')
            assert answer.header("access-control-allow-origin") == "*"
        nursery.cancel_scope.cancel()


async def test_an_answer_that_breaks_off_ends_the_clients_connection(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        upstream = await Upstream(says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")).start(nursery)
        async with proxied(tmp_path, **given(upstream)) as through:
            await through.knows(1)
            assert (await through.raw(GET)).endswith(b"\r\n\r\nabc")
        nursery.cancel_scope.cancel()


# WebSockets.


async def echo_after_101(connection: Connection) -> None:
    await connection.request()
    await connection.say(SWITCHED.encode() + b"first")
    while data := await connection.stream.receive_some():
        await connection.say(data)


async def test_after_a_valid_101_bytes_pass_both_ways(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        upstream = await Upstream(echo_after_101).start(nursery)
        async with proxied(tmp_path, **given(upstream)) as through:
            await through.knows(1)
            client = await through.http()
            await client.send("GET", "/socket.io/?x=y", headers=UPGRADE)
            answer = await client.receive()
            assert answer.status == 101
            assert answer.header("sec-websocket-accept") == ACCEPT
            sent = bytes(range(256)) * 2_000
            async with trio.open_nursery() as sending:
                sending.start_soon(client.stream.send_all, sent)
                while len(client.received) < len(sent) + 5:
                    client.received += await client.stream.receive_some()
            assert client.received == b"first" + sent
            assert through.counters.tunnels == 1
            await client.stream.send_eof()
            assert await client.stream.receive_some() == b""
            await eventually(lambda: through.proxy.edge.connections == 0)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "switched",
    [
        SWITCHED.replace(ACCEPT, "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        SWITCHED.replace("Upgrade: websocket", "Upgrade: h2c"),
        SWITCHED.replace("Connection: Upgrade", "Connection: close"),
    ],
)
async def test_no_tunnel_without_a_valid_101(tmp_path: Path, switched: str) -> None:
    async with trio.open_nursery() as nursery:
        upstream = await Upstream(says(switched.encode() + b"inside")).start(nursery)
        async with proxied(tmp_path, **given(upstream)) as through:
            await through.knows(1)
            answer = await through.request("GET", "/", headers=UPGRADE)
            assert answer.status == 502
            assert b"inside" not in answer.body
        nursery.cancel_scope.cancel()


async def test_a_101_that_nobody_asked_for_opens_no_tunnel(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        upstream = await Upstream(says(SWITCHED.encode())).start(nursery)
        async with proxied(tmp_path, **given(upstream)) as through:
            await through.knows(1)
            for asked in ([], [("Upgrade", "h2c"), ("Connection", "Upgrade, HTTP2-Settings"), ("HTTP2-Settings", "x")]):
                assert (await through.request("GET", "/", headers=asked)).status == 502
            assert through.counters.tunnels == 0
        nursery.cancel_scope.cancel()


async def test_a_refused_upgrade_is_an_answer_like_any_other(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        upstream = Upstream()
        upstream.serve = upstream.always(b"no", status="400 Bad Request")
        await upstream.start(nursery)
        async with proxied(tmp_path, **given(upstream)) as through:
            await through.knows(1)
            client = await through.http()
            answer = await client.request("GET", "/", headers=UPGRADE)
            assert answer.facts == (400, "no")
            await client.ended()
        nursery.cancel_scope.cancel()


async def test_a_tunnel_in_which_nobody_says_anything_is_closed(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        upstream = await Upstream(echo_after_101).start(nursery)
        async with proxied(tmp_path, **given(upstream, tunnel_timeout=0.2)) as through:
            await through.knows(1)
            client = await through.http()
            await client.send("GET", "/", headers=UPGRADE)
            assert (await client.receive()).status == 101
            client.received = b""
            with trio.fail_after(5):
                while await client.stream.receive_some():
                    pass
        nursery.cancel_scope.cancel()


# Who leaves, who fails.


async def test_a_client_that_leaves_takes_its_request_with_it(tmp_path: Path) -> None:
    left = trio.Event()

    async def wait(connection: Connection) -> None:
        await connection.request()
        assert await connection.stream.receive_some() == b""
        left.set()

    async with trio.open_nursery() as nursery:
        upstream = await Upstream(wait).start(nursery)
        async with proxied(tmp_path, **given(upstream)) as through:
            await through.knows(1)
            client = await through.http()
            await client.send("GET", "/poll")
            await eventually(lambda: upstream.connections == 1)
            await client.stream.aclose()
            with trio.fail_after(5):
                await left.wait()
            await eventually(lambda: through.proxy.edge.held == {})
        nursery.cancel_scope.cancel()


async def test_a_request_that_an_upstream_cannot_have_seen_goes_to_another_one(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        gone, here = [await Upstream().start(nursery) for _ in range(2)]
        async with proxied(tmp_path, **given(gone, here)) as through:
            await through.knows(2)
            gone.stop()
            for number in range(6):
                assert (await through.request("POST", "/", b"%d" % number)).facts == (200, "hello")
            assert here.bodies == [b"%d" % number for number in range(6)]
        nursery.cancel_scope.cancel()


async def test_a_request_that_an_upstream_may_have_seen_is_not_repeated(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        broken, well = await Upstream(says(b"")).start(nursery), await Upstream().start(nursery)
        async with proxied(tmp_path, **given(broken, well)) as through:
            await through.knows(2)
            through.proxy.pool.listed[1].state = "draining"
            assert (await through.request("POST", "/", b"once")).status == 502
            assert well.bodies == []
        nursery.cancel_scope.cancel()


async def test_a_kept_connection_that_the_upstream_has_closed_is_noticed(tmp_path: Path) -> None:
    async def once(connection: Connection) -> None:
        head, _ = await connection.request()
        upstream.heads.append(head)
        await connection.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with trio.open_nursery() as nursery:
        upstream = await Upstream(once).start(nursery)
        async with proxied(tmp_path, **given(upstream)) as through:
            await through.knows(1)
            client = await through.http()
            for _ in range(5):
                assert (await client.request("GET", "/")).facts == (200, "ok")
        nursery.cancel_scope.cancel()


async def test_no_input_of_a_client_makes_an_address(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        target, upstream = [await Upstream().start(nursery) for _ in range(2)]
        async with proxied(tmp_path, **given(upstream, affinity="cookie")) as through:
            await through.knows(1)
            host = f"Host: {target.address}"
            for line in (
                f"GET http://{target.address}/ HTTP/1.1",
                f"GET //{target.address}/ HTTP/1.1",
                "GET / HTTP/1.1",
            ):
                wire = "\r\n".join(
                    [
                        line,
                        host,
                        f"Cookie: rtproxy={target.address}",
                        f"X-Forwarded-Host: {target.address}",
                        "Connection: close",
                        "",
                        "",
                    ]
                )
                assert (await through.raw(wire.encode())).startswith(b"HTTP/1.1 200 ")
            assert target.connections == 0
            assert len(upstream.heads) == 3
        nursery.cancel_scope.cancel()


async def test_silence_before_the_next_request_is_bounded(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        upstream = await Upstream().start(nursery)
        async with proxied(tmp_path, **given(upstream, keep_alive_timeout=0.2)) as through:
            await through.knows(1)
            client = await through.http()
            assert (await client.request("GET", "/")).status == 200
            await client.ended()
        nursery.cancel_scope.cancel()


async def test_an_upstream_that_is_silent_for_good_is_probed_and_passed_over(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        silent, well = [await Upstream().start(nursery) for _ in range(2)]
        silent.health = "silent"
        async with proxied(tmp_path, **given(silent, well, probe_timeout=0.5, probe_interval=0.1)) as through:
            await eventually(lambda: through.ready() == 1)
            for _ in range(5):
                assert (await through.request("GET", "/")).status == 200
        nursery.cancel_scope.cancel()
