"""The figures of ``results.json``, as the plots want them.

Rule: a figure is the median of the turns, with the smallest and the largest; one that no turn has, or that is nothing
but zeros, is None.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One point of a plot, with its spread over the turns."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Results:
    """What a run has left behind.

    Args:
        machine: Processor and versions.
        turns: How many.
        answers: By measure, server and turn.
    """

    machine: dict[str, Any]
    turns: int
    answers: dict[str, dict[str, list[dict[str, Any]]]]

    @classmethod
    def read(cls, said: dict[str, Any]) -> Results:
        return cls(said["machine"], said["turns"], said["answers"])

    def servers(self, measure: str) -> list[str]:
        return list(self.answers.get(measure, {}))

    def figure(self, measure: str, server: str, key: str, scale: float = 1.0) -> Figure | None:
        """Of one measure and server; ``key`` is a field of an answer."""
        values = [turn.get(key, 0.0) * scale for turn in self.answers.get(measure, {}).get(server, [])]
        return Figure(statistics.median(values), min(values), max(values)) if any(values) else None

    def caption(self) -> str:
        """What machine and which versions the figures are of, in one or two lines."""
        machine = self.machine
        versions = [f"{name} {said}" for name in VERSIONS if (said := str(machine.get(name, "none"))) != "none"]
        turns = (
            f"median of {self.turns} turns, lines from the smallest to the largest" if self.turns > 1 else "one turn"
        )
        processors = f"{machine.get('processor')}, {machine.get('processors')} processors"
        return f"{processors}, Linux {machine.get('kernel')}; {turns}\n{', '.join(versions)}"


VERSIONS = ("python", "node", "socket.io", "bun", "python-socketio", "haproxy", "nginx", "redis")


def named(results: Results, prefix: str) -> list[tuple[int, str]]:
    """The measures called ``prefix`` and a number, in the order of the numbers."""
    found = [(name.removeprefix(prefix), name) for name in results.answers if name.startswith(prefix)]
    return sorted((int(number), name) for number, name in found if number.isascii() and number.isdigit())


def shared(results: Results, measures: Sequence[str]) -> list[str]:
    """The servers of any of the measures, in the order in which they come."""
    return list(dict.fromkeys(server for measure in measures for server in results.servers(measure)))
