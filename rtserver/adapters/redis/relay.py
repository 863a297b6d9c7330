"""``RedisAdapter``: makes the adapter of each namespace, and keeps the one connection that they share."""

from __future__ import annotations

import structlog
import trio

from rtserver.adapters.base import NamespaceView, RelayStatistics
from rtserver.adapters.redis.link import LinkState, RedisLink
from rtserver.adapters.redis.namespace import RedisNamespace
from rtserver.adapters.redis.target import RedisTarget
from rtserver.errors import EncodeError, ProtocolError
from rtserver.logs import LimitedLog

log = structlog.get_logger("rtserver.redis")

# Seconds that other nodes have for an answer. Source: ``@socket.io/redis-adapter``, ``requestsTimeout``.
REQUEST_TIMEOUT = 5.0


class RedisAdapter:
    """Joins nodes through Redis, Node's with ``@socket.io/redis-adapter`` among them.

    Given as ``Server(adapter=RedisAdapter("redis://…"))``. Local delivery never waits for
    Redis and goes on without it; what is published meanwhile is kept up to a bound.

    Args:
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://``, with user and password if it asks for them.
        request_timeout: Seconds that other nodes have for an answer.

    Raises:
        ConfigurationError: The URL cannot be read.

    Attributes:
        refused: Messages from Redis that were not what they should be.
    """

    def __init__(self, url: str, *, request_timeout: float = REQUEST_TIMEOUT) -> None:
        self.request_timeout = request_timeout
        self.link = RedisLink(RedisTarget.of(url), self._received)
        self.refused = 0
        self._quiet = LimitedLog()
        # Whom a message is for, by the channel or pattern that was subscribed to.
        self._routes: dict[bytes, RedisNamespace] = {}

    def __call__(self, namespace: NamespaceView) -> RedisNamespace:
        adapter = RedisNamespace(namespace, self)
        channels = adapter.channels
        for route in (channels.pattern, channels.request, channels.response, channels.own_response):
            self._routes[route] = adapter
        self.link.subscribe((channels.request, channels.response, channels.own_response), (channels.pattern,))
        return adapter

    def closed(self, adapter: RedisNamespace) -> None:
        """A namespace is gone."""
        channels = adapter.channels
        for route in (channels.pattern, channels.request, channels.response, channels.own_response):
            self._routes.pop(route, None)
        self.link.unsubscribe((channels.request, channels.response, channels.own_response), (channels.pattern,))

    @property
    def state(self) -> LinkState:
        """How well this node hears the others."""
        return self.link.state

    def statistics(self) -> RelayStatistics:
        """Counters of the connection."""
        link = self.link
        return RelayStatistics(
            state=link.state.value,
            published=link.published,
            received=link.received,
            lost=link.lost,
            refused=self.refused,
            connects=link.connects,
            backlog=link.backlog,
        )

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """What the server does beside its handlers: stay connected."""
        await self.link.run(task_status=task_status)

    def _received(self, subscribed: bytes, channel: bytes, payload: bytes) -> None:
        adapter = self._routes.get(subscribed)
        if adapter is None:
            return
        try:
            adapter.received(channel, payload)
        except (ProtocolError, EncodeError) as exc:
            self.refused += 1
            name = channel[:100].decode("latin-1")
            self._quiet.warning("message_refused", channel=name, rule=str(exc)[:200], refused=self.refused)
        except Exception:
            # A bug costs one message, and not the connection to all other nodes.
            self.refused += 1
            log.exception("message_failed")
