"""Real clients in Node processes, and what they have counted."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.chaos.cluster import Broken, Cluster, wait_until

PROGRAM = Path(__file__).with_name("clients.mjs")
# Of ten clients; the rest of what a cluster meets.
MIX = ("websocket", "polling", "websocket", "upgrade", "websocket") * 2
# One of these says "goodbye, and do not come back": no client may hear it on a bad day.
FAREWELL = "io server disconnect"


@dataclass(frozen=True, slots=True)
class Report:
    """What one client has counted since it was told to talk.

    Args:
        id: Its number.
        kind: ``websocket``, ``polling`` or ``upgrade``.
        slots: The nodes it was on, the first one first.
        reasons: Why it lost its connection, each time.
        lost: When it lost it, in seconds of its process's clock, each time.
        away: Seconds until it had another one, each time.
        refused: Attempts to connect that failed.
        waits: Seconds until each of its questions was answered.
        said: Broadcasts that it began, numbered from 0.
        taken: The numbers of those that the server acknowledged.
        recovered: How often it went on where it was, and had what it had missed.
        asked: Questions.
        answered: Those that were answered.
        wrong: Those that were answered with something else.
        heard: The numbers that came, by the speaker.
        late_within: Seconds that the slowest broadcast of a client of its own node took.
        late_across: The same of clients of other nodes.
        doubled: Broadcasts that came twice.
        disordered: Broadcasts that came after a later one.
        connected: Whether it is now.
    """

    id: int
    kind: str
    slots: tuple[int, ...]
    reasons: tuple[str, ...]
    lost: tuple[float, ...]
    away: tuple[float, ...]
    refused: int
    waits: tuple[float, ...]
    said: int
    taken: frozenset[int]
    recovered: int
    asked: int
    answered: int
    wrong: int
    late_within: float
    late_across: float
    heard: dict[int, frozenset[int]]
    doubled: int
    disordered: int
    connected: bool

    @property
    def steady(self) -> bool:
        """Whether it never lost its connection."""
        return self.connected and not self.reasons


@dataclass(frozen=True, slots=True)
class Losses:
    """What clients that never lost their connection have missed of one another.

    Args:
        steady: How many such clients.
        unanswered: Questions without an answer, or with a wrong one.
        missed: Deliveries of broadcasts that did not come.
        within: Those of them from a client of the same node.
        doubled: Deliveries that came twice.
        disordered: Deliveries that came after a later one.
        delivered: Deliveries that came.
        slowest: Seconds of the slowest answer.
        late_within: Seconds of the slowest delivery to a client of the same node.
        late_across: The same to clients of other nodes.
    """

    steady: int
    unanswered: int
    missed: int
    within: int
    doubled: int
    disordered: int
    delivered: int
    slowest: float
    late_within: float
    late_across: float

    @property
    def none(self) -> bool:
        return not (self.unanswered or self.missed or self.doubled or self.disordered)


def losses_of(reports: Sequence[Report]) -> Losses:
    steady = [one for one in reports if one.steady]
    missed = within = delivered = 0
    for speaker in (one for one in steady if one.said):
        for listener in steady:
            lost = speaker.said - len(listener.heard.get(speaker.id, ()))
            missed += lost
            within += lost if listener.slots == speaker.slots else 0
            delivered += speaker.said - lost
    return Losses(
        steady=len(steady),
        unanswered=sum(one.asked - one.answered for one in steady),
        missed=missed,
        within=within,
        doubled=sum(one.doubled for one in steady),
        disordered=sum(one.disordered for one in steady),
        delivered=delivered,
        slowest=max((wait for one in steady for wait in one.waits), default=0.0),
        late_within=max((one.late_within for one in steady), default=0.0),
        late_across=max((one.late_across for one in steady), default=0.0),
    )


def missed_broadcasts(reports: Sequence[Report]) -> int:
    """How many broadcasts of a steady client did not reach some other node; each is counted once for each node."""
    steady = [one for one in reports if one.steady]
    missed = {
        (speaker.id, number, listener.slots[0])
        for speaker in steady
        for listener in steady
        for number in set(range(speaker.said)) - listener.heard.get(speaker.id, frozenset())
    }
    return len(missed)


def missed_by_recovered(reports: Sequence[Report]) -> int:
    """How many acknowledged broadcasts did not reach a client that always went on where it was."""
    recovered = [one for one in reports if one.recovered == len(one.reasons)]
    nothing: frozenset[int] = frozenset()
    return sum(
        len(speaker.taken - listener.heard.get(speaker.id, nothing)) for speaker in reports for listener in recovered
    )


class Load:
    """Clients of a cluster, in one or more Node processes. ``opened_load`` makes it."""

    def __init__(self, processes: Sequence[subprocess.Popen[str]]) -> None:
        self._processes = processes

    def _tell(self, command: dict[str, Any]) -> list[Any]:
        line = json.dumps(command) + "\n"
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(line)
            process.stdin.flush()
        return [self._answer(process) for process in self._processes]

    def _answer(self, process: subprocess.Popen[str]) -> Any:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise Broken("the process of the clients has ended; 'make chaos' installs what it needs")
        return json.loads(line)

    def open(self, count: int, kinds: Sequence[str], *, quick: bool) -> None:
        """Connect so many clients, of these kinds in turn."""
        share = -(-count // len(self._processes))
        for index, process in enumerate(self._processes):
            first = index * share
            chosen = [kinds[number % len(kinds)] for number in range(first, min(first + share, count))]
            assert process.stdin is not None
            process.stdin.write(json.dumps({"do": "open", "kinds": chosen, "first": first, "quick": quick}) + "\n")
            process.stdin.flush()
        for process in self._processes:
            self._answer(process)

    def talk(self, speakers: Sequence[int] = (), *, ask: float = 0.0, say: float = 1.0, padding: int = 0) -> None:
        """Count anew; everybody asks and ``speakers`` broadcast, every so many seconds and with so many bytes."""
        every = {"ask": round(ask * 1e3), "say": round(say * 1e3)}
        self._tell({"do": "talk", "speakers": list(speakers), "padding": padding, **every})

    def hush(self) -> None:
        """Nobody begins anything new; returns when every question is answered or given up."""
        self._tell({"do": "hush"})

    def bounce(self) -> None:
        """Every client loses its transport."""
        self._tell({"do": "bounce"})

    def away(self) -> int:
        """How many have no connection."""
        return sum(one["away"] for one in self._tell({"do": "look"}))

    def wait_connected(self, what: str = "every client is connected again") -> float:
        """Gives the seconds that it took. Raises ``Broken``."""
        return wait_until(what, lambda: self.away() == 0)

    def reports(self) -> list[Report]:
        return [msgspec.convert(one, Report, strict=False) for answer in self._tell({"do": "report"}) for one in answer]


@contextmanager
def opened_load(
    cluster: Cluster, count: int, kinds: Sequence[str] = MIX, *, processes: int = 1, quick: bool = False
) -> Iterator[Load]:
    """So many clients, connected, for the length of a block.

    Args:
        cluster: Where they go.
        count: How many.
        kinds: Their transports, in turn.
        processes: Node processes to share them.
        quick: They connect again at once, all in the same moment, and not after a second or so.
    """
    with ExitStack() as stack:
        started = []
        for _ in range(processes):
            process = stack.enter_context(
                subprocess.Popen(
                    ["node", str(PROGRAM), cluster.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            stack.callback(process.kill)
            started.append(process)
        load = Load(started)
        load.open(count, kinds, quick=quick)
        yield load
