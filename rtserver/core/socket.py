"""One client in one namespace: what handlers talk to.

Rule: nothing here waits except ``call`` and ``enter``; a socket that is gone takes
every call and does nothing. Its events arrive through ``dispatch.take_event``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, TypeVar, overload

import structlog

from rtserver.adapters.base import AckListener, SocketDetails, Target
from rtserver.core.acks import Waiter, single
from rtserver.core.broadcast import Broadcast, event_name
from rtserver.core.dispatch import run, run_in_place, run_job
from rtserver.core.entering import Entries, ask_again, enter
from rtserver.core.handshake import Handshake
from rtserver.core.pipeline import ConnectContext, EmitContext, compose
from rtserver.core.worker import Job, Worker
from rtserver.errors import Disconnected, LimitExceeded
from rtserver.events import Event
from rtserver.protocol.engineio.outbound import Outbound
from rtserver.types import Auth, DisconnectReason, Room

if TYPE_CHECKING:
    from rtserver.core.client import Client
    from rtserver.core.namespace import Namespace

log = structlog.get_logger("rtserver.socket")

P = TypeVar("P")
A = TypeVar("A")


class Socket:
    """A connected client, in one namespace.

    Attributes:
        id: The public id, and the name of the room that only this socket is in. Knowing it gives nobody a session.
        namespace: The namespace that it is in.
        handshake: Address, headers, query and ``auth`` of the client.
        user: Who the client is, as authentication middleware sets it; else None.
        connected: Whether it is in its namespace.
        recovered: Whether it continues an earlier connection.
    """

    __slots__ = (
        "_acks",
        "_client",
        "_data",
        "any_listeners",
        "any_outgoing",
        "auth",
        "connected",
        "entries",
        "id",
        "memberships",
        "namespace",
        "recovered",
        "session",
        "user",
        "worker",
    )

    def __init__(self, namespace: Namespace, client: Client, socket_id: str, auth: Auth) -> None:
        self.id = socket_id
        self.namespace = namespace
        self.auth = auth
        self.user: Any = None
        self.connected = self.recovered = False
        self.memberships: set[Room] | None = None
        self.entries: Entries | None = None
        self._client = client
        self.session = client.session
        self._data: dict[str, Any] | None = None
        self._acks: dict[int, AckListener] | None = None
        self.any_listeners: list[Callable[..., Any]] | None = None
        self.any_outgoing: list[Callable[..., Any]] | None = None
        self.worker: Worker | None = None

    def __repr__(self) -> str:
        return f"<Socket {self.id} in {self.namespace.name}>"

    @property
    def client(self) -> Client:
        """The session that it is one of, with the client's other namespaces."""
        return self._client

    @property
    def data(self) -> dict[str, Any]:
        """Whatever the application wants to remember of this socket. Other nodes see it by ``fetch_sockets``."""
        if self._data is None:
            self._data = {}
        return self._data

    @property
    def handshake(self) -> Handshake:
        return self._client.handshake(self.auth)

    @property
    def rooms(self) -> AbstractSet[Room]:
        """The rooms that it is in, its own included."""
        return self.namespace.adapter.rooms_of(self)

    @property
    def transport(self) -> str:
        """``polling`` or ``websocket``: how the client is connected right now."""
        return self.session.transport_name

    # Rooms.

    def join(self, *rooms: Room) -> None:
        """Put the socket into rooms. For what a client asks for, use ``enter``.

        Raises:
            LimitExceeded: It would be in more rooms than ``max_rooms``.
        """
        if not self.connected and not self.may_join():
            return
        adapter = self.namespace.adapter
        limit = self.namespace.config.max_rooms
        for room in rooms:
            if not isinstance(room, str):
                raise TypeError(f"a room is a string, not {room!r}")
            joined = self.memberships
            if joined is not None and len(joined) >= limit and room not in joined:
                raise LimitExceeded(f"a socket may be in {limit} rooms at most")
            adapter.join(self, room)

    def leave(self, *rooms: Room) -> None:
        """Take the socket out of rooms."""
        for room in rooms:
            self.namespace.adapter.leave(self, room)
            if self.entries is not None:
                self.entries.left(room)

    async def enter(self, room: Room) -> None:
        """Join a room that the client has asked for, if middleware and the namespace's guard allow it.

        Raises:
            RoomRefused: Middleware or the guard refuses, or the room is another socket's own or the server's;
                or the socket was taken out of it in the meantime.
            RoomRefused: Also, with the code ``too_many_rooms``, when it would be in more than ``max_rooms``.
            Disconnected: The socket left while the guard was thinking.
        """
        await enter(self, room)

    async def ask_again(self) -> None:
        """Ask about every room that the client has entered, and leave those that it may not be in any more.

        For when what a client may do has changed: it has another token, or continues an earlier connection.
        """
        await ask_again(self)

    # Sending to this client.

    @overload
    def emit(self, event: Event[None, Any], /) -> None: ...
    @overload
    def emit(self, event: Event[P, Any], payload: P, /) -> None: ...
    @overload
    def emit(self, event: str, /, *args: Any) -> None: ...
    def emit(self, event: Event[Any, Any] | str, /, *args: Any) -> None:
        """Send an event to the client. Returns at once; see ``max_queue_bytes`` for clients that do not keep up.

        Raises:
            EncodeError: An argument has no JSON form.
            ValueError: The name is reserved.
        """
        self._emit(event_name(event), args, None)

    def send(self, *args: Any) -> None:
        """``emit("message", *args)``."""
        self._emit("message", args, None)

    @overload
    async def call(self, event: Event[None, A], /) -> A: ...
    @overload
    async def call(self, event: Event[P, A], payload: P, /) -> A: ...
    @overload
    async def call(self, event: str, /, *args: Any) -> Any: ...
    async def call(self, event: Event[Any, Any] | str, /, *args: Any) -> Any:
        """Send an event and wait for the client's acknowledgement.

        There is no time-out argument: put the call into ``with trio.fail_after(5):``.

        Returns:
            The acknowledgement's value; None if it has none, a tuple if it has several.

        Raises:
            Disconnected: The socket is not connected, or left before it answered.
            LimitExceeded: More than ``max_pending_acks`` are being waited for.
            EventRefused: A typed event's acknowledgement has the wrong type.
        """
        if not self.connected:
            raise Disconnected("the socket is not connected")
        waiter = Waiter()
        ack_id = self.namespace.next_ack_id()
        self.expect_ack(ack_id, waiter)
        try:
            self._emit(event_name(event), args, ack_id)
            values = await waiter.wait()
        finally:
            self.forget_ack(ack_id)
        return event.decode_ack(values) if isinstance(event, Event) else single(values)

    def _emit(self, name: str, args: Sequence[Any], ack_id: int | None) -> None:
        chain = self.namespace.registry.emit_chain
        if chain is not None:
            context = chain(EmitContext(self.namespace, name, args, socket=self))
            name, args = context.event, context.args
        message = self.namespace.parser.encode_event(self.namespace.name, (name, *args), ack_id)
        if self.any_outgoing is not None:
            self.tell(self.any_outgoing, (name, *args))
        self.session.send(message)

    def deliver(self, message: Outbound, volatile: bool, args: Sequence[Any]) -> None:
        """Send a message that is ready: what broadcasts do."""
        if not self.connected:
            # Middleware has joined it to a room, and has not let it in yet.
            return
        self.session.transport.send(message, volatile)
        if self.any_outgoing is not None:
            self.tell(self.any_outgoing, args)

    # Sending to others.

    def _broadcast(self) -> Broadcast:
        return Broadcast(self.namespace, Target(excluded=frozenset((self.id,))), sender=self)

    @property
    def broadcast(self) -> Broadcast:
        """Everybody else in the namespace."""
        return self._broadcast()

    def to(self, *rooms: Room) -> Broadcast:
        """Everybody else in one of the rooms."""
        return self._broadcast().to(*rooms)

    in_ = to

    def except_(self, *rooms: Room) -> Broadcast:
        """Everybody else who is in none of the rooms."""
        return self._broadcast().except_(*rooms)

    @property
    def local(self) -> Broadcast:
        """Everybody else on this node."""
        return self._broadcast().local

    @property
    def volatile(self) -> Broadcast:
        """This client, but only if it can take the event now."""
        return Broadcast(self.namespace, Target(frozenset((self.id,)))).volatile

    def compress(self, wanted: bool) -> Broadcast:
        """This client, with or without compression."""
        return Broadcast(self.namespace, Target(frozenset((self.id,)))).compress(wanted)

    # Listening to everything.

    def on_any(self, listener: Callable[..., None]) -> Callable[..., None]:
        """Call ``listener(event, *args)`` for every event of this socket, before its handler."""
        self.any_listeners = [*(self.any_listeners or ()), listener]
        return listener

    def on_any_outgoing(self, listener: Callable[..., None]) -> Callable[..., None]:
        """Call ``listener(event, *args)`` for every event sent to this socket."""
        self.any_outgoing = [*(self.any_outgoing or ()), listener]
        return listener

    def off_any(self, listener: Callable[..., None]) -> None:
        """Stop ``on_any`` and ``on_any_outgoing`` for ``listener``."""
        self.any_listeners = [other for other in self.any_listeners or () if other != listener] or None
        self.any_outgoing = [other for other in self.any_outgoing or () if other != listener] or None

    def tell(self, listeners: Sequence[Callable[..., None]], args: Sequence[Any]) -> None:
        """Call listeners, whatever becomes of one of them."""
        for listener in listeners:
            try:
                listener(*args)
            except Exception:
                log.exception("listener_failed", listener=getattr(listener, "__qualname__", repr(listener)))

    # Leaving.

    def disconnect(self, close: bool = False) -> None:
        """Take the client out of this namespace, or with ``close`` end its whole connection."""
        if close:
            self._client.disconnect()
        elif self.connected:
            self._client.leave(self)

    def closed(self, reason: DisconnectReason) -> None:
        """The socket is out of its namespace: tell the application, then forget it."""
        if not self.connected:
            return
        self.connected = False
        registry = self.namespace.registry
        for handler in registry.on_disconnecting:
            run_in_place(self, handler, ("disconnecting", reason), None)
        self.depart(reason)
        acks, self._acks = self._acks, None
        for listener in (acks or {}).values():
            listener(None)
        for watcher in registry.left:
            run_in_place(self, watcher, ("disconnect", reason), None)
        for handler in registry.on_disconnect:
            run(self, handler, ("disconnect", reason), None)
        worker, self.worker = self.worker, None
        if worker is not None:
            worker.end()

    def depart(self, reason: DisconnectReason) -> None:
        """Leave the rooms."""
        self.namespace.remove(self)

    def may_join(self) -> bool:
        """Whether it can be in rooms although it is not connected."""
        return self._client.is_joining(self)

    def admission(self) -> Callable[[ConnectContext], Any] | None:
        """Who is to be asked whether it may join; None if nobody."""
        middleware = self.namespace.registry.middleware
        return compose(middleware, "connect", lambda context: None) if middleware else None

    def settle(self) -> None:
        """Everybody has let it in, and it is not yet."""

    def arrive(self) -> dict[str, str]:
        """The socket is let in: what the client is told."""
        self.connected = True
        self.namespace.add(self)
        return {"sid": self.id}

    # Events of the client.

    def connect(self) -> None:
        """The client has been told that it is in: run the connect handlers."""
        for watcher in self.namespace.registry.joined:
            run_in_place(self, watcher, ("connect",), None)
        for handler in self.namespace.registry.on_connect:
            run(self, handler, ("connect",), None)

    def take_ack(self, ack_id: int | None, args: Sequence[Any]) -> None:
        """An acknowledgement has arrived. One that nobody waits for is dropped."""
        if self._acks is not None and ack_id is not None:
            listener = self._acks.pop(ack_id, None)
            if listener is not None:
                listener(args)

    def expect_ack(self, ack_id: int, on_answer: AckListener) -> None:
        acks = self._acks
        if acks is None:
            acks = self._acks = {}
        limit = self.namespace.config.max_pending_acks
        if len(acks) >= limit:
            raise LimitExceeded(f"{limit} acknowledgements of {self!r} are being waited for already")
        acks[ack_id] = on_answer
        if self.worker is not None:
            self.worker.reconsider()

    def forget_ack(self, ack_id: int) -> None:
        if self._acks is not None:
            self._acks.pop(ack_id, None)

    def answer(self, ack_id: int, values: Sequence[Any]) -> None:
        """Acknowledge the event that came with ``ack_id``."""
        if self.connected:
            namespace = self.namespace
            self.session.transport.send(namespace.parser.encode_ack(namespace.name, values, ack_id))

    # What its worker asks for.

    @property
    def awaits_answer(self) -> bool:
        return bool(self._acks)

    @property
    def max_pending_events(self) -> int:
        return self.namespace.config.max_pending_events

    async def run_job(self, job: Job) -> None:
        await run_job(self, job)

    def start_task(self, task: Callable[[], Awaitable[None]]) -> None:
        self.namespace.start_task(task)

    def pause_reading(self) -> None:
        self._client.pause(self)

    def resume_reading(self) -> None:
        self._client.resume(self)

    def details(self) -> SocketDetails:
        return SocketDetails(self.id, frozenset(self.rooms), self.data, self.handshake.details())
