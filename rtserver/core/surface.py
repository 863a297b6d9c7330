"""The two sets of methods that a namespace has, and that ``Server`` has for its main one.

Rule: no state here. ``Sending`` ends in a broadcast operator, ``Registering`` in a registry.
"""

from __future__ import annotations

import abc
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

from rtserver.adapters.base import Gathered
from rtserver.core.broadcast import Broadcast, RemoteSocket
from rtserver.core.handlers import Handler, Registry, is_async_function
from rtserver.core.pipeline import Middleware, as_middleware
from rtserver.core.socket import Socket
from rtserver.errors import ConfigurationError
from rtserver.events import Event
from rtserver.types import Room

P = TypeVar("P")
A = TypeVar("A")
F = TypeVar("F", bound=Callable[..., Any])


class Sending(abc.ABC):
    """Emitting to the sockets of a namespace."""

    @abc.abstractmethod
    def _operator(self) -> Broadcast: ...

    def to(self, *rooms: Room) -> Broadcast:
        """Everybody in at least one of the rooms."""
        return self._operator().to(*rooms)

    in_ = to

    def except_(self, *rooms: Room) -> Broadcast:
        """Everybody who is in none of the rooms."""
        return self._operator().except_(*rooms)

    @property
    def volatile(self) -> Broadcast:
        """Everybody who can take an event now."""
        return self._operator().volatile

    @property
    def local(self) -> Broadcast:
        """Everybody on this node."""
        return self._operator().local

    def compress(self, wanted: bool) -> Broadcast:
        """Everybody, with or without compression."""
        return self._operator().compress(wanted)

    @overload
    def emit(self, event: Event[None, Any], /) -> None: ...
    @overload
    def emit(self, event: Event[P, Any], payload: P, /) -> None: ...
    @overload
    def emit(self, event: str, /, *args: Any) -> None: ...
    def emit(self, event: Event[Any, Any] | str, /, *args: Any) -> None:
        """Send an event to everybody. See ``Broadcast.emit``."""
        self._operator().emit(event, *args)

    def send(self, *args: Any) -> None:
        """``emit("message", *args)``."""
        self._operator().send(*args)

    @overload
    async def call(self, event: Event[None, A], /) -> list[A]: ...
    @overload
    async def call(self, event: Event[P, A], payload: P, /) -> list[A]: ...
    @overload
    async def call(self, event: str, /, *args: Any) -> list[Any]: ...
    async def call(self, event: Event[Any, Any] | str, /, *args: Any) -> list[Any]:
        """Send an event to everybody and collect acknowledgements. See ``Broadcast.call``."""
        return await self._operator().call(event, *args)

    async def fetch_sockets(self) -> Gathered[RemoteSocket]:
        """Every socket, on every node. See ``Broadcast.fetch_sockets``."""
        return await self._operator().fetch_sockets()

    def sockets_join(self, *rooms: Room) -> None:
        """Put everybody into rooms."""
        self._operator().sockets_join(*rooms)

    def sockets_leave(self, *rooms: Room) -> None:
        """Take everybody out of rooms."""
        self._operator().sockets_leave(*rooms)

    def disconnect_sockets(self, close: bool = False) -> None:
        """Disconnect everybody."""
        self._operator().disconnect_sockets(close)


class Registering:
    """Registering handlers, hooks and middleware on a namespace."""

    registry: Registry

    @overload
    def on(
        self, event: Event[None, A], *, concurrent: bool = False
    ) -> Callable[[Callable[[Socket], A | Awaitable[A]]], Callable[[Socket], A | Awaitable[A]]]: ...
    @overload
    def on(
        self, event: Event[P, A], *, concurrent: bool = False
    ) -> Callable[[Callable[[Socket, P], A | Awaitable[A]]], Callable[[Socket, P], A | Awaitable[A]]]: ...
    @overload
    def on(self, event: str, *, concurrent: bool = False) -> Callable[[F], F]: ...
    def on(self, event: Event[Any, Any] | str, *, concurrent: bool = False) -> Any:
        """Register the decorated function for an event.

        It gets the socket and the event's arguments; what it returns acknowledges
        the event. With a parameter ``ack`` it answers by itself.

        Args:
            event: A typed event, or a name.
            concurrent: An async handler may run beside the socket's others, in any order.

        Raises:
            ConfigurationError: The name is reserved or has a handler already.
        """

        def register(function: F) -> F:
            self.registry.add(event, function, concurrent)
            return function

        return register

    def emits(self, *events: Event[Any, Any] | str) -> None:
        """Declare what is sent to clients, for the documents that are made of a server's events.

        Handlers are known from their registration; an event that is only sent is known from
        here. Say it where its handlers are registered. Nothing changes in sending.

        ```python
        chat.emits(POSTED, TYPING)
        ```

        Args:
            events: Typed events, or names of events whose arguments nobody describes.

        Raises:
            ConfigurationError: A name is reserved, or was declared with other types.
        """
        for event in events:
            self.registry.declare(event)

    def on_connect(self, function: F) -> F:
        """Call ``function(socket)`` when a client has joined. Decorator."""
        self.registry.on_connect.append(_hook(function, 0))
        return function

    def on_disconnecting(self, function: F) -> F:
        """Call ``function(socket, reason)`` while a leaving socket is still in its rooms. Decorator.

        Raises:
            ConfigurationError: The function is async: the rooms are left as soon as it returns.
        """
        if is_async_function(function):
            raise ConfigurationError("on_disconnecting", function, "a plain function: rooms are left when it returns")
        self.registry.on_disconnecting.append(_hook(function, 1))
        return function

    def on_disconnect(self, function: F) -> F:
        """Call ``function(socket, reason)`` when a socket is gone. Decorator."""
        self.registry.on_disconnect.append(_hook(function, 1))
        return function

    def on_any(self, function: F) -> F:
        """Call ``function(socket, event, *args)`` for every event, before its handler. Decorator.

        Raises:
            ConfigurationError: The function is async.
        """
        if is_async_function(function):
            raise ConfigurationError("on_any", function, "a plain function")
        self.registry.catch_all.append(function)
        return function

    def on_server_side(self, event: str) -> Callable[[F], F]:
        """Call the decorated ``function(*args)`` for an event that another node has sent.

        What it returns, or what the coroutine that it returns gives, answers ``server_side_call``.
        """

        def register(function: F) -> F:
            if event in self.registry.server_side:
                raise ConfigurationError("event", event, "one server-side handler for each event")
            self.registry.server_side[event] = function
            return function

        return register

    def guard_room(self, function: F) -> F:
        """Ask ``function(socket, room)`` before ``socket.enter(room)``. Decorator.

        It may be async. It refuses by raising ``RoomRefused`` or by returning False.

        Raises:
            ConfigurationError: The namespace has a guard already.
        """
        if self.registry.room_guard is not None:
            raise ConfigurationError("guard_room", function, "one guard for each namespace")
        self.registry.room_guard = function
        return function

    def use(self, middleware: Middleware | Callable[[Socket], Any]) -> Any:
        """Add middleware, or a function that looks at a joining socket and raises ``ConnectRefused``.

        Raises:
            ConfigurationError: It is neither.
        """
        self.registry.use(as_middleware(middleware))
        return middleware


def _hook(function: Callable[..., Any], arguments: int) -> Handler:
    handler = Handler(function)
    if not handler.least <= arguments <= handler.most:
        raise ConfigurationError("handler", function, f"a function of the socket and {arguments} more")
    return handler
