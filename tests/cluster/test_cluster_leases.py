"""Slots and states in Redis, for nodes that share no run directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import redis
import trio

from rtserver import Server
from rtserver.errors import ConfigurationError
from tests.cluster.conftest import running_redis
from tests.cluster.support import NodeSite, ended, eventually, start_node


def lease(store: redis.Redis, slot: int) -> dict[str, Any]:
    value = store.get(f"rtserver:node:{slot}")
    assert isinstance(value, str)
    found: dict[str, Any] = json.loads(value)
    return found


def owner(site: NodeSite) -> tuple[int, int]:
    cluster = site.io.statistics().cluster
    assert cluster is not None
    return cluster.slot, cluster.incarnation


async def test_nodes_of_two_machines_have_two_slots_and_say_how_they_are(
    tmp_path: Path, redis_url: str, store: redis.Redis
) -> None:
    async with trio.open_nursery() as nursery:
        here = await start_node(nursery, tmp_path / "here", redis_url=redis_url)
        there = await start_node(nursery, tmp_path / "there", redis_url=redis_url, advertise="there.example:8001")
        assert (owner(here)[0], owner(there)[0]) == (0, 1)
        assert store.smembers("rtserver:nodes") == {"0", "1"}
        await eventually(lambda: lease(store, 1)["state"] == "ready")
        state = lease(store, 1)
        assert state["slot"] == 1
        assert state["address"] == "there.example:8001"
        assert state["incarnation"] == owner(there)[1] == int(str(store.get("rtserver:incarnation:1")))
        assert state["host"]
        assert len(state["token"]) >= 16
        assert state["token"] != lease(store, 0)["token"]
        assert 0 < int(str(store.pttl("rtserver:node:1"))) <= 15_000
        for site in (here, there):
            await ended(site)
    assert store.keys("rtserver:node*") == []


async def test_each_life_of_a_slot_has_another_incarnation(tmp_path: Path, redis_url: str) -> None:
    seen = []
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            site = await start_node(nursery, tmp_path / "run", redis_url=redis_url)
            seen.append(owner(site))
            await ended(site)
    assert seen == [(0, seen[0][1] + n) for n in range(3)]


async def test_nodes_that_start_at_once_never_share_a_slot(tmp_path: Path, redis_url: str) -> None:
    sites: list[NodeSite] = []
    async with trio.open_nursery() as outer:
        async with trio.open_nursery() as nursery:

            async def start(number: int) -> None:
                sites.append(await start_node(outer, tmp_path / f"host-{number}", redis_url=redis_url))

            for number in range(8):
                nursery.start_soon(start, number)
        assert sorted(owner(site)[0] for site in sites) == list(range(8))
        for site in sites:
            await site.end()


async def test_two_clusters_that_share_a_run_directory_share_no_slot(tmp_path: Path, redis_url: str) -> None:
    async with trio.open_nursery() as nursery:
        (tmp_path / "other").mkdir()
        with running_redis(tmp_path / "other") as other_url:
            first = await start_node(nursery, tmp_path / "run", redis_url=redis_url)
            second = await start_node(nursery, tmp_path / "run", redis_url=other_url)
            assert (owner(first)[0], owner(second)[0]) == (0, 1)
            for site in (first, second):
                await ended(site)


async def test_a_drain_is_known_in_redis_at_once(tmp_path: Path, redis_url: str, store: redis.Redis) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run", redis_url=redis_url, drain_rate=1, drain_timeout=60.0)
        for _ in range(3):
            await site.open_websocket()
        await eventually(lambda: lease(store, 0)["sessions"] == 3)
        site.io.stop()
        await eventually(lambda: lease(store, 0)["state"] == "draining")
        # One is closed each second, so it is known long before the last of them is gone.
        assert lease(store, 0)["sessions"] > 0
        await site.end()


async def test_a_lease_that_redis_has_forgotten_is_taken_again(
    tmp_path: Path, redis_url: str, store: redis.Redis
) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run", redis_url=redis_url)
        before = owner(site)
        await eventually(lambda: lease(store, 0)["state"] == "ready")
        token = lease(store, 0)["token"]
        store.flushall()
        await eventually(lambda: store.exists("rtserver:node:0") == 1)
        assert lease(store, 0)["token"] == token
        assert store.smembers("rtserver:nodes") == {"0"}
        assert owner(site) == before
        assert site.io.ready
        await ended(site)


async def test_a_node_takes_over_from_one_that_died_on_its_machine(
    tmp_path: Path, redis_url: str, store: redis.Redis
) -> None:
    async with trio.open_nursery() as nursery:
        first = await start_node(nursery, tmp_path / "run", redis_url=redis_url)
        await eventually(lambda: lease(store, 0)["state"] == "ready")
        dead, incarnation = str(store.get("rtserver:node:0")), owner(first)[1]
        await ended(first)
        # As a node that is killed leaves it.
        store.set("rtserver:node:0", dead)
        elsewhere = await start_node(nursery, tmp_path / "other", redis_url=redis_url)
        assert owner(elsewhere)[0] == 1
        again = await start_node(nursery, tmp_path / "run", redis_url=redis_url)
        assert owner(again) == (0, incarnation + 1)
        for site in (elsewhere, again):
            await ended(site)


@pytest.mark.parametrize("value", ['{"token":"somebody else"}', "garbage", "[]"])
async def test_a_node_whose_slot_is_anothers_goes_and_leaves_it_alone(
    tmp_path: Path, redis_url: str, store: redis.Redis, value: str
) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run", redis_url=redis_url)
        await eventually(lambda: lease(store, 0)["state"] == "ready")
        store.set("rtserver:node:0", value)
        await eventually(lambda: not site.io.running)
        assert store.get("rtserver:node:0") == value
        await site.end()


async def test_a_node_waits_for_its_redis(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        sites: list[NodeSite] = []

        async def start() -> None:
            url = f"unix://{tmp_path}/redis.sock"
            sites.append(await start_node(nursery, tmp_path / "run", redis_url=url))

        nursery.start_soon(start)
        await eventually((tmp_path / "run" / "slot-0.lock").exists)
        assert not sites
        with running_redis(tmp_path):
            await eventually(lambda: bool(sites))
            assert sites[0].io.ready
            await ended(sites[0])


async def test_a_node_goes_on_while_its_redis_is_away(tmp_path: Path, log_output: list[Any]) -> None:
    async with trio.open_nursery() as nursery:
        with running_redis(tmp_path) as url:
            site = await start_node(nursery, tmp_path / "run", redis_url=url)
        await eventually(lambda: any(line["event"] == "lease_not_renewed" for line in log_output))
        assert site.io.ready
        assert (await site.open_polling()).sid
        await ended(site)


def test_a_url_that_is_none_of_redis_is_refused_without_its_password() -> None:
    with pytest.raises(ConfigurationError) as refused:
        Server(redis_url="carrier-pigeon://:hunter2@nowhere")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("value", ["nowhere", "redis://", "://x", 7])
def test_what_is_no_url_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="redis_url"):
        Server(redis_url=value)
