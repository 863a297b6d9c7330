"""Measures what the way between nodes costs: a node's processor time to publish and to receive, and that of Redis.

usage: python -m benchmarks.simulation.relay        prints the costs in JSON, in µs
       python -m benchmarks.simulation.relay feed … the other process, which publishes

Rule: the node is a whole server in this process; who publishes to it, and Redis, are processes of their own, so the
time of this one is the node's.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import redis
import trio
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from rtserver import Server
from rtserver.adapters.base import Flags, Target
from rtserver.adapters.redis import RedisAdapter
from rtserver.adapters.redis.classic import Classic
from rtserver.adapters.redis.messages import Outgoing
from rtserver.adapters.redis.sharded import Sharded
from rtserver.cli.local_redis import find_server

TURNS = 3


@dataclass(frozen=True, slots=True)
class Pace:
    """How messages come: so many in all, so many at once, and seconds between."""

    messages: int
    at_once: int
    pause: float


# What comes in crowds, what comes alone to a node that is busy, and what a Redis takes at once from such nodes.
BUSY, ALONE, SOME = Pace(40_000, 200, 0.0), Pace(3_000, 1, 0.000_5), Pace(40_000, 10, 0.0)
SUBSCRIBERS = (1, 4, 16)
PAYLOAD = "x" * 64
TICKS = os.sysconf("SC_CLK_TCK")
ABSENT, EVERYBODY = Target(frozenset({"absent"})), Target()


def main() -> int:
    if sys.argv[1:2] == ["feed"]:
        url, verb, channel, payload, messages, at_once, pause = sys.argv[2:]
        message = Outgoing(bytes.fromhex(channel), bytes.fromhex(payload))
        feed(url, verb, message, Pace(int(messages), int(at_once), float(pause)))
    else:
        print(json.dumps(relay_costs(), indent=1))
    return 0


def relay_costs() -> dict[str, float]:
    """By the names of ``costs.Costs``; medians of some turns."""
    turns = [one_turn() for _ in range(TURNS)]
    return {name: round(statistics.median(turn[name] for turn in turns), 2) for name in turns[0]}


def one_turn() -> dict[str, float]:
    message = outgoing(False, ABSENT)
    with running_redis() as (url, pid):
        publish, publish_alone = (trio.run(publish_cost, url, False, pace) for pace in (BUSY, ALONE))
        drop, drop_alone = (trio.run(receive_cost, url, False, ABSENT, pace) for pace in (BUSY, ALONE))
        return {
            "publish": publish,
            "publish_wake": publish_alone - publish,
            "drop": drop,
            "hear_wake": drop_alone - drop,
            "decode": trio.run(receive_cost, url, False, EVERYBODY, BUSY),
            "sharded_publish": trio.run(publish_cost, url, True, BUSY),
            "sharded_decode": trio.run(receive_cost, url, True, EVERYBODY, BUSY),
            **redis_costs(url, pid),
            "relayed_bytes": len(message.channel) + len(message.payload),
        }


@contextlib.contextmanager
def running_redis() -> Iterator[tuple[str, int]]:
    """Its URL and process id."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [find_server(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                url = f"redis://127.0.0.1:{port}/0"
                with redis.Redis.from_url(url, retry=Retry(ConstantBackoff(0.05), 200)) as client:
                    client.ping()
                yield url, process.pid
            finally:
                process.send_signal(signal.SIGTERM)


def outgoing(sharded: bool, target: Target) -> Outgoing:
    """A broadcast as another node would publish it."""
    words = Sharded("/", "0123456789abcdef") if sharded else Classic("/", "abcdef")
    return words.broadcast(["b", PAYLOAD], target, Flags())


