"""The bars that the measures are held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Figure: TypeAlias = Literal["cpu_us", "per_second", "rss_kb", "all_us", "all_mb", "max_ms"]

UNITS: dict[Figure, str] = {
    "cpu_us": "µs CPU",
    "per_second": "/s",
    "rss_kb": "kB",
    "all_us": "µs CPU, all",
    "all_mb": "MB in all",
    "max_ms": "ms at most",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """What the ratio of this server's median to a peer's has to be.

    Args:
        name: P1 and so on.
        measure: The measure's name.
        figure: What is compared: less is better, but of ``per_second`` more.
        peer: Whom it is held against; empty for a figure that stands for itself.
        limit: At most this, or at least.
        ours: The server that is compared.
    """

    name: str
    measure: str
    figure: Figure
    peer: str
    limit: float
    ours: str = "rtserver"

    @property
    def more_is_better(self) -> bool:
        return self.figure == "per_second"

    def met_by(self, ratio: float) -> bool:
        return ratio >= self.limit if self.more_is_better else ratio <= self.limit


BARS = (
    Bar("P1", "echo", "cpu_us", "node", 0.5),
    Bar("P1", "echo", "cpu_us", "bun", 1.0),
    Bar("P1", "echo1", "cpu_us", "node", 0.5),
    Bar("P1", "echo1", "cpu_us", "bun", 1.0),
    Bar("P2", "broadcast", "cpu_us", "node", 0.5),
    Bar("P2", "broadcast", "cpu_us", "bun", 0.8),
    Bar("P3", "handshakes", "per_second", "node", 1.5),
    Bar("P3", "handshakes-kept", "per_second", "node", 1.5),
    Bar("P4", "connects", "per_second", "node", 2.0),
    Bar("P4", "connects", "per_second", "bun", 1.0),
    Bar("P4", "browser", "cpu_us", "node", 0.5),
    Bar("P4", "browser", "cpu_us", "bun", 1.0),
    Bar("P5", "memory", "rss_kb", "node", 0.35),
    Bar("P5", "memory", "rss_kb", "bun", 0.5),
    Bar("P6", "proxied", "per_second", "direct", 0.95, ours="hand-off"),
    Bar("P6", "proxied", "per_second", "haproxy", 1.8, ours="hand-off"),
    Bar("P7", "nodes-2", "cpu_us", "node", 0.5),
    Bar("P8", "echo", "cpu_us", "rtserver", 1.25, ours="rtserver-full"),
    Bar("P9", "held", "all_mb", "", 400, ours="two nodes"),
    Bar("P9", "held", "max_ms", "", 1000, ours="two nodes"),
)
