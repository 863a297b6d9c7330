"""What is measured: which load, on which servers."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Measure:
    """One way of loading a server.

    Args:
        name: As ``ONLY=`` takes it.
        title: For the table.
        load: The load generator's mode, then its arguments after host and port.
        servers: Those that take part.
        warm: A load of the same kind before the one that counts, for what a server compiles or makes once.
        nodes: So many of each server with a Redis between them; 0 is one server alone.
        family: Measures that differ in one number; ``ONLY=`` takes it too.
        size: That number.
        one_processor: Whether servers and what stands beside them share the first processor; the load generator has
            the others.
        share: The rate of an open load, as a part of what the ``warm`` load has reached; 0 is one that waits for
            answers.
        turns: No more of them, however many the run has.
    """

    name: str
    title: str
    load: tuple[str, ...]
    servers: tuple[str, ...] = ("rtserver", "node", "bun")
    warm: tuple[str, ...] | None = None
    nodes: int = 0
    family: str = ""
    size: float = 0
    one_processor: bool = False
    share: float = 0
    turns: int | None = field(default=None, kw_only=True)


FOUR = ("rtserver", "node", "bun", "python-socketio")
EVERY = ("rtserver", "rtserver-async", "rtserver-full", "node", "bun", "python-socketio")
PAIR = ("rtserver", "node")


def echo(conns: int, window: int, payload: int, *flags: str, seconds: float = 1.5) -> tuple[str, ...]:
    return ("echo", str(conns), str(seconds), str(window), str(payload), *flags)


def _broadcast(size: int, servers: tuple[str, ...] = FOUR[:3]) -> Measure:
    return Measure(
        f"broadcast-{size}",
        f"broadcast to {size:,}",
        ("bcast", str(size), "1.5", "1", "64"),
        servers,
        family="broadcasts",
        size=size,
    )


def _rooms(size: int) -> Measure:
    load = ("rooms", "1000", "1.5", "1", "64", "--room", str(size))
    return Measure(f"rooms-{size}", f"to rooms of {size}, 1,000 clients", load, family="rooms", size=size)


def _payload(size: int, *, binary: bool = False) -> Measure:
    kind = "binary" if binary else "payload"
    # Few connections, so that what is under way stays in the caches.
    load = echo(20, 2, size, *(("--binary",) if binary else ()))
    title = f"echo of {size:,} bytes{', binary' if binary else ''}, 20 connections, 2 under way"
    return Measure(f"{kind}-{size}", title, load, family=kind, size=size)


def _latency(percent: int) -> Measure:
    return Measure(
        f"latency-{percent}",
        f"echo at {percent} % of what the server can do, from when it was due",
        ("open", "100", "2", "1", "64"),
        warm=echo(100, 4, 64),
        family="latency",
        size=percent,
        share=percent / 100,
    )


def _cluster(nodes: int) -> Measure:
    return Measure(
        f"nodes-{nodes}",
        f"broadcast to 1,000 by {nodes} node{'s' if nodes > 1 else ''} and Redis",
        ("bcast", "1000", "1.5", "1", "64"),
        PAIR,
        nodes=nodes,
        family="nodes",
        size=nodes,
    )


MEASURES = (
    Measure("echo", "echo, 100 connections, 4 under way on each", echo(100, 4, 64), EVERY),
    Measure("echo1", "echo, 100 connections, one at a time", echo(100, 1, 64)),
    Measure(
        "broadcast", "broadcast to 1,000", ("bcast", "1000", "1.5", "1", "64"), FOUR, family="broadcasts", size=1000
    ),
    *(_broadcast(size) for size in (10, 100, 10_000)),
    *(_rooms(size) for size in (10, 100)),
    *(_payload(size) for size in (16, 1_024, 16_384, 65_536)),
    *(_payload(size, binary=True) for size in (1_024, 65_536)),
    *(_latency(percent) for percent in (25, 50, 75)),
    Measure("polls", "echo by polling, 100 clients, one at a time", ("polls", "100", "1.5", "1", "64"), FOUR),
    Measure("handshakes", "polling handshakes, each on a new connection", ("handshakes", "50", "1.5")),
    Measure("handshakes-kept", "polling handshakes, connections kept", ("handshakes", "50", "1.5", "--keep-alive")),
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
    Measure(
        "proxied",
        "echo through a proxy, one at a time, the host has one processor",
        echo(100, 1, 64),
        ("direct", "hand-off", "relay", "haproxy", "nginx"),
        one_processor=True,
    ),
    *(_cluster(nodes) for nodes in (1, 2, 3, 4)),
    Measure(
        "held",
        "30,000 idle connections on two nodes behind the proxy; latency is how late heartbeats were",
        ("hold", "30000", "30", "--processes", "2"),
        ("two nodes",),
        turns=1,
    ),
)
