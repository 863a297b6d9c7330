"""A cluster event by event: users, rooms, nodes and Redis, each of which does one thing at a time.

Rule: chance comes from the seed alone, so that a run is the same each time. What the model has only as an average is
here what happens: who sits where, which messages meet, and how long they wait for one another.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from dataclasses import dataclass, field
from itertools import count

from benchmarks.simulation.costs import Assumed, Costs
from benchmarks.simulation.model import MICRO, Adapter, Cluster, Workload

LEFT_OUT = 0.1  # of the time, at the beginning, for latencies: queues are empty then


@dataclass(slots=True)
class Station:
    """What takes one thing after the other: a core."""

    free_at: float = 0.0
    busy: float = 0.0
    # When the last turn began in which it told, and heard, other nodes.
    tells_at: float = -1.0
    hears_at: float = -1.0

    def serve(self, now: float, microseconds: float) -> float:
        """When something that comes now is done."""
        took = microseconds / MICRO
        self.free_at = max(self.free_at, now) + took
        self.busy += took
        return self.free_at

    def begins(self, now: float) -> float:
        """When it comes to what comes now."""
        return max(self.free_at, now)


@dataclass(slots=True)
class Outcome:
    """What has happened.

    Args:
        seconds, lasted: How long users were sending, and how long it took until all was done.
        messages, heartbeats: Sent.
        due, deliveries: Sockets that had to get one, and did.
        published, copies: Given to Redis, and passed on by it.
        echoes, dropped, decoded: What became of the copies.
        wakes_to_tell, wakes_to_hear: Turns of nodes that told others, and that heard them.
        nodes, redis: The part of the time in which each was busy.
        latencies: From a message to its last delivery, in ms, sorted.
    """

    seconds: float
    lasted: float = 0.0
    messages: int = 0
    heartbeats: int = 0
    due: int = 0
    deliveries: int = 0
    published: int = 0
    copies: int = 0
    echoes: int = 0
    dropped: int = 0
    decoded: int = 0
    wakes_to_tell: int = 0
    wakes_to_hear: int = 0
    nodes: list[float] = field(default_factory=list)
    redis: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    def latency(self, part: float) -> float:
        """In ms; 0.99 is what 99 of 100 messages are within."""
        return self.latencies[min(len(self.latencies) - 1, int(part * len(self.latencies)))] if self.latencies else 0.0


@dataclass(slots=True)
class Message:
    """One on its way."""

    room: int
    sender: int
    sent_at: float
    missing: int  # nodes that have not delivered yet
    last: float = 0.0


class Simulation:
    """One run.

    Args:
        users: Spread over nodes and rooms by chance.
        cluster, work: What they use, and what they do.
        costs, assumed: What that takes.
        seed: Of the chance.
    """

    def __init__(
        self, users: int, cluster: Cluster, work: Workload, costs: Costs, assumed: Assumed | None = None, seed: int = 1
    ) -> None:
        self.users, self.cluster, self.work, self.costs = users, cluster, work, costs
        self.assumed = assumed or Assumed()
        self.chance = random.Random(seed)
        self.nodes = [Station() for _ in range(cluster.nodes)]
        self.redis = [Station() for _ in range(cluster.shards)]
        # For each room, how many of its members are on which node; they are seated when first asked for.
        self.rooms: dict[int, Counter[int]] = {}
        self.room_count = max(1, users // work.room)
        self._heap: list[tuple[float, int, int, Message]] = []
        self._order = count()

    def _seats(self, room: int) -> Counter[int]:
        if room not in self.rooms:
            if self.cluster.adapter is Adapter.PLACED:
                seats = Counter({self.chance.randrange(self.cluster.nodes): self.work.room})
            else:
                seats = Counter(self.chance.choices(range(self.cluster.nodes), k=self.work.room))
            self.rooms[room] = seats
        return self.rooms[room]

    def run(self, seconds: float) -> Outcome:
        """Let users send for so long, and wait until everything has come."""
        outcome = Outcome(seconds)
        arrivals = self._arrivals(seconds)
        for now, is_heartbeat in arrivals:
            self._relay_until(now, outcome)
            if is_heartbeat:
                self.nodes[self.chance.randrange(len(self.nodes))].serve(now, self.costs.event)
                outcome.heartbeats += 1
            else:
                self._send(now, outcome)
        self._relay_until(float("inf"), outcome)
        # What was sent at the end is done a little later.
        outcome.lasted = max(seconds, *(station.free_at for station in (*self.nodes, *self.redis)))
        outcome.nodes = [station.busy / outcome.lasted for station in self.nodes]
        outcome.redis = [station.busy / outcome.lasted for station in self.redis]
        outcome.latencies.sort()
        return outcome

    def _arrivals(self, seconds: float) -> list[tuple[float, bool]]:
        found = []
        for rate, is_heartbeat in (
            (self.users * self.work.sends, False),
            (self.users / self.assumed.heartbeat_every, True),
        ):
            now = self.chance.expovariate(rate)
            while now < seconds:
                found.append((now, is_heartbeat))
                now += self.chance.expovariate(rate)
        return sorted(found)

    def _send(self, now: float, outcome: Outcome) -> None:
        """A member of a room sends: its node answers, tells Redis and delivers to its own."""
        room = self.chance.randrange(self.room_count)
        seats = self._seats(room)
        sender = self.chance.choices(list(seats), list(seats.values()))[0]
        message = Message(room, sender, now, missing=len(seats))
        outcome.messages += 1
        outcome.due += self.work.room
        told = self._relayed(seats)
        node = self.nodes[sender]
        if told and now > node.tells_at:
            node.tells_at = node.begins(now)
            node.serve(now, self.costs.publish_wake)
            outcome.wakes_to_tell += 1
        at_redis = node.serve(now, self.costs.event_full + (self._publish_cost() if told else 0.0))
        self._delivered(message, sender, node.serve(now, seats[sender] * self.costs.delivery), outcome)
        if told:
            outcome.published += 1
            heapq.heappush(self._heap, (at_redis, next(self._order), -1, message))

    def _relayed(self, seats: Counter[int]) -> list[int]:
        """The nodes that Redis passes a message for this room to."""
        if len(self.nodes) == 1 or self.cluster.adapter is Adapter.PLACED:
            return []
        return list(range(len(self.nodes))) if self.cluster.adapter is Adapter.CLASSIC else sorted(seats)

    def _publish_cost(self) -> float:
        return self.costs.publish if self.cluster.adapter is Adapter.CLASSIC else self.costs.sharded_publish

    def _relay_until(self, now: float, outcome: Outcome) -> None:
        """What reaches Redis, or a node from there, before ``now``."""
        while self._heap and self._heap[0][0] <= now:
            at, _, place, message = heapq.heappop(self._heap)
            if place < 0:
                self._pass_on(at, message, outcome)
            else:
                self._hear(at, place, message, outcome)

    def _pass_on(self, now: float, message: Message, outcome: Outcome) -> None:
        shard = self.redis[message.room % len(self.redis)]
        shard.serve(now, self.costs.redis_message)
        for node in self._relayed(self.rooms[message.room]):
            outcome.copies += 1
            heapq.heappush(self._heap, (shard.serve(now, self.costs.redis_copy), next(self._order), node, message))

    def _hear(self, now: float, node: int, message: Message, outcome: Outcome) -> None:
        members = self.rooms[message.room].get(node, 0)
        if node == message.sender:
            outcome.echoes += 1  # its cost is part of the publishing
            return
        self._wake(now, self.nodes[node], outcome)
        if not members:
            outcome.dropped += 1
            self.nodes[node].serve(now, self.costs.drop)
        else:
            outcome.decoded += 1
            classic = self.cluster.adapter is Adapter.CLASSIC
            read = self.costs.decode if classic else self.costs.sharded_decode
            done = self.nodes[node].serve(now, read + members * self.costs.delivery)
            self._delivered(message, node, done, outcome)

    def _wake(self, now: float, node: Station, outcome: Outcome) -> None:
        """What is heard before a turn has begun is part of that turn; else another one begins."""
        if now > node.hears_at:
            node.hears_at = node.begins(now)
            node.serve(now, self.costs.hear_wake)
            outcome.wakes_to_hear += 1

    def _delivered(self, message: Message, node: int, done: float, outcome: Outcome) -> None:
        outcome.deliveries += self.rooms[message.room][node]
        message.missing -= 1
        message.last = max(message.last, done)
        if not message.missing and message.sent_at >= outcome.seconds * LEFT_OUT:
            outcome.latencies.append((message.last - message.sent_at) * 1_000)
