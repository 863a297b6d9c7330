"""The benchmark's load generator notices what a server loses, doubles, reorders or changes, and then no figure counts.

It is compiled here and let loose on a server that is sound but for one fault.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

SOURCES = Path(__file__).parents[2] / "benchmarks" / "loadgen"
FAULTS = ("lost", "doubled", "reordered", "changed", "refused", "broken")
# The message that a faulty server fails at: later than the first, and long before the last.
AT = 10
CONNECTIONS = 3
# Longer than the number that a payload begins with.
PAYLOAD = "x" * 32

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")

Send: TypeAlias = Callable[[str], Awaitable[None]]
# Sends one answer, or what a faulty server makes of it: the number of the answer on its connection, and its text.
Deliver: TypeAlias = Callable[["Wire", int, str], Awaitable[None]]


@dataclass
class Wire:
    """One connection of the load generator."""

    websocket: WebSocketConnection
    answered: int = 0
    held: list[str] = field(default_factory=list)

    async def send(self, text: str) -> None:
        await self.websocket.send_message(text)


async def soundly(wire: Wire, number: int, text: str) -> None:
    await wire.send(text)


async def lose(wire: Wire, number: int, text: str) -> None:
    if number != AT:
        await wire.send(text)


async def lose_all_that_follow(wire: Wire, number: int, text: str) -> None:
    if number < AT:
        await wire.send(text)


async def double(wire: Wire, number: int, text: str) -> None:
    for _ in range(1 + (number == AT)):
        await wire.send(text)


async def double_much_later(wire: Wire, number: int, text: str) -> None:
    await wire.send(text)
    if number == AT:
        wire.held.append(text)
    elif number == AT + 70:
        await wire.send(wire.held.pop())


async def reorder(wire: Wire, number: int, text: str) -> None:
    if number == AT:
        wire.held.append(text)
        return
    await wire.send(text)
    if wire.held:
        await wire.send(wire.held.pop())


async def change_payload(wire: Wire, number: int, text: str) -> None:
    await wire.send(text.replace("xx", "xy", 1) if number == AT else text)


async def lengthen_payload(wire: Wire, number: int, text: str) -> None:
    await wire.send(text.replace("x", "xx", 1) if number == AT else text)


async def invent(wire: Wire, number: int, text: str) -> None:
    await wire.send(re.sub(r"\d+(?=[\[,])", "999999999", text, count=1) if number == AT else text)


async def speak_out_of_turn(wire: Wire, number: int, text: str) -> None:
    if number == AT:
        await wire.send("41")
    await wire.send(text)


async def hang_up(wire: Wire, number: int, text: str) -> None:
    if number == AT:
        await wire.websocket.aclose()
    else:
        await wire.send(text)


# For each faulty way to answer: what of it has to be noticed.
EXPECTED: dict[Deliver, str] = {
    lose: "lost",
    lose_all_that_follow: "lost",
    double: "doubled",
    double_much_later: "doubled",
    reorder: "reordered",
    change_payload: "changed",
    lengthen_payload: "changed",
    invent: "changed",
    speak_out_of_turn: "changed",
    hang_up: "broken",
}
MODES = ("echo", "bcast")


class Server:
    """Acknowledges ``m`` with its argument and broadcasts that of ``b``, except for one fault on one connection."""

    def __init__(self, deliver: Deliver, *, refuse: int | None = None) -> None:
        self._deliver = deliver
        self._refuse = refuse
        self._wires: list[Wire] = []
        self._asked = 0

    async def __call__(self, request: WebSocketRequest) -> None:
        self._asked += 1
        if self._asked == self._refuse:
            await request.reject(503)
            return
        wire = Wire(await request.accept())
        try:
            await wire.send('0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}')
            await wire.websocket.get_message()
            self._wires.append(wire)
            await wire.send('40{"sid":"y"}')
            while True:
                await self._take(wire, str(await wire.websocket.get_message()))
        except ConnectionClosed:
            return

    async def _take(self, wire: Wire, text: str) -> None:
        echo = re.fullmatch(r'42(\d+)\["m",(.*)\]', text)
        if echo is not None:
            await self._answer(wire, f"43{echo[1]}[{echo[2]}]")
            return
        assert text.startswith('42["b",'), text
        for other in self._wires:
            await self._answer(other, text)

    async def _answer(self, wire: Wire, text: str) -> None:
        number, wire.answered = wire.answered, wire.answered + 1
        deliver = self._deliver if wire is self._wires[1] else soundly
        try:
            await deliver(wire, number, text)
        except ConnectionClosed:
            return


@dataclass(frozen=True)
class Verdict:
    """How the load generator has ended, and what it has said."""

    status: int
    faults: dict[str, int]
    complaints: str


async def judge(program: Path, mode: str, server: Server) -> Verdict:
    async with trio.open_nursery() as nursery:
        listening = await nursery.start(partial(serve_websocket, server, "127.0.0.1", 0, ssl_context=None))
        words = [mode, "127.0.0.1", str(listening.port), str(CONNECTIONS), "1", "4", str(len(PAYLOAD))]
        done = await trio.run_process([program, *words], capture_stdout=True, capture_stderr=True, check=False)
        nursery.cancel_scope.cancel()
    said = json.loads(done.stdout)
    return Verdict(done.returncode, {name: said[name] for name in FAULTS}, done.stderr.decode())


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    binary = tmp_path_factory.mktemp("loadgen") / "loadgen"
    sources = sorted(SOURCES.glob("*.c"))
    subprocess.run(["gcc", "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-o", binary, *sources], check=True)
    return binary


@pytest.fixture(scope="module")
def verdicts(program: Path) -> dict[tuple[str, str], Verdict]:
    """All at once, because it waits long for what is lost."""
    found: dict[tuple[str, str], Verdict] = {}

    async def note(mode: str, name: str, server: Server) -> None:
        found[mode, name] = await judge(program, mode, server)

    async def judge_all() -> None:
        async with trio.open_nursery() as nursery:
            for mode in MODES:
                for deliver in (soundly, *EXPECTED):
                    nursery.start_soon(note, mode, deliver.__name__, Server(deliver))
                nursery.start_soon(note, mode, "refuse", Server(soundly, refuse=2))

    trio.run(judge_all)
    return found


@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_held_against_a_sound_server(verdicts: dict[tuple[str, str], Verdict], mode: str) -> None:
    assert verdicts[mode, "soundly"] == Verdict(0, dict.fromkeys(FAULTS, 0), "")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", list(EXPECTED), ids=lambda deliver: deliver.__name__)
def test_a_fault_is_noticed_and_named(verdicts: dict[tuple[str, str], Verdict], mode: str, fault: Deliver) -> None:
    verdict = verdicts[mode, fault.__name__]
    kind = EXPECTED[fault]
    assert verdict.status == 1
    assert verdict.faults[kind] >= 1, verdict
    assert f"{kind}: " in verdict.complaints


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", [double, reorder, change_payload], ids=lambda deliver: deliver.__name__)
def test_one_fault_is_counted_once(verdicts: dict[tuple[str, str], Verdict], mode: str, fault: Deliver) -> None:
    assert verdicts[mode, fault.__name__].faults == {**dict.fromkeys(FAULTS, 0), EXPECTED[fault]: 1}


@pytest.mark.parametrize("mode", MODES)
def test_a_connection_that_is_refused_is_noticed(verdicts: dict[tuple[str, str], Verdict], mode: str) -> None:
    verdict = verdicts[mode, "refuse"]
    assert verdict.status == 1
    assert verdict.faults["refused"] == 1
