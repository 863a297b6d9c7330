"""Redis that is killed, and Redis that stops answering."""

from __future__ import annotations

import signal
import time

from benchmarks.chaos.cluster import Cluster, wait_until
from benchmarks.chaos.judging import begin, end
from benchmarks.chaos.load import Report, losses_of, missed_broadcasts, opened_load
from benchmarks.chaos.rows import Row
from benchmarks.chaos.sizes import Sizes

AWAY = 10.0
HEARD_WITHIN = 5.0
# Seconds that a client of the same node may wait for a broadcast: what waited for Redis would take longer.
AT_HOME_WITHIN = 1.0


def redis_down(cluster: Cluster, sizes: Sizes) -> Row:
    """kill -9 of Redis, and another one in its place later."""
    return _without_redis(cluster, sizes, f"Redis killed, back after {AWAY:.0f} s", signal.SIGKILL)


def redis_frozen(cluster: Cluster, sizes: Sizes) -> Row:
    """SIGSTOP of Redis, and SIGCONT later."""
    return _without_redis(cluster, sizes, f"Redis frozen for {AWAY:.0f} s", signal.SIGSTOP)


def _without_redis(cluster: Cluster, sizes: Sizes, fault: str, number: signal.Signals) -> Row:
    row = Row(fault, "local delivery goes on; readiness degraded; resubscribed ≤ 5 s; losses counted")
    with opened_load(cluster, sizes.clients) as load:
        begin(load, cluster, sizes)
        gone = time.monotonic()
        cluster.redis.signal(number)
        degraded = wait_until(
            "the nodes say degraded", lambda: all(cluster.readiness(slot) == "degraded" for slot in cluster.slots)
        )
        time.sleep(max(0.0, gone + AWAY - time.monotonic()))
        if number == signal.SIGKILL:
            cluster.redis.start()
        else:
            cluster.redis.signal(signal.SIGCONT)
        heard = wait_until(
            "the nodes hear again", lambda: all(cluster.readiness(slot) == "ready" for slot in cluster.slots)
        )
        wait_until("what was kept is sent", lambda: cluster.metric("rtserver_relay_backlog") == 0)
        reports = end(load, sizes)
        _judge(row, reports, int(cluster.metric("rtserver_relay_lost_total")), len(cluster.slots) - 1)
    row.note(degraded_after=f"{degraded:.2f} s", resubscribed_after=f"{heard:.2f} s")
    row.require(heard < HEARD_WITHIN, f"the nodes heard again only after {heard:.1f} s")
    return row


def _judge(row: Row, reports: list[Report], counted: int, others: int) -> None:
    losses = losses_of(reports)
    missed = missed_broadcasts(reports)
    row.note(
        clients_cut=sum(bool(one.reasons) for one in reports),
        deliveries=losses.delivered,
        lost_at_home=losses.within,
        latest_at_home=f"{losses.late_within:.2f} s",
        lost_to_other_nodes=f"{missed} broadcasts",
        counted_as_lost=counted,
        latest_to_other_nodes=f"{losses.late_across:.1f} s",
    )
    row.require(losses.steady == len(reports), "a client lost its connection")
    row.require(losses.unanswered == 0, f"{losses.unanswered} questions had no answer")
    row.require(losses.within == 0, f"{losses.within} deliveries within a node were lost")
    row.require(losses.late_within < AT_HOME_WITHIN, f"a delivery within a node took {losses.late_within:.1f} s")
    row.require(losses.doubled == 0, f"{losses.doubled} deliveries came twice")
    row.require(losses.disordered == 0, f"{losses.disordered} deliveries came out of order")
    # One message that is lost is missed by every other node.
    row.require(missed <= counted * others, f"{missed} broadcasts were missed, and only {counted} counted as lost")
