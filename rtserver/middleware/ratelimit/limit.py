"""``RateLimit``: refuses what comes too often.

Rule: plain hooks, and per event nothing but numbers: for each rate that it counts in, a
lookup and an addition. A refusal says in how many seconds to come again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NoReturn, TypeAlias

import trio

from rtserver.core.addresses import group
from rtserver.core.client import Client
from rtserver.core.pipeline import ConnectContext, EventContext, Middleware, Proceed, RequestContext, Result
from rtserver.core.socket import Socket
from rtserver.errors import ConfigurationError, ConnectRefused, EventRefused, RequestRefused
from rtserver.logs import LimitedLog
from rtserver.middleware.ratelimit.buckets import BY, MAX_KEYS, Buckets, By, Rate, rounded
from rtserver.types import DisconnectReason

# Seconds between two looks for buckets that are full again, and so need no memory.
SWEEP_EVERY = 60.0
CODE = "rate_limited"
MESSAGE = "too many requests"

Rates: TypeAlias = Rate | str | Sequence[Rate | str]

# What an event counts in: for each rate its table, interval and slack, flat, as reading attributes costs as
# much as the counting; None instead of a function that finds the key for the socket's own id.
_Count: TypeAlias = tuple[dict[Hashable, float], float, float, Callable[[Socket], Hashable] | None, Buckets]


class RateLimit(Middleware):
    """Refuses what comes too often, with ``retry_after`` in seconds, and disconnects who goes on.

    Wherever a rate is expected there may be several: ``["5/s", "100/hour per address"]``.
    Those by socket begin anew with each connection; those by user and by address hold over
    reconnects, namespaces and transports.

    Args:
        events: Rates by event name. Each counts for itself, and in ``total``.
        total: Of all events together, the unknown ones among them.
        unknown: Of events that have no handler.
        connects: Of joins of a namespace, by address.
        handshakes: Of new sessions, by address.
        invalid: Of sessions that end because they broke the protocol, by address: who goes on
            gets no new ones for a while.
        by: Whose buckets those of events are, where the rate does not say ``per``. A socket
            without a user counts by address.
        abuse: Of refused events, after which the client is disconnected.
        max_keys: How many of each have a bucket of their own.
        clock: Seconds that only go forward.

    Raises:
        ConfigurationError: A rate cannot be read.

    Attributes:
        refused: Events, joins and handshakes so far.
    """

    def __init__(
        self,
        events: Mapping[str, Rates] | None = None,
        *,
        total: Rates = "100/s",
        unknown: Rates = "30/min",
        connects: Rate | str = "20/s burst 200",
        handshakes: Rate | str = "20/s burst 200",
        invalid: Rate | str = "30/min",
        by: By = "socket",
        abuse: Rate | str = "300/min",
        max_keys: int = MAX_KEYS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if by not in BY:
            raise ConfigurationError("by", by, "socket, user or address")
        self._by: By = by
        self._max_keys = max_keys
        self._all: list[Buckets] = []
        self._of_sockets: list[Buckets] = []
        whole = self._counts("total", total)
        named = {name: self._counts(f"events[{name!r}]", rates) for name, rates in (events or {}).items()}
        # The narrow ones first: what they refuse takes nothing from the total.
        self._counted = {name: (*counts, *whole) for name, counts in named.items()}
        self._others = whole
        self._unknown = (*self._counts("unknown", unknown), *whole)
        self._connects = self._buckets("connects", connects)
        self._handshakes = self._buckets("handshakes", handshakes)
        self._invalid = self._buckets("invalid", invalid)
        self._abuse = self._buckets("abuse", abuse)
        self._clock = clock
        self._quiet = LimitedLog()
        self.refused = 0

    def _counts(self, setting: str, rates: Rates) -> tuple[_Count, ...]:
        given = [rates] if isinstance(rates, (Rate, str)) or not isinstance(rates, Sequence) else rates
        counts = []
        for rate in given:
            buckets = self._buckets(setting, rate)
            key_of = _KEYS[buckets.rate.by or self._by]
            if key_of is None:
                self._of_sockets.append(buckets)
            counts.append((buckets.full_at, buckets.rate.interval, buckets.slack, key_of, buckets))
        return tuple(counts)

    def _buckets(self, setting: str, rate: Rate | str) -> Buckets:
        buckets = Buckets(Rate.of(setting, rate), self._max_keys)
        self._all.append(buckets)
        return buckets

    # Memory.

    async def run(self) -> None:
        while True:
            await trio.sleep(SWEEP_EVERY)
            now = self._clock()
            for buckets in self._all:
                buckets.sweep(now)

    def left(self, socket: Socket, reason: DisconnectReason) -> None:
        # Its id never comes back.
        for buckets in self._of_sockets:
            buckets.full_at.pop(socket.id, None)

    # Sessions and joins, by address.

    def request(self, context: RequestContext, proceed: Proceed[RequestContext]) -> Result:
        self._check_request(group(context.handshake.address))
        return proceed(context)

    def _check_request(self, address: str) -> None:
        now = self._clock()
        wait = self._invalid.wait(address, now) or self._handshakes.take(address, now)
        if wait:
            self._refuse_request(wait)

    def _refuse_request(self, wait: float) -> NoReturn:
        self.refused += 1
        raise RequestRefused(MESSAGE, status=429, retry_after=math.ceil(wait))

    def closed(self, client: Client, reason: DisconnectReason) -> None:
        if client.broke_protocol:
            self._invalid.take(group(client.address), self._clock())

    def connect(self, context: ConnectContext, proceed: Proceed[ConnectContext]) -> Result:
        self._check_connect(by_address(context.socket))
        return proceed(context)

    def _check_connect(self, address: Hashable) -> None:
        wait = self._connects.take(address, self._clock())
        if wait:
            self._refuse_connect(wait)

    def _refuse_connect(self, wait: float) -> NoReturn:
        self.refused += 1
        raise ConnectRefused(MESSAGE, {"code": CODE, "retry_after": rounded(wait)})

    # Events.

    def event(self, context: EventContext, proceed: Proceed[EventContext]) -> Result:
        # Flat, as each call less is a quarter of what is left.
        socket = context.socket
        now = self._clock()
        counts = self._counted.get(context.event, self._others) if context.known else self._unknown
        for full_at, interval, slack, key_of, buckets in counts:
            key = socket.id if key_of is None else key_of(socket)
            until = full_at.get(key)
            if until is None or until - now > slack:
                wait = buckets.take(key, now)
                if wait:
                    self._refuse_event(socket, key, wait, now)
            else:
                full_at[key] = (until if until > now else now) + interval  # noqa: FURB136 - a call less
        return proceed(context)

    def _refuse_event(self, socket: Socket, key: Hashable, wait: float, now: float) -> NoReturn:
        self.refused += 1
        if self._abuse.take(key, now):
            self._quiet.warning("abuse", address=socket.client.address, namespace=socket.namespace.name)
            socket.disconnect(close=True)
        raise EventRefused(CODE, MESSAGE, retry_after=rounded(wait))


# Keys of different kinds never meet: a user may be called like an address, or like a socket.


def by_address(socket: Socket) -> Hashable:
    """The address that a socket counts with."""
    return group(socket.client.address)


def by_user(socket: Socket) -> Hashable:
    """The user whose socket it is, or else its address."""
    user = getattr(socket.user, "id", None)
    return by_address(socket) if user is None else (user,)


_KEYS: dict[By, Callable[[Socket], Hashable] | None] = {"socket": None, "user": by_user, "address": by_address}
