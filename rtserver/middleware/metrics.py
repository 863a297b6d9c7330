"""``Metrics``: connects, disconnects by reason, refusals by code, and how long handlers take.

Rule: an event costs one integer; only one of many is timed. What clients can choose is never a
label: unknown events, dynamic namespaces and codes beyond a number are each one row.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Iterable, Sequence
from time import perf_counter
from types import CoroutineType
from typing import Any

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from rtserver.core.pipeline import ConnectContext, EventContext, Proceed, RequestContext, Result
from rtserver.core.socket import Socket
from rtserver.core.watching import Watching
from rtserver.errors import ConfigurationError, ConnectRefused, EventRefused, RequestRefused
from rtserver.types import DisconnectReason

BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
# Codes are the application's words; one that makes them up as it goes must not fill a metrics store.
MAX_CODES = 100


class Metrics(Watching):
    """Counts what passes, for ``/metrics``. Put it first, and once, so that it sees what all others refuse.

    Args:
        one_in: So many events for each one that is timed, on average; chosen at random.
        bounds: Of the histogram, in seconds.

    Raises:
        ConfigurationError: ``one_in`` is below one, or the bounds do not rise.
    """

    def __init__(self, *, one_in: int = 100, bounds: Sequence[float] = BOUNDS) -> None:
        if not isinstance(one_in, int) or isinstance(one_in, bool) or one_in < 1:
            raise ConfigurationError("one_in", one_in, "a number from 1 on")
        if not bounds or list(bounds) != sorted(set(bounds)):
            raise ConfigurationError("bounds", bounds, "numbers that rise")
        self._one_in = one_in
        self._bounds = tuple(bounds)
        self._until_next = 1
        self._connects: Counter[str] = Counter()
        self._disconnects: Counter[tuple[str, str]] = Counter()
        self._requests_refused: Counter[str] = Counter()
        self._connects_refused: Counter[tuple[str, str]] = Counter()
        self._events_refused: Counter[tuple[str, str]] = Counter()
        self._timings: dict[tuple[str, str], _Timings] = {}
        self._codes: set[str] = set()

    def joined(self, socket: Socket) -> None:
        self._connects[_namespace(socket)] += 1

    def left(self, socket: Socket, reason: DisconnectReason) -> None:
        self._disconnects[_namespace(socket), reason] += 1

    def request_refused(self, context: RequestContext, refused: RequestRefused) -> None:
        self._requests_refused[str(refused.status)] += 1

    def connect_refused(self, context: ConnectContext, refused: ConnectRefused) -> None:
        code = refused.data.get("code") if isinstance(refused.data, dict) else None
        self._connects_refused[_namespace(context.socket), self._code(code or "refused")] += 1

    def event(self, context: EventContext, proceed: Proceed[EventContext]) -> Result:
        self._until_next -= 1
        started = 0.0
        if not self._until_next:
            # As often on average, and never in step with what comes at regular times.
            self._until_next = random.randint(1, 2 * self._one_in - 1)
            started = perf_counter()
        try:
            result = proceed(context)
        except EventRefused as refused:
            self._event_refused(context, refused)
            raise
        if type(result) is CoroutineType:
            return self._watch_event(result, context, started)
        if started:
            self._time(context, perf_counter() - started)
        return result

    async def _watch_event(self, result: Awaitable[Any], context: EventContext, started: float) -> Result:
        try:
            value = await result
        except EventRefused as refused:
            self._event_refused(context, refused)
            raise
        if started:
            self._time(context, perf_counter() - started)
        return value

    def _event_refused(self, context: EventContext, refused: EventRefused) -> None:
        self._events_refused[_namespace(context.socket), self._code(refused.code)] += 1

    def _time(self, context: EventContext, seconds: float) -> None:
        key = _namespace(context.socket), context.event if context.known else "(unknown)"
        timings = self._timings.get(key)
        if timings is None:
            timings = self._timings[key] = _Timings(len(self._bounds) + 1)
        timings.counts[bisect_left(self._bounds, seconds)] += 1
        timings.total += seconds

    def _code(self, code: object) -> str:
        text = str(code)
        if text not in self._codes:
            if len(self._codes) >= MAX_CODES:
                return "(other)"
            self._codes.add(text)
        return text

    # For ``/metrics``.

    def collect(self) -> Iterable[Metric]:
        """The metrics of this moment."""
        yield _counters("rtserver_connects", "Sockets let in", ["namespace"], self._connects)
        yield _counters("rtserver_disconnects", "Sockets gone", ["namespace", "reason"], self._disconnects)
        yield _counters("rtserver_handshakes_refused", "Handshakes refused", ["status"], self._requests_refused)
        yield _counters("rtserver_connects_refused", "Joins refused", ["namespace", "code"], self._connects_refused)
        yield _counters("rtserver_refusals", "Events refused by code", ["namespace", "code"], self._events_refused)
        seconds = HistogramMetricFamily(
            "rtserver_event_seconds", "Time that sampled events took", labels=["namespace", "event"]
        )
        for labels, timings in list(self._timings.items()):
            seconds.add_metric(labels, timings.cumulated(self._bounds), timings.total)
        yield seconds


class _Timings:
    """How many of one event took how long."""

    __slots__ = ("counts", "total")

    def __init__(self, size: int) -> None:
        self.counts = [0] * size
        self.total = 0.0

    def cumulated(self, bounds: Sequence[float]) -> list[tuple[str, float]]:
        rows: list[tuple[str, float]] = []
        so_far = 0
        for bound, count in zip((*map(str, bounds), "+Inf"), self.counts, strict=True):
            so_far += count
            rows.append((bound, so_far))
        return rows


def _namespace(socket: Socket) -> str:
    namespace = socket.namespace
    return "(dynamic)" if namespace.dynamic else namespace.name


def _counters(name: str, text: str, labels: list[str], counts: Counter[Any]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, count in list(counts.items()):
        family.add_metric([key] if isinstance(key, str) else key, count)
    return family
