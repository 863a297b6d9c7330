"""A row of the table: a fault, what must hold, what was measured, and whether it holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Row:
    """What came of one fault.

    Attributes:
        fault: Its name.
        must: What must hold.
        figures: What was measured, by its name, with units.
        broken: What did not hold.
    """

    fault: str
    must: str
    figures: dict[str, object] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not self.broken

    def note(self, **figures: object) -> None:
        """Write figures down."""
        self.figures |= {name.replace("_", " "): value for name, value in figures.items()}

    def require(self, condition: bool, otherwise: str) -> None:
        """Something that must hold, and what is said if it does not."""
        if not condition:
            self.broken.append(otherwise)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of all do not exceed; 0 if there are none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)] if ordered else 0.0


def spread(seconds: Sequence[float]) -> str:
    """Median, 99th percentile and greatest, in seconds."""
    return " / ".join(f"{percentile(seconds, share):.2f}" for share in (0.5, 0.99, 1.0)) + " s"


def as_markdown(rows: Sequence[Row]) -> str:
    """The table."""
    lines = ["| fault | what must hold | measured | holds |", "|---|---|---|---|"]
    for row in rows:
        measured = "; ".join(f"{name} {value}" for name, value in row.figures.items())
        verdict = "yes" if row.holds else "**NO**: " + "; ".join(row.broken)
        lines.append(f"| {row.fault} | {row.must} | {measured} | {verdict} |")
    return "\n".join(lines)


def as_json(rows: Sequence[Row]) -> list[dict[str, object]]:
    return [
        {"fault": row.fault, "must": row.must, "figures": row.figures, "holds": row.holds, "broken": row.broken}
        for row in rows
    ]
