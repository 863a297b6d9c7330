"""The load generator in all its modes, against this server.

What single faults it notices is in ``tests/node/test_load_generator.py``.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from rtserver import Ack, Server, Socket

SOURCES = Path(__file__).parents[2] / "benchmarks" / "loadgen"
BROADCASTS = ("bcast", "3", "0.1", "2", "32")
ECHOES = ("echo", "2", "0.1", "2", "32")
ROOMS = ("rooms", "4", "0.1", "1", "32", "--room=2")


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
