"""Runs this server and its peers in turn under the same load, and writes down what came of it.

usage: run.py, with ONLY=echo,broadcast and TURNS=1 in the environment for a quick look. Exit status 1 if a turn failed
its checks, 2 for a mistake in the settings; a bar that is not met is printed, and is no failure of the run.

Rule: only a full run, all measures and five turns or more, writes ``results.json`` and ``results.md`` here. Others
leave theirs in ``build/``, so that a quick look never passes for a result.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

from measures import MEASURES, Measure
from processes import BUILD, HERE, TurnFailed, build_loadgen, raise_file_limit, take_turn
from report import Results, as_json, as_markdown

FULL_TURNS = 5


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
    results = measure_all(chosen, turns)
    text = as_markdown(results)
    full = len(chosen) == len(MEASURES) and turns >= FULL_TURNS
    folder = HERE if full else BUILD
    folder.joinpath("results.json").write_text(json.dumps(as_json(results), indent=1) + "\n")
    folder.joinpath("results.md").write_text(text)
    print(f"\n{text}\nwritten to {folder.relative_to(HERE.parent)}/results.json and results.md")
    if missed := results.bars_not_met():
        print(f"\n*** {missed} of the bars NOT MET: see above ***")
    if results.failures:
        print(f"\n*** {len(results.failures)} turns FAILED their checks: see above ***")
    return 1 if results.failures else 0


def chosen_measures() -> list[Measure]:
    names = [name.strip() for name in os.environ.get("ONLY", "").split(",") if name.strip()]
    known = [measure.name for measure in MEASURES]
    if unknown := [name for name in names if name not in known]:
        raise BadSetting(f"ONLY: {', '.join(unknown)} is not known; allowed are {', '.join(known)}")
    return [measure for measure in MEASURES if not names or measure.name in names]


def chosen_turns() -> int:
    given = os.environ.get("TURNS", "") or str(FULL_TURNS)
    if not (given.isascii() and given.isdigit() and int(given) > 0):
        raise BadSetting(f"TURNS: {given!r} was given; allowed is a whole number from 1")
    return int(given)


def measure_all(chosen: Sequence[Measure], turns: int) -> Results:
    results = Results(turns)
    steps = [
        (measure, turn, server) for measure in chosen for turn in range(1, turns + 1) for server in measure.servers
    ]
    for done, (measure, turn, server) in enumerate(steps, 1):
        try:
            answer = take_turn(measure, server)
        except TurnFailed as exc:
            results.failures.append(f"{measure.name}, turn {turn}, {server}: {exc}")
            said = f"FAILED: {exc}"
        else:
            results.add(measure.name, server, answer)
            said = f"{answer.cpu_us:.2f} µs CPU, {answer.per_second:,.0f}/s"
            said += f", {answer.rss_kb:.1f} kB" if measure.name == "memory" else ""
        print(f"[{done}/{len(steps)}] {measure.name}, turn {turn}, {server}: {said}", flush=True)
    return results


if __name__ == "__main__":
    sys.exit(main())
