"""What the server knows a socket by: its membership of a namespace, through every connection.

Rule: AWAY and JOINING and CONNECTED alternate as connections come and go; CLOSED is
the end. What the application says while it is away is kept, bounded, and sent once
it is back.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Protocol

import trio

from rtserver.client.acks import PendingAcks
from rtserver.client.dispatch import Dispatcher, Owner
from rtserver.client.errors import ClientDisconnectReason, ConnectError
from rtserver.client.handlers import Ack, Received
from rtserver.client.kept import KeptMessages
from rtserver.client.options import AuthSource
from rtserver.client.transport import Wire
from rtserver.errors import ConfigurationError, Disconnected, ProtocolError
from rtserver.protocol.socketio.packet import Packet, PacketType
from rtserver.types import TransportName

# What rtserver and the reference's streams adapter append to events. What other servers append looks like any text, so
# it stays among the arguments, as in JavaScript.
OFFSET = re.compile(r"[0-9]{13}-[0-9]{1,20}")


class State(Enum):
    """Where a membership is in its life."""

    AWAY = "away"
    """There is no connection, or nothing has been said on it yet."""
    JOINING = "joining"
    """The server has been asked for the namespace."""
    CONNECTED = "connected"
    CLOSED = "closed"
    """It will never be connected again."""


class Link(Owner, Protocol):
    """The client, as its memberships see it."""

    @property
    def transport(self) -> TransportName | None: ...

    def holds(self, connection: int) -> bool:
        """Whether connection number ``connection`` is the one that is open now."""

    def send(self, wires: Sequence[Wire]) -> None: ...

    def send_control(self, wires: Sequence[Wire]) -> None: ...

    async def flush(self) -> None: ...

    def reconsider(self) -> None:
        """A membership has begun to wait for an acknowledgement."""

    def left(self, namespace: str, was: State) -> None: ...


class Membership:
    """One namespace of one client.

    Args:
        link: The client.
        namespace: Its name.
        auth: What goes with CONNECT.
    """

    def __init__(self, link: Link, namespace: str, auth: AuthSource | None) -> None:
        options = link.options
        self._auth = auth
        self._parser = options.parser
        self._early: list[Packet] = []
        self._kept = KeptMessages(options.max_queue_packets, options.max_queue_bytes)
        self._session = 0
        self._refusal: ConnectError | None = None
        self._settled = trio.Event()
        self._closed = trio.Event()
        self._pid: str | None = None
        self._offset: str | None = None
        self.link = link
        self.namespace = namespace
        self.state = State.AWAY
        self.acks = PendingAcks(options.max_pending_acks)
        self.dispatcher = Dispatcher(link)
        self.streams: set[trio.MemorySendChannel[Received]] = set()
        self.id: str | None = None
        self.recovered = False
        self.reason: ClientDisconnectReason | None = None

    # What its socket asks for.

    def say(self, args: Sequence[Any], ack_id: int | None) -> None:
        """Send an event now, or keep it for the next connection.

        Raises:
            EncodeError: An argument cannot be sent.
            LimitExceeded: Too much waits to be sent.
            Disconnected: The membership has ended.
        """
        if self.state is State.CLOSED:
            raise self.disconnected()
        wires = self._parser.encode_event(self.namespace, args, ack_id).packets()
        if self.state is State.CONNECTED:
            self.link.send(wires)
        else:
            self._kept.put(wires, ack_id)

    def forget(self, ack_id: int) -> None:
        """Nobody waits for that answer: the question need not be asked either."""
        self.acks.forget(ack_id)
        self._kept.forget(ack_id)

    def leave(self) -> None:
        """Leave the namespace, for good."""
        if self.state is State.CONNECTED:
            self.link.send_control(self._parser.encode(Packet(PacketType.DISCONNECT, self.namespace)).packets())
        self.closed("io client disconnect")

    def disconnected(self) -> Disconnected:
        """What to raise once it has ended."""
        return Disconnected(f"the socket is closed: {self._refusal or self.reason}")

    async def settled(self) -> None:
        """Wait for the server's answer to the first CONNECT.

        Raises:
            ConnectError: The server refused.
            Disconnected: The connection ended for good.
        """
        await self._settled.wait()
        if self._refusal is not None:
            raise self._refusal
        if self.state is State.CLOSED:
            raise self.disconnected()

    async def wait_closed(self) -> ClientDisconnectReason:
        """Wait for the end, and return why."""
        await self._closed.wait()
        return self.reason or "transport close"

    # What its client tells it.

    async def begin(self, connection: int) -> None:
        """Ask the server for the namespace, on the client's connection number ``connection``."""
        data = await self._credentials()
        if self.state is not State.AWAY or not self.link.holds(connection):
            return
        self.state = State.JOINING
        self.link.send_control(self._parser.encode(Packet(PacketType.CONNECT, self.namespace, data)).packets())

    async def _credentials(self) -> dict[str, Any] | None:
        auth = self._auth
        if callable(auth):
            answer = auth()
            auth = await answer if inspect.isawaitable(answer) else answer
        if auth is not None and not isinstance(auth, Mapping):
            raise ConfigurationError("auth", auth, "a mapping, or a function that returns one")
        if self._pid is None:
            return None if auth is None else dict(auth)
        return {"pid": self._pid, "offset": self._offset, **(auth or {})}

    async def take(self, packet: Packet) -> None:
        """A packet of this namespace has arrived. Returns when the next one may.

        Raises:
            ProtocolError: It must not come now.
        """
        match packet.type:
            case PacketType.EVENT | PacketType.BINARY_EVENT if self.state is State.JOINING:
                if len(self._early) >= self.link.options.max_inbox:
                    raise ProtocolError("too many events before the answer to CONNECT")
                self._early.append(packet)
            case PacketType.EVENT | PacketType.BINARY_EVENT:
                await self._take_event(packet)
            case PacketType.ACK | PacketType.BINARY_ACK:
                self.acks.answered(packet.id, packet.data)
            case PacketType.CONNECT:
                await self._take_connect(packet.data)
            case PacketType.DISCONNECT:
                self.closed("io server disconnect")
            case PacketType.CONNECT_ERROR:
                self._refused(_connect_error(packet.data))
            case _:
                raise ProtocolError(f"unexpected {packet.type.name} packet")

    async def _take_event(self, packet: Packet) -> None:
        name, *args = packet.data
        session, ack_id = self._session, packet.id
        offset = self._take_offset(packet)
        if args and offset is not None and OFFSET.fullmatch(offset):
            args.pop()

        def answer(values: Sequence[Any]) -> None:
            # An answer to a session that has ended would be taken for another one's.
            if self.state is State.CONNECTED and self._session == session and ack_id is not None:
                self.link.send(self._parser.encode_ack(self.namespace, values, ack_id).packets())

        received = Received(str(name), tuple(args), Ack(None if ack_id is None else answer))
        await self.dispatcher.take(received)
        if offset is not None:
            self._offset = offset

    def _take_offset(self, packet: Packet) -> str | None:
        """By what the server knows how far the client has come. Source: socket.io-client 4.8, ``emitEvent``."""
        last = packet.data[-1]
        return last if self._pid is not None and packet.id is None and isinstance(last, str) else None

    async def _take_connect(self, data: Any) -> None:
        sid = data.get("sid") if isinstance(data, dict) else None
        if not isinstance(sid, str) or self.state is not State.JOINING:
            raise ProtocolError("unexpected or invalid CONNECT packet")
        pid = data.get("pid")
        self.recovered = pid is not None and pid == self._pid
        self._pid = pid if isinstance(pid, str) else None
        self.id = sid
        self.reason = None
        self.state = State.CONNECTED
        for wires in self._kept.take_all():
            self.link.send_control(wires)
        early, self._early = self._early, []
        for packet in early:
            await self._take_event(packet)
        self._settled.set()
        self.dispatcher.announce("connect")

    def _refused(self, error: ConnectError) -> None:
        self._refusal = error
        # The server has answered: there is nothing left to leave.
        self.state = State.AWAY
        self.dispatcher.announce("connect_error", error)
        self.closed(self.reason or "io server disconnect")

    def away(self, reason: ClientDisconnectReason) -> None:
        """The connection is lost, and will be made anew."""
        was, self.state = self.state, State.AWAY
        self._early.clear()
        self._session += 1
        self.acks.lose(self._kept.ack_ids())
        if was is State.CONNECTED:
            self.reason = reason
            self.dispatcher.announce("disconnect", reason)

    def closed(self, reason: ClientDisconnectReason) -> None:
        """The socket is out of its namespace, for good."""
        was, self.state = self.state, State.CLOSED
        if was is State.CLOSED:
            return
        self.reason = reason
        self._session += 1
        self._kept.take_all()
        self.acks.lose()
        self.link.left(self.namespace, was)
        if was is State.CONNECTED:
            self.dispatcher.announce("disconnect", reason)
        for sender in self.streams:
            self.dispatcher.defer(sender.aclose)
        self._settled.set()
        self._closed.set()
        self.dispatcher.inbox.wake()


def _connect_error(data: Any) -> ConnectError:
    if isinstance(data, dict) and isinstance(data.get("message"), str):
        return ConnectError(data["message"], data.get("data"))
    return ConnectError("the server refused the namespace", data)
