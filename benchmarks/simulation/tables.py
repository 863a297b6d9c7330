"""The tables of ``docs/scaling.md``, made of the costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import ceil

from benchmarks.simulation.costs import Assumed, Costs, Known
from benchmarks.simulation.events import Simulation
from benchmarks.simulation.model import (
    MICRO,
    MOST,
    Adapter,
    Cluster,
    Workload,
    capacity,
    delivery_over,
    load_of,
    nodes_needed,
    redis_is_full,
    shards_needed,
    stops_paying,
)

ASSUMED = Assumed()
CHAT = Workload("chat: one message in 50 s, rooms of 50", 0.02, 50)
DIRECT = Workload("direct messages: one in 10 s, to one other", 0.1, 2)
GAME = Workload("game: 10 moves a second, matches of 8", 10.0, 8)
HALL = Workload("halls of 5,000: one message in 1,000 s", 0.001, 5_000)
WORKLOADS = (CHAT, DIRECT, GAME, HALL)
NODES = (1, 2, 4, 8, 16, 32, 64)
SIZES = (100_000, 1_000_000)
SIMULATED_MESSAGES = 1_500
# What is simulated: enough nodes for chance to matter, and few enough for a test.
SIMULATED = ((CHAT, 4), (DIRECT, 8), (GAME, 8))
KB_PER_GB = 1e6


def costs_table(known: Known) -> str:
    costs = known.costs
    rows = (
        ("an event and its acknowledgement, plain", costs.event, "µs", "`echo`"),
        ("the same with authentication, rate limits and a schema", costs.event_full, "µs", "`echo`, `rtserver-full`"),
        ("a delivery of a broadcast to a local socket", costs.delivery, "µs", "`broadcast`"),
        ("a browser's connection made, by polling and upgrade", costs.connect, "µs", "`browser`"),
        ("an idle WebSocket, of the process", costs.connection_kb, "kB", "`memory`"),
        ("a broadcast published, its own echo ignored", costs.publish, "µs", "`relay.py`"),
        ("one heard, for a room that is not here", costs.drop, "µs", "`relay.py`"),
        ("one heard and read, before its deliveries", costs.decode, "µs", "`relay.py`"),
        ("the first published in a node's turn: more", costs.publish_wake, "µs", "`relay.py`"),
        ("the first heard in a node's turn: more", costs.hear_wake, "µs", "`relay.py`"),
        ("sharded: published", costs.sharded_publish, "µs", "`relay.py`"),
        ("sharded: heard and read", costs.sharded_decode, "µs", "`relay.py`"),
        ("Redis: a message taken", costs.redis_message, "µs", "`relay.py`"),
        ("Redis: a copy passed on", costs.redis_copy, "µs", "`relay.py`"),
        ("a relayed message, 64 bytes of payload in it", costs.relayed_bytes, "bytes", "`relay.py`"),
    )
    return table(("what", "costs", "from"), [(what, f"{cost:.3g} {unit}", source) for what, cost, unit, source in rows])


def carried_table(known: Known, work: Workload) -> str:
    """What so many nodes carry, in each way."""
    costs = known.costs
    rows = []
    for nodes in NODES:
        classic, sharded, placed = (
            capacity(Cluster(nodes, adapter, shards=MANY), work, costs, ASSUMED)
            if adapter is not Adapter.CLASSIC
            else capacity(Cluster(nodes, adapter), work, costs, ASSUMED)
            for adapter in Adapter
        )
        masters = shards_needed(sharded.users, work, nodes, Adapter.SHARDED, costs, ASSUMED)
        load = load_of(classic.users, Cluster(nodes), work, costs, ASSUMED)
        rows.append(
            (
                str(nodes),
                f"{thousands(classic.users)}{' (Redis is full)' if classic.full == 'redis' else ''}",
                thousands(load.messages),
                thousands(load.deliveries),
                "–" if nodes == 1 else f"{thousands(load.copies)}, {load.redis_bytes / MICRO:.3g} MB",
                thousands(sharded.users),
                "–" if nodes == 1 else str(masters),
                thousands(placed.users),
            )
        )
    return table(
        (
            "nodes",
            "users, classic",
            "messages/s",
            "deliveries/s",
            "copies out of Redis/s",
            "users, sharded",
            "masters of Redis",
            "users, rooms placed",
        ),
        rows,
    )


MANY = 1_000_000  # masters: so many that none is full


def limits_table(known: Known) -> str:
    """From how many nodes on one more brings little."""
    costs = known.costs
    rows = []
    for work in WORKLOADS:
        carried = {n: capacity(Cluster(n), work, costs, ASSUMED).users for n in range(1, MOST + 1)}
        best = max(carried, key=lambda nodes: carried[nodes])
        rows.append(
            (
                work.name,
                or_never(stops_paying(Adapter.CLASSIC, 1, work, costs, ASSUMED)),
                or_never(redis_is_full(Adapter.CLASSIC, work, costs, ASSUMED)),
                f"{thousands(carried[best])} users, {best} nodes",
                or_never(redis_is_full(Adapter.SHARDED, work, costs, ASSUMED)),
                or_never(stops_paying(Adapter.SHARDED, MANY, work, costs, ASSUMED)),
            )
        )
    return table(
        (
            "",
            "classic: the next node brings less than half from",
            "classic: Redis is full from",
            "classic: the most",
            "sharded: one Redis is full from",
            "sharded, enough masters: less than half from",
        ),
        rows,
    )


def sizing_table(known: Known) -> str:
    """For so many connections."""
    costs = known.costs
    rows = []
    for users in SIZES:
        returning = ceil(users * costs.connect / MICRO / ASSUMED.back_within / ASSUMED.budget)
        memory = users * (costs.connection_kb + ASSUMED.kernel_kb) / KB_PER_GB
        for work in WORKLOADS:
            classic = nodes_needed(users, work, Adapter.CLASSIC, 1, costs, ASSUMED)
            sharded = nodes_needed(users, work, Adapter.SHARDED, MANY, costs, ASSUMED)
            placed = nodes_needed(users, work, Adapter.PLACED, 1, costs, ASSUMED)
            masters = shards_needed(users, work, sharded, Adapter.SHARDED, costs, ASSUMED)
            alone = load_of(users, Cluster(max(sharded, 1), Adapter.SHARDED), work, costs, ASSUMED)
            take = max(sharded, returning) + 1
            rows.append(
                (
                    thousands(users),
                    short_name(work),
                    thousands(alone.messages),
                    str(classic) if classic else "none will do",
                    f"{sharded:,}, with {masters}" if sharded > 1 else str(sharded),
                    f"{placed:,}",
                    str(returning),
                    f"{memory:.2g} GB",
                    f"**{take:,}**",
                )
            )
    return table(
        (
            "connections",
            "workload",
            "messages/s",
            "nodes by load, classic",
            "sharded, with masters of Redis",
            "rooms placed",
            f"nodes to be back in {ASSUMED.back_within:.0f} s",
            "memory in all",
            "take, one to spare",
        ),
        rows,
    )


def simulated_table(known: Known) -> str:
    """The simulation, with half of what a cluster carries, with all of it, and with half as much again."""
    rows = []
    for work, nodes in SIMULATED:
        for adapter in (Adapter.CLASSIC, Adapter.SHARDED):
            cluster = Cluster(nodes, adapter)
            carries = capacity(cluster, work, known.costs, ASSUMED).users
            rows += [_simulated(int(carries * part), cluster, work, known.costs) for part in (0.5, 1.0, 1.5)]
    head = ("workload", "nodes", "users", "a node, Redis: by arithmetic", "simulated", "heard in a turn")
    return table((*head, "to the last delivery: half, 99 of 100"), rows)


def _simulated(users: int, cluster: Cluster, work: Workload, costs: Costs) -> tuple[str, ...]:
    expected = load_of(users, cluster, work, costs, ASSUMED)
    outcome = Simulation(users, cluster, work, costs, ASSUMED).run(SIMULATED_MESSAGES / (users * work.sends))
    return (
        short_name(work),
        f"{cluster.nodes}, {cluster.adapter.value}",
        thousands(users),
        f"{expected.node:.0%}, {expected.redis:.0%}",
        f"{sum(outcome.nodes) / cluster.nodes:.0%}, {outcome.redis[0]:.0%}",
        f"{(outcome.dropped + outcome.decoded) / outcome.wakes_to_hear:.1f}",
        f"{outcome.latency(0.5):.2g}, {outcome.latency(0.99):.2g} ms",
    )


def measured_table(known: Known) -> str:
    """The arithmetic beside what was measured."""
    rows = []
    for one in known.measured:
        busy, asleep, redis = delivery_over(one.nodes, one.room, known.costs)
        figures = (f"{one.cpu_us:.1f} µs", f"{busy:.1f}–{asleep:.1f} µs", f"{one.redis_us:.2f} µs", f"{redis:.2f} µs")
        rows.append((f"{one.room:,}", str(one.nodes), *figures))
    return table(("room", "nodes", "measured", "by arithmetic", "Redis: measured", "by arithmetic, busy"), rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def thousands(value: float) -> str:
    """Two digits, which is more than a plan is worth."""
    digits = max(0, len(str(int(value))) - 2)
    return f"{round(value / 10**digits) * 10**digits:,.0f}"


def or_never(nodes: int | None) -> str:
    return "never" if nodes is None else f"{nodes} nodes"


def short_name(work: Workload) -> str:
    return work.name.partition(":")[0]


TABLES: dict[str, Callable[[Known], str]] = {
    "machine": lambda known: f"Measured on: {known.machine}.",
    "costs": costs_table,
    **{f"carried: {short_name(work)}": partial(carried_table, work=work) for work in WORKLOADS},
    "limits": limits_table,
    "sizing": sizing_table,
    "simulated": simulated_table,
    "measured": measured_table,
}
