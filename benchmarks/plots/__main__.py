"""Draws the plots of a run.

usage: python -m benchmarks.plots            of benchmarks/results.json, into docs/plots
       python -m benchmarks.plots --latest   of the run that was last, a quick one into benchmarks/build/plots
       python -m benchmarks.plots RESULTS FOLDER

Rule: a plot without its rows is left out, and named.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.plots.charts import all_plots
from benchmarks.plots.draw import draw
from benchmarks.plots.results import Results

BENCHMARKS = Path(__file__).parents[1]
WHOLE = (BENCHMARKS / "results.json", BENCHMARKS.parent / "docs" / "plots")
QUICK = (BENCHMARKS / "build" / "results.json", BENCHMARKS / "build" / "plots")


def main(given: list[str]) -> int:
    match given:
        case []:
            source, folder = WHOLE
        case ["--latest"]:
            source, folder = max(WHOLE, QUICK, key=lambda pair: pair[0].stat().st_mtime if pair[0].exists() else 0.0)
        case [results, into]:
            source, folder = Path(results), Path(into)
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    if not source.exists():
        print(f"{source} is not there: make bench writes it", file=sys.stderr)
        return 2
    draw_all(source, folder)
    return 0


def draw_all(source: Path, folder: Path) -> None:
    results = Results.read(json.loads(source.read_text()))
    folder.mkdir(parents=True, exist_ok=True)
    plots, missing = all_plots(results)
    for plot in plots:
        files = draw(plot, results.caption(), folder)
        print(f"{plot.name}: {', '.join(path.name for path in files)}")
    if missing:
        print(f"left out, for want of rows: {', '.join(missing)}")
    print(f"drawn into {folder}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
