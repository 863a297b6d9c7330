"""Nodes that are killed, and nodes that are told to end."""

from __future__ import annotations

import os
import signal
import time

from benchmarks.chaos.cluster import Cluster, wait_until
from benchmarks.chaos.load import FAREWELL, Load, Report, losses_of, opened_load
from benchmarks.chaos.rows import Row, spread
from benchmarks.chaos.sizes import Sizes

OUT_OF_ROTATION_WITHIN = 1.0
# The nodes' own default.
DRAIN_TIMEOUT = 20.0


def speakers(load: Load, slots: range) -> list[int]:
    """Clients that broadcast: two on each node, if there are so many."""
    load.talk()
    by_slot: dict[int, list[int]] = {slot: [] for slot in slots}
    for one in load.reports():
        by_slot[one.slots[-1]].append(one.id)
    return [number for numbers in by_slot.values() for number in numbers[:2]]


def begin(load: Load, cluster: Cluster, sizes: Sizes) -> None:
    """Real load, for a while before the fault."""
    load.talk(speakers(load, cluster.slots), ask=sizes.ask_every, say=sizes.say_every)
    time.sleep(sizes.seconds)


def end(load: Load, sizes: Sizes) -> list[Report]:
    """The same for a while after it; gives what was counted."""
    time.sleep(sizes.seconds)
    load.hush()
    # The last broadcasts are on their way.
    time.sleep(0.5)
    return load.reports()


def judge_others(row: Row, reports: list[Report]) -> None:
    """Whoever kept the connection has lost nothing."""
    losses = losses_of(reports)
    row.note(
        others=losses.steady,
        their_deliveries=losses.delivered,
        lost_by_others=losses.missed + losses.unanswered,
        their_slowest_answer=f"{losses.slowest:.2f} s",
    )
    row.require(losses.steady > 0, "nobody was unaffected")
    row.require(losses.delivered > 0, "nothing was delivered among the others")
    row.require(
        losses.none,
        f"others lost {losses.missed} deliveries and {losses.unanswered} answers, "
        f"{losses.doubled} came twice, {losses.disordered} out of order",
    )


def judge_returns(row: Row, reports: list[Report]) -> None:
    """Whoever lost the connection has another one, and was not told to stay away."""
    gone = [one for one in reports if one.reasons]
    away = [seconds for one in reports for seconds in one.away]
    row.note(
        reconnected=f"{sum(one.connected for one in gone)} of {len(gone)}",
        away_p50_p99_max=spread(away),
        refused_attempts=sum(one.refused for one in reports),
    )
    row.require(all(one.connected for one in reports), "not every client is connected")
    farewells = sum(reason == FAREWELL for one in reports for reason in one.reasons)
    row.require(farewells == 0, f"{farewells} clients were told to leave")


def node_killed(cluster: Cluster, sizes: Sizes) -> Row:
    """kill -9 of one node, while everybody talks."""
    row = Row(
        "kill -9 of a node",
        "its clients reconnect elsewhere by themselves; others are unaffected; its slot is free again",
    )
    with opened_load(cluster, sizes.clients) as load:
        begin(load, cluster, sizes)
        slot, pid = cluster.slots[0], cluster.pid(cluster.slots[0])
        os.kill(pid, signal.SIGKILL)
        out = wait_until("it is out of rotation", lambda: not cluster.in_rotation(slot) or cluster.back(slot, pid))
        wait_until("its slot is taken again", lambda: cluster.back(slot, pid))
        load.wait_connected()
        reports = end(load, sizes)
    hit = [one for one in reports if one.slots[0] == slot]
    row.note(its_clients=len(hit), out_of_rotation=f"{out:.2f} s")
    row.require(bool(hit), "the node had no client")
    row.require(all(one.reasons for one in hit), "a client of the node has noticed nothing")
    row.require(not any(one.reasons for one in reports if one not in hit), "a client of another node was cut off")
    judge_returns(row, reports)
    judge_others(row, reports)
    return row
