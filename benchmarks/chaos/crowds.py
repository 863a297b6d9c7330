"""Thousands that come at once, and a hundred thousand that come and go."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

import trio

from benchmarks.chaos import loadgen
from benchmarks.chaos.cluster import Cluster, usage_of, wait_until
from benchmarks.chaos.judging import begin, end, judge_others, judge_returns
from benchmarks.chaos.load import opened_load
from benchmarks.chaos.rows import Row
from benchmarks.chaos.sizes import Sizes
from rtserver.client import open_socket

CROWD_SETTINGS = {"RTSERVER_PROXY_MAX_CONNECTIONS_PER_ADDRESS": "20000"}
# Of a round of churn: few enough that the ports of one address suffice.
AT_ONCE = 2_500
# Of the growth of resident memory over a churn: what fragments stay, in kB, and per connection that has been.
STAYS_KB = 8_192
TALKING = 30


def crowd(cluster: Cluster, sizes: Sizes) -> Row:
    """Every client loses its transport, and is back at once, without the pause that it would make."""
    row = Row(
        f"{sizes.crowd:,} clients reconnect at once",
        "all connected; no handshake lost; the accept queue never overflows silently",
    )
    with opened_load(cluster, sizes.crowd, processes=2, quick=True) as load:
        load.talk()
        before, overflows, used = cluster.sessions(), _accept_queue_overflows(), _processor_seconds(cluster)
        load.bounce()
        took = load.wait_connected()
        used = _processor_seconds(cluster) - used
        wait_until("the former sessions are gone", lambda: cluster.sessions() <= before)
        reports = load.reports()
        row.note(
            all_connected_after=f"{took:.1f} s",
            processor_time_of_nodes_and_proxy=f"{used:.1f} s",
            sessions=cluster.sessions(),
        )
        lost = _accept_queue_overflows() - overflows
    refused = sum(one.refused for one in reports)
    row.note(accept_queue_overflows=lost)
    judge_returns(row, reports)
    row.require(all(one.reasons for one in reports), "a client did not lose its transport")
    row.require(refused == 0, f"{refused} attempts to connect failed")
    row.require(lost == 0, f"the accept queue overflowed {lost} times")
    return row


def _processor_seconds(cluster: Cluster) -> float:
    return sum(usage_of(pid).cpu for pid in (*cluster.pids().values(), cluster.proxy_pid()))


def _accept_queue_overflows() -> int:
    """Of the whole machine, since its start. Source: ListenOverflows in proc(5), /proc/net/netstat."""
    names, values = re.findall(r"^TcpExt: (.*)$", Path("/proc/net/netstat").read_text(), re.MULTILINE)
    return int(dict(zip(names.split(), values.split(), strict=True))["ListenOverflows"])


@dataclass(frozen=True, slots=True)
class Held:
    """What the processes of a cluster hold, nodes and proxy together."""

    rss_kb: int
    descriptors: int
    tasks: int
    sockets: int
    rooms: int

    def told(self) -> str:
        return f"{self.rss_kb / 1024:.0f} MB, {self.descriptors} fds, {self.tasks} tasks, {self.rooms} rooms"


async def _facts(address: str) -> dict[str, int]:
    async with open_socket(f"http://{address}", transports=["websocket"]) as socket:
        facts: dict[str, int] = await socket.call("facts")
        return facts


def held(cluster: Cluster) -> Held:
    """What is held right now, less what asking for it takes."""
    facts = []
    for slot in cluster.slots:
        said = cluster.node(slot)
        assert said is not None
        facts.append(trio.run(_facts, said["address"]))
    usages = [usage_of(pid) for pid in (*cluster.pids().values(), cluster.proxy_pid())]
    return Held(
        rss_kb=sum(one.rss_kb for one in usages),
        descriptors=sum(one.descriptors for one in usages),
        tasks=sum(one["tasks"] for one in facts),
        sockets=sum(one["sockets"] for one in facts),
        rooms=sum(one["rooms"] for one in facts),
    )


def churn(cluster: Cluster, sizes: Sizes) -> Row:
    """Connections come and go, of both kinds, while a few clients talk."""
    row = Row(f"churn of {sizes.churn:,} connections", "memory, tasks, fds back to the start; others lose nothing")
    loadgen.build()
    rounds = max(2, round(sizes.churn / AT_ONCE))
    count = max(1, sizes.churn // rounds)
    with opened_load(cluster, min(TALKING, sizes.clients)) as load:
        start = cluster.sessions()
        # What is made once, or kept to be used again.
        for mode in ("conn", "browser"):
            loadgen.come_and_go(cluster, mode, count)
        _settle(cluster, start)
        before = held(cluster)
        begin(load, cluster, sizes)
        begun = time.monotonic()
        for number in range(rounds):
            loadgen.come_and_go(cluster, "browser" if number % 4 == 3 else "conn", count)
        took = time.monotonic() - begun
        reports = end(load, sizes)
        _settle(cluster, start)
        after = held(cluster)
    row.note(
        connections=rounds * count,
        in_a_second=round(rounds * count / took),
        before=before.told(),
        after=after.told(),
        memory_grown=f"{(after.rss_kb - before.rss_kb) / 1024:.1f} MB",
    )
    row.require(after.descriptors <= before.descriptors, "descriptors were left open")
    row.require(after.tasks <= before.tasks, "tasks were left behind")
    row.require((after.sockets, after.rooms) == (before.sockets, before.rooms), "sockets or rooms were left behind")
    row.require(after.rss_kb - before.rss_kb < STAYS_KB * (len(cluster.slots) + 1), "memory has grown")
    row.require(not any(one.reasons for one in reports), "a client that talked was cut off")
    judge_others(row, reports)
    return row


def _settle(cluster: Cluster, sessions: int) -> None:
    wait_until("the sessions are gone", lambda: cluster.sessions() <= sessions)
