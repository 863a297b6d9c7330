"""One supervised connection to Redis: publishes out, messages in, commands and their replies.

Rule: ``publish`` and ``subscribe`` never wait: what they want is kept, bounded, until the
writer takes it, and all of one turn leaves in one write. The connection owns the order of
replies; callers only wait, so one that is cancelled shifts nobody's. Every second a message
to itself must come back: a link that hears nothing of its own is deaf, and begins anew.
"""

from __future__ import annotations

import enum
import random
import secrets
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import hiredis
import structlog
import trio

from rtserver.adapters.redis.target import RedisTarget
from rtserver.errors import LimitExceeded, RTServerError
from rtserver.logs import LimitedLog

log = structlog.get_logger("rtserver.redis")

RECEIVE_SIZE = 262_144
# What is kept while Redis is away; what goes beyond is counted as lost, the oldest first.
MAX_BACKLOG_BYTES = 16_777_216
MAX_BACKLOG = 100_000
MAX_MESSAGE = 8_388_608
ECHO_EVERY = 1.0
ECHO_WITHIN = 3.0
CONNECT_WITHIN = 3.0
FIRST_RETRY = 0.1
LAST_RETRY = 2.0

OnMessage = Callable[[bytes, bytes, bytes], None]


class LinkState(enum.Enum):
    """How well a node hears the others."""

    STARTING = "starting"
    HEALTHY = "healthy"
    DEGRADED = "degraded"


class RelayDown(RTServerError):
    """Redis does not answer."""


def pack(*args: str | bytes) -> bytes:
    """A command on the wire."""
    wire: bytes = cast(Callable[[tuple[str | bytes, ...]], bytes], hiredis.pack_command)(args)
    return wire


class _Reply:
    __slots__ = ("event", "value")

    def __init__(self) -> None:
        self.event = trio.Event()
        self.value: Any = None

    def set(self, value: Any) -> None:
        self.value = value
        self.event.set()


# Waits for no reply: Redis answers with a push instead.
_PUSHED = _Reply.__new__(_Reply)


