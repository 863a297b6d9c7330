"""The Engine.IO server: who may have a session, and which session a request is for.

Rule: both doors call ``on_request`` and ``on_upgrade`` and nothing else; the
layer above is reached through ``EngineHandler``. Source: engine.io 6.6,
``Server.verify`` and ``handshake``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import structlog
import trio

from rtserver.config import Config
from rtserver.entropy import random_id
from rtserver.errors import RequestRefused
from rtserver.logs import LimitedLog
from rtserver.protocol.engineio.packet import Packet, PacketType
from rtserver.protocol.engineio.session import Session
from rtserver.protocol.websocket.handshake import UpgradeRefused
from rtserver.transports.client_files import ClientFiles
from rtserver.transports.cors import OriginPolicy
from rtserver.transports.counters import Counters
from rtserver.transports.deadlines import Deadlines
from rtserver.transports.exchange import Exchange
from rtserver.transports.forwarded import believe
from rtserver.transports.handshake import (
    BAD_HANDSHAKE_METHOD,
    BAD_REQUEST,
    FORBIDDEN,
    JSON,
    UNKNOWN_SID,
    UNKNOWN_TRANSPORT,
    UNSUPPORTED_VERSION,
    Refusal,
    open_packet,
    read_parameters,
    set_cookie,
)
from rtserver.transports.polling import PollingTransport
from rtserver.transports.request import Request, Response
from rtserver.transports.session import EngineSession, SessionHandler
from rtserver.transports.transport import Control, Ending
from rtserver.types import TransportName

log = structlog.get_logger("rtserver.engine")

SID_BYTES = 25


class EngineHandler(Protocol):
    """What the engine tells and asks the layer above."""

    def admit(self, request: Request) -> Awaitable[None] | None:
        """Whether a handshake may go on. Raises ``RequestRefused``, at once or when awaited."""

    def opened(self, session: EngineSession) -> SessionHandler:
        """A session has begun; what is returned hears of it from now on."""

    def start_task(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run ``task`` in the server's nursery."""


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """Counters of an engine since its start, and what it holds now."""

    sessions: int
    polling: int
    websocket: int
    opened: int
    packets_out: int
    slow_consumers: int
    refused: int
    deadlines: int


