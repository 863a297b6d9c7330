"""What the nodes serve on bad days: acknowledged questions, broadcasts, a busy room, and how the node is.

usage: rtserver serve benchmarks.chaos.application:io
"""

from __future__ import annotations

import gc
from typing import Any

import trio

from rtserver import Server, Socket

io = Server()


@io.on_connect
def welcome(socket: Socket) -> None:
    cluster = io.statistics().cluster
    socket.emit("welcome", None if cluster is None else cluster.slot)


@io.on("ask")
def ask(socket: Socket, number: Any) -> Any:
    return number


@io.on("say")
def say(socket: Socket, speaker: int, number: int) -> int:
    """Everybody hears it, the speaker too, in numbers without gaps."""
    io.emit("said", speaker, number)
    return number


@io.on("enter")
def enter(socket: Socket, room: str) -> None:
    socket.join(room)


@io.on("fill")
def fill(socket: Socket, room: str, payload: str) -> None:
    io.to(room).emit("filling", payload)


@io.on("facts")
def facts(socket: Socket) -> dict[str, int]:
    """What churn must not leave behind."""
    gc.collect()
    return {
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "sockets": sum(namespace.sockets for namespace in io.statistics().namespaces),
        "rooms": sum(namespace.rooms for namespace in io.statistics().namespaces),
        "slow_consumers": io.statistics().engine.slow_consumers,
    }
