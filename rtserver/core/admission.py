"""Whether an Engine.IO handshake may go on: ``request`` hooks, then ``allow_request``; and who hears of sessions.

Rule: fails closed. What is plain is decided in place, and costs nothing where nobody asks.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import structlog

from rtserver.core.handshake import Handshake, HttpRequest
from rtserver.core.pipeline import Middleware, RequestContext, compose, overrides
from rtserver.errors import RequestRefused
from rtserver.types import DisconnectReason

if TYPE_CHECKING:
    from rtserver.core.client import Client

log = structlog.get_logger("rtserver.admission")

AllowRequest = Callable[[Handshake], "bool | Awaitable[bool | None] | None"]


class Admission:
    """Asks middleware and the application about each handshake.

    Args:
        allow_request: The application's own check: False or ``RequestRefused`` refuses.
    """

    def __init__(self, allow_request: AllowRequest | None) -> None:
        self._allow_request = allow_request
        self._chain: Callable[[RequestContext], Any] | None = None
        self._on_opened: Sequence[Callable[[Client], None]] = ()
        self._on_closed: Sequence[Callable[[Client, DisconnectReason], None]] = ()

    def compile(self, middleware: Sequence[Middleware]) -> None:
        """Go by the ``request``, ``opened`` and ``closed`` hooks of ``middleware`` from now on."""
        self._on_opened = [member.opened for member in middleware if overrides(member, "opened")]
        self._on_closed = [member.closed for member in middleware if overrides(member, "closed")]
        if self._allow_request is None and not any(overrides(member, "request") for member in middleware):
            self._chain = None
        else:
            self._chain = compose(middleware, "request", self._ask)

    def admit(self, request: HttpRequest) -> Awaitable[None] | None:
        """Raises ``RequestRefused``, at once or when what is returned is awaited."""
        if self._chain is None:
            return None
        result = self._chain(RequestContext(Handshake(request, {}, time.time())))
        return result if inspect.isawaitable(result) else None

    def opened(self, client: Client) -> None:
        """Tell middleware of a session, whatever becomes of one of them."""
        for listener in self._on_opened:
            try:
                listener(client)
            except Exception:
                log.exception("middleware_failed", hook="opened")

    def closed(self, client: Client, reason: DisconnectReason) -> None:
        """Tell middleware that a session is over, whatever becomes of one of them."""
        for listener in self._on_closed:
            try:
                listener(client, reason)
            except Exception:
                log.exception("middleware_failed", hook="closed")

    def _ask(self, context: RequestContext) -> Any:
        if self._allow_request is None:
            return None
        verdict = self._allow_request(context.handshake)
        if inspect.isawaitable(verdict):
            return _await_verdict(verdict)
        _check_verdict(verdict)
        return None


async def _await_verdict(verdict: Awaitable[bool | None]) -> None:
    _check_verdict(await verdict)


def _check_verdict(verdict: bool | None) -> None:
    if verdict is False:
        raise RequestRefused
