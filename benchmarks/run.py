"""Runs this server and its peers in turn under the same load, and writes down what came of it.

usage: run.py, with ONLY=echo,broadcast and TURNS=1 in the environment for a quick look. Exit status 1 if a turn failed
its checks, 2 for a mistake in the settings; a bar that is not met is printed, and is no failure of the run.

Rule: only a full run, all measures and three turns or more, writes ``results.json`` and ``results.md`` here. Others
leave theirs in ``build/``, so that a quick look never passes for a result. They are written after every turn, and a run
that is interrupted ends with the turns that it has finished.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from measures import MEASURES, Measure
from processes import BUILD, HERE, Answer, TurnFailed, build_loadgen, raise_file_limit, take_turn
from report import Results, as_json, as_markdown
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

TURNS, FULL_TURNS = 5, 3


class BadSetting(Exception):
    """A variable of the environment that cannot be used."""


def main() -> int:
    try:
        chosen, turns = chosen_measures(), chosen_turns()
    except BadSetting as exc:
        print(exc, file=sys.stderr)
        return 2
    build_loadgen()
    raise_file_limit()
    results = Results()
    try:
        measure_all(results, chosen, turns)
    except KeyboardInterrupt:
        print(f"\ninterrupted: {results.turns} turns were finished")
    if not results.turns:
        return 1
    folder = folder_of(results, chosen).relative_to(HERE.parent)
    print(f"\n{as_markdown(results)}\nwritten to {folder}/results.json and results.md")
    if missed := results.bars_not_met():
        print(f"\n*** {missed} of the bars NOT MET: see above ***")
    if results.failures:
        print(f"\n*** {len(results.failures)} turns FAILED their checks: see above ***")
    return 1 if results.failures else 0


def folder_of(results: Results, chosen: Sequence[Measure]) -> Path:
    return HERE if len(chosen) == len(MEASURES) and results.turns >= FULL_TURNS else BUILD


def write(results: Results, folder: Path) -> None:
    text = json.dumps(as_json(results), indent=1, ensure_ascii=False)
    folder.joinpath("results.json").write_text(text + "\n")
    folder.joinpath("results.md").write_text(as_markdown(results))


def chosen_measures() -> list[Measure]:
    names = [name.strip() for name in os.environ.get("ONLY", "").split(",") if name.strip()]
    known = dict.fromkeys(name for one in MEASURES for name in (one.name, one.family) if name)
    if unknown := [name for name in names if name not in known]:
        raise BadSetting(f"ONLY: {', '.join(unknown)} is not known; allowed are {', '.join(known)}")
    return [one for one in MEASURES if not names or one.name in names or one.family in names]


def chosen_turns() -> int:
    given = os.environ.get("TURNS", "") or str(TURNS)
    if not (given.isascii() and given.isdigit() and int(given) > 0):
        raise BadSetting(f"TURNS: {given!r} was given; allowed is a whole number from 1")
    return int(given)


def measure_all(results: Results, chosen: Sequence[Measure], turns: int) -> None:
    """Turn by turn, so that what others do to the machine meanwhile falls on every measure alike."""
    by_turn = [
        [(measure, server) for measure in chosen if turn <= (measure.turns or turns) for server in measure.servers]
        for turn in range(1, turns + 1)
    ]
    with _progress() as progress:
        task = progress.add_task("", total=sum(map(len, by_turn)))
        for turn, steps in enumerate(by_turn, 1):
            taken = Results()
            for measure, server in steps:
                progress.update(task, description=f"turn {turn}, {measure.name}, {server}")
                said = _step(taken, measure, turn, server)
                progress.console.print(f"{measure.name}, turn {turn}, {server}: {said}", markup=False, soft_wrap=True)
                progress.advance(task)
            results.add_turn(taken)
            write(results, folder_of(results, chosen))


def _progress() -> Progress:
    """Shows where the run is on a terminal; in a file, its lines are enough."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(highlight=False))


def _step(results: Results, measure: Measure, turn: int, server: str) -> str:
    try:
        answer = take_turn(measure, server)
    except TurnFailed as exc:
        results.failures.append(f"{measure.name}, turn {turn}, {server}: {exc}")
        return f"FAILED: {exc}"
    results.add(measure.name, server, answer)
    return _in_short(measure, answer)


def _in_short(measure: Measure, answer: Answer) -> str:
    said = f"{answer.cpu_us:.2f} µs CPU, {answer.per_second:,.0f}/s"
    if answer.beside_us:
        said += f", beside it {answer.beside_us:.2f} µs"
    if measure.share or measure.name == "held":
        said += f", {answer.p50_ms:.2f}, {answer.p99_ms:.2f}, {answer.max_ms:.2f} ms"
    if measure.name == "held":
        said += f", {answer.all_mb:.0f} MB"
    return said + (f", {answer.rss_kb:.1f} kB" if measure.name == "memory" else "")


if __name__ == "__main__":
    sys.exit(main())
