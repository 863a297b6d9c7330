"""How a proxy is, as JSON and as metrics.

Rule: one description serves the table, the JSON and Prometheus; nothing in it names a
session or a client.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
import trio
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from proxy.links import Link
from proxy.proxy import Proxy

_COUNTERS = {
    "accepted": "Connections accepted.",
    "requests": "Requests whose head was read whole.",
    "handed": "Connections handed over to nodes of this machine.",
    "relayed": "Requests relayed to other upstreams.",
    "tunnels": "Relayed requests that became a WebSocket.",
    "unknown_sessions": "Requests whose session is nobody's.",
    "refused": "Connections and requests turned away.",
    "retried": "Requests that went to a second upstream.",
    "bytes_in": "Bytes relayed from clients.",
    "bytes_out": "Bytes relayed to clients.",
}


class UpstreamState(msgspec.Struct, frozen=True):
    """An upstream, as a proxy sees it."""

    name: str
    kind: Literal["node", "leased", "listed"]
    state: str
    address: str | None
    slot: int | None
    sessions: int
    load: float | None
    total: int
    failed: int


class ProxyState(msgspec.Struct, frozen=True):
    """One process."""

    pid: int
    worker: int
    accepting: bool
    listening: tuple[str, ...]
    connections: int
    relays: int
    counters: dict[str, int]
    answered: dict[str, int]
    upstreams: tuple[UpstreamState, ...]


def describe(proxy: Proxy, worker: int) -> ProxyState:
    """How a proxy is now."""
    counters = proxy.edge.counters
    now = trio.current_time()
    upstreams = []
    for one in proxy.pool.candidates:
        kind: Literal["node", "leased", "listed"] = "listed" if one in proxy.pool.listed else "leased"
        upstreams.append(
            UpstreamState(
                name=one.name,
                kind="node" if isinstance(one, Link) else kind,
                state=one.describe(now),
                address=None if one.address is None else str(one.address),
                slot=one.slot,
                sessions=one.sessions,
                load=round(one.load, 3) if isinstance(one, Link) else None,
                total=one.total,
                failed=one.failed,
            )
        )
    return ProxyState(
        pid=os.getpid(),
        worker=worker,
        accepting=proxy.accepting,
        listening=tuple(one.url for one in proxy.listening if one.sock.fileno() >= 0),
        connections=proxy.edge.connections,
        relays=proxy.relays,
        counters={name: getattr(counters, name) for name in _COUNTERS},
        answered={str(status): count for status, count in sorted(counters.answered.items())},
        upstreams=tuple(upstreams),
    )


class _States(Collector):
    def __init__(self, states: Sequence[ProxyState]) -> None:
        self._states = states

    def collect(self) -> Iterable[Metric]:
        yield from self._counters()
        connections = GaugeMetricFamily("rtproxy_connections", "Connections held.", labels=["worker"])
        relays = GaugeMetricFamily("rtproxy_relays", "Connections relayed.", labels=["worker"])
        answered = CounterMetricFamily("rtproxy_answers", "Answers of the proxy itself.", labels=["worker", "status"])
        for state in self._states:
            connections.add_metric([str(state.worker)], state.connections)
            relays.add_metric([str(state.worker)], state.relays)
            for status, count in state.answered.items():
                answered.add_metric([str(state.worker), status], count)
        yield from (connections, relays, answered)
        yield from self._upstreams()

    def _counters(self) -> Iterable[Metric]:
        for name, meaning in _COUNTERS.items():
            family = CounterMetricFamily(f"rtproxy_{name}", meaning, labels=["worker"])
            for state in self._states:
                family.add_metric([str(state.worker)], state.counters[name])
            yield family

    def _upstreams(self) -> Iterable[Metric]:
        labels = ["worker", "upstream"]
        ready = GaugeMetricFamily("rtproxy_upstream_ready", "Whether it gets new clients.", labels=labels)
        sessions = GaugeMetricFamily("rtproxy_upstream_sessions", "Sessions that it says to have.", labels=labels)
        total = CounterMetricFamily("rtproxy_upstream_connections", "Connections that went to it.", labels=labels)
        failed = CounterMetricFamily("rtproxy_upstream_failures", "Requests that failed by its fault.", labels=labels)
        for state in self._states:
            for one in state.upstreams:
                key = [str(state.worker), one.name]
                ready.add_metric(key, one.state == "ready")
                sessions.add_metric(key, one.sessions)
                total.add_metric(key, one.total)
                failed.add_metric(key, one.failed)
        yield from (ready, sessions, total, failed)


def metrics(states: Sequence[ProxyState]) -> bytes:
    """What Prometheus reads."""
    registry = CollectorRegistry()
    registry.register(_States(states))
    return generate_latest(registry)


def table(states: Sequence[ProxyState]) -> str:
    """What an operator reads."""
    lines = []
    for state in states:
        does = "accepting" if state.accepting else "leaving"
        lines.append(
            f"process {state.pid} (worker {state.worker}): {does} on {', '.join(state.listening) or 'nothing'}"
        )
        counters = "  ".join(f"{name} {state.counters[name]}" for name in ("accepted", "handed", "relayed", "refused"))
        lines.append(f"  connections {state.connections}  {counters}")
    rows = [("UPSTREAM", "KIND", "STATE", "ADDRESS", "SESSIONS", "LOAD", "TOTAL", "FAILED")]
    # Every worker sees the same upstreams; what went to them is added up.
    names = dict.fromkeys(one.name for state in states for one in state.upstreams)
    for name in names:
        seen = [one for state in states for one in state.upstreams if one.name == name]
        first = seen[0]
        rows.append(
            (
                first.name,
                first.kind,
                "/".join(dict.fromkeys(one.state for one in seen)),
                first.address or "-",
                str(first.sessions),
                "-" if first.load is None else f"{first.load:.0%}",
                str(sum(one.total for one in seen)),
                str(sum(one.failed for one in seen)),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)
