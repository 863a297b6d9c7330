"""Nodes that are killed, and nodes that are told to end."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from benchmarks.chaos.cluster import Cluster, lives, wait_until
from benchmarks.chaos.judging import begin, end, judge_others, judge_returns
from benchmarks.chaos.load import Report, missed_by_recovered, opened_load
from benchmarks.chaos.rows import Row
from benchmarks.chaos.sizes import Sizes

OUT_OF_ROTATION_WITHIN = 1.0
# Sessions that a node lets go in a second: few, so that a small load shows it. And the limit, which is the default.
DRAIN_RATE = 20
DRAIN_TIMEOUT = 20.0
DRAIN_SETTINGS = {"RTSERVER_DRAIN_RATE": str(DRAIN_RATE), "RTSERVER_DRAIN_TIMEOUT": str(DRAIN_TIMEOUT)}

RECOVERY_SETTINGS = {**DRAIN_SETTINGS, "RTSERVER_CONNECTION_STATE_RECOVERY": "true"}


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
        back = wait_until("its slot is taken again", lambda: cluster.back(slot, pid))
        load.wait_connected()
        reports = end(load, sizes)
    hit = [one for one in reports if one.slots[0] == slot]
    row.note(its_clients=len(hit), out_of_rotation=f"{out:.2f} s", back_in_its_slot=f"{out + back:.2f} s")
    row.require(bool(hit), "the node had no client")
    row.require(all(one.reasons for one in hit), "a client of the node has noticed nothing")
    row.require(not any(one.reasons for one in reports if one not in hit), "a client of another node was cut off")
    judge_returns(row, reports)
    judge_others(row, reports)
    return row


def rolling_restart(cluster: Cluster, sizes: Sizes) -> Row:
    """SIGTERM of each node in turn, while everybody talks."""
    row = Row(
        "SIGTERM of each node in turn",
        f"out of rotation < 1 s; sessions closed at the transport, {DRAIN_RATE} a second as set, never told to leave; "
        "exits within the drain limit",
    )
    with opened_load(cluster, sizes.clients) as load:
        begin(load, cluster, sizes)
        drains = [_drain(cluster, slot) for slot in cluster.slots]
        load.wait_connected()
        reports = end(load, sizes)
    out, exits, backs = (max(seconds) for seconds in zip(*drains, strict=True))
    row.note(
        out_of_rotation=f"{out:.2f} s",
        time_to_exit=f"{exits:.2f} s",
        back_after=f"{backs:.2f} s",
        most_let_go_in_a_second=most_in_a_second(reports),
        answers_cut_off=sum(one.asked - one.answered for one in reports),
    )
    row.require(out < OUT_OF_ROTATION_WITHIN, "a node stayed in rotation")
    row.require(exits < DRAIN_TIMEOUT, "a node took longer than it may")
    row.require(all(one.reasons for one in reports if one.slots[0] == cluster.slots[0]), "a client was left behind")
    row.require(most_in_a_second(reports) < 1.5 * DRAIN_RATE, "the sessions were let go all at once")
    judge_returns(row, reports)
    if any(one.recovered for one in reports):
        _judge_recovery(row, reports)
    return row


def rolling_restart_recovered(cluster: Cluster, sizes: Sizes) -> Row:
    """The same with recovery on, where nothing may be lost."""
    row = rolling_restart(cluster, sizes)
    row.require("recovered" in row.figures, "nobody was recovered")
    row.fault += ", recovery on"
    row.must += "; nothing is lost"
    return row


def _judge_recovery(row: Row, reports: Sequence[Report]) -> None:
    gone = [one for one in reports if one.reasons]
    missed = missed_by_recovered(reports)
    row.note(
        recovered=f"{sum(one.recovered for one in gone)} of {sum(len(one.reasons) for one in gone)}",
        acknowledged_broadcasts=sum(len(one.taken) for one in reports),
        lost_by_the_recovered=missed,
    )
    row.require(missed == 0, f"{missed} acknowledged broadcasts did not reach a client that was recovered")
    row.require(sum(one.doubled + one.disordered for one in reports) == 0, "broadcasts came twice, or out of order")


def _drain(cluster: Cluster, slot: int) -> tuple[float, float, float]:
    """Seconds until it was out of rotation, until it had ended, and from then until another one was in its slot."""
    pid = cluster.pid(slot)
    os.kill(pid, signal.SIGTERM)
    out = wait_until("it is out of rotation", lambda: not cluster.in_rotation(slot))
    ended = out + wait_until("it ends", lambda: not lives(pid))
    back = wait_until("it is back", lambda: cluster.back(slot, pid))
    wait_until("it is in rotation", lambda: cluster.in_rotation(slot))
    return out, ended, back


def most_in_a_second(reports: Sequence[Report]) -> int:
    """How many connections were lost within one second, at most."""
    lost = sorted(when for one in reports for when in one.lost)
    return max((sum(when <= other < when + 1.0 for other in lost) for when in lost), default=0)
