"""What speed was when it was last written down, and what of a new measurement is worse than chance allows.

Rule: nothing here measures. A ratio is this server's processor time for one message over Node's in the same turn, so
a slower machine changes neither; a count of instructions is compared with one of the same Python version only.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

# Of a median of a few turns, one in a hundred may be above the margin by chance; it is then measured once more.
BY_CHANCE = 0.01
# Drawing more of them costs more than it tells; the margin is then a little wide.
MOST_DRAWN = 5
# What runs on a shared machine differ by beyond what turns of one run do: see the README, "The guard".
LEAST_MARGIN = 0.12
# The same code gives the same count; libraries that were built elsewhere, nearly.
COUNT_MARGIN = 0.02


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure beside its baseline.

    Args:
        what: For the table.
        unit: Of both figures.
        was: The baseline.
        now: What was measured.
        margin: How much more than ``was`` is let pass, as a part of it.
    """

    what: str
    unit: str
    was: float
    now: float
    margin: float

    @property
    def change(self) -> float:
        return self.now / self.was - 1

    @property
    def worse(self) -> bool:
        return self.change > self.margin

    @property
    def better(self) -> bool:
        return self.change < -self.margin


def margin(ratios: Sequence[float], turns: int) -> float:
    """How far above the median of ``ratios`` a median of ``turns`` of them comes by chance.

    Every way to draw that many of the measured ratios is looked at, and the largest hundredth left out.
    """
    medians = sorted(statistics.median(drawn) for drawn in product(ratios, repeat=min(turns, MOST_DRAWN)))
    highest = medians[min(len(medians) - 1, int(len(medians) * (1 - BY_CHANCE)))]
    return round(max(LEAST_MARGIN, highest / statistics.median(ratios) - 1), 3)


def ratios(ours: Sequence[float], peers: Sequence[float]) -> list[float]:
    """Of the turns, pair by pair, because what disturbs a machine disturbs neighbours alike."""
    return [round(own / peer, 4) for own, peer in zip(ours, peers, strict=True)]


def compare_ratios(baseline: dict[str, list[float]], measured: dict[str, list[float]]) -> list[Comparison]:
    """Those that both have, by their name."""
    return [
        Comparison(
            name,
            "× Node's CPU",
            statistics.median(baseline[name]),
            statistics.median(now),
            margin(baseline[name], len(now)),
        )
        for name, now in measured.items()
        if name in baseline
    ]


def compare_counts(baseline: dict[str, int], measured: dict[str, int]) -> list[Comparison]:
    """Those that both have, by their name."""
    return [
        Comparison(name, "instructions", baseline[name], now, COUNT_MARGIN)
        for name, now in measured.items()
        if name in baseline
    ]


def unknown(baseline: dict[str, object], measured: dict[str, object]) -> list[str]:
    """What was measured, and has no baseline yet."""
    return [name for name in measured if name not in baseline]


def as_table(compared: Sequence[Comparison]) -> str:
    lines = ["| what | unit | baseline | now | change | allowed | |", "|---|---|---|---|---|---|---|"]
    for one in compared:
        verdict = "**WORSE**" if one.worse else "better" if one.better else "same"
        figures = f"{_short(one.was)} | {_short(one.now)} | {one.change:+.1%} | +{one.margin:.0%}"
        lines.append(f"| {one.what} | {one.unit} | {figures} | {verdict} |")
    return "\n".join(lines)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3f}"
