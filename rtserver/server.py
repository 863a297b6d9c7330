"""``Server``: joins the engine, the namespaces and an adapter, and runs them.

Rule: owns every task of a node through one nursery; when ``serve`` returns,
nothing of it is left. The layer above gives it an HTTP application through
``app_factory``, because this one may not import it.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, Unpack, cast, overload

import structlog
import trio

from rtserver.adapters.base import AdapterFactory, Gathered, RelayStatistics, relay_of
from rtserver.cluster.adapter import adapter_for
from rtserver.cluster.member import ClusterStatistics
from rtserver.cluster.site import Site, open_site
from rtserver.config import Config, Options
from rtserver.core.admission import Admission, AllowRequest
from rtserver.core.broadcast import Broadcast
from rtserver.core.client import Client
from rtserver.core.directory import Directory
from rtserver.core.encoding import parser_for
from rtserver.core.namespace import Matcher, Namespace, NamespaceStatistics, ParentNamespace
from rtserver.core.pipeline import Middleware, check_emit_hooks, overrides
from rtserver.core.recovery import Recovery, RecoveryStatistics
from rtserver.core.surface import Registering, Sending
from rtserver.core.users import Users
from rtserver.logs import LimitedLog
from rtserver.protocol.socketio.parser import Parser
from rtserver.transports.asgi import ASGIApp, EngineAsgi, answer_lifespan
from rtserver.transports.engine import Engine, EngineStatistics
from rtserver.transports.node import NodeStatistics
from rtserver.transports.request import Request
from rtserver.transports.session import EngineSession
from rtserver.types import Auth

log = structlog.get_logger("rtserver.server")

B = TypeVar("B", bound=Callable[[], Awaitable[None]])


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    """What a node holds and has counted.

    None: ``node`` behind an ASGI server, ``cluster`` alone, ``relay`` without other nodes, ``recovery`` if it is off.
    """

    clients: int
    slow_handlers: int
    started_at: float | None
    engine: EngineStatistics
    namespaces: tuple[NamespaceStatistics, ...]
    node: NodeStatistics | None
    cluster: ClusterStatistics | None
    relay: RelayStatistics | None
    recovery: RecoveryStatistics | None


class Server(Sending, Registering, Users):
    """A Socket.IO server. The methods of the main namespace are on it directly.

    Args:
        parser: Encodes packets; ``JSONParser`` unless given. Clients must use the same.
        adapter: Makes the adapter of each namespace; ``RedisAdapter`` with a ``redis_url``, else ``MemoryAdapter``.
        allow_request: Decides on each handshake, plain or async: False or ``RequestRefused`` refuses it.
        middleware: For every namespace. ``use`` adds to the main one only.
        options: The settings, see ``Config``.

    Raises:
        ConfigurationError: A setting is unknown or has a value that cannot be used.
    """

    app_factory: ClassVar[Callable[[Server, ASGIApp | None], ASGIApp] | None] = None

    def __init__(
        self,
        *,
        parser: Parser | None = None,
        adapter: AdapterFactory | None = None,
        allow_request: AllowRequest | None = None,
        middleware: Sequence[Middleware] = (),
        **options: Unpack[Options],
    ) -> None:
        self._options = cast(dict[str, Any], options)
        self._parser = parser
        self.config = Config.of(self._options)
        self.parser = parser or parser_for(self.config)
        self.recovery = Recovery.of(self.config)
        self._adapter = adapter
        self.adapter_factory = adapter or adapter_for(self.config)
        self.engine = Engine(self.config, self)
        # Serves what is not Engine.IO's, unless ``serve`` is given another.
        self.http_app: ASGIApp | None = None
        self.quiet = LimitedLog()
        self.clients: set[Client] = set()
        self.slow_handlers = 0
        self.started_at: float | None = None
        check_emit_hooks(middleware)
        self._directory = Directory(self, list(middleware))
        self.admission = Admission(allow_request)
        self._nursery: trio.Nursery | None = None
        self._stopping: trio.Event | None = None
        self._site: Site | None = None
        self._permanent_tasks = 0
        self._background: list[Callable[[], Awaitable[None]]] = []
        self.main = self._directory.named("/")
        self.registry = self.main.registry
        self.listen_to_nodes()
        self.admission.compile(self.registry.middleware)

    def configure(self, **options: Unpack[Options]) -> None:
        """Change settings before the server runs: what a command line does.

        Raises:
            ConfigurationError: As for the constructor; nothing has changed then.
            RuntimeError: The server is running.
        """
        if self._nursery is not None:
            raise RuntimeError("the server is running already")
        merged = {**self._options, **cast(dict[str, Any], options)}
        self.config = Config.of(merged)
        self._options = merged
        self.parser = self._parser or parser_for(self.config)
        self.recovery = Recovery.of(self.config)
        self.engine = Engine(self.config, self)
        self.adapter_factory = self._adapter or adapter_for(self.config)
        for namespace in self.namespaces.values():
            namespace.configure(self.config, self.parser)
            namespace.adopt(self.adapter_factory)

    # Namespaces.

    @overload
    def of(self, name: str) -> Namespace: ...
    @overload
    def of(self, name: re.Pattern[str] | Matcher) -> ParentNamespace: ...
    def of(self, name: str | re.Pattern[str] | Matcher) -> Namespace | ParentNamespace:
        """The namespace of a name, or the parent of all that match.

        Args:
            name: A name; or a regular expression or a function ``(name, auth) -> bool``, plain or async, for
                namespaces that come into being when a client asks. It is not asked again while the namespace
                exists, as in the reference: who may join is for middleware to say.

        Raises:
            ConfigurationError: It is none of these.
        """
        return self._directory.named(name) if isinstance(name, str) else self._directory.parent(name)

    @property
    def namespaces(self) -> Mapping[str, Namespace]:
        """Every namespace of this node, by name."""
        return self._directory.namespaces

    @property
    def parent_namespaces(self) -> Sequence[ParentNamespace]:
        """The parents of dynamic namespaces, in the order in which they are asked."""
        return self._directory.parents

    def find_namespace(self, name: str, auth: Auth) -> Namespace | Awaitable[Namespace | None] | None:
        return self._directory.find(name, auth)

    def namespace_empty(self, namespace: Namespace) -> None:
        self._directory.drop(namespace)

    # The main namespace.

    @property
    def adapter(self) -> Any:
        """The main namespace's adapter."""
        return self.main.adapter

    @property
    def sockets(self) -> Any:
        """The main namespace's sockets on this node, by id."""
        return self.main.sockets

    def _operator(self) -> Broadcast:
        return Broadcast(self.main)

    def use(self, middleware: Middleware | Callable[..., Any]) -> Any:
        """Add middleware to the main namespace; its ``request`` hook counts for the whole server."""
        super().use(middleware)
        self.admission.compile(self.registry.middleware)
        return middleware

    def server_side_emit(self, event: str, *args: Any) -> None:
        """Send an event to the other nodes. They get it by ``on_server_side``."""
        self.main.server_side_emit(event, *args)

    async def server_side_call(self, event: str, *args: Any) -> Gathered[Any]:
        """The same, and wait for what each of them answers; ``silent`` is the number of those that do not."""
        return await self.main.server_side_call(event, *args)

    # What the engine asks.

    def admit(self, request: Request) -> Awaitable[None] | None:
        return self.admission.admit(request)

    def opened(self, session: EngineSession) -> Client:
        return Client(self, session)

    def start_task(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run ``task`` in the server's nursery; it is cancelled when the server stops.

        Raises:
            RuntimeError: The server is not running.
        """
        if self._nursery is None:
            raise RuntimeError("the server is not running")
        self._nursery.start_soon(task)

    def background(self, task: B) -> B:
        """Run an async function beside the handlers whenever the server runs; it is cancelled at the end.

        For what has to happen now and then, or the whole time. An exception in it ends the
        server. Usable as a decorator.

        Raises:
            RuntimeError: The server is running already.
        """
        if self._nursery is not None:
            raise RuntimeError("the server is running already")
        self._background.append(task)
        return task

    # Running.

    @property
    def running(self) -> bool:
        return self._nursery is not None

    @property
    def ready(self) -> bool:
        """Whether new clients are welcome."""
        return self.running and self.engine.accepting

    @asynccontextmanager
    async def lifetime(self) -> AsyncIterator[None]:
        """Run the server's tasks without a door: for ASGI servers and tests.

        Raises:
            RuntimeError: It is running already.
        """
        if self._nursery is not None:
            raise RuntimeError("the server is running already")
        async with trio.open_nursery() as outer:
            # Background tasks outlive a cancellation for as long as the drain takes.
            background = trio.CancelScope(shield=True)
            ready = trio.Event()
            outer.start_soon(self._run_background, background, ready)
            await ready.wait()
            try:
                yield
            finally:
                with trio.CancelScope(shield=True):
                    await self._drain()
                self._nursery = None
                background.cancel()

    async def _run_background(self, scope: trio.CancelScope, ready: trio.Event) -> None:
        with scope:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self.engine.deadlines.run)
                await self._nursery.start(self._run_tasks)
                self._permanent_tasks = 2
                self.started_at = time.time()
                self.engine.accepting = True
                ready.set()
                await trio.sleep_forever()

    async def _run_tasks(self, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            # An adapter that reaches other nodes has a connection to keep.
            if (keep := getattr(self.adapter_factory, "run", None)) is not None:
                await nursery.start(keep)
            task_status.started()
            if self.recovery is not None:
                nursery.start_soon(self.recovery.run)
            for task in self._background:
                nursery.start_soon(task)
            for member in self._directory.middleware():
                if overrides(member, "run"):
                    nursery.start_soon(member.run)
            await trio.sleep_forever()

    async def serve(
        self,
        *addresses: str,
        app: ASGIApp | None = None,
        websockets: bool = False,
        task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen and serve until ``stop`` or a cancellation, then drain.

        Args:
            addresses: ``"127.0.0.1:8000"``, ``"[::1]:8000"``, ``":8000"``, ``"unix:/run/app.sock"``; port 0 picks one.
            app: An ASGI application for everything that is not Engine.IO's, beside health and metrics.
            websockets: Whether ``app`` serves WebSockets of its own.
            task_status: Gets the addresses that are listened on, with their real ports.

        Raises:
            ConfigurationError: An address cannot be read.
            OSError: An address cannot be listened on.
        """
        factory = type(self).app_factory
        app = app or self.http_app
        served = app if factory is None else factory(self, app)
        self._stopping = trio.Event()
        addresses = addresses or ("127.0.0.1:8000",)
        async with open_site(self.engine, served, addresses, websockets=websockets) as site, self.lifetime():
            assert self._nursery is not None
            self._site = site
            self._permanent_tasks += 1
            await self._nursery.start(site.run, self.stop)
            log.info("listening", addresses=site.addresses)
            task_status.started(site.addresses)
            try:
                await self._stopping.wait()
                await site.leave()
            finally:
                self._stopping = None
                site.node.stop_listening()

    def stop(self) -> None:
        """Make ``serve`` drain and return.

        Behind an ASGI server, where that one decides when to end: take nobody new, and
        close every transport once what is queued is sent. Call it when a signal comes.
        """
        if self._stopping is not None:
            self._stopping.set()
        else:
            self._say_goodbye()

    def _say_goodbye(self) -> None:
        self.engine.accepting = False
        for client in list(self.clients):
            client.session.close("server shutting down")

    async def _drain(self) -> None:
        """Nobody new, flush, close at the transport, let handlers finish; all within ``shutdown_timeout``."""
        self._say_goodbye()
        with trio.move_on_after(self.config.shutdown_timeout):
            if self._site is not None:
                await self._site.node.drain()
            while self._unfinished():  # noqa: ASYNC110 - a nursery tells nobody that a task has ended
                await trio.sleep(0.01)
        if self._site is not None:
            self._site.node.close()
            self._site = None
        for session in list(self.engine.sessions.values()):
            session.fail("server shutting down")
            session.told()

    def _unfinished(self) -> bool:
        """Whether handlers are at work, clients are let in, or other nodes are still to take some over."""
        tasks = 0 if self._nursery is None else len(self._nursery.child_tasks) - self._permanent_tasks
        return tasks > 0 or (self.recovery is not None and self.recovery.awaits_nodes())

    # ASGI.

    def asgi(self, app: ASGIApp | None = None) -> ASGIApp:
        """The server as an ASGI application in front of ``app``, for ``hypercorn -k trio``."""

        async def lifespan(scope: Any, receive: Any, send: Any) -> None:
            async with self.lifetime():
                await (app or answer_lifespan)(scope, receive, send)

        return EngineAsgi(self.engine, app, lifespan)

    def mount(self, app: Any) -> None:
        """Put the server in front of a Quart-Trio application, which stays the one that is run.

        Args:
            app: Something with an ``asgi_app`` attribute, as Quart has it.
        """
        app.asgi_app = self.asgi(app.asgi_app)

    def statistics(self) -> ServerStatistics:
        """What this node holds and has counted."""
        return ServerStatistics(
            clients=len(self.clients),
            slow_handlers=self.slow_handlers,
            started_at=self.started_at,
            engine=self.engine.statistics(),
            namespaces=tuple(namespace.statistics() for namespace in self.namespaces.values()),
            node=None if self._site is None else self._site.node.statistics(),
            cluster=None if self._site is None else self._site.statistics(),
            relay=relay_of(self.adapter_factory),
            recovery=None if self.recovery is None else self.recovery.statistics(),
        )
