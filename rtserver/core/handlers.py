"""What an application has registered on a namespace: handlers, hooks and the room guard.

Rule: everything that can be known of a function is found out here, once, so that
an event costs a dictionary lookup and a call. Child namespaces share the registry
of their parent.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeAlias

from rtserver.core.acks import Ack
from rtserver.core.pipeline import (
    EmitContext,
    EnterContext,
    EventContext,
    Middleware,
    check_emit_hooks,
    compose,
    overrides,
    waits,
)
from rtserver.errors import ConfigurationError, EventRefused
from rtserver.events import RESERVED, Event

AnyFunction: TypeAlias = Callable[..., Any]
UNLIMITED = 1_000_000


class Handler:
    """A function and what was found out about it.

    Attributes:
        function: What the application registered.
        event: The typed event, or None for one registered by name.
        is_async: Whether running it may wait, middleware included.
        concurrent: Whether it may run beside the socket's other handlers.
        takes_ack: Whether it answers by itself through ``ack``.
        least: How many arguments of the event it needs.
        most: How many it takes.
        chain: The middleware around it, or None.
        direct: Whether an event's arguments can go to the function just so: nothing waits, decodes or looks on.
        through: ``chain``, if nothing in it waits and the function does not answer by itself.
        known: Whether an application has registered it.
    """

    __slots__ = (
        "chain",
        "concurrent",
        "direct",
        "event",
        "function",
        "is_async",
        "known",
        "least",
        "most",
        "name",
        "takes_ack",
        "through",
    )

    def __init__(self, function: AnyFunction, event: Event[Any, Any] | None = None, *, concurrent: bool = False):
        if not callable(function):
            raise ConfigurationError("handler", function, "a function")
        self.function = function
        self.event = event
        self.concurrent = concurrent
        self.is_async = is_async_function(function)
        self.name = getattr(function, "__qualname__", repr(function))
        self.known = True
        self.chain: Callable[[EventContext], Any] | None = None
        self.through: Callable[[EventContext], Any] | None = None
        self.least, self.most, self.takes_ack = _arguments(function)
        if event is not None and self.least > 1:
            raise ConfigurationError("handler", function, f"a function of a socket and the payload of {event!r}")
        self.find_direct()

    def find_direct(self) -> None:
        """Set ``direct`` and ``through``, once the rest is known."""
        self.through = None if self.is_async or self.takes_ack else self.chain
        self.direct = not self.is_async and self.event is None and not self.takes_ack and self.chain is None

    def call(self, socket: Any, packet: Sequence[Any], ack: Ack | None) -> Any:
        """Run the function on an event's name and arguments.

        Raises:
            EventRefused: The arguments do not fit.
        """
        event = self.event
        if event is not None:
            payload = event.decode(packet[1:])
            values: Sequence[Any] = () if event.payload is None else (payload,)
        else:
            count = len(packet) - 1
            if count < self.least or count > self.most:
                self.refuse_count(count)
            values = packet[1:]
        if ack is not None:
            return self.function(socket, *values, ack=ack)
        return self.function(socket, *values)

    def refuse_count(self, count: int) -> NoReturn:
        """Raises ``EventRefused``: an event has come with ``count`` arguments, which do not fit."""
        if self.least == self.most:
            expected = f"{self.least} argument{'' if self.least == 1 else 's'}"
        elif self.most == UNLIMITED:
            expected = f"at least {self.least} arguments"
        else:
            expected = f"{self.least} to {self.most} arguments"
        raise EventRefused("invalid_arguments", f"expected {expected}, got {count}")


class Registry:
    """Everything registered on a namespace."""

    def __init__(self, name: str, shared: list[Middleware]) -> None:
        self.name = name
        self.handlers: dict[str, Handler] = {}
        self.emitted: dict[str, Event[Any, Any] | None] = {}
        self.catch_all: list[AnyFunction] = []
        self.on_connect: list[Handler] = []
        self.on_disconnecting: list[Handler] = []
        self.on_disconnect: list[Handler] = []
        self.server_side: dict[str, AnyFunction] = {}
        self.room_guard: AnyFunction | None = None
        self.enter_chain: Callable[[EnterContext], Any] = self._ask_guard
        self.emit_chain: Callable[[EmitContext], Any] | None = None
        self.connect_waits = False
        self.joined: list[Handler] = []
        self.left: list[Handler] = []
        self._shared = shared
        self._own: list[Middleware] = []
        self._exempt: list[Middleware] = []
        self.unknown = Handler(_refuse_unknown)
        self.unknown.known = False
        self.unknown.least, self.unknown.most = 0, UNLIMITED
        self._compile()

    @property
    def middleware(self) -> list[Middleware]:
        """The server's, but for those that leave this namespace alone, then the namespace's own."""
        return [*(one for one in self._shared if one not in self._exempt), *self._own]

    def use(self, middleware: Middleware) -> None:
        check_emit_hooks([middleware])
        self._own.append(middleware)
        self._compile()

    def exempt(self, middleware: Sequence[Middleware]) -> None:
        """Leave out some of the server's.

        Raises:
            ConfigurationError: One is not the server's, or events are registered already.
        """
        for one in middleware:
            if one not in self._shared:
                raise ConfigurationError("middleware", one, "what was given to the server")
        if self.handlers:
            raise ConfigurationError("middleware", self.name, "a namespace without handlers yet")
        self._exempt += middleware
        self.unknown.is_async = False
        self._compile()

    def add(self, event: Event[Any, Any] | str, function: AnyFunction, concurrent: bool) -> None:
        """Register ``function`` for an event.

        Raises:
            ConfigurationError: The name is reserved or taken, or the function does not fit.
        """
        name = event.name if isinstance(event, Event) else event
        if not isinstance(name, str) or name in RESERVED:
            raise ConfigurationError("event", name, "a name that Socket.IO does not reserve")
        if name in self.handlers:
            taken = self.handlers[name].name
            raise ConfigurationError("event", name, f"one handler for each event; this one has {taken}")
        handler = Handler(function, event if isinstance(event, Event) else None, concurrent=concurrent)
        if concurrent and not handler.is_async:
            raise ConfigurationError("concurrent", function, "an async handler: a plain one never waits")
        self.handlers[name] = handler
        self._compile_handler(handler)

    def declare(self, event: Event[Any, Any] | str) -> None:
        """Note that ``event`` is sent to clients.

        Raises:
            ConfigurationError: The name is reserved, or was declared with other types.
        """
        typed = event if isinstance(event, Event) else None
        name = typed.name if typed else event
        if not isinstance(name, str) or name in RESERVED:
            raise ConfigurationError("event", name, "a name that Socket.IO does not reserve")
        known = self.emitted.setdefault(name, typed)
        if known is typed:
            return
        if known is None or typed is None or (known.payload, known.ack) != (typed.payload, typed.ack):
            raise ConfigurationError("event", event, f"the types that it was declared with before: {known or name!r}")

    def compile_again(self) -> None:
        """The server's middleware has changed."""
        self._compile()

    def _compile(self) -> None:
        middleware = self.middleware
        self.connect_waits = waits(middleware, "connect")
        self.joined = [Handler(member.joined) for member in middleware if overrides(member, "joined")]
        self.left = [Handler(member.left) for member in middleware if overrides(member, "left")]
        self.enter_chain = compose(middleware, "enter", self._ask_guard)
        self.emit_chain = None
        if any(overrides(member, "emit") for member in middleware):
            self.emit_chain = compose(middleware, "emit", lambda context: context)
        for handler in [*self.handlers.values(), self.unknown]:
            self._compile_handler(handler)

    def _ask_guard(self, context: EnterContext) -> Any:
        return None if self.room_guard is None else self.room_guard(context.socket, context.room)

    def _compile_handler(self, handler: Handler) -> None:
        middleware = self.middleware
        if any(overrides(member, "event") for member in middleware):
            handler.chain = compose(middleware, "event", _innermost(handler))
            handler.is_async = handler.is_async or waits(middleware, "event")
        handler.find_direct()


