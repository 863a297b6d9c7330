"""Publishes into a cluster from any Python process: Django, Celery, a script.

Rule: an emitter is nobody to the nodes, and they are nobody to it: it never waits for them
and hears nothing. It needs Redis, and no server of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, overload

import redis
import trio

from rtserver.adapters.base import Flags, Target
from rtserver.adapters.redis.link import MAX_MESSAGE
from rtserver.adapters.redis.messages import Dialect, Outgoing, Words
from rtserver.adapters.redis.relay import open_link, words_of
from rtserver.adapters.redis.replies import CLASSIC, SHARDED, RelayDown
from rtserver.adapters.redis.target import REDIS_ERRORS, ClusterTarget, read_url
from rtserver.adapters.redis.wire import EMITTER, holds_bytes
from rtserver.core.broadcast import event_name
from rtserver.errors import LimitExceeded
from rtserver.events import Event
from rtserver.types import Room

__all__ = ["Emitter", "RelayDown", "connect", "open_emitter"]

P = TypeVar("P")

# Seconds that the end of ``open_emitter`` waits for what has not been sent.
FLUSH_WITHIN = 5.0

Publish = Callable[[bytes, bytes], None]


@dataclass(frozen=True, slots=True)
class Emitter:
    """Addresses sockets of every node, as ``Server`` does. Made by ``connect`` or ``open_emitter``.

    Args:
        publish: Hands a message to Redis.
        words: Makes the dialect of a namespace.
        namespace: Whose sockets.
        target: Which of them.
        flags: How a broadcast travels.
    """

    publish: Publish
    words: Words
    namespace: str = "/"
    target: Target = field(default=Target())
    flags: Flags = field(default=Flags())

    # Whom, and how. Each of these makes a new emitter.

    def of(self, namespace: str) -> Emitter:
        """In another namespace, whoever is in it."""
        name = namespace if namespace.startswith("/") else f"/{namespace}"
        return Emitter(self.publish, self.words, name)

    def to(self, *rooms: Room) -> Emitter:
        """Who is in at least one of these rooms, or of those named before."""
        return replace(self, target=replace(self.target, rooms=self.target.rooms.union(_rooms(rooms))))

    def except_(self, *rooms: Room) -> Emitter:
        """But nobody who is in one of these rooms."""
        return replace(self, target=replace(self.target, excluded=self.target.excluded.union(_rooms(rooms))))

    @property
    def volatile(self) -> Emitter:
        """Only to those who can take it now."""
        return replace(self, flags=replace(self.flags, volatile=True))

    def compress(self, wanted: bool) -> Emitter:
        """With or without compression, where it was negotiated."""
        return replace(self, flags=replace(self.flags, compress=wanted))

    # What. All raise ``RelayDown`` if Redis does not take it, and ``LimitExceeded`` if it is too large.

    @overload
    def emit(self, event: Event[None, Any], /) -> None: ...
    @overload
    def emit(self, event: Event[P, Any], payload: P, /) -> None: ...
    @overload
    def emit(self, event: str, /, *args: Any) -> None: ...
    def emit(self, event: Event[Any, Any] | str, /, *args: Any) -> None:
        """Send an event to clients.

        Raises:
            EncodeError: An argument has no JSON form.
            ValueError: The name is reserved.
        """
        # Infinity and NaN would be refused by every node.
        holds_bytes(args)
        self._say(self._dialect.broadcast((event_name(event), *args), self.target, self.flags))

    def server_side_emit(self, event: str, *args: Any) -> None:
        """Send an event to the servers. They get it by ``on_server_side``."""
        self._say(self._dialect.server_side((event_name(event), *args)))

    def sockets_join(self, *rooms: Room) -> None:
        """Put sockets into rooms."""
        self._say(self._dialect.join(self.target, _rooms(rooms)))

    def sockets_leave(self, *rooms: Room) -> None:
        """Take sockets out of rooms."""
        self._say(self._dialect.leave(self.target, _rooms(rooms)))

    def disconnect_sockets(self, close: bool = False) -> None:
        """Disconnect sockets from the namespace, or with ``close`` from the server."""
        self._say(self._dialect.disconnect(self.target, close))

    @property
    def _dialect(self) -> Dialect:
        return self.words(self.namespace, EMITTER)

    def _say(self, outgoing: Outgoing) -> None:
        if len(outgoing.payload) > MAX_MESSAGE:
            raise LimitExceeded(f"{len(outgoing.payload)} bytes are too many for one message to the nodes")
        self.publish(outgoing.channel, outgoing.payload)


def _rooms(rooms: Sequence[Room]) -> Sequence[Room]:
    for room in rooms:
        if not isinstance(room, str):
            raise TypeError(f"a room is a string, not {room!r}")
    return rooms


def connect(url: str, *, sharded: bool = False) -> Emitter:
    """An emitter that blocks while Redis takes a message: for threads and plain programs.

    It connects at its first message, may be used by several threads, and reconnects by itself.

    Args:
        url: As for ``RedisAdapter``.
        sharded: As for ``RedisAdapter``; the same as the nodes have.

    Raises:
        ConfigurationError: The URL cannot be read.
    """
    target = read_url(url)
    sharded = sharded or isinstance(target, ClusterTarget)
    verb = (SHARDED if sharded else CLASSIC).publish
    clients: list[redis.Redis] = []

    def publish(channel: bytes, payload: bytes) -> None:
        try:
            if not clients:
                clients.append(target.client())
            clients[0].execute_command(verb.decode(), channel, payload)  # type: ignore[no-untyped-call]
        except REDIS_ERRORS as exc:
            raise RelayDown(f"redis has not taken it: {type(exc).__name__}") from exc

    return Emitter(publish, words_of(sharded))


@asynccontextmanager
async def open_emitter(url: str, *, sharded: bool = False) -> AsyncIterator[Emitter]:
    """An emitter that never waits, for programs on Trio.

    Messages are kept while Redis is away, up to a bound; those that are left at the end of the
    block have five seconds.

    Args:
        url: As for ``RedisAdapter``.
        sharded: As for ``RedisAdapter``; the same as the nodes have.

    Raises:
        ConfigurationError: The URL cannot be read.
    """
    link, words = open_link(url, sharded, _ignore)
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run)
        yield Emitter(link.publish, words)
        with trio.move_on_after(FLUSH_WITHIN):
            await link.flush()
        nursery.cancel_scope.cancel()


def _ignore(subscribed: bytes, channel: bytes, payload: bytes) -> None:
    """Nothing is subscribed to."""