class RedisLink:
    """A connection that comes back by itself.

    Args:
        target: Where Redis is.
        on_message: Called with what was subscribed to, the channel and the payload of every message.
    """

    def __init__(self, target: RedisTarget, on_message: OnMessage) -> None:
        self._target = target
        self._on_message = on_message
        self._channels: dict[bytes, None] = {}
        self._patterns: dict[bytes, None] = {}
        # Commands, each with who waits for its reply; None if nobody does.
        self._outgoing: deque[tuple[bytes, _Reply | None]] = deque()
        self._outgoing_bytes = 0
        self._wake = trio.Event()
        self._replies: deque[_Reply | None] = deque()
        self._connected = False
        self._echo_channel = b"rtserver-echo#" + secrets.token_hex(8).encode()
        self._heard_at = 0.0
        self._state = LinkState.STARTING
        self._settled = trio.Event()
        self._quiet = LimitedLog()
        self.published = 0
        self.received = 0
        self.lost = 0
        self.connects = 0

    @property
    def state(self) -> LinkState:
        return self._state

    @property
    def backlog(self) -> int:
        """How many messages wait to be sent."""
        return len(self._outgoing)

    # What others want. None of this waits, but ``command``.

    def publish(self, channel: bytes, payload: bytes) -> None:
        """Hand a message to the other nodes, now or as soon as Redis is back.

        Raises:
            LimitExceeded: It is larger than a message may be.
        """
        if len(payload) > MAX_MESSAGE:
            raise LimitExceeded(f"{len(payload)} bytes are too many for one message to other nodes")
        self.published += 1
        self._queue(pack(b"PUBLISH", channel, payload), None)
        while self._outgoing_bytes > MAX_BACKLOG_BYTES or len(self._outgoing) > MAX_BACKLOG:
            self._lose_oldest()

    def subscribe(self, channels: Sequence[bytes], patterns: Sequence[bytes]) -> None:
        """Hear these from now on, over every connection to come."""
        self._channels.update(dict.fromkeys(channels))
        self._patterns.update(dict.fromkeys(patterns))
        self._change(b"SUBSCRIBE", channels)
        self._change(b"PSUBSCRIBE", patterns)

    def unsubscribe(self, channels: Sequence[bytes], patterns: Sequence[bytes]) -> None:
        """Hear these no more."""
        for channel in channels:
            self._channels.pop(channel, None)
        for pattern in patterns:
            self._patterns.pop(pattern, None)
        self._change(b"UNSUBSCRIBE", channels)
        self._change(b"PUNSUBSCRIBE", patterns)

    async def command(self, *args: bytes) -> Any:
        """Run a command and wait for its reply.

        Raises:
            RelayDown: Redis is away, went away, or has refused.
        """
        if not self._connected:
            raise RelayDown("redis does not answer")
        reply = _Reply()
        self._queue(pack(*args), reply)
        await reply.event.wait()
        if isinstance(reply.value, Exception):
            raise RelayDown(str(reply.value)) from reply.value
        return reply.value

    def _change(self, verb: bytes, names: Sequence[bytes]) -> None:
        # Without a connection there is nothing to say: the next one begins with all of it.
        if self._connected and names:
            self._queue(pack(verb, *names), _PUSHED)

    def _queue(self, wire: bytes, reply: _Reply | None) -> None:
        self._outgoing.append((wire, reply))
        self._outgoing_bytes += len(wire)
        self._wake.set()

    def _lose_oldest(self) -> None:
        wire, reply = self._outgoing.popleft()
        self._outgoing_bytes -= len(wire)
        if reply is None:
            self.lost += 1
            self._quiet.warning("messages_lost", lost=self.lost)
        elif reply is not _PUSHED:
            reply.set(RelayDown("too much waits for redis"))

    # The life of it.

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Stay connected until cancelled. Has started once it hears, or is known not to for now."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stay_connected)
            await self._settled.wait()
            task_status.started()

    async def _stay_connected(self) -> None:
        retry = FIRST_RETRY
        while True:
            began = trio.current_time()
            try:
                with trio.fail_after(CONNECT_WITHIN):
                    stream = await self._target.connect()
                async with stream:
                    await self._serve(stream)
            except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as group:
                self._quiet.warning("redis_away", reason=_reason(group))
            except* (RelayDown, hiredis.HiredisError, ssl.SSLError) as group:
                self._quiet.warning("redis_refuses", reason=_reason(group))
            self._become(LinkState.DEGRADED)
            if trio.current_time() - began > 2 * LAST_RETRY:
                retry = FIRST_RETRY
            await trio.sleep(retry * random.uniform(0.5, 1.0))
            retry = min(LAST_RETRY, retry * 2)

    async def _serve(self, stream: trio.abc.Stream) -> None:
        reader = hiredis.Reader()
        try:
            with trio.fail_after(CONNECT_WITHIN):
                await self._greet(stream, reader)
            self.connects += 1
            self._connected = True
            self._heard_at = trio.current_time()
            self._queue_subscriptions()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read, stream, reader)
                nursery.start_soon(self._write, stream)
                nursery.start_soon(self._listen_for_oneself)
        finally:
            self._connected = False
            self._fail_waiting()

    async def _greet(self, stream: trio.abc.Stream, reader: hiredis.Reader) -> None:
        """Speak RESP3, and show who we are. Raises ``RelayDown`` if we may not."""
        target = self._target
        hello: tuple[str, ...] = ("HELLO", "3")
        if target.password is not None:
            hello += ("AUTH", target.username or "default", target.password)
        await stream.send_all(pack(*hello))
        reply = False
        while reply is False:
            data = await stream.receive_some(RECEIVE_SIZE)
            if not data:
                raise RelayDown("redis has closed the connection")
            reader.feed(bytes(data))
            reply = reader.gets()
        if isinstance(reply, Exception):
            # Redis quotes nothing of what it was sent here.
            raise RelayDown(str(reply))

    def _queue_subscriptions(self) -> None:
        """In front of everything that waits: what is published must not come before we hear."""
        waiting, self._outgoing = self._outgoing, deque()
        self._change(b"SUBSCRIBE", (*self._channels, self._echo_channel))
        self._change(b"PSUBSCRIBE", tuple(self._patterns))
        self._queue(pack(b"PUBLISH", self._echo_channel, b""), None)
        self._outgoing.extend(waiting)

    async def _write(self, stream: trio.abc.Stream) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            batch, self._outgoing, self._outgoing_bytes = self._outgoing, deque(), 0
            self._replies.extend(reply for _, reply in batch if reply is not _PUSHED)
            await stream.send_all(b"".join([wire for wire, _ in batch]))

    async def _read(self, stream: trio.abc.Stream, reader: hiredis.Reader) -> None:
        while True:
            while (reply := reader.gets()) is not False:
                if isinstance(reply, hiredis.PushNotification):
                    self._take_push(reply)
                else:
                    self._take_reply(reply)
            data = await stream.receive_some(RECEIVE_SIZE)
            if not data:
                raise RelayDown("redis has closed the connection")
            reader.feed(bytes(data))

    def _take_push(self, push: Sequence[Any]) -> None:
        match push:
            case [b"message", self._echo_channel, _]:
                self._heard_at = trio.current_time()
                self._become(LinkState.HEALTHY)
            case [b"message", channel, payload]:
                self.received += 1
                self._on_message(channel, channel, payload)
            case [b"pmessage", pattern, channel, payload]:
                self.received += 1
                self._on_message(pattern, channel, payload)

    def _take_reply(self, value: Any) -> None:
        # More replies than commands would be Redis's fault, and a reason to begin anew.
        if not self._replies:
            raise RelayDown("a reply to no command")
        reply = self._replies.popleft()
        if reply is not None:
            reply.set(value)
        elif isinstance(value, Exception):
            self.lost += 1
            self._quiet.warning("publish_refused", reason=str(value)[:200])

    async def _listen_for_oneself(self) -> None:
        while True:
            await trio.sleep(ECHO_EVERY)
            if trio.current_time() - self._heard_at > ECHO_WITHIN:
                raise RelayDown("nothing comes back")
            self._queue(pack(b"PUBLISH", self._echo_channel, b""), None)

    def _fail_waiting(self) -> None:
        """Whoever waits on a connection that is gone waits no more. Publishes that were under way may be lost."""
        gone = RelayDown("redis has gone away")
        for reply in self._replies:
            if reply is None:
                self.lost += 1
            else:
                reply.set(gone)
        self._replies.clear()
        kept: deque[tuple[bytes, _Reply | None]] = deque()
        for wire, reply in self._outgoing:
            if reply is None:
                kept.append((wire, reply))
            elif reply is not _PUSHED:
                reply.set(gone)
        self._outgoing = kept
        self._outgoing_bytes = sum(len(wire) for wire, _ in kept)
        if kept:
            self._wake.set()

    def _become(self, state: LinkState) -> None:
        if state is not self._state:
            log.info("relay", state=state.value)
            self._state = state
        self._settled.set()


def _reason(group: BaseExceptionGroup[BaseException]) -> str:
    """The innermost of the first, in a few words."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return f"{type(found).__name__}: {found}"[:200]
