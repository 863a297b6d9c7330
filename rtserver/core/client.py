"""One Engine.IO session as Socket.IO sees it: packets in, and the sockets of its namespaces.

Rule: implements the session's handler seam. A packet that the protocol forbids ends
the session; one that names what does not exist is answered or dropped.
Source: socket.io 4.8, ``Client``; Socket.IO protocol v5.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import structlog
import trio

from rtserver.config import Config
from rtserver.core.admission import Admission
from rtserver.core.dispatch import take_event
from rtserver.core.endings import Endings
from rtserver.core.handshake import Handshake, HttpRequest
from rtserver.core.namespace import Namespace
from rtserver.core.pipeline import ConnectContext
from rtserver.core.rooms import user_of
from rtserver.core.socket import Socket
from rtserver.errors import ConnectRefused, EncodeError, ProtocolError
from rtserver.logs import LimitedLog
from rtserver.protocol.engineio.outbound import Outbound
from rtserver.protocol.socketio.packet import Packet, PacketType
from rtserver.protocol.socketio.parser import Incomplete, Parser
from rtserver.types import Auth, DisconnectReason

log = structlog.get_logger("rtserver.client")

# A packet whose attachments do not come is given up after this many seconds.
ATTACHMENTS_WITHIN = 10.0
_EVENT = PacketType.EVENT


class SessionTransport(Protocol):
    """The part of a transport that broadcasts use directly."""

    def send(self, message: Outbound, volatile: bool = False) -> bool: ...


class ClientSession(Protocol):
    """An Engine.IO session, as a client uses it."""

    opened_at: float
    binding: Callable[[Any], bool] | None
    outlet: Callable[[bytes], int] | None

    @property
    def request(self) -> HttpRequest: ...

    @property
    def transport(self) -> SessionTransport: ...

    @property
    def transport_name(self) -> str: ...

    @property
    def closed(self) -> bool: ...

    def send(self, message: Outbound, volatile: bool = False) -> bool: ...

    def close(self, reason: DisconnectReason = ..., *, discard: bool = False) -> None: ...

    def fail(self, reason: DisconnectReason) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def deadline_changed(self) -> None: ...


class ClientHost(Protocol):
    """What a client needs of the server."""

    config: Config
    parser: Parser
    quiet: LimitedLog
    clients: set[Client]
    admission: Admission
    endings: Endings

    def find_namespace(self, name: str, auth: Auth) -> Namespace | Awaitable[Namespace | None] | None: ...

    def start_task(self, task: Callable[[], Awaitable[None]]) -> None: ...


class Client:
    """A session with its sockets, one for each namespace that it has joined.

    Attributes:
        sockets: By the namespace's name.
        broke_protocol: Whether it has sent what the protocol forbids, which ends it.
        user_id: Whose it is, once somebody was authenticated on it; else None.
    """

    __slots__ = (
        "_host",
        "_incomplete",
        "_incomplete_size",
        "_joining",
        "_pausing",
        "broke_protocol",
        "deadline",
        "session",
        "sockets",
        "user_id",
    )

    def __init__(self, host: ClientHost, session: ClientSession) -> None:
        self._host = host
        self.session = session
        self.sockets: dict[str, Socket] = {}
        self.deadline: float | None = session.opened_at + host.config.connect_timeout
        self._incomplete: Incomplete | None = None
        self._incomplete_size = 0
        self._joining: dict[str, Socket | None] | None = None
        self._pausing: set[Socket] | None = None
        self.broke_protocol = False
        self.user_id: str | None = None
        host.clients.add(self)
        host.admission.opened(self)

    @property
    def address(self) -> str:
        """The address of the other end; empty on a Unix socket."""
        return self.session.request.peer

    def bind(self, user_id: str) -> bool:
        """Make it this user's, for as long as it lives; False if it is another's."""
        if self.user_id is None:
            self.user_id = user_id
        return self.user_id == user_id

    def handshake(self, auth: Auth) -> Handshake:
        """The handshake, with the ``auth`` of one namespace."""
        issued = time.time() - (trio.current_time() - self.session.opened_at)
        return Handshake(self.session.request, auth, issued)

    # From the session.

    def on_text(self, data: str) -> None:
        if self._incomplete is not None:
            self._violated("text while attachments are missing")
            return
        try:
            packet = self._host.parser.decode_text(data)
        except ProtocolError as exc:
            self._violated(str(exc))
            return
        if type(packet) is Packet:
            socket = self.sockets.get(packet.nsp)
            if socket is not None and packet.type is _EVENT:
                take_event(socket, packet.data, packet.id)
            else:
                self._take(packet)
        elif not isinstance(packet, Packet):
            self._incomplete = packet
            self._incomplete_size = 0
            self.deadline = trio.current_time() + ATTACHMENTS_WITHIN
            self.session.deadline_changed()

    def on_binary(self, data: bytes) -> None:
        packet: Packet | None
        try:
            if self._incomplete is None:
                packet = self._host.parser.decode_binary(data)
            else:
                self._incomplete_size += len(data)
                if self._incomplete_size > self._host.config.max_http_buffer_size:
                    raise ProtocolError("attachments too large")
                packet = self._incomplete.add(data)
                if packet is not None:
                    self._incomplete = None
                    self.deadline = None if self.sockets else self.deadline
        except ProtocolError as exc:
            self._violated(str(exc))
            return
        if packet is not None:
            self._take(packet)

    def on_deadline(self, now: float) -> None:
        if self._incomplete is not None:
            self._violated("attachments did not arrive")
        elif not self.sockets:
            # Nothing waits for a client that has never joined, and it may never poll to be told.
            self.session.close("forced server close", discard=True)
        self.deadline = None

    def on_close(self, reason: DisconnectReason) -> None:
        self._host.clients.discard(self)
        self.broke_protocol = self.broke_protocol or reason == "parse error"
        self._joining = None
        self._incomplete = None
        self._pausing = None
        sockets, self.sockets = self.sockets, {}
        for socket in sockets.values():
            socket.closed(reason)
        self._host.admission.closed(self, reason)

    def _violated(self, rule: str) -> None:
        self._incomplete = None
        self._host.quiet.warning("packet_refused", rule=rule[:200], address=self.session.request.peer)
        self.session.fail("parse error")

    # Packets.

    def _take(self, packet: Packet) -> None:
        socket = self.sockets.get(packet.nsp)
        kind = packet.type
        if socket is None:
            if kind == PacketType.CONNECT:
                self._connect(packet.nsp, packet.data or {})
            else:
                self._forbidden()
        elif kind == PacketType.EVENT or kind == PacketType.BINARY_EVENT:
            take_event(socket, packet.data, packet.id)
        elif kind == PacketType.ACK or kind == PacketType.BINARY_ACK:
            socket.take_ack(packet.id, packet.data)
        elif kind == PacketType.DISCONNECT:
            del self.sockets[packet.nsp]
            socket.closed("client namespace disconnect")
            self.resume(socket)
        else:
            self._forbidden()

    def _forbidden(self) -> None:
        """A packet that has no place here."""
        self.broke_protocol = True
        self.session.close("forced server close", discard=True)

    # Joining a namespace.

    def is_joining(self, socket: Socket) -> bool:
        """Whether middleware is looking at ``socket`` right now."""
        return self._joining is not None and self._joining.get(socket.namespace.name) is socket

    def _connect(self, name: str, auth: Auth) -> None:
        joining = self._joining
        if joining is None:
            joining = self._joining = {}
        if name in joining:
            self._forbidden()
            return
        if len(self.sockets) + len(joining) >= self._host.config.max_namespaces:
            self._refuse(name, ConnectRefused("Too many namespaces"))
            return
        try:
            found = self._host.find_namespace(name, auth)
        except Exception:
            log.exception("namespace_match_failed", namespace=name)
            found = None
        if isinstance(found, Namespace):
            self._ask(found, auth)
        elif found is None:
            self._refuse(name, ConnectRefused("Invalid namespace"))
        else:
            pending = found
            joining[name] = None
            self._host.start_task(lambda: self._find_later(name, auth, pending))

    async def _find_later(self, name: str, auth: Auth, pending: Awaitable[Namespace | None]) -> None:
        try:
            with trio.fail_after(self._host.config.connect_timeout):
                namespace = await pending
        except Exception:
            log.exception("namespace_match_failed", namespace=name)
            namespace = None
        if self._joining is None or self.session.closed:
            if namespace is not None:
                namespace.became_empty()
            return
        self._joining.pop(name, None)
        if namespace is None:
            self._refuse(name, ConnectRefused("Invalid namespace"))
        else:
            self._ask(namespace, auth)

    def _ask(self, namespace: Namespace, auth: Auth) -> None:
        """Run the connect middleware, in place unless it waits."""
        socket = namespace.new_socket(self, auth)
        chain = socket.admission()
        if chain is None:
            self._admit(socket)
            return
        assert self._joining is not None
        self._joining[namespace.name] = socket
        namespace.joining += 1
        try:
            result = chain(ConnectContext(socket, socket.auth))
        except Exception as exc:  # noqa: BLE001 - logged there
            self._refuse_socket(socket, exc)
            return
        if inspect.isawaitable(result):
            mark = self._host.endings.mark()
            self._host.start_task(lambda: self._ask_later(socket, result, mark))
        else:
            self._accept_socket(socket)

    async def _ask_later(self, socket: Socket, result: Awaitable[Any], mark: int) -> None:
        try:
            with trio.fail_after(self._host.config.connect_timeout):
                await result
        except Exception as exc:  # noqa: BLE001 - logged there
            self._refuse_socket(socket, exc)
        else:
            if self._host.endings.since(user_of(socket.rooms), mark):
                self.disconnect()
            self._accept_socket(socket)

    def _accept_socket(self, socket: Socket) -> None:
        """Middleware has let it in."""
        socket.namespace.joining -= 1
        self._admit(socket)

    def _admit(self, socket: Socket) -> None:
        namespace = socket.namespace
        socket.settle()
        if self.session.closed or self._joining is None:
            namespace.adapter.remove(socket)
            namespace.became_empty()
            return
        self._joining.pop(namespace.name, None)
        if not self._joining:
            self._joining = None
        self.sockets[namespace.name] = socket
        if self._incomplete is None:
            self.deadline = None
        self._send(Packet(PacketType.CONNECT, namespace.name, socket.arrive()))
        socket.connect()

    def _refuse_socket(self, socket: Socket, exc: Exception) -> None:
        """Middleware has refused, failed or taken too long: nothing of the socket remains."""
        namespace = socket.namespace
        namespace.joining -= 1
        namespace.adapter.remove(socket)
        namespace.became_empty()
        if self._joining is not None:
            self._joining.pop(namespace.name, None)
        if isinstance(exc, ConnectRefused):
            self._refuse(namespace.name, exc)
            return
        log.error("connect_middleware_failed", namespace=namespace.name, exc_info=exc)
        self._refuse(namespace.name, ConnectRefused("internal error"))

    def _refuse(self, name: str, refused: ConnectRefused) -> None:
        data = {"message": refused.message}
        if refused.data is not None:
            data["data"] = refused.data
        try:
            self._send(Packet(PacketType.CONNECT_ERROR, name, data))
        except EncodeError:
            log.exception("refusal_failed", namespace=name)
            self._send(Packet(PacketType.CONNECT_ERROR, name, {"message": "internal error"}))

    def _send(self, packet: Packet) -> None:
        if not self.session.closed:
            self.session.send(self._host.parser.encode(packet))

    # From its sockets.

    def leave(self, socket: Socket) -> None:
        """The server takes ``socket`` out of its namespace."""
        self.sockets.pop(socket.namespace.name, None)
        self._send(Packet(PacketType.DISCONNECT, socket.namespace.name))
        socket.closed("server namespace disconnect")
        # Its handlers may still be at work; the client's other namespaces need not wait for them.
        self.resume(socket)

    def disconnect(self) -> None:
        """The server ends the whole connection. Source: socket.io 4.8, ``Client._disconnect``."""
        for socket in list(self.sockets.values()):
            self.leave(socket)
        self.session.close("forced server close")

    def pause(self, socket: Socket) -> None:
        if not socket.connected:
            return
        if self._pausing is None:
            self._pausing = set()
        self._pausing.add(socket)
        self.session.pause()

    def resume(self, socket: Socket) -> None:
        if self._pausing is not None:
            self._pausing.discard(socket)
            if not self._pausing:
                self._pausing = None
                self.session.resume()
