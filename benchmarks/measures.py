"""What is measured, and the bars that it is held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Measure:
    """One way of loading a server.

    Args:
        name: As ``ONLY=`` takes it.
        title: For the table.
        arguments: Of the load generator, after host and port.
        figure: What of its answer is compared.
        unit: Of the figure.
        better: Whether less or more of it is better.
        servers: Those that take part.
    """

    name: str
    title: str
    arguments: tuple[str, ...]
    figure: Literal["cpu_us", "per_second", "memory_kb"]
    unit: str
    better: Literal["less", "more"]
    servers: tuple[str, ...] = ("rtserver", "node", "bun")


@dataclass(frozen=True, slots=True)
class Bar:
    """What the ratio of this server's median to a peer's has to be.

    Args:
        name: P1 and so on.
        measure: The measure's name.
        peer: Whom it is held against.
        limit: At most this, or at least, as the measure's ``better`` says.
    """

    name: str
    measure: str
    peer: str
    limit: float


ALL = ("rtserver", "rtserver-async", "node", "bun")
MEASURES = (
    Measure("echo", "echo, 100 connections", ("echo", "100", "3", "4", "64"), "cpu_us", "µs CPU/message", "less", ALL),
    Measure("echo1", "echo, one at a time", ("echo", "100", "3", "1", "64"), "cpu_us", "µs CPU/message", "less", ALL),
    Measure("broadcast", "broadcast to 1,000", ("bcast", "1000", "3", "1", "64"), "cpu_us", "µs CPU/delivery", "less"),
    Measure("handshakes", "polling handshakes", ("handshakes", "50", "3"), "per_second", "1/s", "more"),
    Measure("connects", "WebSocket connects", ("conn", "2000", "0.5"), "per_second", "1/s", "more"),
    Measure("browser", "poll, CONNECT, upgrade", ("browser", "50", "3"), "cpu_us", "µs CPU/connect", "less"),
    Measure("memory", "idle connection", ("conn", "5000", "1"), "memory_kb", "kB RSS", "less"),
)
BARS = (
    Bar("P1", "echo", "node", 0.5),
    Bar("P1", "echo", "bun", 1.0),
    Bar("P1", "echo1", "node", 0.5),
    Bar("P1", "echo1", "bun", 1.0),
    Bar("P2", "broadcast", "node", 0.5),
    Bar("P2", "broadcast", "bun", 0.8),
    Bar("P3", "handshakes", "node", 1.5),
    Bar("P4", "connects", "node", 2.0),
    Bar("P4", "connects", "bun", 1.0),
    Bar("P4", "browser", "node", 0.5),
    Bar("P4", "browser", "bun", 1.0),
    Bar("P5", "memory", "node", 0.35),
    Bar("P5", "memory", "bun", 0.5),
)
