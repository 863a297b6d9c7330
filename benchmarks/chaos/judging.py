"""Load around a fault, and what is asked of every fault afterwards.

Rule: who never lost the connection has lost nothing; who did has another one, and was never told to stay away.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.chaos.cluster import Cluster
from benchmarks.chaos.load import FAREWELL, Load, Report, losses_of
from benchmarks.chaos.rows import Row, spread
from benchmarks.chaos.sizes import Sizes

SPEAKERS_PER_NODE = 2
# Seconds for the last broadcasts to arrive.
ON_THE_WAY = 0.5


def speakers(load: Load, cluster: Cluster) -> list[int]:
    """Clients that broadcast, of every node."""
    load.talk()
    by_slot: dict[int, list[int]] = {slot: [] for slot in cluster.slots}
    for one in load.reports():
        by_slot[one.slots[-1]].append(one.id)
    return [number for numbers in by_slot.values() for number in numbers[:SPEAKERS_PER_NODE]]


def begin(load: Load, cluster: Cluster, sizes: Sizes) -> None:
    """Real load, for a while before the fault."""
    load.talk(speakers(load, cluster), ask=sizes.ask_every, say=sizes.say_every)
    time.sleep(sizes.seconds)


def end(load: Load, sizes: Sizes) -> list[Report]:
    """The same for a while after it; gives what was counted."""
    time.sleep(sizes.seconds)
    load.hush()
    time.sleep(ON_THE_WAY)
    return load.reports()


def judge_others(row: Row, reports: Sequence[Report]) -> None:
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


def judge_returns(row: Row, reports: Sequence[Report]) -> None:
    """Whoever lost the connection has another one, and was not told to stay away."""
    gone = [one for one in reports if one.reasons]
    row.note(reconnected=f"{sum(one.connected for one in gone)} of {len(gone)}")
    if gone:
        row.note(
            away_p50_p99_max=spread([seconds for one in reports for seconds in one.away]),
            refused_attempts=sum(one.refused for one in reports),
        )
    row.require(all(one.connected for one in reports), "not every client is connected")
    farewells = sum(reason == FAREWELL for one in reports for reason in one.reasons)
    row.require(farewells == 0, f"{farewells} clients were told to leave")
