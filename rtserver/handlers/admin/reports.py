"""What a node says of itself every second, and what is known of the others.

Rule: reads ``statistics()``; nothing is counted for the sake of a report.
"""

from __future__ import annotations

import os
import resource
import secrets
import socket
import time
from pathlib import Path

import msgspec

from rtserver import Server
from rtserver.adapters.base import RelayStatistics
from rtserver.handlers.admin.events import ClusterReport, NamespaceReport, NodeReport, NodeState, RelayState

DYNAMIC = "(dynamic)"
# A node that has not reported for so many seconds is gone.
FORGOTTEN_AFTER = 5.0
MAX_NODES = 1_000


class Reporter:
    """Makes the reports of one node.

    Attributes:
        id: Of this process.
    """

    def __init__(self, io: Server) -> None:
        self.id = secrets.token_hex(8)
        self._io = io
        self._name = f"{socket.gethostname()}:{os.getpid()}"

    def report(self) -> NodeReport:
        """The node at this moment."""
        statistics = self._io.statistics()
        engine, node = statistics.engine, statistics.node
        namespaces = [
            NamespaceReport(one.name, one.sockets, one.rooms, one.events_received)
            for one in statistics.namespaces
            if not one.dynamic
        ]
        dynamic = [one for one in statistics.namespaces if one.dynamic]
        if dynamic:
            totals = (
                sum(values) for values in zip(*((n.sockets, n.rooms, n.events_received) for n in dynamic), strict=True)
            )
            namespaces.append(NamespaceReport(DYNAMIC, *totals))
        return NodeReport(
            id=self.id,
            name=self._name,
            state=_state(self._io),
            uptime=round(time.time() - (statistics.started_at or time.time()), 1),
            polling=engine.polling,
            websocket=engine.websocket,
            opened=engine.opened,
            packets_in=sum(one.events_received for one in statistics.namespaces),
            packets_out=engine.packets_out,
            bytes_in=0 if node is None else node.bytes_in,
            bytes_out=0 if node is None else node.bytes_out,
            slow_consumers=engine.slow_consumers,
            loop_delay=0.0 if node is None else round(max(0.0, node.loop_delay), 6),
            memory=resident_bytes(),
            relay=_relay(statistics.relay),
            namespaces=namespaces,
        )


class Reports:
    """The newest report of every node, for as long as it is new."""

    def __init__(self) -> None:
        self._newest: dict[str, tuple[float, NodeReport]] = {}

    def put(self, report: NodeReport, now: float) -> None:
        """A node has reported at ``now``, in seconds of a clock that only goes forward."""
        if report.id in self._newest or len(self._newest) < MAX_NODES:
            self._newest[report.id] = (now, report)

    def take(self, raw: object, now: float) -> None:
        """The same, from another node; what is no report is dropped."""
        try:
            self.put(msgspec.convert(raw, NodeReport), now)
        except msgspec.ValidationError:
            return

    def summary(self, now: float) -> ClusterReport:
        """Every node that has reported within the last seconds."""
        for known, (at, _) in list(self._newest.items()):
            if now - at > FORGOTTEN_AFTER:
                del self._newest[known]
        nodes = sorted((report for _, report in self._newest.values()), key=lambda report: (report.name, report.id))
        return ClusterReport(int(time.time() * 1000), nodes)


def _state(io: Server) -> NodeState:
    return "ready" if io.ready else "draining"


def _relay(relay: RelayStatistics | None) -> RelayState:
    if relay is None:
        return "none"
    return "healthy" if relay.state == "healthy" else "degraded"


def resident_bytes() -> int:
    """The memory of this process; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * resource.getpagesize()