def _innermost(handler: Handler) -> Callable[[EventContext], Any]:
    event, function = handler.event, handler.function
    if event is not None and event.payload is not None and not handler.takes_ack:
        decode = event.decode
        # What ``Handler.call`` does, in one call less: most events behind middleware are these.
        return lambda context: function(context.socket, decode(context.args))

    def run(context: EventContext) -> Any:
        ack = (context.ack or Ack(None)) if handler.takes_ack else None
        return handler.call(context.socket, (context.event, *context.args), ack)

    return run


def _refuse_unknown(socket: Any, *args: Any) -> None:
    raise EventRefused("unknown_event", "unknown event")


def is_async_function(function: AnyFunction) -> bool:
    """Whether calling ``function`` gives something to await."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object whose __call__ is async
    )


def _arguments(function: AnyFunction) -> tuple[int, int, bool]:
    """How many arguments after the socket ``function`` needs and takes, and whether it wants ``ack``."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return 0, UNLIMITED, False
    takes_ack = any(parameter.name == "ack" for parameter in parameters)
    least = most = 0
    for parameter in parameters:
        if parameter.name == "ack" or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD):
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            most = UNLIMITED
        else:
            most += 1
            least += parameter.default is parameter.empty
    if most == 0:
        raise ConfigurationError("handler", function, "a function whose first parameter is the socket")
    return max(0, least - 1), most - 1 if most < UNLIMITED else most, takes_ack
