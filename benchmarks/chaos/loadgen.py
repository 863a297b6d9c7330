"""The benchmark's load generator, for connections by the ten thousand."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from benchmarks.chaos.cluster import Broken, Cluster

SOURCES = Path(__file__).parents[1] / "loadgen"
PROGRAM = Path(__file__).parents[1] / "build" / "chaos-loadgen"


def build() -> None:
    """Compile it; raises ``CalledProcessError`` if that fails."""
    PROGRAM.parent.mkdir(exist_ok=True)
    sources = sorted(str(path) for path in SOURCES.glob("*.c"))
    subprocess.run(["gcc", "-std=gnu11", "-O2", "-o", str(PROGRAM), *sources], check=True)


def come_and_go(cluster: Cluster, mode: str, count: int) -> float:
    """Open so many connections at once, wait until all are ready, and drop them.

    Args:
        cluster: Whose proxy they come to.
        mode: ``conn`` for WebSockets, ``browser`` for polling that upgrades.
        count: How many.

    Returns:
        How many became ready in a second.

    Raises:
        Broken: One was refused, or lost something.
    """
    host, port = cluster.address
    command = [str(PROGRAM), mode, host, str(port), str(count), "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode:
        raise Broken(f"the load generator: {done.stderr.strip()[:200]} {done.stdout.strip()}")
    return float(json.loads(done.stdout)["per_second"])
