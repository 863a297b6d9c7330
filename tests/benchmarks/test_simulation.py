"""The model of a cluster: nothing comes from nothing, and the document says what it says."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from benchmarks.simulation.__main__ import DOCUMENT, MARKED, filled
from benchmarks.simulation.costs import Assumed, Costs, Measured, derive, load, measured_in
from benchmarks.simulation.events import Outcome, Simulation
from benchmarks.simulation.model import (
    MICRO,
    Adapter,
    Cluster,
    Workload,
    capacity,
    delivery_over,
    load_of,
    nodes_needed,
    nodes_of_room,
    redis_is_full,
    shards_needed,
    stops_paying,
)
from benchmarks.simulation.tables import TABLES, thousands

COSTS = Costs(
    event=10,
    event_full=12,
    delivery=5,
    connect=300,
    connection_kb=3,
    publish=8,
    drop=2,
    decode=11,
    publish_wake=0,
    hear_wake=0,
    sharded_publish=9,
    sharded_decode=13,
    redis_message=3,
    redis_copy=0.5,
    relayed_bytes=100,
)
ASSUMED = Assumed()
CHAT = Workload("chat", sends=0.02, room=50)
PAIRS = Workload("pairs", sends=0.1, room=2)
ADAPTERS = list(Adapter)


def simulate(adapter: Adapter, work: Workload = PAIRS, nodes: int = 4, users: int = 20_000, seed: int = 1) -> Outcome:
    return Simulation(users, Cluster(nodes, adapter), work, COSTS, seed=seed).run(600 / (users * work.sends))


# What is kept.


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("work", [CHAT, PAIRS], ids=lambda work: work.name)
def test_everybody_in_the_room_gets_every_message_once(adapter: Adapter, work: Workload) -> None:
    outcome = simulate(adapter, work)
    assert outcome.messages > 400
    assert outcome.deliveries == outcome.due == outcome.messages * work.room


def test_a_classic_broadcast_is_heard_by_all_nodes() -> None:
    outcome = simulate(Adapter.CLASSIC)
    assert outcome.published == outcome.echoes == outcome.messages
    assert outcome.copies == 4 * outcome.published == outcome.echoes + outcome.dropped + outcome.decoded
    assert outcome.dropped > outcome.decoded > 0


def test_a_sharded_broadcast_is_heard_where_somebody_is() -> None:
    outcome = simulate(Adapter.SHARDED)
    assert outcome.dropped == 0
    assert outcome.copies == outcome.echoes + outcome.decoded < 2 * outcome.published


def test_rooms_on_one_node_need_no_redis() -> None:
    outcome = simulate(Adapter.PLACED)
    assert (outcome.published, outcome.copies, outcome.redis) == (0, 0, [0])


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_processors_were_busy_with_what_was_done_and_nothing_else(adapter: Adapter) -> None:
    outcome = simulate(adapter)
    classic = adapter is Adapter.CLASSIC
    nodes = (
        outcome.messages * COSTS.event_full
        + outcome.heartbeats * COSTS.event
        + outcome.deliveries * COSTS.delivery
        + outcome.published * (COSTS.publish if classic else COSTS.sharded_publish)
        + outcome.decoded * (COSTS.decode if classic else COSTS.sharded_decode)
        + outcome.dropped * COSTS.drop
    )
    assert sum(outcome.nodes) * outcome.lasted * MICRO == pytest.approx(nodes)
    redis = outcome.published * COSTS.redis_message + outcome.copies * COSTS.redis_copy
    assert sum(outcome.redis) * outcome.lasted * MICRO == pytest.approx(redis)


def test_a_turn_begins_once_for_all_that_it_hears() -> None:
    waking = replace(COSTS, publish_wake=60, hear_wake=40)
    cluster = Cluster(4, Adapter.CLASSIC)
    lonely, crowded = (
        Simulation(users, cluster, PAIRS, waking).run(600 / (users * PAIRS.sends)) for users in (1_000, 400_000)
    )
    heard = lonely.dropped + lonely.decoded
    assert heard * 0.9 < lonely.wakes_to_hear <= heard
    assert lonely.messages * 0.9 < lonely.wakes_to_tell <= lonely.messages
    assert 0 < crowded.wakes_to_hear < (crowded.dropped + crowded.decoded) / 2
    for outcome in (lonely, crowded):
        work = outcome.messages * (waking.event_full + waking.publish) + outcome.heartbeats * waking.event
        work += outcome.deliveries * waking.delivery + outcome.decoded * waking.decode + outcome.dropped * waking.drop
        work += outcome.wakes_to_tell * waking.publish_wake + outcome.wakes_to_hear * waking.hear_wake
        assert sum(outcome.nodes) * outcome.lasted * MICRO == pytest.approx(work)


def test_chance_comes_from_the_seed_alone() -> None:
    assert simulate(Adapter.CLASSIC, seed=3) == simulate(Adapter.CLASSIC, seed=3)
    assert simulate(Adapter.CLASSIC, seed=3) != simulate(Adapter.CLASSIC, seed=4)


def test_messages_wait_for_one_another_when_nodes_are_busy() -> None:
    idle, busy = (simulate(Adapter.CLASSIC, users=users) for users in (10_000, 600_000))
    assert max(idle.nodes) < 0.1 < 0.7 < max(busy.nodes)
    assert busy.latency(0.99) > 2 * idle.latency(0.99) > 0


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("work", [CHAT, PAIRS], ids=lambda work: work.name)
def test_the_simulation_and_the_arithmetic_agree(adapter: Adapter, work: Workload) -> None:
    cluster, users = Cluster(4, adapter), 50_000
    expected = load_of(users, cluster, work, COSTS, ASSUMED)
    outcome = Simulation(users, cluster, work, COSTS).run(2_000 / (users * work.sends))
    assert sum(outcome.nodes) / 4 == pytest.approx(expected.node, rel=0.06)
    assert outcome.redis[0] == pytest.approx(expected.redis, rel=0.06)


# The arithmetic.


def test_a_room_reaches_the_nodes_that_chance_puts_its_members_on() -> None:
    assert nodes_of_room(room=1, nodes=8) == 0
    assert nodes_of_room(room=2, nodes=2) == 0.5
    assert nodes_of_room(room=10_000, nodes=8) == pytest.approx(7)


def test_one_node_pays_nothing_for_the_others() -> None:
    loads = {load_of(1_000, Cluster(1, adapter), CHAT, COSTS, ASSUMED) for adapter in ADAPTERS}
    (alone,) = loads
    # 20 messages a second of 12 + 50 · 5 µs, and 40 heartbeats of 10 µs.
    assert alone.node == pytest.approx((20 * 262 + 40 * 10) / MICRO)
    assert (alone.redis, alone.copies) == (0, 0)


@pytest.mark.parametrize("nodes", [1, 4, 40])
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_what_a_cluster_carries_uses_its_budget_and_no_more(nodes: int, adapter: Adapter) -> None:
    cluster = Cluster(nodes, adapter)
    carries = capacity(cluster, PAIRS, COSTS, ASSUMED)
    used = load_of(carries.users, cluster, PAIRS, COSTS, ASSUMED)
    assert max(used.node, used.redis) == pytest.approx(ASSUMED.budget)
    assert (used.redis > used.node) == (carries.full == "redis")


def test_telling_every_node_stops_paying_and_telling_those_concerned_does_not() -> None:
    assert stops_paying(Adapter.CLASSIC, 1, PAIRS, COSTS, ASSUMED) is not None
    assert stops_paying(Adapter.SHARDED, 1_000, PAIRS, COSTS, ASSUMED) is None
    assert stops_paying(Adapter.PLACED, 1, PAIRS, COSTS, ASSUMED) is None


def test_from_the_number_of_nodes_that_fills_redis_one_more_carries_less() -> None:
    full = redis_is_full(Adapter.CLASSIC, PAIRS, COSTS, ASSUMED)
    assert full is not None
    users = [capacity(Cluster(nodes), PAIRS, COSTS, ASSUMED).users for nodes in (full - 2, full - 1, full, full + 1)]
    assert users[0] < users[1]
    assert users[2] > users[3]


def test_the_nodes_that_are_needed_are_enough_and_one_less_is_not() -> None:
    needed = nodes_needed(300_000, CHAT, Adapter.CLASSIC, 1, COSTS, ASSUMED)
    assert capacity(Cluster(needed), CHAT, COSTS, ASSUMED).users >= 300_000
    assert capacity(Cluster(needed - 1), CHAT, COSTS, ASSUMED).users < 300_000
    assert nodes_needed(100_000_000, PAIRS, Adapter.CLASSIC, 1, COSTS, ASSUMED) == 0


def test_masters_of_redis_are_enough_and_one_less_is_not() -> None:
    masters = shards_needed(5_000_000, PAIRS, 64, Adapter.SHARDED, COSTS, ASSUMED)
    enough, less = (
        load_of(5_000_000, Cluster(64, Adapter.SHARDED, shards), PAIRS, COSTS, ASSUMED).redis
        for shards in (masters, masters - 1)
    )
    assert enough <= ASSUMED.budget < less


def test_a_delivery_bears_its_part_of_what_the_message_cost() -> None:
    # 10 for the event, 8 to publish it, 10 · 5 to deliver it, and 11 on the other node; Redis 3 + 2 · 0.5.
    assert delivery_over(nodes=2, room=10, costs=COSTS) == pytest.approx((7.9, 7.9, 0.4))
    asleep = replace(COSTS, publish_wake=60, hear_wake=40)
    assert delivery_over(nodes=2, room=10, costs=asleep) == pytest.approx((7.9, 17.9, 0.4))


# Where the figures come from, and where they go.


def test_costs_are_medians_of_a_run() -> None:
    turns = [{"cpu_us": value, "rss_kb": value / 4, "beside_us": 0.1} for value in (9.0, 8.0, 40.0)]
    servers = {"rtserver": turns, "rtserver-full": turns}
    results = {"answers": dict.fromkeys(("echo", "broadcast", "browser", "memory", "nodes-2"), servers)}
    names = ("publish", "drop", "decode", "publish_wake", "hear_wake", "sharded_publish", "sharded_decode")
    costs = derive(results, {**dict.fromkeys((*names, "redis_message", "redis_copy"), 1.0), "relayed_bytes": 100})
    assert (costs.event, costs.delivery, costs.connection_kb, costs.publish) == (9, 9, 2.25, 1)
    assert measured_in(results) == [Measured(2, 1_000, 9.0, 0.1)]


@pytest.mark.parametrize(("value", "said"), [(7, "7"), (84, "84"), (847, "850"), (84_700, "85,000")])
def test_figures_are_rounded_to_what_a_plan_is_worth(value: float, said: str) -> None:
    assert thousands(value) == said


def test_the_tables_of_the_document_are_those_that_the_costs_give() -> None:
    text = DOCUMENT.read_text()
    assert {found["name"] for found in MARKED.finditer(text)} == set(TABLES)
    assert len(MARKED.findall(text)) == len(re.findall("<!-- table", text))
    assert filled(text, load()) == text, "make scaling writes them anew"
