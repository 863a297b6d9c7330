"""What the nodes serve on bad days: acknowledged questions, broadcasts, a busy room, and how the node is.

usage: rtserver serve benchmarks.chaos.application:io
"""

from __future__ import annotations

import gc
from typing import Any

import trio

from rtserver import Server, Socket

io = Server()


ROOM = "talkers"


@io.on("join")
def join(socket: Socket) -> int | None:
    """Hear what is said from now on; acknowledged with the node's slot."""
    socket.join(ROOM)
    cluster = io.statistics().cluster
    return None if cluster is None else cluster.slot


@io.on("ask")
@io.on("m")
def ask(socket: Socket, number: Any) -> Any:
    """``m`` is what the load generator calls it."""
    return number


@io.on("say")
def say(socket: Socket, speaker: int, number: int, padding: str) -> int:
    """Everybody in the room hears it, the speaker too."""
    io.to(ROOM).emit("said", speaker, number, padding)
    return number


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