async def publish_cost(url: str, sharded: bool, pace: Pace) -> float:
    """What a broadcast to everybody costs more than one that stays here; its own echo is part of it."""
    io = Server(adapter=(adapter := RedisAdapter(url, sharded=sharded)))
    async with trio.open_nursery() as nursery:
        await nursery.start(io.serve, "127.0.0.1:0")
        meter = await started_meter(nursery, pace)
        used = []
        for broadcast in (io.local, io):
            begun, published = meter.used(), adapter.statistics().published
            for _ in range(pace.messages // pace.at_once):
                for _ in range(pace.at_once):
                    broadcast.emit("b", PAYLOAD)
                await trio.sleep(pace.pause)
                if not pace.pause:
                    await until(lambda: not adapter.statistics().backlog)
            assert adapter.statistics().published - published in (0, pace.messages)
            await trio.sleep(0.5)
            used.append(meter.used() - begun)
        nursery.cancel_scope.cancel()
    here, elsewhere = used
    return (elsewhere - here) / pace.messages * 1e6


async def receive_cost(url: str, sharded: bool, target: Target, pace: Pace) -> float:
    """What a broadcast of another node costs where nobody gets it."""
    io = Server(adapter=(adapter := RedisAdapter(url, sharded=sharded)))
    message = outgoing(sharded, target)
    async with trio.open_nursery() as nursery:
        await nursery.start(io.serve, "127.0.0.1:0")
        meter = await started_meter(nursery, pace)
        before, begun = adapter.statistics().received, meter.used()
        await trio.run_process(feeder(url, "SPUBLISH" if sharded else "PUBLISH", message, pace))
        await until(lambda: adapter.statistics().received - before >= pace.messages)
        used = meter.used() - begun
        assert adapter.statistics().refused == 0
        nursery.cancel_scope.cancel()
    return used / pace.messages * 1e6


@dataclass(slots=True)
class Meter:
    """The processor time of this process, without that of turns that did nothing.

    Args:
        idle_turn: Seconds that one of them takes; 0 where the process sleeps instead.
        turns: So many there were.
    """

    idle_turn: float = 0.0
    turns: int = 0

    def used(self) -> float:
        return time.process_time() - self.turns * self.idle_turn

    async def spin(self) -> None:
        while True:
            await trio.lowlevel.checkpoint()
            self.turns += 1


async def started_meter(nursery: trio.Nursery, pace: Pace) -> Meter:
    """Where messages come alone, the node is kept awake meanwhile: going to sleep and waking up is not their cost."""
    meter = Meter()
    if pace.pause:
        nursery.start_soon(meter.spin)
        begun = time.process_time()
        await trio.sleep(1)
        meter.idle_turn = (time.process_time() - begun) / meter.turns
    return meter


async def until(condition: Callable[[], bool]) -> None:
    for pause in repeat(0.001):
        if condition():
            return
        await trio.sleep(pause)


def feeder(url: str, verb: str, message: Outgoing, pace: Pace) -> list[str]:
    """The command of a process that publishes."""
    numbers = (str(pace.messages), str(pace.at_once), str(pace.pause))
    return [sys.executable, __file__, "feed", url, verb, message.channel.hex(), message.payload.hex(), *numbers]


def feed(url: str, verb: str, message: Outgoing, pace: Pace) -> None:
    with redis.Redis.from_url(url) as client:
        for _ in range(pace.messages // pace.at_once):
            pipeline = client.pipeline(transaction=False)
            for _ in range(pace.at_once):
                pipeline.execute_command(verb, message.channel, message.payload)
            pipeline.execute()
            time.sleep(pace.pause)


def redis_costs(url: str, pid: int) -> dict[str, float]:
    """Of one message, and of each copy of it, by a line through several numbers of subscribers."""
    message = outgoing(False, ABSENT)
    arguments = feeder(url, "PUBLISH", message, SOME)
    port = int(url.rpartition(":")[2].partition("/")[0])
    points = []
    for count in SUBSCRIBERS:
        with contextlib.ExitStack() as stack:
            subscribers = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(count)]
            for one in subscribers:
                one.sendall(b"PSUBSCRIBE socket.io#/#*\r\n")
                one.recv(1_000)
            begun = cpu_seconds(pid)
            with subprocess.Popen(arguments) as publisher:
                while publisher.poll() is None:
                    for one in select.select(subscribers, (), (), 0.05)[0]:
                        one.recv(1_000_000)
            points.append((float(count), (cpu_seconds(pid) - begun) / SOME.messages * 1e6))
    return dict(zip(("redis_copy", "redis_message"), slope(points), strict=True))


def slope(points: list[tuple[float, float]]) -> tuple[float, float]:
    """The line of least squares: what one more across adds, and what there is at none."""
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    rise = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    return rise, mean_y - rise * mean_x


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    sys.exit(main())
