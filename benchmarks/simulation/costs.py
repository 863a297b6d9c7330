"""What things cost, as measured: the input of the model and of the simulation.

Rule: every figure here comes from ``benchmarks/results.json``, or from ``relay.py`` where that has none; nothing is
assumed, but what ``Assumed`` says.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("costs.json")
OURS, FULL = "rtserver", "rtserver-full"


@dataclass(frozen=True, slots=True)
class Costs:
    """Processor time in µs, memory in kB.

    Args:
        event: An event with its acknowledgement, plain.
        event_full: The same with authentication, rate limits and a schema.
        delivery: Of a broadcast, to one local socket.
        connect: As browsers do it, by polling and upgrade.
        connection_kb: Of the process, for an idle WebSocket.
        publish: A broadcast told to the other nodes, and its own echo ignored; one of many in a turn of the node.
        drop: One heard from another node, for a room that is not here; likewise.
        decode: One heard from another node, and read; its deliveries come on top.
        publish_wake, hear_wake: What the first of a turn costs more.
        sharded_publish, sharded_decode: The same in the words of the sharded adapter.
        redis_message: Redis takes a message.
        redis_copy: Redis passes it to one subscriber.
        relayed_bytes: Of a message with a payload of 64 bytes, with the name of its channel.
    """

    event: float
    event_full: float
    delivery: float
    connect: float
    connection_kb: float
    publish: float
    drop: float
    decode: float
    publish_wake: float
    hear_wake: float
    sharded_publish: float
    sharded_decode: float
    redis_message: float
    redis_copy: float
    relayed_bytes: float


@dataclass(frozen=True, slots=True)
class Assumed:
    """What is not measured, and what the plan leaves room for.

    Args:
        kernel_kb: Of the kernel's memory for a connection.
        budget: The part of a core that a node, or a Redis, may use: the rest is for bursts.
        heartbeat_every: Seconds. Each costs what an event costs.
        back_within: Seconds in which everybody comes back after a fault.
    """

    kernel_kb: float = 4.0
    budget: float = 0.6
    heartbeat_every: float = 25.0
    back_within: float = 60.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What the model is held against: a broadcast to a room over several nodes, measured.

    Args:
        nodes: With Redis between them; one has a Redis too.
        room: Who gets it, spread evenly over the nodes.
        cpu_us: The processor time of all nodes for one delivery.
        redis_us: That of Redis.
    """

    nodes: int
    room: int
    cpu_us: float
    redis_us: float


# The measure, the server and the field of each cost that a run of ``make bench`` has.
FROM_RESULTS = {
    "event": ("echo", OURS, "cpu_us"),
    "event_full": ("echo", FULL, "cpu_us"),
    "delivery": ("broadcast", OURS, "cpu_us"),
    "connect": ("browser", OURS, "cpu_us"),
    "connection_kb": ("memory", OURS, "rss_kb"),
}


def derive(results: Mapping[str, Any], relay: Mapping[str, float]) -> Costs:
    """Medians of a run, with the costs between nodes beside them."""
    medians = {
        name: round(statistics.median(turn[field] for turn in results["answers"][measure][server]), 2)
        for name, (measure, server, field) in FROM_RESULTS.items()
    }
    return Costs(**medians, **relay)


def measured_in(results: Mapping[str, Any]) -> list[Measured]:
    """The broadcasts to all of 1,000 clients over several nodes that a run has measured."""
    found = []
    for nodes in range(1, 10):
        if turns := results["answers"].get(f"nodes-{nodes}", {}).get(OURS):
            medians = (statistics.median(turn[field] for turn in turns) for field in ("cpu_us", "beside_us"))
            found.append(Measured(nodes, 1_000, *(round(value, 3) for value in medians)))
    return found


@dataclass(frozen=True, slots=True)
class Known:
    """What ``costs.json`` holds."""

    costs: Costs
    measured: list[Measured]
    machine: str


def load() -> Known:
    said = json.loads(FILE.read_text())
    return Known(Costs(**said["costs"]), [Measured(**one) for one in said["measured"]], said["machine"])


def save(known: Known) -> None:
    FILE.write_text(json.dumps(asdict(known), indent=1) + "\n")
