"""The load generator believes no server: what is lost, doubled, reordered or changed fails the run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import trio

from rtserver import Ack, Server, Socket

SOURCES = Path(__file__).parents[2] / "benchmarks" / "loadgen"
BROADCASTS = ("bcast", "3", "0.1", "2", "32")
ECHOES = ("echo", "2", "0.1", "2", "32")
ROOMS = ("rooms", "4", "0.1", "1", "32", "--room=2")

Send: TypeAlias = Callable[[Any], None]
# Gets a broadcast's number, the value that is to be sent, and what sends it to everybody.
Fault: TypeAlias = Callable[[int, Any, Send], None]


@pytest.fixture(scope="module")
def loadgen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("loadgen") / "loadgen"
    sources = [str(path) for path in sorted(SOURCES.glob("*.c"))]
    subprocess.run(["gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-o", str(program), *sources], check=True)
    return program


@asynccontextmanager
async def served(io: Server) -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        (bound,) = await nursery.start(lambda task_status: io.serve("127.0.0.1:0", task_status=task_status))
        yield bound.rpartition(":")[2]
        nursery.cancel_scope.cancel()


async def load(loadgen: Path, io: Server, mode: str, *rest: str) -> tuple[int, dict[str, Any], str]:
    """The exit status of the load generator, what it measured, and what it complains of."""
    async with served(io) as port:
        command = [str(loadgen), mode, "127.0.0.1", port, *rest, "--warm-up=0.05", "--patience=0.3"]
        ran = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    return ran.returncode, json.loads(ran.stdout), ran.stderr.decode()


def honest() -> Server:
    io = Server()

    @io.on("m")
    def answer(socket: Socket, value: Any) -> Any:
        return value

    @io.on("b")
    def broadcast(socket: Socket, value: Any) -> None:
        io.emit("b", value)

    @io.on("join")
    def join(socket: Socket, room: str) -> None:
        socket.join(room)

    @io.on("r")
    def to_room(socket: Socket, room: str, value: Any) -> None:
        io.to(room).emit("r", value)

    return io


@pytest.mark.parametrize(
    "mode",
    [
        ECHOES,
        (*ECHOES, "--processes=2"),
        ("echo", "2", "0.1", "2", "70000", "--binary"),
        ("open", "2", "0.1", "1", "32", "--rate=200"),
        ("polls", "2", "0.1", "2", "32"),
        BROADCASTS,
        ROOMS,
        ("conn", "3", "0"),
        ("browser", "3", "0"),
        ("handshakes", "2", "0.1"),
    ],
    ids=" ".join,
)
async def test_a_server_that_does_all_right_passes(loadgen: Path, mode: tuple[str, ...]) -> None:
    status, measured, complaints = await load(loadgen, honest(), *mode)
    assert (status, complaints) == (0, "")
    assert measured["count"] > 0


def faulty(fault: Fault) -> Server:
    io = Server()

    @io.on("b")
    def broadcast(socket: Socket, value: Any) -> None:
        fault(value[0], value, lambda sent: io.emit("b", sent))

    return io


def losing(number: int, value: Any, send: Send) -> None:
    if number != 5:
        send(value)


def doubling(number: int, value: Any, send: Send) -> None:
    send(value)
    if number == 5:
        send(value)


def changing(number: int, value: Any, send: Send) -> None:
    send([number, value[1][:-1] + "?"] if number == 5 else value)


def renumbering(number: int, value: Any, send: Send) -> None:
    send([6 if number == 5 else number, value[1]])


def swapping() -> Fault:
    kept: list[Any] = []

    def swap(number: int, value: Any, send: Send) -> None:
        if number == 4:
            kept.append(value)
            return
        send(value)
        if kept:
            send(kept.pop())

    return swap


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("lost", losing),
        ("doubled", doubling),
        ("reordered", swapping()),
        ("changed", changing),
        ("changed", renumbering),
    ],
)
async def test_one_fault_in_a_broadcast_fails_the_run(loadgen: Path, kind: str, fault: Fault) -> None:
    status, measured, complaints = await load(loadgen, faulty(fault), *BROADCASTS)
    assert status == 1
    assert measured[kind] > 0
    assert kind in complaints


async def test_an_answer_that_belongs_to_another_event_fails_the_run(loadgen: Path) -> None:
    io, waiting = Server(), list[tuple[Any, Ack]]()

    @io.on("m")
    def answer_in_pairs(socket: Socket, value: Any, ack: Ack) -> None:
        waiting.append((value, ack))
        if len(waiting) == 2:
            (one, first), (other, second) = waiting
            waiting.clear()
            first(other)
            second(one)

    status, measured, _ = await load(loadgen, io, *ECHOES)
    assert status == 1
    assert measured["changed"] > 0


async def test_a_message_to_the_wrong_room_fails_the_run(loadgen: Path) -> None:
    io = Server()

    @io.on("join")
    def join(socket: Socket, room: str) -> None:
        socket.join(room)

    @io.on("r")
    def to_everybody(socket: Socket, room: str, value: Any) -> None:
        io.emit("r", value)

    status, measured, _ = await load(loadgen, io, *ROOMS)
    assert status == 1
    assert measured["changed"] > 0


async def test_a_connection_that_is_closed_fails_the_run(loadgen: Path) -> None:
    io = Server()

    @io.on("m")
    def leave(socket: Socket, value: Any) -> None:
        socket.disconnect(close=True)

    status, measured, _ = await load(loadgen, io, *ECHOES)
    assert status == 1
    assert measured["broken"] > 0
