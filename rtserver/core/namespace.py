"""Namespaces: the sockets, rooms and handlers behind one name; and parents of dynamic ones.

Rule: a namespace joins a registry (shared among the children of a parent) with an
adapter and the sockets of this node. It knows the server only as ``NamespaceHost``.
"""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import structlog

from rtserver.adapters.base import Adapter, AdapterFactory, Flags, Gathered, Target
from rtserver.config import Config
from rtserver.core.broadcast import Broadcast, RemoteSocket, event_name
from rtserver.core.delivery import deliver_to
from rtserver.core.handlers import Registry
from rtserver.core.moving import ASK, TAKEN
from rtserver.core.pipeline import Middleware
from rtserver.core.recovery import Recovery
from rtserver.core.rooms import new_socket_id
from rtserver.core.socket import Socket
from rtserver.core.surface import Registering, Sending
from rtserver.errors import ConfigurationError
from rtserver.logs import LimitedLog
from rtserver.protocol.engineio.outbound import Outbound
from rtserver.protocol.socketio.parser import Parser
from rtserver.types import Auth

if TYPE_CHECKING:
    from rtserver.core.client import Client

log = structlog.get_logger("rtserver.namespace")

Matcher: TypeAlias = Callable[[str, Auth], bool | Awaitable[bool]]


class SentCounters(Protocol):
    """What has been sent, by whatever way."""

    bytes_out: int
    packets_out: int


class CountingEngine(Protocol):
    """The part of the engine that counts."""

    @property
    def counters(self) -> SentCounters: ...


class NamespaceHost(Protocol):
    """What a namespace needs of the server."""

    config: Config
    parser: Parser
    adapter_factory: AdapterFactory
    recovery: Recovery | None
    quiet: LimitedLog
    slow_handlers: int

    @property
    def engine(self) -> CountingEngine: ...

    def start_task(self, task: Callable[[], Awaitable[None]]) -> None: ...

    def namespace_empty(self, namespace: Namespace) -> None:
        """The last socket has left a dynamic namespace."""


@dataclass(frozen=True, slots=True)
class NamespaceStatistics:
    """What a namespace holds on this node, and has counted.

    ``dynamic`` says that a client has chosen its name.
    """

    name: str
    dynamic: bool
    sockets: int
    rooms: int
    events_received: int
    events_refused: int


