"""Compares the speed of what is here with ``baseline.json``, and fails when it has become worse than chance allows.

usage: check.py              a few short measures, this server and Node in turn; then instructions of the codecs
       check.py --baseline   measures more turns of the same, and writes ``baseline.json``

``TURNS=1`` in the environment changes the turns. Exit status 1 if a figure is worse beyond its margin, twice, or a turn
failed its checks; 2 for a mistake in the settings.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from typing import Any

from measures import Measure
from processes import HERE, TurnFailed, build_loadgen, raise_file_limit, take_turn
from report import machine

from benchmarks.guard import baseline
from benchmarks.guard.baseline import Comparison, as_table, compare_counts, compare_ratios, unknown
from benchmarks.guard.instructions import CannotCount, count, made_with

FILE = HERE / "baseline.json"
PEER = "node"
CHECK_TURNS, BASELINE_TURNS = 3, 9
OURS, BOTH = "rtserver", ("rtserver", "node")

# Shorter than those of a whole run, and without other peers.
SHORT = (
    Measure("echo", "echo", ("echo", "100", "2", "4", "64"), ("rtserver", "rtserver-full", "node")),
    Measure("broadcast", "broadcast to 1,000", ("bcast", "1000", "2", "1", "64"), BOTH),
    Measure("handshakes", "polling handshakes", ("handshakes", "50", "2", "--keep-alive"), BOTH),
    Measure("connects", "WebSocket connects", ("conn", "3000", "0.2"), BOTH, warm=("conn", "500", "0")),
)


def main() -> int:
    writes = sys.argv[1:] == ["--baseline"]
    given = os.environ.get("TURNS", "") or str(BASELINE_TURNS if writes else CHECK_TURNS)
    if sys.argv[1:] not in ([], ["--baseline"]) or not (given.isascii() and given.isdigit() and int(given) > 0):
        print(__doc__, file=sys.stderr)
        return 2
    build_loadgen()
    raise_file_limit()
    try:
        return write(int(given)) if writes else check(int(given))
    except TurnFailed as exc:
        print(f"*** a turn FAILED its checks: {exc} ***")
        return 1


def write(turns: int) -> int:
    said = json.loads(FILE.read_text()) if FILE.exists() else {}
    counts: dict[str, Any] = said.get("instructions", {})
    measured = measure(SHORT, turns)
    try:
        counts[platform.python_version()] = {"made_with": made_with(), "counts": count()}
    except CannotCount as exc:
        print(f"instructions are NOT counted: {exc}")
    FILE.write_text(json.dumps({"machine": machine(), "ratios": measured, "instructions": counts}, indent=1) + "\n")
    print(f"written to {FILE.relative_to(HERE.parent)}")
    return 0


def check(turns: int) -> int:
    said = json.loads(FILE.read_text())
    report_differences(said["machine"], machine())
    compared = [*check_ratios(said["ratios"], turns), *check_counts(said["instructions"])]
    print(f"\n{as_table(compared)}\n")
    worse = [one.what for one in compared if one.worse]
    print(f"*** WORSE than the baseline: {', '.join(worse)} ***" if worse else "No worse than the baseline.")
    return 1 if worse else 0


def check_ratios(was: dict[str, list[float]], turns: int) -> list[Comparison]:
    """What is worse is measured once more, and is worse if it is so again."""
    compared = compare_ratios(was, measured := measure(SHORT, turns))
    report_unknown(was, measured)
    if not (suspects := [one.what for one in compared if one.worse]):
        return compared
    print(f"once more, because it looked worse: {', '.join(suspects)}", flush=True)
    again = measure([one for one in SHORT if any(name.startswith(one.title) for name in suspects)], turns)
    second = {one.what: one for one in compare_ratios(was, again)}
    return [min(one, second.get(one.what, one), key=lambda which: which.now) for one in compared]


def check_counts(was: dict[str, Any]) -> list[Comparison]:
    if (version := platform.python_version()) not in was:
        print(f"instructions are NOT compared: the baseline is of Python {', '.join(was)}, and this is {version}")
        return []
    try:
        counts = count()
    except CannotCount as exc:
        print(f"instructions are NOT compared: {exc}")
        return []
    report_unknown(was[version]["counts"], counts)
    compared = compare_counts(was[version]["counts"], counts)
    if (built := made_with()) != was[version]["made_with"]:
        print(f"instructions are NOT held against the baseline: it was made with {was[version]['made_with']}")
        print(f"and this was made with {built}:")
        print(as_table(compared))
        return []
    return compared


def measure(measures: Sequence[Measure], turns: int) -> dict[str, list[float]]:
    """Ratios to Node in each of the turns, by the measure's title, and the server where it is not the plain one."""
    found: dict[str, list[float]] = {}
    for one in measures:
        used: dict[str, list[float]] = {server: [] for server in one.servers}
        for turn in range(1, turns + 1):
            for server in one.servers:
                used[server].append(take_turn(one, server).cpu_us)
            said = ", ".join(f"{server} {values[-1]:.2f}" for server, values in used.items())
            print(f"{one.title}, turn {turn} of {turns}: µs CPU for one: {said}", flush=True)
        peer = used.pop(PEER)
        for server, values in used.items():
            found[one.title if server == OURS else f"{one.title}, {server}"] = baseline.ratios(values, peer)
    return found


def report_differences(was: dict[str, Any], now: dict[str, Any]) -> None:
    for name in ("processor", "python", "node", "socket.io"):
        if was.get(name) != now.get(name):
            print(f"the baseline is of {name} {was.get(name)}, and this is {now.get(name)}: ratios may differ for that")


def report_unknown(was: dict[str, Any], now: dict[str, Any]) -> None:
    for name in unknown(was, now):
        print(f"{name} has no baseline yet: make bench-baseline writes one")


if __name__ == "__main__":
    sys.exit(main())
