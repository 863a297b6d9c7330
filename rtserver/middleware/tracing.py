"""``Tracing``: OpenTelemetry spans of joins, and of one event in many.

Rule: an event that is not chosen costs one integer. A refusal is an outcome and not an
error; a bug is recorded with its traceback. Which spans there are is the server's decision, and a
client's trace is only linked to.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from types import CoroutineType
from typing import Any

from opentelemetry import propagate, trace
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, TracerProvider

from rtserver.core.pipeline import ConnectContext, EventContext, Middleware, Proceed, Result
from rtserver.core.socket import Socket
from rtserver.errors import ConfigurationError, ConnectRefused, EventRefused, Refused

NAME = "rtserver"


class Tracing(Middleware):
    """Makes spans ``connect`` and ``event``. Put it first, so that they hold what all others do.

    What a handler calls belongs to its span, in whatever task of Trio it goes on. Needs
    ``rtserver[tracing]``, and an OpenTelemetry SDK to send the spans somewhere.

    Args:
        one_in: So many events for each one that has a span, on average; chosen at random.
        provider: Gives the tracer; the global one unless given.

    Raises:
        ConfigurationError: ``one_in`` is below one.
    """

    def __init__(self, *, one_in: int = 100, provider: TracerProvider | None = None) -> None:
        if not isinstance(one_in, int) or isinstance(one_in, bool) or one_in < 1:
            raise ConfigurationError("one_in", one_in, "a number from 1 on")
        self._one_in = one_in
        self._until_next = 1
        self._tracer = trace.get_tracer(NAME, tracer_provider=provider)

    def connect(self, context: ConnectContext, proceed: Proceed[ConnectContext]) -> Result:
        socket = context.socket
        span = self._tracer.start_span(
            f"connect {_namespace(socket)}",
            kind=SpanKind.SERVER,
            attributes=_attributes(socket),
            links=_links(socket.handshake.headers),
        )
        return _inside(span, lambda: proceed(context), inspect.isawaitable)

    def event(self, context: EventContext, proceed: Proceed[EventContext]) -> Result:
        self._until_next -= 1
        if self._until_next:
            return proceed(context)
        self._until_next = random.randint(1, 2 * self._one_in - 1)
        # The name of an event that nobody knows is the client's text.
        name = context.event if context.known else "(unknown)"
        socket = context.socket
        attributes: dict[str, str | int] = {
            **_attributes(socket),
            "rtserver.event": name,
            "rtserver.one_in": self._one_in,
        }
        span = self._tracer.start_span(f"event {name}", kind=SpanKind.SERVER, attributes=attributes)
        return _inside(span, lambda: proceed(context), _is_coroutine)


def _inside(span: Span, call: Callable[[], Result], waits: Callable[[Any], bool]) -> Result:
    """Call in a span, which ends with what is awaited if there is something."""
    passed_on = False
    try:
        with _current(span):
            result = call()
        passed_on = waits(result)
    finally:
        if not passed_on:
            span.end()
    return _await_inside(span, result) if passed_on else result


async def _await_inside(span: Span, result: Awaitable[Any]) -> Result:
    try:
        with _current(span):
            return await result
    finally:
        span.end()


@contextmanager
def _current(span: Span) -> Iterator[None]:
    """The span is the current one here, and hears of what is raised."""
    with trace.use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False):
        try:
            yield
        except Refused as refused:
            span.set_attribute("rtserver.refused", _code(refused))
            raise
        except Exception as exc:
            span.record_exception(exc)
            span.set_status(StatusCode.ERROR)
            raise


def _code(refused: Refused) -> str:
    if isinstance(refused, EventRefused):
        return refused.code
    data = refused.data if isinstance(refused, ConnectRefused) else None
    return str(data["code"]) if isinstance(data, dict) and "code" in data else "refused"


def _is_coroutine(result: Any) -> bool:
    return type(result) is CoroutineType


def _namespace(socket: Socket) -> str:
    namespace = socket.namespace
    return "(dynamic)" if namespace.dynamic else namespace.name


def _attributes(socket: Socket) -> dict[str, str]:
    return {
        "rtserver.namespace": _namespace(socket),
        "rtserver.socket": socket.id,
        "rtserver.transport": socket.transport,
        "network.peer.address": socket.client.address,
    }


def _links(headers: Mapping[str, str]) -> list[Link]:
    theirs = trace.get_current_span(propagate.extract(dict(headers))).get_span_context()
    return [Link(theirs)] if theirs.is_valid else []