class Namespace(Sending, Registering):
    """The sockets that joined one name.

    Attributes:
        name: Begins with a slash.
        sockets: Those of this node, by id.
        joining: How many are being looked at by connect middleware.
        away: How many were cut off and are remembered.
        event: Makes an event ready for sending.
        adapter: Its rooms, and the way to other nodes.
    """

    def __init__(self, name: str, host: NamespaceHost, registry: Registry, *, dynamic: bool = False) -> None:
        self.name = name
        self._host = host
        self.configure(host.config, host.parser)
        self.sockets: dict[str, Socket] = {}
        self.joining = self.away = 0
        self.dynamic = dynamic
        self.events_received = 0
        self.events_refused = 0
        self.registry = registry
        self._ack_ids = itertools.count()
        self.adapter: Adapter = host.adapter_factory(self)

    def configure(self, config: Config, parser: Parser) -> None:
        """Go by these settings."""
        self.config = config
        self.parser = parser
        self.slow_handler = config.slow_handler
        self._recovery = recovery = self._host.recovery
        self.event: Callable[[Sequence[Any], Target, Flags], Outbound]
        self.event = self._event if recovery is None else partial(recovery.event, self)

    def adopt(self, adapter_factory: AdapterFactory) -> None:
        """Go by another adapter. Nobody is here yet."""
        self.adapter.close()
        self.adapter = adapter_factory(self)

    def exempt_from(self, *middleware: Middleware) -> None:
        """Let some of the server's middleware leave this namespace alone, which has means of its own.

        Their hooks for whole sessions and for all other namespaces stay as they are.

        Raises:
            ConfigurationError: It is the main namespace, one is not the server's, or there are handlers already.
        """
        if self.name == "/":
            raise ConfigurationError("middleware", self.name, "another namespace than the main one")
        self.registry.exempt(middleware)

    def __repr__(self) -> str:
        return f"<Namespace {self.name}>"

    def _operator(self) -> Broadcast:
        return Broadcast(self)

    def statistics(self) -> NamespaceStatistics:
        """Counters of this node."""
        rooms = len(self.adapter.local_rooms())
        return NamespaceStatistics(
            self.name, self.dynamic, len(self.sockets), rooms, self.events_received, self.events_refused
        )

    # Sockets.

    def new_socket_id(self) -> str:
        return new_socket_id()

    def new_socket(self, client: Client, auth: Auth) -> Socket:
        """A socket for a client that wants to join."""
        if self._recovery is None:
            return Socket(self, client, new_socket_id(), auth)
        return self._recovery.new_socket(self, client, auth)

    def add(self, socket: Socket) -> None:
        """A socket has been let in."""
        self.sockets[socket.id] = socket
        self.adapter.add(socket)

    def remove(self, socket: Socket) -> None:
        """A socket is gone."""
        self.sockets.pop(socket.id, None)
        self.adapter.remove(socket)
        self.became_empty()

    def suspend(self, socket: Socket) -> None:
        """A socket was cut off, and is remembered."""
        self.sockets.pop(socket.id, None)
        self.away += 1
        self.adapter.suspend(socket)

    def resume(self, socket: Socket) -> None:
        """A socket that was cut off is remembered no more."""
        self.away -= 1
        self.adapter.remove(socket)
        self.became_empty()

    def became_empty(self) -> None:
        """A dynamic namespace without sockets may go, unless one is about to be let in."""
        if self.dynamic and not self.sockets and not self.joining and not self.away:
            self._host.namespace_empty(self)

    def blocked(self, handler: str, seconds: float) -> None:
        """A plain handler has kept the loop waiting."""
        self._host.slow_handlers += 1
        self._host.quiet.warning("handler_blocks", handler=handler, namespace=self.name, seconds=round(seconds, 3))

    # What the adapter asks for.

    def start_task(self, task: Callable[[], Awaitable[None]]) -> None:
        self._host.start_task(task)

    def _event(self, args: Sequence[Any], target: Target, flags: Flags) -> Outbound:
        return self.parser.encode_event(self.name, args, None, compress=flags.compress)

    def question(self, args: Sequence[Any], ack_id: int, compress: bool) -> Outbound:
        return self.parser.encode_event(self.name, args, ack_id, compress=compress)

    def deliver(self, sockets: Iterable[Any], message: Outbound, volatile: bool, args: Sequence[Any]) -> None:
        if self._recovery is not None:
            # Each of them has a trail to leave.
            for socket in sockets:
                socket.deliver(message, volatile, args)
            return
        straight = deliver_to(sockets, message, volatile, args)
        if straight:
            counters = self._host.engine.counters
            counters.packets_out += straight * message.count
            counters.bytes_out += straight * len(message.frames)

    def next_ack_id(self) -> int:
        return next(self._ack_ids)

    # Other nodes.

    def server_side_emit(self, event: str, *args: Any) -> None:
        """Send an event to the same namespace on the other nodes."""
        self.adapter.server_side_emit((event_name(event), *args))

    async def server_side_call(self, event: str, *args: Any) -> Gathered[Any]:
        """The same, and wait for what each of them answers; ``silent`` is the number of those that do not."""
        return await self.adapter.server_side_call((event_name(event), *args))

    def on_server_side_event(self, args: Sequence[Any], answer: Callable[[Any], None] | None) -> None:
        if args and args[0] in (ASK, TAKEN):
            self._recover_elsewhere(args, answer)
            return
        function = self.registry.server_side.get(args[0]) if args else None
        if function is None:
            return
        try:
            result = function(*args[1:])
        except Exception:
            log.exception("server_side_handler_failed", server_side_event=args[0])
            return
        if inspect.iscoroutine(result):
            self._host.start_task(lambda: self._answer_later(args[0], result, answer))
        elif answer is not None:
            answer(result)

    def _recover_elsewhere(self, args: Sequence[Any], answer: Callable[[Any], None] | None) -> None:
        """A client that may have been here has come to another node."""
        if answer is not None:
            answer(None if self._recovery is None else self._recovery.give(self, args[1:]))
        elif self._recovery is not None and args[0] == TAKEN:
            self._recovery.taken(self, args[1:])

    async def _answer_later(self, event: str, result: Awaitable[Any], answer: Callable[[Any], None] | None) -> None:
        try:
            value = await result
        except Exception:
            log.exception("server_side_handler_failed", server_side_event=event)
            return
        if answer is not None:
            answer(value)


class ParentNamespace(Registering):
    """What all namespaces whose names match have in common: handlers, and broadcasts to all of them."""

    def __init__(self, matcher: Matcher, registry: Registry) -> None:
        self.matches = matcher
        self.children: dict[str, Namespace] = {}
        self.registry = registry

    def emit(self, event: str, *args: Any) -> None:
        """Send an event to everybody in every child."""
        for child in list(self.children.values()):
            child.emit(event, *args)

    def send(self, *args: Any) -> None:
        """``emit("message", *args)``."""
        self.emit("message", *args)

    async def fetch_sockets(self) -> Gathered[RemoteSocket]:
        """Every socket of every child. ``silent`` is that of the child where most nodes were."""
        every = [await child.fetch_sockets() for child in list(self.children.values())]
        silent = max((found.silent for found in every), default=0)
        names = frozenset(name for found in every for name in found.silent_nodes)
        return Gathered((socket for found in every for socket in found), silent=silent, silent_nodes=names)

    def disconnect_sockets(self, close: bool = False) -> None:
        """Disconnect everybody in every child."""
        for child in list(self.children.values()):
            child.disconnect_sockets(close)


def matcher_of(given: re.Pattern[str] | Matcher) -> Matcher:
    """A regular expression or a function as a function.

    Raises:
        ConfigurationError: It is neither.
    """
    if isinstance(given, re.Pattern):
        pattern = given
        return lambda name, auth: pattern.search(name) is not None
    if callable(given):
        return given
    raise ConfigurationError("namespace", given, "a name, a regular expression, or a function of a name and auth")


def matcher_name(given: re.Pattern[str] | Matcher) -> str:
    """A regular expression's pattern or a function's name: the same in every process."""
    if isinstance(given, re.Pattern):
        return given.pattern
    return getattr(given, "__qualname__", type(given).__qualname__)


def check_name(name: str) -> str:
    """A namespace's name with its slash.

    Raises:
        ConfigurationError: It cannot be one.
    """
    if not isinstance(name, str) or "," in name or "?" in name:
        raise ConfigurationError("namespace", name, "a name without commas and question marks")
    return name if name.startswith("/") else f"/{name}"
