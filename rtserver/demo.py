"""The application that ``rtserver serve`` runs when it is given none: echo and rooms.

Rule: public API only; small enough to be read as an example.
"""

from __future__ import annotations

from typing import Any, Unpack

from rtserver import Ack, Server, Socket
from rtserver.config import Options


def create_demo(**options: Unpack[Options]) -> Server:
    """A server with these events.

    ``echo`` (any arguments, acknowledged with all of them), ``join`` and ``leave`` (a
    room, acknowledged with the socket's rooms), ``say`` (a room and a text, for everybody
    else in the room). A new client gets ``welcome`` with its id.
    """
    io = Server(**options)
    io.emits("welcome", "echo", "joined", "left", "said")

    @io.on_connect
    def welcome(socket: Socket) -> None:
        socket.emit("welcome", socket.id)

    @io.on("echo")
    def echo(socket: Socket, *args: Any, ack: Ack) -> None:
        if ack.wanted:
            ack(*args)
        else:
            socket.emit("echo", *args)

    @io.on("join")
    async def join(socket: Socket, room: str) -> list[str]:
        await socket.enter(room)
        socket.to(room).emit("joined", room, socket.id)
        return sorted(socket.rooms)

    @io.on("leave")
    def leave(socket: Socket, room: str) -> list[str]:
        if isinstance(room, str) and room in socket.rooms and room != socket.id:
            socket.leave(room)
            socket.to(room).emit("left", room, socket.id)
        return sorted(socket.rooms)

    @io.on("say")
    def say(socket: Socket, room: str, text: str) -> dict[str, str]:
        if not isinstance(room, str) or room not in socket.rooms:
            return {"status": "not in that room"}
        socket.to(room).emit("said", room, socket.id, text)
        return {"status": "ok"}

    return io
