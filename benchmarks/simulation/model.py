"""What a cluster of nodes carries, by arithmetic.

Rule: averages only, of users who are spread over the nodes by chance, and of nodes that are busy enough to take several
messages of the others in a turn. All of it grows with the number of users, so what
a cluster carries is what it may use over what one user takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from benchmarks.simulation.costs import Assumed, Costs

MICRO = 1e6
MOST = 512  # nodes that are looked at


class Adapter(Enum):
    """How nodes tell one another.

    ``CLASSIC``: every broadcast goes to every node. ``SHARDED``: to the nodes that have somebody in the room.
    ``PLACED``: all of a room are on one node, and nothing has to be told; the best that any adapter could do.
    """

    CLASSIC = "classic"
    SHARDED = "sharded"
    PLACED = "placed"


@dataclass(frozen=True, slots=True)
class Workload:
    """What one user does.

    Args:
        name: For the tables.
        sends: Events in a second, each broadcast to the user's room.
        room: Who gets it, the sender too.
    """

    name: str
    sends: float
    room: int


@dataclass(frozen=True, slots=True)
class Cluster:
    """What there is: nodes of one core each, and masters of Redis of one core each."""

    nodes: int
    adapter: Adapter = Adapter.CLASSIC
    shards: int = 1


@dataclass(frozen=True, slots=True)
class Load:
    """What a number of users asks of a cluster.

    Args:
        node: Of the core of each node.
        redis: Of the core of each Redis.
        messages, deliveries, copies: In a second; copies are what Redis passes on.
        redis_bytes: Out of all of Redis, in a second.
    """

    node: float
    redis: float
    messages: float
    deliveries: float
    copies: float
    redis_bytes: float


def nodes_of_room(room: int, nodes: int) -> float:
    """How many nodes beside the sender's have somebody of a room, on average."""
    return (nodes - 1) * (1 - (1 - 1 / nodes) ** (room - 1))


def copies_of(cluster: Cluster, room: int) -> float:
    """How often Redis passes on a message; the sender's node is told too."""
    if cluster.nodes == 1 or cluster.adapter is Adapter.PLACED:
        return 0.0
    return float(cluster.nodes) if cluster.adapter is Adapter.CLASSIC else 1 + nodes_of_room(room, cluster.nodes)


def message_cost(cluster: Cluster, room: int, costs: Costs) -> float:
    """The processor time of all nodes for one message, in µs."""
    alone = costs.event_full + room * costs.delivery
    if cluster.nodes == 1 or cluster.adapter is Adapter.PLACED:
        return alone
    there = nodes_of_room(room, cluster.nodes)
    if cluster.adapter is Adapter.SHARDED:
        return alone + costs.sharded_publish + there * costs.sharded_decode
    return alone + costs.publish + there * costs.decode + (cluster.nodes - 1 - there) * costs.drop


def delivery_over(nodes: int, room: int, costs: Costs) -> tuple[float, float, float]:
    """What the load generator measures over the classic adapter, for one delivery, in µs.

    The room is spread evenly, so each node has somebody of it, and its server has no middleware.

    Returns:
        Of all nodes when they are busy; of all nodes when each message finds them asleep; of Redis.
    """
    there = min(nodes, room) - 1
    busy = costs.event + costs.publish + room * costs.delivery
    busy += there * costs.decode + (nodes - 1 - there) * costs.drop
    asleep = busy + costs.publish_wake + (nodes - 1) * costs.hear_wake
    return busy / room, asleep / room, (costs.redis_message + nodes * costs.redis_copy) / room


def load_of(users: float, cluster: Cluster, work: Workload, costs: Costs, assumed: Assumed) -> Load:
    """What so many users ask."""
    messages, copies = users * work.sends, copies_of(cluster, work.room)
    heartbeats = users / assumed.heartbeat_every * costs.event
    redis = costs.redis_message + copies * costs.redis_copy if copies else 0.0
    return Load(
        node=(messages * message_cost(cluster, work.room, costs) + heartbeats) / cluster.nodes / MICRO,
        redis=messages * redis / cluster.shards / MICRO,
        messages=messages,
        deliveries=messages * work.room,
        copies=messages * copies,
        redis_bytes=messages * copies * costs.relayed_bytes,
    )


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many users a cluster carries, and what is full first: ``nodes`` or ``redis``."""

    users: float
    full: str


def capacity(cluster: Cluster, work: Workload, costs: Costs, assumed: Assumed) -> Capacity:
    """With the budget used up."""
    one = load_of(1.0, cluster, work, costs, assumed)
    by_nodes = assumed.budget / one.node
    by_redis = assumed.budget / one.redis if one.redis else float("inf")
    return Capacity(by_nodes, "nodes") if by_nodes <= by_redis else Capacity(by_redis, "redis")


def stops_paying(adapter: Adapter, shards: int, work: Workload, costs: Costs, assumed: Assumed) -> int | None:
    """The first number of nodes whose last one brings less than half of what the third brought; None without.

    The third, because from one node to two the relay begins, which is a step and no trend.
    """
    carried = [capacity(Cluster(nodes, adapter, shards), work, costs, assumed).users for nodes in range(1, MOST + 1)]
    for nodes in range(4, MOST + 1):
        if carried[nodes - 1] - carried[nodes - 2] < (carried[2] - carried[1]) / 2:
            return nodes
    return None


def redis_is_full(adapter: Adapter, work: Workload, costs: Costs, assumed: Assumed) -> int | None:
    """The first number of nodes whose one Redis is full before they are; None without."""
    clusters = (Cluster(nodes, adapter) for nodes in range(2, MOST + 1))
    return next((one.nodes for one in clusters if capacity(one, work, costs, assumed).full == "redis"), None)


def nodes_needed(users: float, work: Workload, adapter: Adapter, shards: int, costs: Costs, assumed: Assumed) -> int:
    """The fewest nodes that carry so many users; 0 if no number of them does, because Redis is full."""
    for nodes in range(1, 10 * MOST):
        if capacity(Cluster(nodes, adapter, shards), work, costs, assumed).users >= users:
            return nodes
    return 0


def shards_needed(users: float, work: Workload, nodes: int, adapter: Adapter, costs: Costs, assumed: Assumed) -> int:
    """The fewest masters of Redis that carry what so many nodes say to each other."""
    load = load_of(users, Cluster(nodes, adapter), work, costs, assumed)
    return max(1, -int(-load.redis // assumed.budget))
