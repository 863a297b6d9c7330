"""``SharedRateLimit``: the buckets of users and addresses are the same on every node.

Rule: what this node knows by itself is asked first, so that a flood costs Redis nothing, and so
that there is something to go by when Redis is away. One script takes from all buckets that an event
counts in, or from none; Redis's clock is the one that counts.
"""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

import structlog
import trio

from rtserver.adapters.redis.link import RedisLink
from rtserver.adapters.redis.target import ClusterTarget, read_url
from rtserver.core.addresses import group
from rtserver.core.pipeline import ConnectContext, EventContext, Proceed, RequestContext, Result
from rtserver.core.socket import Socket
from rtserver.errors import ConfigurationError, RTServerError
from rtserver.middleware.ratelimit.buckets import Rate
from rtserver.middleware.ratelimit.limit import RateLimit, Rates, by_address

log = structlog.get_logger("rtserver.ratelimit")

C = TypeVar("C")

# A Redis that takes longer than this is away, and is not asked again for a while.
ANSWERS_WITHIN = 0.25
LEFT_ALONE_FOR = 1.0

# Times are in microseconds. A clock that was put back must not lock anybody out, hence the ``min``.
SCRIPT = b"""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full = {}
for i, key in ipairs(KEYS) do
  local interval, slack = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local at = tonumber(redis.call('GET', key) or 0)
  at = math.max(now, math.min(at, now + slack + interval))
  if at - now > slack then
    return math.ceil(at - now - slack)
  end
  full[i] = at + interval
end
for i, key in ipairs(KEYS) do
  redis.call('SET', key, string.format('%.0f', full[i]), 'PX', math.ceil((full[i] - now) / 1000))
end
return 0
"""
_SHA = hashlib.sha1(SCRIPT, usedforsecurity=False).hexdigest().encode()


class Commands(Protocol):
    """A connection to Redis: ``RedisAdapter("redis://…").link`` is one."""

    async def command(self, *args: bytes) -> Any:
        """Run a command and give its reply.

        Raises:
            RTServerError: Redis is away, or has refused; the message is what it said.
        """


class SharedRateLimit(RateLimit):
    """``RateLimit`` with one set of buckets for all nodes, for what counts by user or by address.

    An event that counts in such a bucket waits for Redis, so its handler runs in its socket's task
    even if it is plain. Rates per socket need no sharing, and stay in the process. While
    Redis is away each node counts for itself, and says so in the log.

    Args:
        redis: A URL of a server or of sentinels, for a connection of its own, or a connection.
        prefix: Of the keys in Redis. Limits with the same one share their buckets.
        events: As for ``RateLimit``, like all other arguments.

    Raises:
        ConfigurationError: A rate or the URL cannot be read.

    Attributes:
        alone: Whether this node counts for itself, as Redis does not answer.
    """

    def __init__(
        self,
        redis: str | Commands,
        events: Mapping[str, Rates] | None = None,
        *,
        prefix: str = "rtserver:rates",
        **options: Any,
    ) -> None:
        super().__init__(events, **options)
        self._link = _link_to(redis) if isinstance(redis, str) else None
        self._redis: Commands = redis if self._link is None else self._link  # type: ignore[assignment]
        self._prefix = prefix
        self._left_alone_until = -math.inf
        self.alone = False

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(super().run)
            if self._link is not None:
                nursery.start_soon(self._link.run)

    async def request(self, context: RequestContext, proceed: Proceed[RequestContext]) -> Result:
        address = group(context.handshake.address)
        self._check_request(address)
        wait = await self._ask([("handshakes", address, self._handshakes.rate)])
        if wait:
            self._refuse_request(wait)
        return await _passed(proceed, context)

    async def connect(self, context: ConnectContext, proceed: Proceed[ConnectContext]) -> Result:
        address = by_address(context.socket)
        self._check_connect(address)
        wait = await self._ask([("connects", address, self._connects.rate)])
        if wait:
            self._refuse_connect(wait)
        return await _passed(proceed, context)

    async def event(self, context: EventContext, proceed: Proceed[EventContext]) -> Result:
        RateLimit.event(self, context, _nothing)
        socket = context.socket
        taken = list(self._shared_by(socket, context))
        if taken:
            wait = await self._ask(taken)
            if wait:
                self._refuse_event(socket, taken[0][1], wait, self._clock())
        return await _passed(proceed, context)

    def _shared_by(self, socket: Socket, context: EventContext) -> Iterable[tuple[str, Hashable, Rate]]:
        """The shared buckets that an event counts in: what for, whose, and the rate."""
        counts = self._counted.get(context.event, self._others) if context.known else self._unknown
        own = len(counts) - len(self._others)
        for index, (_, _, _, key_of, buckets) in enumerate(counts):
            if key_of is not None:
                name = context.event if context.known else ""
                yield f"event {name}" if index < own else "total", key_of(socket), buckets.rate

    async def _ask(self, taken: list[tuple[str, Hashable, Rate]]) -> float:
        """Seconds to wait; 0 if there was one in each, or if Redis does not say."""
        now = self._clock()
        if now < self._left_alone_until:
            return 0.0
        keys = [f"{self._prefix}:{what}:{rate.interval}:{_name(key)}" for what, key, rate in taken]
        microseconds = [(rate.interval * 1e6, (rate.burst - 1) * rate.interval * 1e6) for _, _, rate in taken]
        numbers = [f"{number:.3f}" for pair in microseconds for number in pair]
        args = [text.encode("utf-8", "surrogatepass") for text in (str(len(keys)), *keys, *numbers)]
        with trio.move_on_after(ANSWERS_WITHIN):
            try:
                reply = await self._run_script(args)
            except RTServerError as exc:
                self._go_alone(str(exc)[:200])
                return 0.0
            self._came_back()
            return int(reply) / 1e6
        self._left_alone_until = now + LEFT_ALONE_FOR
        self._go_alone("no answer in time")
        return 0.0

    async def _run_script(self, args: list[bytes]) -> Any:
        try:
            return await self._redis.command(b"EVALSHA", _SHA, *args)
        except RTServerError as exc:
            if not str(exc).startswith("NOSCRIPT"):
                raise
        return await self._redis.command(b"EVAL", SCRIPT, *args)

    def _go_alone(self, reason: str) -> None:
        if not self.alone:
            self.alone = True
            log.warning("rates_counted_alone", reason=reason)

    def _came_back(self) -> None:
        if self.alone:
            self.alone = False
            log.info("rates_shared_again")


def _link_to(url: str) -> RedisLink:
    target = read_url(url)
    if isinstance(target, ClusterTarget):
        raise ConfigurationError("redis", "cluster://…", "one server, or sentinels: a script takes from several keys")
    return RedisLink(target, _ignore)


async def _passed(proceed: Proceed[C], context: C) -> Result:
    result = proceed(context)
    return await result if inspect.isawaitable(result) else result


def _name(key: Hashable) -> str:
    return f"user {key[0]}" if isinstance(key, tuple) else f"address {key}"


def _nothing(context: EventContext) -> None:
    """In place of what comes after."""


def _ignore(subscribed: bytes, channel: bytes, payload: bytes) -> None:
    """Nothing is subscribed to."""
