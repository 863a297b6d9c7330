"""Middleware: one class with five hooks, composed once into onions.

Rule: a hook gets a frozen context and ``proceed``; it passes on by calling
``proceed`` and refuses by raising. Hooks that a class does not override are not
in the onion, so an event without middleware costs nothing. The other methods are
told, after the fact, of sessions and sockets that come and go.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import msgspec

from rtserver.adapters.base import Target
from rtserver.core.handshake import Handshake
from rtserver.errors import ConfigurationError
from rtserver.types import DisconnectReason

if TYPE_CHECKING:
    from rtserver.core.client import Client
    from rtserver.core.socket import Socket

C = TypeVar("C")


class RequestContext(msgspec.Struct, frozen=True):
    """An Engine.IO handshake: a client that has no session yet."""

    handshake: Handshake


class ConnectContext(msgspec.Struct, frozen=True):
    """A client asks to join a namespace."""

    socket: Any
    auth: Mapping[str, Any]


class EventContext(msgspec.Struct, frozen=True, gc=False):
    """An event has arrived.

    ``args`` are its arguments without the name, ``known`` says whether it has a
    handler, and ``ack`` is what a handler that answers by itself will be given.
    """

    socket: Any
    event: str
    args: Sequence[Any]
    known: bool
    ack: Any = None


class EnterContext(msgspec.Struct, frozen=True):
    """A client asks to enter a room, or is asked about again in one that it has entered."""

    socket: Any
    room: str


class EmitContext(msgspec.Struct, frozen=True):
    """An event is about to be sent: to ``socket``, or else to ``target`` in ``namespace``.

    ``sender`` is the client on whose behalf it is: ``sender.to(…).emit(…)``.
    """

    namespace: Any
    event: str
    args: Sequence[Any]
    socket: Any = None
    target: Target | None = None
    sender: Any = None


Result: TypeAlias = Any
Proceed: TypeAlias = Callable[[C], Result]


class Middleware:
    """Base of all middleware. Override the hooks that you need, plain or async.

    What a hook returns is what the one before it gets from ``proceed``: for
    ``event`` the acknowledgement. An async hook awaits ``proceed``, whatever comes
    after it; a plain hook in front of an async one gets, and returns, an awaitable.
    ``emit`` never waits, so it is plain.
    """

    async def run(self) -> None:
        """What goes on beside the handlers for as long as the server runs; cancelled at its end."""

    def request(self, context: RequestContext, proceed: Proceed[RequestContext]) -> Result:
        """A handshake. Raise ``RequestRefused`` to refuse it."""
        return proceed(context)

    def connect(self, context: ConnectContext, proceed: Proceed[ConnectContext]) -> Result:
        """A namespace is joined. Raise ``ConnectRefused`` to refuse it."""
        return proceed(context)

    def event(self, context: EventContext, proceed: Proceed[EventContext]) -> Result:
        """An event has arrived. Raise ``EventRefused`` to refuse it."""
        return proceed(context)

    def enter(self, context: EnterContext, proceed: Proceed[EnterContext]) -> Result:
        """A room is entered. Raise ``RoomRefused`` to refuse it; what ``proceed`` gives is the guard's word."""
        return proceed(context)

    def emit(self, context: EmitContext, proceed: Proceed[EmitContext]) -> Result:
        """An event is sent, once for each emit or broadcast."""
        return proceed(context)

    def opened(self, client: Client) -> None:
        """A session has begun. For what counts connections; like ``request``, it counts for the whole server."""

    def closed(self, client: Client, reason: DisconnectReason) -> None:
        """A session is over: once for each that was ``opened``."""

    def joined(self, socket: Socket) -> None:
        """A socket is in its namespace, and no handler has seen it yet."""

    def left(self, socket: Socket, reason: DisconnectReason) -> None:
        """A socket is out of its namespace: once for each that has ``joined``."""


class ConnectCheck(Middleware):
    """A function as middleware: it looks at a socket that wants to join, and raises to refuse."""

    def __init__(self, check: Callable[[Socket], Awaitable[None] | None]) -> None:
        self._check = check

    def connect(self, context: ConnectContext, proceed: Proceed[ConnectContext]) -> Result:
        pending = self._check(context.socket)
        if pending is None:
            return proceed(context)
        return self._wait(pending, context, proceed)

    async def _wait(
        self, pending: Awaitable[None], context: ConnectContext, proceed: Proceed[ConnectContext]
    ) -> Result:
        await pending
        result = proceed(context)
        return await result if inspect.isawaitable(result) else result


def as_middleware(given: Middleware | Callable[[Socket], Awaitable[None] | None]) -> Middleware:
    """Accept what ``use`` accepts.

    Raises:
        ConfigurationError: It is neither middleware nor a function.
    """
    if isinstance(given, Middleware):
        return given
    if isinstance(given, type) or not callable(given):
        raise ConfigurationError("middleware", given, "an instance of Middleware, or a function of a socket")
    return ConnectCheck(given)


def overrides(middleware: Middleware, hook: str) -> bool:
    """Whether ``middleware`` has a ``hook`` of its own."""
    return getattr(type(middleware), hook) is not getattr(Middleware, hook)


def waits(middleware: Sequence[Middleware], hook: str) -> bool:
    """Whether a hook in the onion is async."""
    return any(overrides(member, hook) and inspect.iscoroutinefunction(getattr(member, hook)) for member in middleware)


def compose(middleware: Sequence[Middleware], hook: str, inner: Callable[[Any], Result]) -> Callable[[Any], Result]:
    """The onion of one hook; ``inner`` itself if nobody overrides it."""
    for member in reversed(middleware):
        if overrides(member, hook):
            inner = _layer(getattr(member, hook), inner)
    return inner


def _layer(hook: Callable[[Any, Any], Result], inner: Callable[[Any], Result]) -> Callable[[Any], Result]:
    if not inspect.iscoroutinefunction(hook):
        return lambda context: hook(context, inner)

    async def proceed(context: Any) -> Result:
        result = inner(context)
        return await result if inspect.isawaitable(result) else result

    return lambda context: hook(context, proceed)


def check_emit_hooks(middleware: Sequence[Middleware]) -> None:
    """Raises ``ConfigurationError`` for an async ``emit`` hook."""
    if waits(middleware, "emit"):
        raise ConfigurationError("emit hook", middleware, "a plain function: sending never waits")
