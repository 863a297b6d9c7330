"""Tells each client, in the main namespace, which node it has come to."""

from __future__ import annotations

import os
import socket as sockets

import msgspec

from rtserver import Server, Socket, event


class Hello(msgspec.Struct, frozen=True):
    """The node that a client is connected to."""

    node: str


HELLO = event("node:hello", Hello)


def register(io: Server) -> None:
    """Greet who joins the main namespace."""
    hello = Hello(f"{sockets.gethostname()}:{os.getpid()}")
    io.emits(HELLO)

    @io.on_connect
    def greet(socket: Socket) -> None:
        socket.emit(HELLO, hello)
