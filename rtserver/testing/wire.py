"""A WebSocket without a wire: what one side sends is in the other side's queue.

Rule: bounded like the real one. A client that does not receive becomes a slow
consumer, and a server that does not read keeps the client waiting.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

import trio

from rtserver.client import TransportLost
from rtserver.client.transport import Batch, Wire
from rtserver.config import Config
from rtserver.protocol.engineio.packet import Packet
from rtserver.protocol.websocket.receiver import Item
from rtserver.transports.request import Request, Response
from rtserver.transports.session import EngineSession
from rtserver.transports.transport import Ending, Sendable
from rtserver.transports.websocket import WebSocket


class ServerEnd(WebSocket):
    """The end that the engine has."""

    def __init__(self, config: Config) -> None:
        self.session: EngineSession | None = None
        self.probing = False
        self.held: deque[Item] | None = None
        self.closed = False
        self.queue: deque[Sendable] = deque()
        self.arrived = trio.Event()
        self.readable = trio.Event()
        self.readable.set()
        self._config = config
        self._queued = 0

    @property
    def writable(self) -> bool:
        return not self.closed

    def send(self, message: Sendable, volatile: bool = False) -> bool:
        if self.closed:
            return False
        if len(self.queue) >= self._config.max_queue_packets or self._queued >= self._config.max_queue_bytes:
            if self.session is not None and not volatile:
                self.session.overflow()
            return False
        self.queue.append(message)
        self._queued += len(message.frames)
        self.arrived.set()
        return True

    def take_queue(self) -> list[Packet]:
        """What the client has not received yet."""
        packets = [Packet.decode(wire) for message in self.queue for wire in message.packets()]
        self.queue.clear()
        self._queued = 0
        self.arrived = trio.Event()
        if self.closed:
            self.arrived.set()
        return packets

    def end(self, ending: Ending) -> None:
        if ending is Ending.DISCARD:
            self.queue.clear()
        self.held = None
        self.closed = True
        self.arrived.set()
        self.readable.set()

    def watch_reading(self, wanted: bool) -> None:
        if wanted:
            self.readable.set()
        else:
            self.readable = trio.Event()

    def take_control(self, item: Item) -> None:
        """There are no control frames here."""


class ClientEnd:
    """The end that a client has: a transport as ``rtserver.client`` knows it."""

    name: Literal["websocket"] = "websocket"
    batch = Batch(max_packets=1_000, max_bytes=1_000_000)

    def __init__(self, server: ServerEnd) -> None:
        self._server = server

    def opened(self, sid: str, max_payload: int | None) -> None:
        """Nothing to remember."""

    async def receive(self) -> list[Packet]:
        await self._server.arrived.wait()
        packets = self._server.take_queue()
        if not packets:
            raise TransportLost("transport close", "the server closed the connection")
        return packets

    async def send(self, wires: Sequence[Wire]) -> None:
        for wire in wires:
            await self._server.readable.wait()
            if self._server.closed:
                raise TransportLost("transport close", "the server closed the connection")
            self._server.take((wire,))
        await trio.lowlevel.checkpoint()

    async def close(self) -> None:
        self.drop()
        await trio.lowlevel.checkpoint()

    def drop(self) -> None:
        """Break the connection, as a network does."""
        if not self._server.closed:
            self._server.closed = True
            self._server.arrived.set()
            self._server.gone()


class InMemoryExchange:
    """A handshake that is answered in the same process."""

    def __init__(self, request: Request, config: Config) -> None:
        self.request = request
        self.on_abort: Callable[[], None] | None = None
        self.aborted = False
        self.answered = trio.Event()
        self.response: Response | None = None
        self.server_end = ServerEnd(config)

    def respond(self, response: Response) -> None:
        self.response = response
        self.answered.set()

    def accept_websocket(self) -> WebSocket:
        self.answered.set()
        return self.server_end
