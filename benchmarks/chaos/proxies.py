"""The proxy that is killed, and the proxy that is replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from benchmarks.chaos.cluster import ROOT, Cluster, lives, wait_until
from benchmarks.chaos.judging import begin, end, judge_others, judge_returns
from benchmarks.chaos.load import Report, opened_load
from benchmarks.chaos.newcomers import Newcomers, newcomers
from benchmarks.chaos.rows import Row
from benchmarks.chaos.sizes import Sizes

SERVED_WITHIN = 1.0


def proxy_killed(cluster: Cluster, sizes: Sizes) -> Row:
    """kill -9 of the proxy, which ``rtserver keep`` starts again."""
    row = Row(
        "kill -9 of the proxy", "connections handed over live on; new clients wait for the next proxy, none is refused"
    )
    with opened_load(cluster, sizes.clients) as load, newcomers(cluster) as them:
        begin(load, cluster, sizes)
        pid = cluster.proxy_pid()
        os.kill(pid, signal.SIGKILL)
        wait_until("a proxy is there again", lambda: cluster.proxy_pid() not in (0, pid) and cluster.serves())
        load.wait_connected()
        reports = end(load, sizes)
    them.stop()
    _judge(row, reports, them, SERVED_WITHIN)
    return row


def proxy_replaced(cluster: Cluster, sizes: Sizes) -> Row:
    """Another proxy takes the listening socket over; then that one is told to end, and the kept one is back."""
    row = Row(
        "the proxy replaced by another, and back",
        "connections handed over live on; new clients are served within 1 s, none is refused",
    )
    with opened_load(cluster, sizes.clients) as load, newcomers(cluster) as them:
        begin(load, cluster, sizes)
        first = cluster.proxy_pid()
        command = [sys.executable, "-m", "proxy", "--replace"]
        with subprocess.Popen(
            command, cwd=ROOT, env=cluster.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as second:
            wait_until("the other one has taken over", lambda: not lives(first))
            wait_until("the kept one is back", lambda: cluster.proxy_pid() not in (0, first, second.pid))
            second.terminate()
        load.wait_connected()
        reports = end(load, sizes)
    them.stop()
    _judge(row, reports, them, SERVED_WITHIN)
    row.require(not any(one.reasons for one in reports), "a client lost its connection")
    return row


def _judge(row: Row, reports: list[Report], them: Newcomers, within: float) -> None:
    cut = [one for one in reports if one.reasons]
    row.note(
        websockets_cut=sum(one.kind != "polling" for one in cut),
        pollers_cut=sum(one.kind == "polling" for one in cut),
        new_clients=them.served,
        refused=them.refused,
        longest_without_service=f"{them.longest_gap:.2f} s",
    )
    row.require(not any(one.kind != "polling" for one in cut), "a WebSocket was cut off")
    row.require(them.refused == 0, f"{them.refused} new clients were refused")
    row.require(them.longest_gap < within, f"no new client was served for {them.longest_gap:.2f} s")
    judge_returns(row, reports)
    judge_others(row, reports)
