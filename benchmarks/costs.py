"""Measures what the model of a cluster needs and ``results.json`` has not, and writes ``simulation/costs.json``.

usage: costs.py [--results] [RESULTS]

RESULTS is benchmarks/results.json unless given; with ``--results`` what is not in them stays as it was.

The costs between nodes come from ``simulation/relay.py``. What the model is held against comes from the load generator:
broadcasts to small rooms over several nodes and Redis, with the processor time of all nodes, and of Redis, for one
delivery. Run ``make scaling`` afterwards: the tables of ``docs/scaling.md`` are made of this.
"""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import asdict
from pathlib import Path

from measures import Measure
from processes import HERE, build_loadgen, raise_file_limit, take_turn

from benchmarks.simulation.costs import FROM_RESULTS, Known, Measured, derive, load, measured_in, save
from benchmarks.simulation.relay import relay_costs

TURNS = 3
ROOMS = (10, 100)
NODES = (1, 2, 3, 4)


def main(given: list[str]) -> int:
    only_results = given[:1] == ["--results"]
    rest = given[only_results:]
    source = Path(rest[0]) if rest else HERE / "results.json"
    if not source.exists():
        print(f"{source} is not there: make bench writes it", file=sys.stderr)
        return 2
    results = json.loads(source.read_text())
    relay, measured = from_before() if only_results else measure_anew()
    machine = results["machine"]
    name = f"{machine['processor']}, {machine['processors']} processors, Python {machine['python']}"
    save(Known(derive(results, relay), [*measured, *measured_in(results)], name))
    return 0


def measure_anew() -> tuple[dict[str, float], list[Measured]]:
    build_loadgen()
    raise_file_limit()
    return relay_costs(), [over(nodes, room) for room in ROOMS for nodes in NODES]


def from_before() -> tuple[dict[str, float], list[Measured]]:
    known = load()
    relay = {name: cost for name, cost in asdict(known.costs).items() if name not in FROM_RESULTS}
    return relay, [one for one in known.measured if one.room in ROOMS]


def over(nodes: int, room: int) -> Measured:
    """Broadcasts to rooms of so many, of 1,000 clients that are spread over so many nodes."""
    load = ("rooms", "1000", "2", "1", "64", "--room", str(room))
    one = Measure(f"rooms-{room}-{nodes}", "", load, ("rtserver",), nodes=nodes)
    turns = [take_turn(one, "rtserver") for _ in range(TURNS)]
    found = Measured(
        nodes,
        room,
        round(statistics.median(turn.cpu_us for turn in turns), 2),
        round(statistics.median(turn.beside_us for turn in turns), 3),
    )
    print(found, flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
