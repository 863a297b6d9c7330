"""Runs this server and its peers in turn under the same load, and writes down what came of it.

usage: run.py, with ONLY=echo,broadcast and TURNS=1 in the environment for a quick look.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measures import BARS, MEASURES, Measure

HERE = Path(__file__).parent
LOADGEN = HERE / "build" / "loadgen"
PEERS = HERE / "peers"
COMMANDS: dict[str, Sequence[str]] = {
    "rtserver": (sys.executable, str(HERE / "servers" / "rtserver_node.py"), "{port}", "plain"),
    "rtserver-async": (sys.executable, str(HERE / "servers" / "rtserver_node.py"), "{port}", "async"),
    "node": ("node", str(PEERS / "node.mjs"), "{port}"),
    "bun": (str(PEERS / "node_modules" / ".bin" / "bun"), str(PEERS / "bun.mjs"), "{port}"),
}

Figures = dict[str, dict[str, list[float]]]


class RunFailed(Exception):
    """A message was lost, doubled or reordered, or a server did not start: no figure counts."""


def build_loadgen() -> None:
    LOADGEN.parent.mkdir(exist_ok=True)
    subprocess.run(["gcc", "-O2", "-o", str(LOADGEN), str(HERE / "loadgen.c")], check=True)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running(server: str) -> Iterator[tuple[int, int]]:
    """A fresh server; gives its port and its process id."""
    port = free_port()
    command = [part.format(port=port) for part in COMMANDS[server]]
    with subprocess.Popen(command, cwd=HERE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(port, process, server)
            yield port, process.pid
        finally:
            process.kill()


def wait_for(port: int, process: subprocess.Popen[bytes], server: str) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RunFailed(f"{server} did not start; 'make bench' installs what it needs")


def resident_kb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return float(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def load(measure: Measure, server: str, port: int, pid: int) -> dict[str, Any]:
    mode, *rest = measure.arguments
    command = [str(LOADGEN), mode, "127.0.0.1", str(port), *rest, str(pid)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    if process.returncode:
        raise RunFailed(f"{measure.name} on {server}: {process.stderr.strip() or process.stdout}")
    answer: dict[str, Any] = json.loads(process.stdout)
    return answer


def take(measure: Measure, server: str) -> float:
    """One turn of one server."""
    with running(server) as (port, pid):
        if measure.figure != "memory_kb":
            return float(load(measure, server, port, pid)[measure.figure])
        # The first connections make what every server makes once; only the rest is counted.
        load(Measure("warm", "", ("conn", "200", "0.2"), "cpu_us", "", "less"), server, port, pid)
        return memory_of_connections(measure, server, port, pid)


def memory_of_connections(measure: Measure, server: str, port: int, pid: int) -> float:
    before = resident_kb(pid)
    mode, conns, seconds = measure.arguments
    command = [str(LOADGEN), mode, "127.0.0.1", str(port), conns, str(float(seconds) + 2), str(pid)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        peak = before
        while process.poll() is None:
            peak = max(peak, resident_kb(pid))
            time.sleep(0.1)
        if process.returncode:
            raise RunFailed(f"{measure.name} on {server} failed")
    return (peak - before) / int(conns)


def measure_all(names: Sequence[str], turns: int) -> Figures:
    figures: Figures = {}
    chosen = [measure for measure in MEASURES if not names or measure.name in names]
    total = turns * sum(len(measure.servers) for measure in chosen)
    done = 0
    for measure in chosen:
        rows = figures[measure.name] = {server: [] for server in measure.servers}
        for turn in range(turns):
            for server in measure.servers:
                rows[server].append(take(measure, server))
                done += 1
                print(
                    f"[{done}/{total}] {measure.name} turn {turn + 1} {server}: {rows[server][-1]:.2f} {measure.unit}",
                    flush=True,
                )
    return figures


def table(figures: Figures) -> str:
    lines = ["| what | unit | " + " | ".join(COMMANDS) + " |", "|---|---|" + "---|" * len(COMMANDS)]
    for measure in MEASURES:
        if measure.name not in figures:
            continue
        cells = []
        for server in COMMANDS:
            values = figures[measure.name].get(server)
            cells.append(
                "–" if not values else f"{statistics.median(values):.4g} ({min(values):.4g}–{max(values):.4g})"
            )
        lines.append(f"| {measure.title} | {measure.unit} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def verdicts(figures: Figures) -> list[str]:
    """Each bar with its ratio, and whether it is met."""
    lines = []
    by_name = {measure.name: measure for measure in MEASURES}
    for bar in BARS:
        if bar.measure not in figures:
            continue
        measure = by_name[bar.measure]
        rows = figures[bar.measure]
        ratio = statistics.median(rows["rtserver"]) / statistics.median(rows[bar.peer])
        less = measure.better == "less"
        met = ratio <= bar.limit if less else ratio >= bar.limit
        sign = "≤" if less else "≥"
        verdict = "met" if met else "NOT MET"
        lines.append(f"{bar.name} {measure.title}: {ratio:.2f} × {bar.peer}, bar {sign} {bar.limit}: {verdict}")
    return lines


def main() -> int:
    names = [name for name in os.environ.get("ONLY", "").split(",") if name]
    turns = int(os.environ.get("TURNS", "5"))
    known = {measure.name for measure in MEASURES}
    if unknown := set(names) - known:
        print(f"ONLY: {', '.join(sorted(unknown))} is not allowed; expected some of {', '.join(sorted(known))}")
        return 2
    build_loadgen()
    try:
        figures = measure_all(names, turns)
    except RunFailed as exc:
        print(f"run failed: {exc}")
        return 1
    report = {"machine": platform.machine(), "processors": os.cpu_count(), "turns": turns, "figures": figures}
    HERE.joinpath("results.json").write_text(json.dumps(report, indent=1) + "\n")
    text = "\n".join([table(figures), "", *(f"* {line}" for line in verdicts(figures)), ""])
    HERE.joinpath("results.md").write_text(text)
    print(f"\n{text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
