"""What clients, neighbours and passers-by could do to a proxy beside sending it odd requests."""

from __future__ import annotations

import resource
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
import trio.testing

from proxy.admin import administration, call
from proxy.listening import Listening
from proxy.settings import load
from proxy.state import ProxyState, describe
from proxy.tls import load_context
from tests.behaviour.support import PATIENCE, sid_of
from tests.cluster.support import SECRET, descriptors, eventually, start_node
from tests.proxy.support import HANDSHAKE, Connection, Through, Upstream, proxied
from tests.proxy.test_proxy_limits import take_all
from tests.proxy.test_proxy_relaying import UPGRADE, given
from tests.proxy.test_proxy_tls import connect, write_certificate

LIKENESSES: list[tuple[str, list[tuple[str, str]]]] = [
    # An upgrade of the application's path is the application's to refuse, and its connection may go on.
    ("/healthz", [*UPGRADE]),
    *(
        (path, [("Upgrade", "websocket"), *more])
        for path in ("/healthz", HANDSHAKE)
        for more in ([], [("Connection", "keep-alive")])
    ),
]


@pytest.mark.parametrize(("path", "lines"), LIKENESSES)
async def test_what_only_looks_like_a_websocket_takes_no_trusted_connection_away(
    tmp_path: Path, path: str, lines: Sequence[tuple[str, str]]
) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run")
        seen: list[str] = []
        site.io.on_connect(lambda socket: seen.append(socket.handshake.address))
        async with proxied(tmp_path / "run", trusted="127.0.0.0/8") as through:
            await through.knows(1)
            client = await through.http()
            first = await client.request("GET", path, headers=[*lines, ("X-Forwarded-For", "6.6.6.6")])
            assert first.status in (200, 400)
            if first.header("connection") == "keep-alive":
                # The trusted peer's next request by it is another client's.
                told = [("X-Forwarded-For", "203.0.113.2")]
                opened = await client.request("GET", HANDSHAKE, headers=told)
                query = f"{HANDSHAKE}&sid={sid_of(opened.text)}"
                assert (await client.request("POST", query, b"40", headers=told)).facts == (200, "ok")
                assert seen == ["203.0.113.2"]
            assert through.counters.handed == 0
        await site.end()


async def test_a_proxy_without_descriptors_blames_no_upstream(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with trio.open_nursery() as nursery:
        upstream = await Upstream().start(nursery)
        async with proxied(tmp_path, **given(upstream)) as through:
            await through.knows(1)
            client = await through.http()
            await eventually(lambda: through.proxy.edge.connections == 1 and upstream.probes == 1)
            await trio.testing.wait_all_tasks_blocked(0.05)
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + 20, hard))
            taken = take_all()
            try:
                answer = await client.request("GET", "/")
            finally:
                for sock in taken:
                    sock.close()
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert answer.status == 503
            assert answer.header("retry-after") == "1"
            assert through.ready() == 1
            assert (await through.request("GET", "/")).status == 200
        nursery.cancel_scope.cancel()


async def test_the_refused_hold_no_more_than_a_few_descriptors(tmp_path: Path) -> None:
    async with proxied(tmp_path / "run") as through:
        before = descriptors()
        clients = []
        for _ in range(200):
            client = await through.http()
            await client.stream.send_all(b"nonsense\r\n\r\n")
            clients.append(client)
        await eventually(lambda: through.counters.refused == 200)
        # Each client's own is one.
        assert descriptors() - before - 200 <= 32
        for client in clients[-5:]:
            assert (await client.receive()).status == 400


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT"])
async def test_what_must_not_be_done_twice_is_asked_once(tmp_path: Path, method: str) -> None:
    async def take_one(connection: Connection) -> None:
        await connection.request()
        await connection.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        head, _ = await connection.request()
        upstream.heads.append(head)

    async with trio.open_nursery() as nursery:
        upstream = await Upstream(take_one).start(nursery)
        async with proxied(tmp_path, **given(upstream)) as through:
            await through.knows(1)
            client = await through.http()
            assert (await client.request("GET", "/")).facts == (200, "ok")
            assert (await client.request(method, "/")).status == 502
            assert len(upstream.heads) == 1
            assert upstream.connections == 1
        nursery.cancel_scope.cancel()


async def test_all_bodies_together_are_bounded(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        upstream = await Upstream().start(nursery)
        async with proxied(tmp_path, **given(upstream, max_bodies=1_000)) as through:
            await through.knows(1)
            slow = await through.http()
            await slow.stream.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 700\r\n\r\n" + b"a" * 600)
            await eventually(lambda: through.proxy.edge.bodies.size == 600)
            assert (await through.request("POST", "/", b"b" * 500)).status == 503
            chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1f4\r\n" + b"b" * 500
            assert (await through.raw(chunked)).startswith(b"HTTP/1.1 503 ")
            assert (await through.request("POST", "/", b"b" * 400)).status == 200
            await slow.stream.send_all(b"a" * 100)
            assert (await slow.receive()).status == 200
            assert (await through.request("POST", "/", b"b" * 1_000)).status == 200
            await eventually(lambda: through.proxy.edge.bodies.size == 0)
        nursery.cancel_scope.cancel()


async def test_after_a_tls_handshake_a_head_has_no_more_time_than_without(tmp_path: Path) -> None:
    files = write_certificate(tmp_path, "one")
    async with proxied(tmp_path / "run", listen="", tls_listen="127.0.0.1:0", head_timeout=0.3, **files) as through:
        stream = await connect(through, tmp_path)
        with trio.fail_after(PATIENCE):
            assert await stream.receive_some() == b""
        await eventually(lambda: through.proxy.edge.held == {})


def test_what_has_been_agreed_on_in_tls_is_not_agreed_on_anew(tmp_path: Path) -> None:
    files = write_certificate(tmp_path, "one")
    context = load_context(load(None, {"tls_listen": "127.0.0.1:0", "secret": SECRET, **files}, {}))
    assert context.options & ssl.OP_NO_RENEGOTIATION


class Administered:
    """One proxy of this process."""

    def __init__(self, through: Through) -> None:
        self._through = through
        self.listening: Sequence[Listening] = through.proxy.listening

    async def states(self) -> list[ProxyState]:
        return [describe(self._through.proxy, 0)]

    def retire(self) -> None:
        self._through.proxy.stop()


async def test_who_asks_the_administration_may_leave_before_the_answer(tmp_path: Path) -> None:
    where = str(tmp_path / "admin.sock")
    async with proxied(tmp_path / "run") as through, administration(Administered(through), where):
        for order in ("POST /listeners", "GET /metrics", "GET /nothing"):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(where)
                sock.sendall(f"{order} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        body, _ = await trio.to_thread.run_sync(call, where, "GET", "/healthz")
        assert body == b'{"status":"alive"}'


async def test_whoever_asks_the_administration_without_end_costs_clients_nothing(tmp_path: Path) -> None:
    where = str(tmp_path / "admin.sock")
    async with proxied(tmp_path / "run") as through, administration(Administered(through), where):
        before = descriptors()
        socks = [socket.socket(socket.AF_UNIX) for _ in range(30)]
        for sock in socks:
            sock.setblocking(False)
            sock.connect_ex(where)
        with trio.move_on_after(0.3):
            await eventually(lambda: descriptors() - before - 30 > 16)
        assert descriptors() - before - 30 <= 16
        for sock in socks:
            sock.close()
