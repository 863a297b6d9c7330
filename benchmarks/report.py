"""What came of a run, as Markdown and as JSON."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bars import BARS, UNITS, Bar, Figure
from measures import MEASURES, Measure
from processes import BUN, PEERS, Answer

from rtserver.cli.local_redis import find_server

BUSY = 0.1  # of one processor, used by others: from here on the table says so


@dataclass(slots=True)
class Results:
    """The answers of all turns, by measure and server, and the turns that failed."""

    turns: int = 0
    answers: dict[str, dict[str, list[Answer]]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, measure: str, server: str, answer: Answer) -> None:
        self.answers.setdefault(measure, {}).setdefault(server, []).append(answer)

    def add_turn(self, turn: Results) -> None:
        """Take what a whole turn has found."""
        self.turns += 1
        self.failures += turn.failures
        for measure, rows in turn.answers.items():
            for server, answers in rows.items():
                for answer in answers:
                    self.add(measure, server, answer)

    def values(self, measure: str, server: str, figure: Figure) -> list[float]:
        return [getattr(answer, figure) for answer in self.answers.get(measure, {}).get(server, [])]

    def ratio(self, bar: Bar, figure: Figure | None = None) -> float | None:
        """This server's median over the peer's, of the bar's figure or another one; None without both.

        Without a peer in the bar it is the median itself.
        """
        ours, theirs = (self.values(bar.measure, server, figure or bar.figure) for server in (bar.ours, bar.peer))
        if bar.peer == "":
            return statistics.median(ours) if ours else None
        if not ours or not theirs or not (peer := statistics.median(theirs)):
            return None
        return statistics.median(ours) / peer

    def bars_not_met(self) -> int:
        ratios = [(bar, self.ratio(bar)) for bar in BARS]
        return sum(ratio is not None and not bar.met_by(ratio) for bar, ratio in ratios)

    def others(self) -> float:
        """What other processes used of the machine in the median turn, in processors."""
        turns = [one.others for rows in self.answers.values() for answers in rows.values() for one in answers]
        return statistics.median(turns) if turns else 0.0


def as_json(results: Results) -> dict[str, Any]:
    return {
        "machine": machine(),
        "turns": results.turns,
        "bars": [
            {**asdict(bar), "ratio": round(ratio, 3), "met": bar.met_by(ratio)}
            for bar in BARS
            if (ratio := results.ratio(bar)) is not None
        ],
        "failures": results.failures,
        "measures": {
            measure.name: {"title": measure.title, "family": measure.family, "size": measure.size}
            for measure in MEASURES
            if measure.name in results.answers
        },
        "others": round(results.others(), 2),
        "answers": {
            measure: {server: [asdict(answer) for answer in answers] for server, answers in rows.items()}
            for measure, rows in results.answers.items()
        },
    }


def as_markdown(results: Results) -> str:
    parts = [_machine_line(results), *_figures(results), "", *_bars(results), ""]
    if results.failures:
        parts += ["**Turns that failed; their figures are left out:**", ""]
        parts += [f"* {failure}" for failure in results.failures] + [""]
    return "\n".join(parts)


def machine() -> dict[str, str | int]:
    """The machine in words, and the versions of what was measured."""
    return {
        "processor": _processor(),
        "processors": os.cpu_count() or 0,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "node": _version("node", "--version"),
        "bun": _version(BUN, "--version"),
        **{name: _npm_version(name) for name in ("socket.io", "@socket.io/bun-engine", "@socket.io/redis-adapter")},
        "python-socketio": _python_version("python-socketio"),
        "haproxy": _number_in("haproxy", "-v"),
        "nginx": _number_in("nginx", "-v"),
        "redis": _number_in(find_server(), "--version"),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().split("\n"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(*command: str) -> str:
    try:
        done = subprocess.run(command, cwd=PEERS, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "none"
    return (done.stdout or done.stderr).strip()


def _number_in(*command: str) -> str:
    """The first that looks like a version."""
    found = re.search(r"\d+(\.\d+)+", _version(*command))
    return found[0] if found else "none"


def _npm_version(package: str) -> str:
    return _version("node", "-p", f"JSON.parse(fs.readFileSync('node_modules/{package}/package.json')).version")


def _python_version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def _machine_line(results: Results) -> str:
    said = ", ".join(f"{name} {value}" for name, value in machine().items())
    line = f"{results.turns} turns; {said}.\n"
    if results.others() >= BUSY:
        used = f"{results.others():.1f} processors"
        line += f"\n**Other processes used {used} meanwhile: rates mean little, processor time and its ratios more.**\n"
    return line


def _figures(results: Results) -> list[str]:
    lines = [
        "| what | server | µs CPU for one | beside it | a second | memory | latency p50, p99, p99.9 ms |",
        "|---|---|---|---|---|---|---|",
    ]
    for measure in MEASURES:
        for server, answers in results.answers.get(measure.name, {}).items():
            beside = [one.beside_us for one in answers]
            cells = (
                measure.title,
                server,
                _spread([one.cpu_us for one in answers]),
                _spread(beside) if any(beside) else "–",
                _spread([one.per_second for one in answers]),
                _memory(measure, answers),
                _latency(answers),
            )
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _memory(measure: Measure, answers: Sequence[Answer]) -> str:
    if measure.name == "memory":
        return f"{_spread([one.rss_kb for one in answers])} kB for one"
    if measure.name == "held":
        one = answers[-1]
        return f"{one.servers_mb:.0f} MB nodes, {one.beside_mb:.0f} MB proxy and Redis, {one.kernel_mb:.0f} MB kernel"
    return "–"


def _latency(answers: Sequence[Answer]) -> str:
    late = [
        statistics.median(values)
        for values in zip(*((one.p50_ms, one.p99_ms, one.p999_ms) for one in answers), strict=True)
    ]
    return "{:.2f}, {:.2f}, {:.2f}".format(*late) if any(late) else "–"


def _spread(values: Sequence[float]) -> str:
    return f"{_short(statistics.median(values))} ({_short(min(values))}–{_short(max(values))})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _bars(results: Results) -> list[str]:
    lines = ["| bar | what | figure | measured | must be | | by processor time |", "|---|---|---|---|---|---|---|"]
    titles = {measure.name: measure.title for measure in MEASURES}
    for bar in BARS:
        ratio = results.ratio(bar)
        if ratio is None:
            continue
        by_time = results.ratio(bar, "all_us") if bar.figure == "per_second" else None
        cells = (
            bar.name,
            titles[bar.measure] if bar.ours == "rtserver" else f"{titles[bar.measure]}, {bar.ours}",
            UNITS[bar.figure],
            f"{ratio:.2f} × {bar.peer}" if bar.peer else f"{ratio:,.0f}",
            f"{'≥' if bar.more_is_better else '≤'} {bar.limit:g}{f' × {bar.peer}' if bar.peer else ''}",
            "met" if bar.met_by(ratio) else "**NOT MET**",
            "–" if by_time is None else f"{by_time:.2f} × {bar.peer}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines
