"""What is measured, and the bars that it is held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Figure: TypeAlias = Literal["cpu_us", "per_second", "rss_kb"]

UNITS: dict[Figure, str] = {"cpu_us": "µs CPU", "per_second": "/s", "rss_kb": "kB"}


@dataclass(frozen=True, slots=True)
class Measure:
    """One way of loading a server.

    Args:
        name: As ``ONLY=`` takes it.
        title: For the table.
        load: The load generator's mode, then its arguments after host and port.
        servers: Those that take part.
        warm: A load of the same kind before the one that counts, for what a server compiles or makes once.
    """

    name: str
    title: str
    load: tuple[str, ...]
    servers: tuple[str, ...] = ("rtserver", "node", "bun")
    warm: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """What the ratio of this server's median to a peer's has to be.

    Args:
        name: P1 and so on.
        measure: The measure's name.
        figure: What is compared: less is better, but of ``per_second`` more.
        peer: Whom it is held against.
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


EVERY = ("rtserver", "rtserver-async", "rtserver-full", "node", "bun", "python-socketio")

MEASURES = (
    Measure("echo", "echo, 100 connections, 4 under way on each", ("echo", "100", "3", "4", "64"), EVERY),
    Measure("echo1", "echo, 100 connections, one at a time", ("echo", "100", "3", "1", "64"), EVERY),
    Measure(
        "broadcast",
        "broadcast to 1,000",
        ("bcast", "1000", "3", "1", "64"),
        ("rtserver", "node", "bun", "python-socketio"),
    ),
    Measure("handshakes", "polling handshakes, each on a new connection", ("handshakes", "50", "3")),
    Measure("handshakes-kept", "polling handshakes, connections kept", ("handshakes", "50", "3", "--keep-alive")),
    Measure("connects", "WebSocket connects", ("conn", "3000", "0.5"), warm=("conn", "1000", "0")),
    Measure(
        "browser",
        "browser-like connects: poll, CONNECT, upgrade",
        ("browser", "3000", "0.5"),
        warm=("browser", "1000", "0"),
    ),
    Measure(
        "memory", "idle WebSocket, in a namespace and its own room", ("conn", "5000", "2"), warm=("conn", "500", "0")
    ),
)

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
    Bar("P8", "echo", "cpu_us", "rtserver", 1.25, ours="rtserver-full"),
)
