"""Rates: how many events, connects and handshakes a client may have in a time.

Rule: a bucket is one number, the time at which it will be full again (GCRA), so that an
event costs a lookup and an addition. Tables are bounded; what does not fit shares one
bucket, and a bucket that is not full is never forgotten, as that would fill it.
"""

from __future__ import annotations

import ipaddress
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import structlog

from rtserver.core.pipeline import ConnectContext, EventContext, Middleware, Proceed, RequestContext, Result
from rtserver.core.socket import Socket
from rtserver.errors import ConfigurationError, ConnectRefused, EventRefused, RequestRefused
from rtserver.logs import LimitedLog

log = structlog.get_logger("rtserver.ratelimit")

By: TypeAlias = Literal["socket", "user", "address"]

CODE = "rate_limited"
MESSAGE = "too many requests"
MAX_KEYS = 100_000
# Looking for buckets that are full again is not worth doing more often.
SWEEP_EVERY = 1.0

_RATE = re.compile(r"(\d{1,9})\s*/\s*(s|sec|second|min|minute|h|hour)(?:\s+burst\s+(\d{1,9}))?\Z", re.ASCII)
_SECONDS = {"s": 1, "sec": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600}


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in a time, and so many at once.

    Args:
        interval: Seconds for one.
        burst: How many may come at once when none has come for long.
    """

    interval: float
    burst: int

    @classmethod
    def of(cls, setting: str, text: Rate | str) -> Rate:
        """Read ``"30/min"``, ``"5/s"`` or ``"100/hour burst 20"``; without a burst it is the whole number.

        Raises:
            ConfigurationError: It is no rate.
        """
        if isinstance(text, Rate):
            return text
        match = _RATE.match(text) if isinstance(text, str) else None
        if match is None or int(match[1]) == 0 or match[3] == "0":
            raise ConfigurationError(setting, text, 'a rate such as "30/min", "5/s" or "100/hour burst 20"')
        count = int(match[1])
        return cls(_SECONDS[match[2]] / count, int(match[3] or count))


class Buckets:
    """The buckets of one rate, by key.

    Args:
        rate: For each key.
        max_keys: So many keys have a bucket of their own.
    """

    __slots__ = ("_full_at", "_interval", "_max", "_overflow", "_swept_at", "_tolerance", "rate")

    def __init__(self, rate: Rate, max_keys: int = MAX_KEYS) -> None:
        self.rate = rate
        self._interval = rate.interval
        # Half an interval of a millionth keeps rounding from costing the last of a burst.
        self._tolerance = rate.interval * (rate.burst - 1) + rate.interval * 1e-6
        self._max = max_keys
        self._full_at: dict[Any, float] = {}
        self._overflow = 0.0
        self._swept_at = -math.inf

    def take(self, key: Any, now: float) -> float:
        """Take one. 0 if there was one, else the seconds until there will be.

        Args:
            key: Whose bucket.
            now: In seconds of a clock that only goes forward.
        """
        table = self._full_at
        full_at = table.get(key, now)
        if full_at <= now:
            if len(table) >= self._max and key not in table:
                return self._take_without_room(key, now)
            table[key] = now + self._interval
            return 0.0
        wait = full_at - now - self._tolerance
        if wait > 0:
            return wait
        table[key] = full_at + self._interval
        return 0.0

    def _take_without_room(self, key: Any, now: float) -> float:
        if now - self._swept_at >= SWEEP_EVERY:
            self._swept_at = now
            self._full_at = {known: full_at for known, full_at in self._full_at.items() if full_at > now}
            if len(self._full_at) < self._max:
                return self.take(key, now)
        full_at = max(self._overflow, now)
        wait = full_at - now - self._tolerance
        if wait > 0:
            return wait
        self._overflow = full_at + self.rate.interval
        return 0.0

    def __len__(self) -> int:
        return len(self._full_at)


class RateLimit(Middleware):
    """Refuses what comes too often, with ``retry_after`` in seconds, and disconnects who goes on.

    Args:
        events: Rates by event name. Each counts for itself, and in ``total``.
        total: Of all events together, the unknown ones among them.
        unknown: Of events that have no handler.
        connects: Of joins of a namespace, by address.
        handshakes: Of new sessions, by address: also what invalid packets cost, as each ends a session.
        by: Whose buckets those of events are. A user without a name counts by address.
        abuse: Of refusals, after which the client is disconnected.
        max_keys: How many of each have a bucket of their own.
        clock: Seconds that only go forward.

    Raises:
        ConfigurationError: A rate cannot be read.
    """

    def __init__(
        self,
        events: Mapping[str, Rate | str] | None = None,
        *,
        total: Rate | str = "100/s",
        unknown: Rate | str = "30/min",
        connects: Rate | str = "20/s burst 200",
        handshakes: Rate | str = "20/s burst 200",
        by: By = "socket",
        abuse: Rate | str = "300/min",
        max_keys: int = MAX_KEYS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if by not in ("socket", "user", "address"):
            raise ConfigurationError("by", by, "socket, user or address")
        named = {name: Rate.of(f"events[{name!r}]", rate) for name, rate in (events or {}).items()}
        self._events = {name: Buckets(rate, max_keys) for name, rate in named.items()}
        self._total = Buckets(Rate.of("total", total), max_keys)
        self._unknown = Buckets(Rate.of("unknown", unknown), max_keys)
        self._connects = Buckets(Rate.of("connects", connects), max_keys)
        self._handshakes = Buckets(Rate.of("handshakes", handshakes), max_keys)
        self._abuse = Buckets(Rate.of("abuse", abuse), max_keys)
        self._by = by
        self._clock = clock
        self._quiet = LimitedLog()
        self.refused = 0

    def request(self, context: RequestContext, proceed: Proceed[RequestContext]) -> Result:
        wait = self._handshakes.take(group(context.handshake.address), self._clock())
        if wait:
            self.refused += 1
            raise RequestRefused(MESSAGE, status=429, retry_after=math.ceil(wait))
        return proceed(context)

    def connect(self, context: ConnectContext, proceed: Proceed[ConnectContext]) -> Result:
        wait = self._connects.take(group(context.socket.handshake.address), self._clock())
        if wait:
            self.refused += 1
            raise ConnectRefused(MESSAGE, {"code": CODE, "retry_after": rounded(wait)})
        return proceed(context)

    def event(self, context: EventContext, proceed: Proceed[EventContext]) -> Result:
        socket = context.socket
        now = self._clock()
        key = socket.id if self._by == "socket" else self._key(socket)
        buckets = self._events.get(context.event) if context.known else self._unknown
        wait = 0.0 if buckets is None else buckets.take(key, now)
        if not wait:
            wait = self._total.take(key, now)
        if wait:
            self._refuse(socket, key, wait, now)
        return proceed(context)

    def _key(self, socket: Socket) -> str:
        if self._by == "user":
            user = getattr(socket.user, "id", None)
            if user is not None:
                return f"user:{user}"
        return group(socket.handshake.address)

    def _refuse(self, socket: Socket, key: Any, wait: float, now: float) -> None:
        self.refused += 1
        if self._abuse.take(key, now):
            self._quiet.warning("abuse", address=socket.handshake.address, namespace=socket.namespace.name)
            socket.disconnect(close=True)
        raise EventRefused(CODE, MESSAGE, retry_after=rounded(wait))


def rounded(seconds: float) -> float:
    """Milliseconds up, so that who waits for so long has waited long enough."""
    return math.ceil(seconds * 1000) / 1000


def group(address: str) -> str:
    """What counts as one client: an IPv4 address, or the 64 bits of an IPv6 network."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(parsed.ipv4_mapped) if parsed.ipv4_mapped is not None else f"{int(parsed) >> 64:x}::/64"
