"""A client in one namespace: what an application holds.

Rule: nothing here but the words of the application; what happens to the
connection is its membership's business.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, overload

import trio

from rtserver.client.errors import ClientDisconnectReason
from rtserver.client.handlers import Ack, Received
from rtserver.client.membership import Membership, State
from rtserver.core.acks import single
from rtserver.errors import ConfigurationError, Disconnected
from rtserver.protocol.socketio.packet import RESERVED_EVENTS
from rtserver.types import TransportName

F = TypeVar("F", bound=Callable[..., Any])

LIFECYCLE = frozenset(["connect", "disconnect", "connect_error"])


class ClientSocket:
    """A client in one namespace. ``Client.connect`` and ``open_socket`` make them.

    Events go to the handler that ``on`` registered for them. Those without one wait in
    an inbox, bounded, for ``receive``, ``next_event`` or ``async for``; a handler that is
    registered later gets what has been waiting for it. A handler that raises ends the
    client, whose ``open_client`` raises it, unless there is an ``on_crash``.
    """

    def __init__(self, membership: Membership) -> None:
        self._membership = membership
        self._dispatcher = membership.dispatcher

    def __repr__(self) -> str:
        return f"<ClientSocket {self.namespace} {self.id} {self._membership.state.value}>"

    @property
    def namespace(self) -> str:
        """The namespace's name."""
        return self._membership.namespace

    @property
    def id(self) -> str | None:
        """The socket's id at the server; another one after each reconnection. None before the first connect."""
        return self._membership.id

    @property
    def connected(self) -> bool:
        """Whether the server has let the socket in and the connection is held."""
        return self._membership.state is State.CONNECTED

    @property
    def active(self) -> bool:
        """Whether the socket is connected or will be, by itself."""
        return self._membership.state is not State.CLOSED

    @property
    def recovered(self) -> bool:
        """Whether the server has restored the last session, with what was missed."""
        return self._membership.recovered

    @property
    def reason(self) -> ClientDisconnectReason | None:
        """Why it is not connected; None while it is, and before it was."""
        return self._membership.reason

    @property
    def transport(self) -> TransportName | None:
        """``polling`` or ``websocket``: how the client is connected right now."""
        return self._membership.link.transport

    @property
    def dropped(self) -> int:
        """How many events had no handler, were not received, and had to give way."""
        return self._dispatcher.inbox.dropped

    # Sending.

    def emit(self, event: str, *args: Any) -> None:
        """Send an event. Returns at once; while the socket is away the event is kept for its return.

        Raises:
            ConfigurationError: Socket.IO reserves the name.
            EncodeError: An argument cannot be sent.
            LimitExceeded: Too much waits to be sent; see ``flush``.
            Disconnected: The socket is closed.
        """
        _check_name(event)
        self._membership.say((event, *args), None)

    def send(self, *args: Any) -> None:
        """``emit("message", *args)``."""
        self.emit("message", *args)

    async def call(self, event: str, *args: Any) -> Any:
        """Send an event and wait for the server's acknowledgement.

        There is no time-out argument: put the call into ``with trio.fail_after(5):``.

        Returns:
            The acknowledgement's value; None if it has none, a tuple if it has several.

        Raises:
            Disconnected: The socket is closed, or the connection ended before the answer.
            LimitExceeded: More than ``max_pending_acks`` are being waited for.
            ConfigurationError, EncodeError: As ``emit``.
        """
        _check_name(event)
        membership = self._membership
        ack_id, waiter = membership.acks.expect()
        try:
            membership.say((event, *args), ack_id)
            membership.link.reconsider()
            return single(await waiter.wait())
        finally:
            membership.forget(ack_id)

    async def flush(self) -> None:
        """Wait until what was emitted has left this process, or the connection has ended."""
        await self._membership.link.flush()

    # Receiving.

    @overload
    def on(self, event: str) -> Callable[[F], F]: ...
    @overload
    def on(self, event: str, handler: F) -> F: ...
    def on(self, event: str, handler: F | None = None) -> F | Callable[[F], F]:
        """Register a handler, plain or async: ``@socket.on("said")`` or ``socket.on("said", handler)``.

        It gets the event's arguments, and what it returns is the acknowledgement. Events
        of that name that have arrived before are given to it at once. ``connect`` (after a
        reconnection), ``disconnect`` (with the reason) and ``connect_error`` (with the
        ``ConnectError``) tell of the socket itself.

        Raises:
            ConfigurationError: The event has a handler, or Socket.IO reserves its name.
        """
        if event in RESERVED_EVENTS - LIFECYCLE:
            raise ConfigurationError("event", event, "a name that Socket.IO does not reserve")
        if handler is None:
            return lambda function: self.on(event, function)
        self._dispatcher.add(event, handler)
        return handler

    def off(self, event: str) -> None:
        """Take the event's handler away."""
        self._dispatcher.remove(event)

    def on_any(self, listener: F) -> F:
        """Call ``listener(event, *args)`` for every event, before its handler."""
        self._dispatcher.add_any(listener)
        return listener

    def off_any(self, listener: Callable[..., Any]) -> None:
        """Stop ``on_any`` for ``listener``."""
        self._dispatcher.remove_any(listener)

    async def receive(self, event: str) -> Any:
        """Wait for an event that has no handler. One that the server wants acknowledged gets an empty answer.

        Returns:
            Its argument; None if it has none, a tuple if it has several.

        Raises:
            Disconnected: The socket is closed and there is no such event left.
            LimitExceeded: Events of that name have given way since the last time; see ``max_inbox``.
        """
        received = await self.next_event(event)
        received.ack()
        return received.value

    async def next_event(self, event: str | None = None) -> Received:
        """Like ``receive``, but the whole event, to be acknowledged by ``received.ack(...)``; any event for None."""
        await trio.lowlevel.checkpoint()
        while (received := self._dispatcher.inbox.take(event)) is None:
            if self._membership.state is State.CLOSED:
                raise self._membership.disconnected()
            await self._dispatcher.inbox.arrival()
        return received

    async def __aiter__(self) -> AsyncIterator[Received]:
        """Every event that has no handler, until the socket is closed."""
        while True:
            try:
                received = await self.next_event()
            except Disconnected:
                return
            yield received

    @contextmanager
    def stream(self, event: str, *, max_buffer: int = 64) -> Iterator[trio.MemoryReceiveChannel[Received]]:
        """The events of one name as a channel; while it is full the connection is not read.

        The channel ends when the socket is closed.

        Args:
            event: The event's name.
            max_buffer: How many events wait in the channel.

        Raises:
            ConfigurationError: The event has a handler.
        """
        sender, receiver = trio.open_memory_channel[Received](max_buffer)

        async def forward(*args: Any, ack: Ack) -> None:
            try:
                await sender.send(Received(event, args, ack))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return  # Nobody listens any more.

        self.on(event, forward)
        self._membership.streams.add(sender)
        if self._membership.state is State.CLOSED:
            self._dispatcher.defer(sender.aclose)
        try:
            yield receiver
        finally:
            self.off(event)
            self._membership.streams.discard(sender)
            sender.close()
            receiver.close()

    # Leaving.

    def disconnect(self) -> None:
        """Leave the namespace. The connection stays, for the client's other sockets."""
        self._membership.leave()

    async def wait_closed(self) -> ClientDisconnectReason:
        """Wait until the socket is closed for good, and return why."""
        return await self._membership.wait_closed()


def _check_name(event: str) -> None:
    if not isinstance(event, str) or event in RESERVED_EVENTS:
        raise ConfigurationError("event", event, "a string that Socket.IO does not reserve")
