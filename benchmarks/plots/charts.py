"""Which plots there are, and which rows of a run each is made of. Knows nothing of drawing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from benchmarks.plots.results import Figure, Results, named, shared

RATE = ("per_second", 0.001)  # thousands
CPU = ("cpu_us", 1.0)


@dataclass(frozen=True, slots=True)
class Bars:
    """A horizontal bar for each of the rows.

    Args:
        label: Of the axis, with its unit.
        rows: Name and figure, from the top.
    """

    label: str
    rows: list[tuple[str, Figure]]


@dataclass(frozen=True, slots=True)
class Lines:
    """A line for each of the servers, over a number.

    Args:
        label: Of the vertical axis, with its unit.
        across: Of the horizontal axis.
        lines: By name, the points.
        logarithmic: Whether the horizontal axis is.
        steep: Whether the vertical one is.
        ticks: How a number of the horizontal axis is written.
    """

    label: str
    across: str
    lines: dict[str, list[tuple[float, Figure]]]
    logarithmic: bool = True
    steep: bool = False
    ticks: Callable[[float], str] = "{:,.0f}".format


Panel: TypeAlias = Bars | Lines


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture of one or more panels beside one another; without rows, a panel is left out."""

    name: str
    title: str
    panels: list[Panel]


def all_plots(results: Results) -> tuple[list[Plot], list[str]]:
    """The plots that the results have rows for, and the names of those that they have none for."""
    drawn, missing = [], []
    for name, (title, make) in PLOTS.items():
        panels = [panel for panel in make(results) if panel_has_rows(panel)]
        if panels:
            drawn.append(Plot(name, title, panels))
        else:
            missing.append(name)
    return drawn, missing


def panel_has_rows(panel: Panel) -> bool:
    return bool(panel.rows if isinstance(panel, Bars) else panel.lines)


def bars(results: Results, label: str, key: str, scale: float, rows: Sequence[tuple[str, str, str]]) -> Bars:
    """``rows`` are name, measure and server."""
    found = [(name, results.figure(measure, server, key, scale)) for name, measure, server in rows]
    return Bars(label, [(name, figure) for name, figure in found if figure is not None])


def by_server(results: Results, label: str, key: str, scale: float, measure: str) -> Bars:
    return bars(results, label, key, scale, [(server, measure, server) for server in results.servers(measure)])


def over(
    results: Results,
    measures: Sequence[tuple[int, str]],
    label: str,
    across: str,
    key: str,
    scale: float,
    suffix: str = "",
) -> Lines:
    """Lines over the numbers; ``measures`` are the number and the name, ``suffix`` follows the name of each server."""
    lines = {}
    for server in shared(results, [name for _, name in measures]):
        found = [(number, results.figure(name, server, key, scale)) for number, name in measures]
        lines[server + suffix] = [(float(number), figure) for number, figure in found if figure is not None]
    return Lines(label, across, {name: points for name, points in lines.items() if len(points) > 1})


def echo(results: Results) -> list[Panel]:
    return [
        by_server(results, "thousand acknowledged events a second (more is better)", *RATE, "echo"),
        by_server(results, "µs of the server's CPU for one (less is better)", *CPU, "echo"),
    ]


def broadcast(results: Results) -> list[Panel]:
    measures = sorted([*named(results, "broadcast-"), (1_000, "broadcast")])
    across = "sockets that a broadcast goes to"
    return [
        over(results, measures, "thousand deliveries a second (more is better)", across, *RATE),
        over(results, measures, "µs of the server's CPU for one delivery (less is better)", across, *CPU),
    ]


def rooms(results: Results) -> list[Panel]:
    measures, across = named(results, "rooms-"), "sockets in a room, of 1,000"
    return [
        over(results, measures, "thousand deliveries a second (more is better)", across, *RATE),
        over(results, measures, "µs of the server's CPU for one delivery (less is better)", across, *CPU),
    ]


def latency(results: Results) -> list[Panel]:
    measures, across = named(results, "latency-"), "load, % of what the server can do"
    parts = (("half of the events", "p50_ms"), ("99 of 100", "p99_ms"), ("999 of 1,000", "p999_ms"))
    panels = [linear(over(results, measures, f"{part} within so many ms", across, key, 1.0)) for part, key in parts]
    return [replace(panel, steep=True) for panel in panels]


def payload(results: Results) -> list[Panel]:
    across = "bytes of the payload"
    kinds = {"": named(results, "payload-"), ", binary": named(results, "binary-")}

    def both(label: str, key: str, scale: float) -> Lines:
        lines = {
            server + suffix: points
            for suffix, measures in kinds.items()
            for server, points in over(results, measures, label, across, key, scale).lines.items()
        }
        return Lines(label, across, lines, steep=True)

    return [
        both("thousand events a second (more is better)", *RATE),
        both("µs of the server's CPU for one (less is better)", *CPU),
    ]


def nodes(results: Results) -> list[Panel]:
    measures, across = named(results, "nodes-"), "nodes"
    panels = (
        over(results, measures, "thousand deliveries a second", across, *RATE),
        over(results, measures, "µs CPU of all nodes for one delivery", across, *CPU),
        over(results, measures, "µs CPU of Redis for one delivery", across, "beside_us", 1.0),
    )
    return [linear(panel) for panel in panels]


def proxy(results: Results) -> list[Panel]:
    nothing = Figure(0, 0, 0)
    ways = [(name, results.figure("proxied", name, "beside_us")) for name in results.servers("proxied")]
    return [
        by_server(results, "thousand echoes a second (more is better)", *RATE, "proxied"),
        by_server(results, "µs of the node's CPU for one", *CPU, "proxied"),
        # A proxy that has handed the connection over does nothing more for it, which is a figure too.
        Bars("µs of the proxy's CPU for one", [(name, figure or nothing) for name, figure in ways if name != "direct"]),
    ]


def polling(results: Results) -> list[Panel]:
    return [
        by_server(results, "µs CPU for one handshake, new connection", *CPU, "handshakes"),
        by_server(results, "one handshake, connection kept", *CPU, "handshakes-kept"),
        by_server(results, "one echo, by GET and POST", *CPU, "polls"),
    ]


def connects(results: Results) -> list[Panel]:
    return [
        by_server(results, "µs CPU for one WebSocket connect", *CPU, "connects"),
        by_server(results, "µs CPU for one as browsers do: poll, CONNECT, upgrade", *CPU, "browser"),
    ]


def memory(results: Results) -> list[Panel]:
    return [by_server(results, "kB of resident memory for an idle WebSocket (less is better)", "rss_kb", 1.0, "memory")]


def linear(panel: Lines) -> Lines:
    """The same over evenly spaced numbers."""
    return replace(panel, logarithmic=False)


PLOTS: dict[str, tuple[str, Callable[[Results], list[Panel]]]] = {
    "echo": ("Echo: an event and its acknowledgement, 64 bytes, 100 connections", echo),
    "broadcast": ("Broadcast, by the number of sockets that it goes to", broadcast),
    "rooms": ("Fan-out, by the size of the room", rooms),
    "latency": ("Latency of an echo from when it was due, by load (less is better)", latency),
    "payload": ("Echo, by the size of the payload", payload),
    "memory": ("Memory for a connection", memory),
    "connects": ("Connecting: the server's CPU time (less is better)", connects),
    "polling": ("Polling: the server's CPU time (less is better)", polling),
    "nodes": ("Broadcast to 1,000, by the number of nodes with Redis between them", nodes),
    "proxy": ("Through a proxy, all on one processor", proxy),
}
