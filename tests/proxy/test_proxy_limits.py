"""How much of it one address may have, and all of them together."""

from __future__ import annotations

import os
import resource
import socket
from pathlib import Path

import trio

from proxy.sharing import Shares, make_table
from tests.behaviour.support import HttpClient
from tests.cluster.support import descriptors, eventually, start_node
from tests.proxy.support import HANDSHAKE, Upstream, proxied


async def test_one_address_may_hold_so_many_connections(tmp_path: Path) -> None:
    async with proxied(tmp_path / "run", max_connections_per_address=3) as through:
        idle = [await through.http() for _ in range(3)]
        await eventually(lambda: through.proxy.edge.connections == 3)
        assert (await through.raw(b"GET")).startswith(b"HTTP/1.1 429 ")
        await idle[0].stream.aclose()
        await eventually(lambda: through.proxy.edge.connections == 2)
        # There is no node, but the request is heard.
        assert (await through.request("GET", HANDSHAKE)).status == 503


async def test_what_is_handed_over_counts_no_more(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run")
        async with proxied(tmp_path / "run", max_connections_per_address=1) as through:
            await through.knows(1)
            for _ in range(5):
                client = await through.http()
                assert (await client.request("GET", HANDSHAKE)).status == 200
            assert through.proxy.edge.held == {}
        await site.end()


async def test_relayed_connections_count_until_they_end(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        upstream = await Upstream().start(nursery)
        given = {"affinity": "cookie", "upstreams": upstream.address, "probe_path": "/probe"}
        async with proxied(tmp_path, max_connections_per_address=2, **given) as through:
            await through.knows(1)
            clients = [await through.http() for _ in range(2)]
            for client in clients:
                assert (await client.request("GET", "/")).status == 200
            assert (await through.request("GET", "/")).status == 429
            await clients[0].stream.aclose()
            await eventually(lambda: through.proxy.edge.connections == 1)
            assert (await through.request("GET", "/")).status == 200
        nursery.cancel_scope.cancel()


async def test_who_is_trusted_speaks_for_many(tmp_path: Path) -> None:
    async with proxied(tmp_path / "run", max_connections_per_address=1, trusted="127.0.0.1/32") as through:
        for _ in range(5):
            await through.http()
        await eventually(lambda: through.proxy.edge.connections == 5)


async def test_one_address_has_so_many_by_all_workers_together(tmp_path: Path) -> None:
    table = make_table(2)
    shares = [Shares(table, row) for row in range(2)]
    limit = {"max_connections_per_address": 3}
    async with proxied(tmp_path / "run", **limit) as one, proxied(tmp_path / "run", **limit) as other:
        one.proxy.edge.shares, other.proxy.edge.shares = shares
        first = [await one.http() for _ in range(2)]
        await other.http()
        await eventually(lambda: shares[0].total("127.0.0.1") == 3)
        for through in (one, other):
            assert (await through.raw(b"GET")).startswith(b"HTTP/1.1 429 ")
        await first[0].stream.aclose()
        await eventually(lambda: shares[1].total("127.0.0.1") == 2)
        assert (await other.request("GET", HANDSHAKE)).status == 503
        await eventually(lambda: shares[0].total("127.0.0.1") == 2)
        assert shares[0].total("127.0.0.2") == 0
    await eventually(lambda: shares[0].total("127.0.0.1") == 0)
    # What a worker that was killed has left is forgotten by its successor.
    for one_of_them in shares:
        one_of_them.add("127.0.0.1", 5)
    successor = Shares(table, 1)
    assert successor.total("127.0.0.1") == 5
    for one_of_them in (*shares, successor):
        one_of_them.close()
    os.close(table)


async def test_all_together_may_hold_so_many(tmp_path: Path) -> None:
    async with proxied(tmp_path / "run", max_connections=2) as through:
        for _ in range(2):
            await through.http()
        await eventually(lambda: through.proxy.edge.connections == 2)
        answer = await through.raw(b"")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 1\r\n" in answer


async def test_out_of_descriptors_clients_are_told_so_and_nothing_spins(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with proxied(tmp_path / "run") as through:
        client = socket.socket()
        client.setblocking(False)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(client))
        host, _, port = through.addresses[0].rpartition(":")
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + 50, hard))
        taken = take_all()
        try:
            await stream.socket.connect((host, int(port)))
            answer = await HttpClient(stream).receive()
            assert answer.status == 503
        finally:
            for sock in taken:
                sock.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await stream.aclose()
        # And then it goes on.
        assert (await through.request("GET", HANDSHAKE)).status == 503


def take_all() -> list[socket.socket]:
    """Every descriptor that there is left."""
    taken = []
    try:
        while True:
            taken.append(socket.socket())
    except OSError:
        return taken
