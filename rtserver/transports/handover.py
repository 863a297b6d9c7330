"""The way to everything that is not Engine.IO's: Hypercorn's server for an ASGI application.

Rule: a connection that has been handed over never comes back, and nothing that
happens on it reaches another one. Uses the constructor of Hypercorn 0.18's
``TCPServer``; a contract test holds it.
"""

from __future__ import annotations

import socket
from typing import Any

import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState

from rtserver.config import Config
from rtserver.transports.guard import GuardedStream, RequestGuard
from rtserver.transports.request import Request

log = structlog.get_logger("rtserver.handover")

# How long an application may go on with a request whose client has gone.
END_SECONDS = 0.5


async def _run_lifespan(lifespan: Lifespan, scope: trio.CancelScope) -> None:
    with scope:
        await lifespan.handle_lifespan()


async def _end_with(stream: GuardedStream, scope: trio.CancelScope) -> None:
    """Hypercorn would keep a connection that has ended for as long as an idle one."""
    await stream.ended.wait()
    scope.deadline = trio.current_time() + END_SECONDS


def _with_whole_sends(app: ASGIFramework) -> ASGIFramework:
    """``app``, whose sends are not cut short when it cancels itself.

    Inside the last ``send`` of an answer Hypercorn tells the application that the
    request is over, and begins to time the idle connection. Quart-Trio cancels the
    request when it is told, and with it the timing: such a connection would outlive
    every time-out, and the drain.
    """

    async def application(scope: Any, receive: Any, send: Any) -> None:
        async def send_whole(message: Any) -> None:
            with trio.CancelScope(shield=True):
                await send(message)

        await app(scope, receive, send_whole)

    return application


class Handover:
    """Runs an ASGI application for the connections that the front door passes on.

    Args:
        app: The application.
        config: The node's settings.
        websockets: Whether the application serves WebSockets of its own.
    """

    def __init__(self, app: ASGIFramework, config: Config, *, websockets: bool = False) -> None:
        self._app = ASGIWrapper(_with_whole_sends(app))
        self._config = config
        self._websockets = websockets
        self._context = WorkerContext(None)
        self._state: dict[str, object] = {}
        self._streams: set[GuardedStream] = set()
        self._nursery: trio.Nursery | None = None
        self._hypercorn = HypercornConfig()
        self._hypercorn.errorlog = None
        self._hypercorn.accesslog = None
        self._hypercorn.include_server_header = False
        self._hypercorn.keep_alive_timeout = config.keep_alive_timeout
        self._hypercorn.websocket_max_message_size = config.max_http_buffer_size
        self._hypercorn.h11_max_incomplete_size = config.max_head_size

    def __len__(self) -> int:
        """How many connections are with the application."""
        return len(self._streams)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start the application and serve until cancelled."""
        lifespan = Lifespan(self._app, self._hypercorn, self._state)
        async with trio.open_nursery() as outer:
            # The application's own lifetime ends after everything else, and by itself.
            alive = trio.CancelScope(shield=True)
            outer.start_soon(_run_lifespan, lifespan, alive)
            await lifespan.wait_for_startup()
            try:
                async with trio.open_nursery() as self._nursery:
                    task_status.started()
                    await trio.sleep_forever()
            finally:
                self._nursery = None
                with trio.CancelScope(shield=True, deadline=trio.current_time() + self._config.shutdown_timeout):
                    await lifespan.wait_for_shutdown()
                alive.cancel()

    async def stop(self) -> None:
        """End idle connections now, and all others as soon as their answers are out or time is up."""
        await self._context.terminated.set()

    def abort(self) -> None:
        """Close every connection."""
        for stream in list(self._streams):
            stream.abort()

    def take(self, sock: socket.socket, peer: str, request: Request, received: bytes) -> None:
        """Go on with a connection of which ``received`` has been read. Its other end is ``peer``."""
        if self._nursery is None:
            sock.close()
            return
        guard = RequestGuard(self._config, websockets=self._websockets, single=bool(self._config.secret))
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        guarded = GuardedStream(stream, guard, received, self._config.head_timeout)
        self._streams.add(guarded)
        self._nursery.start_soon(self._serve, guarded)

    async def _serve(self, stream: GuardedStream) -> None:
        state = ConnectionState(self._state.copy())
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_end_with, stream, nursery.cancel_scope)
                await TCPServer(self._app, self._hypercorn, self._context, state, stream)  # type: ignore[arg-type]
                nursery.cancel_scope.cancel()
        except Exception as exc:
            # Whatever a request does to the server that got it ends here, with its connection.
            log.warning("connection_failed", error=type(exc).__name__, exc_info=exc)
        finally:
            self._streams.discard(stream)
            stream.abort()
