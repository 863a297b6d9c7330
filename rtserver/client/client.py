"""One connection to a server, and the namespaces that share it.

Rule: every task of the client lives in the nursery that it is given. One task makes
the connection, serves it, and makes it anew when it is lost.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager

import trio

from rtserver.client.backoff import Backoff
from rtserver.client.engine import Engine
from rtserver.client.errors import ClientDisconnectReason, ConnectError
from rtserver.client.membership import Membership, State
from rtserver.client.options import AuthSource, Options
from rtserver.client.socket import ClientSocket
from rtserver.client.transport import Dial, Wire
from rtserver.errors import ConfigurationError, Disconnected, ProtocolError
from rtserver.protocol.socketio.packet import Packet, PacketType
from rtserver.protocol.socketio.parser import Incomplete
from rtserver.types import TransportName


class Client:
    """A client of one server. ``open_client`` makes it.

    Attributes:
        options: Its settings.
        reason: Why the connection ended the last time; None before.
    """

    def __init__(self, options: Options, dial: Dial, nursery: trio.Nursery) -> None:
        self.options = options
        self._dial = dial
        self._nursery = nursery
        self._engine: Engine | None = None
        self._connection = 0
        self._memberships: dict[str, Membership] = {}
        self._abandoned: set[str] = set()
        self._incomplete: Incomplete | None = None
        self._leaving = trio.CancelScope()
        self._closed = trio.Event()
        self.reason: ClientDisconnectReason | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection right now."""
        return self._engine is not None

    @property
    def sid(self) -> str | None:
        """The Engine.IO session's id, which is a secret; None while there is no connection."""
        return None if self._engine is None else self._engine.sid

    @property
    def transport(self) -> TransportName | None:
        """How the client is connected right now; None while it is not."""
        engine = self._engine
        return None if engine is None or engine.transport is None else engine.transport.name

    async def connect(self, namespace: str = "/", *, auth: AuthSource | None = None) -> ClientSocket:
        """Connect to a namespace.

        Args:
            namespace: Its name, with the slash.
            auth: What the server's middleware gets to see, or a function that is asked for
                it at each connect; the client's own ``auth`` unless given.

        Raises:
            ConnectError: The server refuses; ``message`` and ``data`` say why.
            Disconnected: The connection has ended for good.
            ConfigurationError: It is not a namespace, or the client is in it.
        """
        if not namespace.startswith("/") or "," in namespace:
            raise ConfigurationError("namespace", namespace, "a name that starts with a slash, without a comma")
        if namespace in self._memberships or namespace in self._abandoned:
            raise ConfigurationError("namespace", namespace, "one that the client is not in")
        if self._closed.is_set():
            raise Disconnected(f"the client is closed: {self.reason}")
        membership = Membership(self, namespace, self.options.auth if auth is None else auth)
        self._memberships[namespace] = membership
        with ExitStack() as undo:
            undo.callback(membership.leave)
            if self._engine is not None:
                await membership.begin(self._connection)
            await membership.settled()
            undo.pop_all()
        return ClientSocket(membership)

    @asynccontextmanager
    async def namespace(self, name: str = "/", *, auth: AuthSource | None = None) -> AsyncIterator[ClientSocket]:
        """Be in a namespace for the length of a block. Arguments and errors: ``connect``."""
        socket = await self.connect(name, auth=auth)
        try:
            yield socket
        finally:
            socket.disconnect()

    async def close(self) -> None:
        """Leave every namespace, send what is queued, within ``close_timeout``, and end the connection.

        Leaving ``open_client`` does it. Async handlers that still run are cancelled then.
        """
        for membership in list(self._memberships.values()):
            membership.leave()
        if self._engine is not None:
            await self._engine.close()
        if not self._closed.is_set():
            self.reason = "io client disconnect"
        self._leaving.cancel()
        await self._closed.wait()

    async def wait_upgraded(self) -> None:
        """Wait until the connection is a WebSocket.

        Raises:
            Disconnected: There is no connection now, or it ended first.
        """
        engine = self._engine
        if engine is not None:
            await engine.on_websocket.wait()
        if engine is None or engine.reason is not None:
            raise Disconnected("the client is not connected")

    async def wait_closed(self) -> ClientDisconnectReason:
        """Wait until the connection has ended for good, and return why."""
        await self._closed.wait()
        return self.reason or "transport error"

    # The connection.

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the connection until it is lost for good. Started once there is one.

        Raises:
            ConnectError: There never was one.
        """
        policy = self.options.reconnection
        backoff = None if policy is None else Backoff(policy)
        opened = trio.Event()

        def on_open(engine: Engine) -> None:
            if backoff is not None:
                backoff.reset()
            if not opened.is_set():
                opened.set()
                task_status.started()
            self._opened(engine)

        try:
            with self._leaving:
                while True:
                    try:
                        await self._hold(on_open)
                    except ConnectError:
                        if not opened.is_set() and (policy is None or not policy.initially):
                            raise
                    delay = None if backoff is None else backoff.next_delay()
                    if delay is None or (opened.is_set() and not self._memberships):
                        break
                    for membership in list(self._memberships.values()):
                        membership.away(self.reason or "transport error")
                    await trio.sleep(delay)
        finally:
            self._end()
        if not opened.is_set():
            raise ConnectError("the server could not be reached")

    async def _hold(self, on_open: Callable[[Engine], None]) -> None:
        engine = Engine(self.options, self._dial, self._receive)
        try:
            self.reason = await engine.run(lambda: on_open(engine))
        finally:
            self._engine = None
            self._incomplete = None
            self._abandoned.clear()

    def _opened(self, engine: Engine) -> None:
        self._engine = engine
        self._connection += 1
        for membership in self._memberships.values():
            self._nursery.start_soon(membership.begin, self._connection)

    def _end(self) -> None:
        for membership in list(self._memberships.values()):
            membership.closed(self.reason or "transport error")
        self._closed.set()

    # Messages.

    async def _receive(self, wire: Wire) -> None:
        packet = self._decode(wire)
        if packet is None:
            return
        membership = self._memberships.get(packet.nsp)
        if membership is not None:
            await membership.take(packet)
        elif packet.nsp in self._abandoned and packet.type in (PacketType.CONNECT, PacketType.CONNECT_ERROR):
            # Nobody waits for this namespace any more; only now can it be left.
            self._abandoned.remove(packet.nsp)
            if packet.type is PacketType.CONNECT:
                leave = Packet(PacketType.DISCONNECT, packet.nsp)
                self.send_control(self.options.parser.encode(leave).packets())

    def _decode(self, wire: Wire) -> Packet | None:
        """The packet that is complete with ``wire``, if one is.

        Raises:
            ProtocolError: It is malformed.
        """
        if self._incomplete is not None:
            if isinstance(wire, str):
                raise ProtocolError("expected an attachment, got text")
            packet = self._incomplete.add(wire)
            if packet is not None:
                self._incomplete = None
            return packet
        parser = self.options.parser
        if isinstance(wire, bytes):
            return parser.decode_binary(wire)
        outcome = parser.decode_text(wire)
        if isinstance(outcome, Packet):
            return outcome
        self._incomplete = outcome
        return None

    # What its memberships ask for: see ``membership.Link``.

    @property
    def awaits_answer(self) -> bool:
        return any(len(membership.acks) for membership in self._memberships.values())

    def holds(self, connection: int) -> bool:
        return self._engine is not None and self._connection == connection

    def send(self, wires: Sequence[Wire]) -> None:
        if self._engine is not None:
            self._engine.send(wires)

    def send_control(self, wires: Sequence[Wire]) -> None:
        if self._engine is not None:
            self._engine.send_control(wires)

    async def flush(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._engine is not None:
            await self._engine.flush()

    def reconsider(self) -> None:
        for membership in self._memberships.values():
            membership.dispatcher.reconsider()

    def left(self, namespace: str, was: State) -> None:
        self._memberships.pop(namespace, None)
        if was is State.JOINING and self._engine is not None:
            self._abandoned.add(namespace)

    def start(self, task: Callable[[], Awaitable[None]]) -> None:
        self._nursery.start_soon(task)

    def crashed(self, exc: Exception) -> None:
        if self.options.on_crash is not None:
            self.options.on_crash(exc)
        else:
            self._nursery.start_soon(_raise, exc)


async def _raise(exc: Exception) -> None:
    raise exc
