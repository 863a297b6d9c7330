"""``RedisAdapter``: makes the adapter of each namespace, and keeps the connection that they share."""

from __future__ import annotations

import structlog
import trio

from rtserver.adapters.base import NamespaceView, RelayStatistics
from rtserver.adapters.redis.classic import Classic
from rtserver.adapters.redis.cluster import ClusterLink
from rtserver.adapters.redis.link import MAX_MESSAGE, RedisLink
from rtserver.adapters.redis.messages import Words
from rtserver.adapters.redis.namespace import RedisNamespace
from rtserver.adapters.redis.replies import CLASSIC, SHARDED, Link, LinkState, OnMessage
from rtserver.adapters.redis.sharded import Sharded
from rtserver.adapters.redis.target import ClusterTarget, read_url
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
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://``, with user and password if it asks for them;
            ``redis+sentinel://host,host/name`` for the master that sentinels know by a name;
            ``redis+cluster://host,host`` for a Redis Cluster, which is always ``sharded``.
        sharded: Speak as ``createShardedAdapter`` of the reference does, which needs Redis 7. All nodes
            of a cluster must speak in the same way.
        request_timeout: Seconds that other nodes have for an answer.

    Raises:
        ConfigurationError: The URL cannot be read.

    Attributes:
        refused: Messages from Redis that were not what they should be.
    """

    def __init__(self, url: str, *, sharded: bool = False, request_timeout: float = REQUEST_TIMEOUT) -> None:
        self.request_timeout = request_timeout
        self.link, self._dialect = open_link(url, sharded, self._received)
        self.refused = 0
        self._quiet = LimitedLog()
        # Whom a message is for, by the channel or pattern that was subscribed to.
        self._routes: dict[bytes, RedisNamespace] = {}

    @classmethod
    def from_url(cls, url: str) -> RedisAdapter:
        """An adapter for what a setting says. Raises ``ConfigurationError``."""
        return cls(url)

    def __call__(self, namespace: NamespaceView) -> RedisNamespace:
        dialect = self._dialect(namespace.name)
        adapter = RedisNamespace(namespace, self, dialect)
        self._routes.update(dict.fromkeys((*dialect.channels, *dialect.patterns), adapter))
        self.link.subscribe(dialect.channels, dialect.patterns)
        return adapter

    def heard(self, adapter: RedisNamespace, channel: bytes) -> None:
        """A channel is to be heard from now on."""
        self._routes[channel] = adapter
        self.link.subscribe((channel,))

    def unheard(self, channel: bytes) -> None:
        """And no more."""
        self._routes.pop(channel, None)
        self.link.unsubscribe((channel,))

    def closed(self, adapter: RedisNamespace) -> None:
        """A namespace is gone."""
        gone = [route for route, owner in self._routes.items() if owner is adapter]
        for route in gone:
            del self._routes[route]
        patterns = adapter.dialect.patterns
        self.link.unsubscribe([route for route in gone if route not in patterns], patterns)

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
            if len(payload) > MAX_MESSAGE:
                raise ProtocolError(f"{len(payload)} bytes are too many for one message")
            adapter.received(channel, payload)
        except (ProtocolError, EncodeError) as exc:
            self.refused += 1
            name = channel[:100].decode("latin-1")
            self._quiet.warning("message_refused", channel=name, rule=str(exc)[:200], refused=self.refused)
        except Exception:
            # A bug costs one message, and not the connection to all other nodes.
            self.refused += 1
            log.exception("message_failed")


def open_link(url: str, sharded: bool, on_message: OnMessage) -> tuple[Link, Words]:
    """The way to the other nodes, and the words that are spoken on it. Raises ``ConfigurationError``."""
    target = read_url(url)
    if isinstance(target, ClusterTarget):
        return ClusterLink(target, on_message), Sharded
    return RedisLink(target, on_message, verbs=SHARDED if sharded else CLASSIC), words_of(sharded)


def words_of(sharded: bool) -> Words:
    """The words of one adapter of the reference, or of the other."""
    return Sharded if sharded else Classic
