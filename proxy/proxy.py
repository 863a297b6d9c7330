"""The proxy of one process: its listening sockets, its upstreams, and everything in between.

Rule: every task is in one nursery and dies with it; a connection that was handed over has
no task here, and so outlives us.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import structlog
import trio

from proxy.discovery import Discovery
from proxy.edge import Edge
from proxy.errors import BadSetting
from proxy.forwarding import Client
from proxy.head import RequestHead
from proxy.links import default_run_dir
from proxy.listening import Listener, Listening
from proxy.logs import AccessLog
from proxy.loop import Loop
from proxy.pool import Pool
from proxy.probes import run_probes
from proxy.relay import Relay
from proxy.routing import Route
from proxy.settings import Settings
from proxy.streams import SocketStream, Wire
from proxy.tls import Certificate

HOUSEKEEPING_SECONDS = 0.5
# A node that is there says so at once; one that hangs is not waited for.
HEAR_SECONDS = 1.0

log = structlog.get_logger("proxy")


class Proxy:
    """Serves clients on listening sockets.

    Args:
        settings: Checked.
        listening: Where clients come; the proxy closes them.

    Raises:
        BadSetting: A file that the settings name cannot be used.

    Attributes:
        edge: Counters, and connections that are ours yet.
        pool: The upstreams.
        accepting: Whether new clients are taken.
    """

    def __init__(self, settings: Settings, listening: list[Listening]) -> None:
        self.settings = settings
        self.listening = listening
        self.loop = Loop()
        self.pool = Pool(self.loop, run_dir(settings), settings)
        self.edge = Edge(self.loop, self.pool, settings, self)
        self.edge.access = AccessLog(settings.access_log) if settings.access_log else None
        self.accepting = True
        self.relays = 0
        self._certificate = Certificate(settings) if settings.tls_listen else None
        self._discovery = None if settings.redis_url is None else Discovery(settings.redis_url, self.pool)
        self._listeners: list[Listener] = []
        self._stopping = trio.Event()
        self._probing: trio.CancelScope | None = None
        self._nursery: trio.Nursery | None = None
        self._relaying: trio.Nursery | None = None

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until ``stop`` is called and what is relayed has ended, or until cancelled.

        Args:
            task_status: Told when clients are taken.
        """
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self.loop.run)
            with trio.move_on_after(HEAR_SECONDS):
                # Whoever took clients before us knew them.
                await self.pool.hear()
            if self._discovery is not None:
                with trio.move_on_after(self.settings.connect_timeout):
                    await self._discovery.look()
                nursery.start_soon(self._discovery.run)
            nursery.start_soon(self.pool.run)
            nursery.start_soon(self._probe)
            nursery.start_soon(self._keep_house)
            self._listeners = [Listener(self.edge, one) for one in self.listening]
            task_status.started()
            try:
                async with trio.open_nursery() as relaying:
                    self._relaying = relaying
                    await self._stopping.wait()
                    await self._finish(relaying)
            finally:
                self._close()
            nursery.cancel_scope.cancel()

    def stop(self) -> None:
        """Take nobody new; what is relayed may end by itself within ``drain_timeout``."""
        self.accepting = False
        self._stopping.set()

    async def _finish(self, relaying: trio.Nursery) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners = []
        with trio.move_on_after(self.settings.drain_timeout):
            await self.edge.empty()
        relaying.cancel_scope.cancel()

    def _close(self) -> None:
        for listener in self._listeners:
            listener.close()
        self.edge.close()
        self.pool.close()
        if self._discovery is not None:
            self._discovery.close()
        if self.edge.access is not None:
            self.edge.access.close()

    # Relays, which the edge starts.

    def start(self, sock: socket.socket, peer: Client, head: RequestHead, rest: bytes, route: Route | None) -> None:
        assert self._relaying is not None
        self._relaying.start_soon(self._relay, sock, peer, head, rest, route)

    def start_tls(self, sock: socket.socket, peer: Client) -> None:
        assert self._relaying is not None
        self._relaying.start_soon(self._relay_tls, sock, peer)

    async def _relay(
        self, sock: socket.socket, peer: Client, head: RequestHead, rest: bytes, route: Route | None
    ) -> None:
        handed_over = False
        self.relays += 1
        try:
            relay = Relay(self.edge, self._discovery, Wire(SocketStream(sock), rest), peer)
            handed_over = await relay.run(head, route)
        except Exception:
            log.exception("relay_failed")
        finally:
            self.relays -= 1
            self.edge.release(peer)
            if not handed_over:
                sock.close()

    async def _relay_tls(self, sock: socket.socket, peer: Client) -> None:
        self.relays += 1
        try:
            assert self._certificate is not None
            stream = trio.SSLStream[trio.abc.Stream](
                SocketStream(sock), self._certificate.context, server_side=True, https_compatible=True
            )
            with trio.fail_after(self.settings.head_timeout):
                await stream.do_handshake()
            await Relay(self.edge, self._discovery, Wire(stream), peer).run(None, None)
            with trio.move_on_after(1.0):
                await stream.aclose()
        except (trio.BrokenResourceError, trio.TooSlowError, ssl.SSLError):
            self.edge.counters.refused += 1
        except Exception:
            log.exception("relay_failed")
        finally:
            self.relays -= 1
            self.edge.release(peer)
            sock.close()

    # Changes.

    def configure(self, settings: Settings) -> None:
        """Take other settings while running.

        Listening sockets, workers, the run directory, Redis and the administration's address stay what they are.

        Raises:
            BadSetting: A file cannot be used; everything stays as it was.
        """
        access = AccessLog(settings.access_log) if settings.access_log else None
        if self._certificate is not None:
            self._certificate.configure(settings)
        if self.edge.access is not None:
            self.edge.access.close()
        self.edge.access = access
        self.settings = settings
        self.pool.configure(settings)
        self.edge.configure(settings)
        if self._probing is not None:
            self._probing.cancel()

    async def _probe(self) -> None:
        while True:
            with trio.CancelScope() as self._probing:
                await run_probes(self.pool, self.settings)

    async def _keep_house(self) -> None:
        while True:
            await trio.sleep(HOUSEKEEPING_SECONDS)
            if self.edge.access is not None:
                self.edge.access.flush()
            if self._certificate is not None:
                self._certificate.renew_if_changed()


def run_dir(settings: Settings) -> Path:
    """Where nodes of this machine are found."""
    return settings.run_dir or default_run_dir()


UNCHANGING = ("listen", "tls_listen", "workers", "run_dir", "redis_url", "admin")


def check_reload(before: Settings, after: Settings) -> None:
    """Refuse what only a restart can change.

    Raises:
        BadSetting: Such a setting has changed.
    """
    for name in UNCHANGING:
        if getattr(before, name) != getattr(after, name):
            given = None if name == "redis_url" else str(getattr(after, name))
            raise BadSetting(name, given, "what it was, until the proxy is restarted")
