"""Upstreams that fail, recover, come and go; and who gets the next client."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from proxy.loop import Loop
from proxy.pool import Pool
from proxy.upstreams import STALE_SECONDS, HealthRules, Upstream, pick
from proxy.values import upstreams
from tests.cluster.support import eventually
from tests.proxy.support import Upstream as Server
from tests.proxy.support import proxied, says, settings

RULES = HealthRules(eject_after=3, eject_seconds=5.0, slow_start=10.0)


def upstream(name: str = "a", now: float = -1_000.0) -> Upstream:
    return Upstream(name, None, now)


def test_an_upstream_is_passed_over_after_failures_in_a_row_and_tried_again_later() -> None:
    one = upstream()
    assert not one.failed_at(0, RULES)
    assert not one.failed_at(0, RULES)
    one.succeeded_at(0)
    assert [one.failed_at(1, RULES) for _ in range(3)] == [False, False, True]
    assert (one.usable(5.9), one.usable(6)) == (False, True)
    assert one.describe(2) == "ejected"


def test_one_client_tries_it_and_the_others_wait_for_how_that_goes() -> None:
    one = upstream()
    one.failed_at(0, RULES, certain=True)
    assert pick([one], 4, RULES) is None
    assert pick([one], 5, RULES) is one
    assert pick([one], 5, RULES) is None
    assert one.succeeded_at(6)
    assert pick([one], 6, RULES) is one


def test_each_failed_trial_doubles_the_time_up_to_a_minute() -> None:
    one = upstream()
    now, waited = 0.0, []
    for _ in range(7):
        assert one.failed_at(now, RULES, certain=True)
        end = now
        while not one.usable(end):
            end += 1
        waited.append(end - now)
        now = end
    assert waited == [5, 10, 20, 40, 60, 60, 60]


def test_failures_of_requests_that_cannot_go_elsewhere_prolong_nothing() -> None:
    one = upstream()
    one.failed_at(0, RULES, certain=True)
    for now in (1, 2, 3, 4):
        assert not one.failed_at(now, RULES, certain=True)
    assert one.usable(5)


def test_a_node_that_has_not_said_anything_for_some_time_gets_nobody() -> None:
    one = upstream()
    one.heard_at = 10
    assert one.usable(10 + STALE_SECONDS - 0.1)
    assert not one.usable(10 + STALE_SECONDS)
    assert one.describe(20) == "silent"


@pytest.mark.parametrize("state", ["starting", "draining", "full"])
def test_only_who_is_ready_gets_new_clients(state: str) -> None:
    one, other = upstream("a"), upstream("b")
    one.state = state
    assert {pick([one, other], 0, RULES) for _ in range(20)} == {other}


def test_of_two_the_one_with_fewer_sessions_is_taken_and_hand_overs_count() -> None:
    one, other = upstream("a"), upstream("b")
    one.sessions = 10
    assert [pick([one, other], 0, RULES) for _ in range(10)] == [other] * 10
    chosen = Counter(str(pick([one, other], 0, RULES)) for _ in range(100))
    assert abs(chosen["a"] - chosen["b"]) <= 2


def test_of_many_the_load_is_spread() -> None:
    many = [upstream(str(number)) for number in range(10)]
    for _ in range(1_000):
        pick(many, 0, RULES)
    assert all(80 <= one.sent <= 120 for one in many)


def test_who_has_just_come_gets_a_growing_share() -> None:
    old, new = upstream("old"), upstream("new", now=0)
    old.sessions = 100_000
    shares = []
    for now in (0.1, 5, 10):
        chosen = Counter(str(pick([old, new], now, RULES)) for _ in range(2_000))
        shares.append(chosen["new"] / 2_000)
    assert shares[0] < 0.05
    assert 0.4 < shares[1] < 0.6
    assert shares[2] == 1


async def test_where_all_have_just_come_each_gets_its_share_though_one_was_first(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    given = {"affinity": "cookie", "upstreams": "127.0.0.1:1"}
    pool = Pool(Loop(), tmp_path, settings(tmp_path, **given))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.run)
        await trio.sleep(0.7)
        pool.configure(settings(tmp_path, **{**given, "upstreams": "127.0.0.1:1,127.0.0.1:2"}))
        chosen = Counter(str(pool.pick(trio.current_time())) for _ in range(12))
        nursery.cancel_scope.cancel()
    assert chosen == {"127.0.0.1:1": 6, "127.0.0.1:2": 6}


def test_probes_take_a_server_out_and_bring_it_back() -> None:
    one = upstream()
    assert not one.probed(0, True)
    assert one.probed(1, False)
    assert (one.usable(1), one.describe(1)) == (False, "down")
    assert not one.probed(2, False)
    one.failed_at(2, RULES, certain=True)
    assert one.probed(3, True)
    assert one.usable(3)
    assert one.fresh_since == 3


async def test_a_server_that_cannot_be_reached_is_passed_over_and_comes_back(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        well, ill = [await Server().start(nursery) for _ in range(2)]
        listed = f"{well.address},{ill.address}"
        given = {"affinity": "cookie", "upstreams": listed, "probe_path": "/probe", "probe_interval": 0.05}
        async with proxied(tmp_path, slow_start=0.001, **given) as through:
            await eventually(lambda: well.probes > 0 and ill.probes > 0)
            ill.health = "ill"
            await through.knows(1)
            for _ in range(10):
                assert (await through.request("GET", "/")).status == 200
            assert ill.connections == 0
            ill.health = "well"
            await through.knows(2)
            while not ill.connections:
                assert (await through.request("GET", "/")).status == 200
            ill.stop()
            for _ in range(10):
                assert (await through.request("GET", "/")).status == 200
        nursery.cancel_scope.cancel()


async def test_without_anybody_left_clients_hear_so_at_once_and_recovery_needs_no_probe(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        server = await Server(says(b"nonsense\r\n\r\n")).start(nursery)
        given = {"affinity": "address", "upstreams": server.address, "probe_path": "/probe", "probe_interval": 600}
        async with proxied(tmp_path, eject_after=2, eject_seconds=0.2, **given) as through:
            await eventually(lambda: server.probes > 0)
            statuses = [(await through.request("GET", "/")).status for _ in range(3)]
            assert statuses == [502, 502, 503]
            assert server.connections == 2
            server.serve = server.always(b"better")
            await through.knows(1)
            assert (await through.request("GET", "/")).facts == (200, "better")
        nursery.cancel_scope.cancel()


async def test_a_new_list_of_upstreams_keeps_what_is_known_of_those_that_stay(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        first, second = [await Server().start(nursery) for _ in range(2)]
        given = {"affinity": "cookie", "probe_path": "/probe", "slow_start": 0.001}
        async with proxied(tmp_path, upstreams=first.address, **given) as through:
            await through.request("GET", "/")
            (kept,) = through.proxy.pool.listed
            listed = upstreams("upstreams", f"{second.address},{first.address}")
            through.proxy.configure(dataclasses.replace(through.proxy.settings, upstreams=listed))
            assert through.proxy.pool.listed[1] is kept
            await through.knows(2)
            for _ in range(20):
                assert (await through.request("GET", "/")).status == 200
            assert second.connections > 0
        nursery.cancel_scope.cancel()
