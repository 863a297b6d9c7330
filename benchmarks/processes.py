"""The servers under test as processes, and the load generator run against them."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from measures import Measure

HERE = Path(__file__).parent
BUILD = HERE / "build"
LOADGEN = BUILD / "loadgen"
PEERS = HERE / "peers"
OURS = (str(Path(sys.executable).with_name("rtserver")), "serve", "--port", "{port}")
BUN = str(PEERS / "node_modules" / ".bin" / "bun")

COMMANDS: dict[str, Sequence[str]] = {
    "rtserver": (*OURS, "servers.rtserver_node:plain"),
    "rtserver-async": (*OURS, "servers.rtserver_node:lazy"),
    "rtserver-full": (*OURS, "servers.rtserver_full:io"),
    "node": ("node", str(PEERS / "node.mjs"), "{port}"),
    "bun": (BUN, str(PEERS / "bun.mjs"), "{port}"),
    "python-socketio": (sys.executable, str(PEERS / "python_socketio.py"), "{port}"),
}

ENVIRONMENT = {**os.environ, "NODE_ENV": "production"}
START_TIMEOUT = 20.0
LOAD_TIMEOUT = 180.0
SETTLE = 1.0  # seconds after the warm-up, for its connections to be forgotten
TICKS_PER_SECOND = 100.0  # of /proc/stat


class TurnFailed(Exception):
    """A server did not start, or the load generator found something lost, doubled, reordered or changed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the load generator said of one turn.

    Args:
        count: Messages, deliveries, connections or handshakes.
        per_second: Of them.
        cpu_us: The server's processor time for one of them, user and system.
        rss_kb: The growth of the server's resident memory for one of them.
        p50_ms, p99_ms: Latency, where there is one.
        others: What other processes used of the machine meanwhile, in processors.
    """

    count: int
    per_second: float
    cpu_us: float
    rss_kb: float
    p50_ms: float
    p99_ms: float
    others: float


def build_loadgen() -> None:
    BUILD.mkdir(exist_ok=True)
    sources = sorted(str(path) for path in (HERE / "loadgen").glob("*.c"))
    subprocess.run(["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-o", str(LOADGEN), *sources], check=True)


def raise_file_limit() -> None:
    """Thousands of connections are held; the servers inherit the limit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def take_turn(measure: Measure, server: str) -> Answer:
    """Load a fresh server once."""
    begun, busy, children = time.monotonic(), machine_seconds(), children_seconds()
    with running(server) as (port, pid):
        if measure.warm:
            run_loadgen(measure.warm, port, pid)
            time.sleep(SETTLE)
        said = run_loadgen(measure.load, port, pid)
    # The server and the load generator have been waited for, so their time is in that of the children.
    others = machine_seconds() - busy - (children_seconds() - children)
    count = int(said["count"])
    return Answer(
        count=count,
        per_second=said["per_second"],
        cpu_us=said["cpu_us"],
        rss_kb=round(said["rss_kb"] / count, 3),
        p50_ms=said["p50_ms"],
        p99_ms=said["p99_ms"],
        others=round(max(0.0, others / (time.monotonic() - begun)), 2),
    )


@contextmanager
def running(server: str) -> Iterator[tuple[int, int]]:
    """A fresh server; gives its port and its process id."""
    port = free_port()
    command = [part.format(port=port) for part in COMMANDS[server]]
    with (BUILD / f"{server}.log").open("wb") as log:
        try:
            process = subprocess.Popen(command, cwd=HERE, env=ENVIRONMENT, stdout=log, stderr=log)
        except OSError as exc:
            raise TurnFailed(f"{server} did not start: {exc}; 'make bench' installs what it needs") from exc
        with process:
            try:
                wait_for(port, process, server)
                yield port, process.pid
            finally:
                process.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_for(port: int, process: subprocess.Popen[bytes], server: str) -> None:
    until = time.monotonic() + START_TIMEOUT
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TurnFailed(f"{server} did not start: see benchmarks/build/{server}.log; 'make bench' installs what it needs")


def run_loadgen(load: Sequence[str], port: int, pid: int) -> dict[str, float]:
    mode, *rest = load
    command = [str(LOADGEN), mode, "127.0.0.1", str(port), *rest, "--pid", str(pid)]
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
