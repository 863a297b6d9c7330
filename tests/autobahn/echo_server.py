"""Sends every WebSocket message back, on the raw WebSocket of a node: what the Autobahn test suite asks of a server.

usage: python tests/autobahn/echo_server.py [PORT]

Rule: the connection is the node's own, from the accepted socket to the frames; only what lies
above it, the Engine.IO session, is replaced by an echo.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import trio

from rtserver import Server
from rtserver.protocol.websocket.deflate import deflate
from rtserver.protocol.websocket.frames import binary_frame, text_frame
from rtserver.transports.engine import Engine
from rtserver.transports.exchange import Exchange
from rtserver.transports.node import Node

# Autobahn sends messages of up to 16 MiB, and up to a thousand before it reads one.
LARGEST = 20_000_000
QUEUED = 4 * LARGEST


class Echo:
    """Takes the place of a session. Its machine is closed, so that everything comes by ``take_…``."""

    machine = SimpleNamespace(closed=True)

    def __init__(self, websocket: Any) -> None:
        self._websocket = websocket

    def take_text(self, text: str) -> None:
        self._send(text.encode(), text_frame)

    def take_binary(self, data: bytes) -> None:
        self._send(data, binary_frame)

    def _send(self, payload: bytes, frame: Any) -> None:
        message = SimpleNamespace(
            frames=frame(payload),
            count=1,
            compress=True,
            deflated=lambda bits: frame(deflate(payload, bits), rsv1=True),
        )
        self._websocket.send(message)

    def lost(self) -> None: ...

    def fail(self, reason: str) -> None: ...


class EchoEngine(Engine):
    """Every WebSocket is an echo."""

    def on_upgrade(self, exchange: Exchange) -> None:
        websocket = exchange.accept_websocket()
        session: Any = Echo(websocket)
        websocket.attach(session, probing=False)


async def main(port: int) -> None:
    io = Server(
        max_http_buffer_size=LARGEST, max_queue_bytes=QUEUED, max_queue_packets=100_000, per_message_deflate=True
    )
    node = Node(EchoEngine(io.config, io), None, websockets=False)
    with node.listening([f"127.0.0.1:{port}"]) as addresses:
        sys.stdout.write(f"ws://{addresses[0]}/socket.io/\n")
        sys.stdout.flush()
        await node.run()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 0)
