"""This server, with plain or async handlers. usage: rtserver serve servers.rtserver_node:plain (or :lazy)"""

from __future__ import annotations

from typing import Any

from rtserver import Server, Socket

plain = Server()
lazy = Server()


@plain.on("m")
def answer(socket: Socket, value: Any) -> Any:
    return value


@lazy.on("m")
async def answer_later(socket: Socket, value: Any) -> Any:
    return value


@plain.on("join")
def join(socket: Socket, room: str) -> None:
    socket.join(room)


@plain.on("r")
def to_room(socket: Socket, room: str, value: Any) -> None:
    plain.to(room).emit("r", value)


@plain.on("b")
def broadcast(socket: Socket, value: Any) -> None:
    plain.emit("b", value)
