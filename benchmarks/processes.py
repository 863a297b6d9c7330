"""One turn: a fresh stand, and the load generator run against it."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from measures import Measure
from stands import BUILD, BUN, HERE, PEERS, Stand, TurnFailed, running

__all__ = ["BUILD", "BUN", "HERE", "PEERS", "Answer", "TurnFailed", "build_loadgen", "raise_file_limit", "take_turn"]

LOADGEN = BUILD / "loadgen"
LOAD_TIMEOUT = 240.0
SETTLE = 0.5  # seconds after the warm-up, for its connections to be forgotten
TICKS_PER_SECOND = 100.0  # of /proc/stat
KB_PER_MB = 1024
# Before a command, what it may run on: the first processor, and the others.
PROCESSORS = os.cpu_count() or 1
FIRST = ("taskset", "-c", "0") if PROCESSORS > 1 else ()
OTHERS = ("taskset", "-c", f"1-{PROCESSORS - 1}") if PROCESSORS > 1 else ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the load generator said of one turn.

    Args:
        count: Messages, deliveries, connections or handshakes.
        per_second: Of them.
        cpu_us: The servers' processor time for one of them, user and system.
        rss_kb: The growth of the servers' resident memory for one of them.
        p50_ms, p90_ms, p99_ms, p999_ms, max_ms: Latency, where there is one.
        others: What other processes used of the machine meanwhile, in processors.
        beside_us: The processor time of a proxy, or of Redis, for one.
        servers_mb, beside_mb: Resident memory of the servers, and of the others, at the end.
        kernel_mb: The growth of the kernel's, with both ends of each connection, as the load generator is here too.
        offered: The rate of an open load.
    """

    count: int
    per_second: float
    cpu_us: float
    rss_kb: float
    p50_ms: float
    p99_ms: float
    others: float
    p90_ms: float = 0.0
    p999_ms: float = 0.0
    max_ms: float = 0.0
    beside_us: float = 0.0
    servers_mb: float = 0.0
    beside_mb: float = 0.0
    kernel_mb: float = 0.0
    offered: float = 0.0

    @property
    def all_us(self) -> float:
        """Processor time of the servers and of what stands beside them, for one."""
        return self.cpu_us + self.beside_us

    @property
    def all_mb(self) -> float:
        return self.servers_mb + self.beside_mb


def build_loadgen() -> None:
    BUILD.mkdir(exist_ok=True)
    sources = sorted(str(path) for path in (HERE / "loadgen").glob("*.c"))
    subprocess.run(["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-o", str(LOADGEN), *sources], check=True)


def raise_file_limit() -> None:
    """Thousands of connections are held; the servers inherit the limit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def take_turn(measure: Measure, server: str) -> Answer:
    """Load a fresh server once.

    Raises:
        TurnFailed: It did not start, or not everything came as it had to.
    """
    begun, busy, children = time.monotonic(), machine_seconds(), children_seconds()
    offered = 0.0
    with running(server, measure.nodes, FIRST if measure.one_processor else ()) as stand:
        before = OTHERS if measure.one_processor else ()
        if measure.warm:
            reached = run_loadgen(measure.warm, stand, before)
            offered = round(measure.share * reached["per_second"], 1)
            time.sleep(SETTLE)
        load = (*measure.load, "--rate", str(offered)) if offered else measure.load
        said = run_loadgen(load, stand, before)
    # The servers and the load generator have been waited for, so their time is in that of the children.
    others = machine_seconds() - busy - (children_seconds() - children)
    return answer_of(said, round(max(0.0, others / (time.monotonic() - begun)), 2), offered)


def answer_of(said: dict[str, float], others: float, offered: float) -> Answer:
    count = int(said["count"])
    return Answer(
        count=count,
        per_second=said["per_second"],
        cpu_us=said["cpu_us"],
        rss_kb=round(said["rss_kb"] / count, 3),
        p50_ms=said["p50_ms"],
        p90_ms=said["p90_ms"],
        p99_ms=said["p99_ms"],
        p999_ms=said["p999_ms"],
        max_ms=said["max_ms"],
        others=others,
        offered=offered,
        beside_us=said["beside_us"],
        servers_mb=round(said["servers_kb"] / KB_PER_MB, 1),
        beside_mb=round(said["beside_kb"] / KB_PER_MB, 1),
        kernel_mb=round(said["kernel_kb"] / KB_PER_MB, 1),
    )


def run_loadgen(load: Sequence[str], stand: Stand, before: Sequence[str] = ()) -> dict[str, float]:
    mode, *rest = load
    command = [*before, str(LOADGEN), mode, "127.0.0.1", ",".join(map(str, stand.ports)), *rest]
    command += [f"--pid={pid}" for pid in stand.servers] + [f"--beside={pid}" for pid in stand.beside]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LOAD_TIMEOUT, check=False)
    except subprocess.TimeoutExpired as exc:
        raise TurnFailed(f"the load generator did not end in {LOAD_TIMEOUT:.0f} s") from exc
    if done.returncode:
        raise TurnFailed("; ".join(done.stderr.split("\n")[:3]) or f"the load generator ended with {done.returncode}")
    said: dict[str, float] = json.loads(done.stdout)
    return said


def machine_seconds() -> float:
    """Processor time that the whole machine has spent on anything."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = Path("/proc/stat").read_text().split("\n")[0].split()[1:9]
    return sum(int(ticks) for ticks in (user, nice, system, irq, softirq, steal)) / TICKS_PER_SECOND


def children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
