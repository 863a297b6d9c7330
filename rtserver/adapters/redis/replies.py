"""Who waits for what on a connection to Redis, and the commands that it publishes and subscribes by."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, cast

import hiredis
import trio

from rtserver.errors import RTServerError

OnMessage = Callable[[bytes, bytes, bytes], None]


class LinkState(enum.Enum):
    """How well a node hears the others."""

    STARTING = "starting"
    HEALTHY = "healthy"
    DEGRADED = "degraded"


class RelayDown(RTServerError):
    """Redis does not answer."""


@dataclass(frozen=True, slots=True)
class Verbs:
    """One of the two ways in which Redis passes messages on."""

    publish: bytes
    subscribe: bytes
    unsubscribe: bytes
    count: bytes
    names: bytes
    one_by_one: bool


CLASSIC = Verbs(b"PUBLISH", b"SUBSCRIBE", b"UNSUBSCRIBE", b"NUMSUB", b"CHANNELS", one_by_one=False)
SHARDED = Verbs(b"SPUBLISH", b"SSUBSCRIBE", b"SUNSUBSCRIBE", b"SHARDNUMSUB", b"SHARDCHANNELS", one_by_one=True)


class Link(Protocol):
    """The way to the other nodes: one connection, or one to each server of a Redis Cluster."""

    @property
    def published(self) -> int: ...

    @property
    def received(self) -> int: ...

    @property
    def lost(self) -> int: ...

    @property
    def connects(self) -> int: ...

    @property
    def state(self) -> LinkState: ...

    @property
    def backlog(self) -> int: ...

    def publish(self, channel: bytes, payload: bytes) -> None: ...

    def subscribe(self, channels: Sequence[bytes], patterns: Sequence[bytes] = ()) -> None: ...

    def unsubscribe(self, channels: Sequence[bytes], patterns: Sequence[bytes] = ()) -> None: ...

    async def subscribers(self, channel: bytes) -> int: ...

    async def flush(self) -> None: ...

    async def names(self, pattern: bytes) -> list[bytes]: ...

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None: ...


class Reply:
    """A reply that somebody waits for, or has given up waiting for."""

    __slots__ = ("event", "value")

    def __init__(self) -> None:
        self.event = trio.Event()
        self.value: Any = None

    def set(self, value: Any) -> None:
        self.value = value
        self.event.set()


class Confirmation:
    """A change of subscriptions: Redis answers with a push for each name, or with one error instead."""

    __slots__ = ("names", "verb")

    def __init__(self, verb: bytes, names: set[bytes]) -> None:
        self.verb = verb
        self.names = names


Waiting: TypeAlias = Reply | Confirmation


def pack(*args: str | bytes) -> bytes:
    """A command on the wire."""
    wire: bytes = cast(Callable[[tuple[str | bytes, ...]], bytes], hiredis.pack_command)(args)
    return wire


def innermost(group: BaseExceptionGroup[BaseException]) -> str:
    """The first of what went wrong, in a few words."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return f"{type(found).__name__}: {found}"[:200]
