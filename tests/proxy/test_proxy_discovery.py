"""Nodes of other machines: found by their leases in Redis, and relayed to."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
import trio

from rtserver.protocol.handoff import LeasedState, encode_lease
from rtserver.protocol.sid import Owner, SidCodec
from tests.behaviour.support import sid_of
from tests.cluster.support import SECRET, eventually, start_node
from tests.proxy.support import HANDSHAKE, UNKNOWN, Upstream, lines_of, proxied
from tests.services.redis import running_redis


def lease(client: redis.Redis, slot: int, address: str | None, state: str = "ready", incarnation: int = 1) -> None:
    """What a node of another machine would write."""
    value = encode_lease(
        LeasedState(slot, incarnation, state, 0, 0.0, address, 1, token="t", host="elsewhere")  # type: ignore[arg-type]
    )
    client.set(f"rtserver:node:{slot}", value)
    client.sadd("rtserver:nodes", slot)


async def test_nodes_of_other_machines_are_relayed_to_and_keep_their_sessions(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        async with trio.open_nursery() as nursery:
            # Their run directories are theirs alone, as on two machines.
            sites = [
                await start_node(nursery, tmp_path / f"run{number}", redis_url=server.url, advertise=None)
                for number in range(2)
            ]
            async with proxied(tmp_path / "ours", redis_url=server.url) as through:
                await through.knows(2)
                for _ in range(10):
                    client = await through.http()
                    opened = await client.request("GET", HANDSHAKE)
                    query = f"{HANDSHAKE}&sid={sid_of(opened.text)}"
                    assert (await client.request("POST", query, b"40")).facts == (200, "ok")
                    assert (await client.request("GET", query)).text.startswith('40{"sid":')
                assert (through.counters.relayed, through.counters.handed) == (30, 0)
                assert (await through.request("GET", f"{HANDSHAKE}&sid=forged")).facts == UNKNOWN
            for site in sites:
                await site.end()


async def test_a_node_that_is_here_too_is_handed_its_connections(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        async with trio.open_nursery() as nursery:
            here = await start_node(nursery, tmp_path / "run", redis_url=server.url)
            there = await start_node(nursery, tmp_path / "other", redis_url=server.url)
            async with proxied(tmp_path / "run", redis_url=server.url) as through:
                await through.knows(2)
                assert len(through.proxy.pool.candidates) == 2
                for _ in range(12):
                    await through.handshake()
                assert through.counters.handed > 0
                assert through.counters.relayed > 0
                assert here.io.engine.sessions
                assert there.io.engine.sessions
            await here.end()
            await there.end()


async def test_a_session_of_a_node_that_has_just_come_is_looked_for(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        async with trio.open_nursery() as nursery:
            upstream = await Upstream().start(nursery)
            with server.client() as client:
                async with proxied(tmp_path / "run", redis_url=server.url) as through:
                    sid = SidCodec([SECRET]).mint(Owner(7, 1), bytes(12))
                    assert (await through.request("GET", f"{HANDSHAKE}&sid={sid}")).facts == UNKNOWN
                    lease(client, 7, upstream.address)
                    assert (await through.request("GET", f"{HANDSHAKE}&sid={sid}")).facts == (200, "hello")
                    old = SidCodec([SECRET]).mint(Owner(7, 2), bytes(12))
                    assert (await through.request("GET", f"{HANDSHAKE}&sid={old}")).facts == UNKNOWN
                    assert len(upstream.heads) == 1
                    assert lines_of(upstream.heads[0], "x-forwarded-for") == ["127.0.0.1"]
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("value", [b"", b"garbage", b"\x80\x04pickle", b"[]", b'{"slot":7}', b'{"slot":"7"}', b"null"])
async def test_what_is_no_lease_is_no_node(tmp_path: Path, value: bytes) -> None:
    with running_redis(tmp_path) as server:
        async with trio.open_nursery() as nursery:
            upstream = await Upstream().start(nursery)
            with server.client() as client:
                client.set("rtserver:node:7", value)
                client.sadd("rtserver:nodes", 7, "x", "-1", "9" * 5_000)
                lease(client, 8, None)
                lease(client, 9, upstream.address)
                async with proxied(tmp_path / "run", redis_url=server.url) as through:
                    await through.knows(1)
                    assert list(through.proxy.pool.leased) == [9]
            nursery.cancel_scope.cancel()


async def test_who_drains_gets_nobody_new_and_who_has_left_is_forgotten(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        async with trio.open_nursery() as nursery:
            upstream = await Upstream().start(nursery)
            with server.client() as client:
                lease(client, 3, upstream.address)
                async with proxied(tmp_path / "run", redis_url=server.url) as through:
                    await through.knows(1)
                    lease(client, 3, upstream.address, "draining")
                    await through.knows(0)
                    sid = SidCodec([SECRET]).mint(Owner(3, 1), bytes(12))
                    assert (await through.request("GET", f"{HANDSHAKE}&sid={sid}")).status == 200
                    assert (await through.request("GET", HANDSHAKE)).status == 503
                    client.delete("rtserver:node:3")
                    await eventually(lambda: not through.proxy.pool.leased)
                    assert (await through.request("GET", f"{HANDSHAKE}&sid={sid}")).facts == UNKNOWN
            nursery.cancel_scope.cancel()


async def test_while_redis_is_away_the_nodes_that_were_known_stay(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        async with trio.open_nursery() as nursery:
            upstream = await Upstream().start(nursery)
            with server.client() as client:
                lease(client, 3, upstream.address)
            async with proxied(tmp_path / "run", redis_url=server.url) as through:
                await through.knows(1)
                server.kill()
                found = through.proxy._discovery
                assert found is not None
                await found.look()
                assert (await through.request("GET", HANDSHAKE)).status == 200
                server.start()
                await eventually(lambda: not through.proxy.pool.leased)
            nursery.cancel_scope.cancel()