class Engine:
    """Keeps the sessions of a node."""

    def __init__(self, config: Config, handler: EngineHandler) -> None:
        self.config = config
        self.deadlines = Deadlines()
        self.sessions: dict[str, EngineSession] = {}
        self.origins = OriginPolicy(config.cors)
        self.counters = Counters()
        self.slow_consumers = 0
        self.opened = 0
        self.refused = 0
        self.new_sid: Callable[[], str] = lambda: random_id(SID_BYTES)
        self.accepting = True
        self._handler = handler
        self._quiet = LimitedLog()
        self._files = ClientFiles(config.serve_client)
        self._soon: Callable[[Callable[[], None]], None] = lambda callback: callback()

    def run_soon_by(self, soon: Callable[[Callable[[], None]], None]) -> None:
        """Let a loop say when its round is over, so that polls are answered then."""
        self._soon = soon

    def owns(self, path: str) -> bool:
        """Whether a request for ``path`` is Engine.IO's."""
        return path.startswith(self.config.path)

    # Requests.

    def on_request(self, exchange: Exchange, body: bytes) -> None:
        """Serve a request that is not an upgrade."""
        request = self._seen(exchange)
        preflight = self.origins.preflight(request)
        if preflight is not None:
            exchange.respond(preflight)
            return
        if request.path != self.config.path and (file := self._files.find(request, self.config.path)) is not None:
            exchange.respond(file)
            return
        if not self.origins.allows(request):
            self.refuse(exchange, FORBIDDEN)
            return
        parameters = read_parameters(request.query)
        if parameters.transport not in self.config.transports:
            self.refuse(exchange, UNKNOWN_TRANSPORT)
        elif parameters.sid is not None:
            self._on_session_request(exchange, parameters.sid, parameters.transport, body)
        elif request.method != "GET":
            self.refuse(exchange, BAD_HANDSHAKE_METHOD)
        elif parameters.transport != "polling":
            self.refuse(exchange, BAD_REQUEST)
        elif parameters.version != "4":
            self.refuse(exchange, UNSUPPORTED_VERSION)
        else:
            self._admit(exchange, self._open_polling)

    def _on_session_request(self, exchange: Exchange, sid: str, transport: str, body: bytes) -> None:
        session = self._session_of(exchange, sid)
        if session is None:
            self.refuse(exchange, UNKNOWN_SID)
            return
        polling = session.transport
        method = exchange.request.method
        if transport != "polling" or not isinstance(polling, PollingTransport):
            self.refuse(exchange, BAD_REQUEST)
        elif method == "GET":
            polling.on_get(exchange)
        elif method == "POST" and not session.closed:
            polling.on_post(exchange, body)
        else:
            self.refuse(exchange, BAD_REQUEST)

    def _session_of(self, exchange: Exchange, sid: str) -> EngineSession | None:
        """The session, if the request is of the one whose it is."""
        session = self.sessions.get(sid)
        if session is None or session.binding is None or session.binding(exchange.request):
            return session
        self._quiet.warning("session_of_another_user", address=exchange.request.peer)
        return None

    def on_upgrade(self, exchange: Exchange) -> None:
        """Serve a request to become a WebSocket."""
        request = self._seen(exchange)
        parameters = read_parameters(request.query)
        session = None if parameters.sid is None else self._session_of(exchange, parameters.sid)
        if not self.origins.allows(request):
            self.refuse(exchange, FORBIDDEN)
        elif parameters.transport not in self.config.transports:
            self.refuse(exchange, UNKNOWN_TRANSPORT)
        elif parameters.sid is not None and session is None:
            self.refuse(exchange, UNKNOWN_SID)
        elif request.method != "GET" and parameters.sid is None:
            self.refuse(exchange, BAD_HANDSHAKE_METHOD)
        elif parameters.transport != "websocket" or request.method != "GET":
            self.refuse(exchange, BAD_REQUEST)
        elif session is not None:
            self._open_probe(exchange, session)
        elif parameters.version != "4":
            self.refuse(exchange, UNSUPPORTED_VERSION)
        else:
            self._admit(exchange, self._open_websocket)

    def _seen(self, exchange: Exchange) -> Request:
        """The request, from whom trusted proxies say that it is."""
        if self.config.trusted_proxies:
            believe(exchange.request, self.config.trusted_proxies)
        return exchange.request

    def refuse(self, exchange: Exchange, refusal: Refusal, *, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """Answer with a row of the error table."""
        self.refused += 1
        answered = [JSON, *headers, *self.headers_for(exchange)]
        exchange.respond(Response(refusal.status, refusal.body, answered))

    # Handshakes.

    def _admit(self, exchange: Exchange, proceed: Callable[[Exchange], None]) -> None:
        if not self.accepting:
            self.refuse(exchange, Refusal(4, "Server is shutting down", 503), headers=(("Retry-After", "1"),))
            return
        try:
            pending = self._handler.admit(exchange.request)
        except RequestRefused as exc:
            self._refuse_admission(exchange, exc)
        except Exception:  # noqa: BLE001 - logged there
            self._admission_failed(exchange)
        else:
            if pending is None:
                proceed(exchange)
            else:
                self._handler.start_task(lambda: self._admit_later(exchange, pending, proceed))

    async def _admit_later(
        self, exchange: Exchange, pending: Awaitable[None], proceed: Callable[[Exchange], None]
    ) -> None:
        try:
            with trio.fail_after(self.config.connect_timeout):
                await pending
        except RequestRefused as exc:
            self._refuse_admission(exchange, exc)
        except Exception:  # noqa: BLE001 - logged there
            self._admission_failed(exchange)
        else:
            if not exchange.aborted:
                proceed(exchange)

    def _refuse_admission(self, exchange: Exchange, refused: RequestRefused) -> None:
        headers = () if refused.retry_after is None else (("Retry-After", str(refused.retry_after)),)
        self.refuse(exchange, Refusal(FORBIDDEN.code, refused.message, refused.status), headers=headers)

    def _admission_failed(self, exchange: Exchange) -> None:
        # Fails closed: a broken check lets nobody in, and tells the client nothing.
        log.exception("admission_failed")
        self.refuse(exchange, FORBIDDEN)

    def _new_session(self, exchange: Exchange, transport: TransportName) -> EngineSession:
        config = self.config
        now = trio.current_time()
        machine = Session(
            now=now,
            transport=transport,
            ping_interval=config.ping_interval,
            ping_timeout=config.ping_timeout,
            upgrade_timeout=config.upgrade_timeout,
        )
        session = EngineSession(self, self.new_sid(), machine, exchange.request, now)
        self.sessions[session.sid] = session
        self.opened += 1
        return session

    def _begin(self, session: EngineSession, transport: TransportName) -> None:
        session.handler = self._handler.opened(session)
        self.deadlines.watch(session)
        session.transport.send(Control(Packet(PacketType.OPEN, open_packet(self.config, session.sid, transport))))

    def _open_polling(self, exchange: Exchange) -> None:
        session = self._new_session(exchange, "polling")
        cookie = () if self.config.cookie is None else (set_cookie(self.config.cookie, session.sid),)
        polling = PollingTransport(self, session, cookie)
        session.transport = polling
        self._begin(session, "polling")
        polling.on_get(exchange)
        session.request.compact()

    def _open_websocket(self, exchange: Exchange) -> None:
        try:
            websocket = exchange.accept_websocket()
        except UpgradeRefused as refused:
            self._refuse_upgrade(exchange, refused)
            return
        session = self._new_session(exchange, "websocket")
        session.transport = websocket
        websocket.attach(session, probing=False)
        self._begin(session, "websocket")
        session.request.compact()

    def _open_probe(self, exchange: Exchange, session: EngineSession) -> None:
        if not self.config.allow_upgrades:
            self.refuse(exchange, BAD_REQUEST)
            return
        try:
            websocket = exchange.accept_websocket()
        except UpgradeRefused as refused:
            self._refuse_upgrade(exchange, refused)
            return
        if session.begin_probe(websocket):
            websocket.attach(session, probing=True)
        else:
            websocket.end(Ending.DISCARD)

    def _refuse_upgrade(self, exchange: Exchange, refused: UpgradeRefused) -> None:
        refusal = Refusal(BAD_REQUEST.code, BAD_REQUEST.message, refused.status)
        self.refuse(exchange, refusal, headers=refused.headers)

    # What sessions and transports need.

    def soon(self, session: PollingTransport) -> None:
        self._soon(session.flush)

    def headers_for(self, exchange: Exchange) -> list[tuple[str, str]]:
        """The CORS headers of an answer."""
        return self.origins.headers(exchange.request)

    def bad_request(self, exchange: Exchange) -> None:
        self.refuse(exchange, BAD_REQUEST)

    def forget(self, session: EngineSession) -> None:
        if self.sessions.pop(session.sid, None) is not None:
            self.deadlines.discard(session)

    def watch(self, session: EngineSession) -> None:
        self.deadlines.watch(session)

    def statistics(self) -> EngineStatistics:
        """What the engine holds and has counted."""
        polling = sum(session.transport.name == "polling" for session in self.sessions.values())
        return EngineStatistics(
            sessions=len(self.sessions),
            polling=polling,
            websocket=len(self.sessions) - polling,
            opened=self.opened,
            packets_out=self.counters.packets_out,
            slow_consumers=self.slow_consumers,
            refused=self.refused,
            deadlines=len(self.deadlines),
        )
