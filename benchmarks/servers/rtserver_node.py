"""This server, with plain or async handlers. usage: rtserver_node.py PORT plain|async"""

from __future__ import annotations

import sys
from typing import Any

import structlog
import trio

from rtserver import Server, Socket


def build(kind: str) -> Server:
    io = Server()

    if kind == "async":

        @io.on("m")
        async def answer_later(socket: Socket, value: Any) -> Any:
            return value

    else:

        @io.on("m")
        def answer(socket: Socket, value: Any) -> Any:
            return value

    @io.on("b")
    def broadcast(socket: Socket, value: Any) -> None:
        io.emit("b", value)

    return io


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    trio.run(build(sys.argv[2]).serve, f"127.0.0.1:{sys.argv[1]}")
