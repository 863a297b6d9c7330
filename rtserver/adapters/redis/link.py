"""One supervised connection to Redis: publishes out, messages in, commands and their replies.

Rule: ``publish`` and ``subscribe`` never wait: what they want is kept, bounded, until the
writer takes it, and all of one turn leaves in one write. The connection owns the order of
replies; callers only wait, so one that is cancelled shifts nobody's. Every second a message
to itself must come back: a link that hears nothing of its own is deaf, and begins anew.
"""

from __future__ import annotations

import contextlib
import random
import secrets
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import hiredis
import structlog
import trio

from rtserver.adapters.redis.backlog import Backlog, Command
from rtserver.adapters.redis.replies import (
    CLASSIC,
    Confirmation,
    LinkState,
    OnMessage,
    RelayDown,
    Reply,
    Verbs,
    Waiting,
    innermost,
    pack,
)
from rtserver.adapters.redis.target import Reachable
from rtserver.errors import LimitExceeded
from rtserver.logs import LimitedLog

log = structlog.get_logger("rtserver.redis")

RECEIVE_SIZE = 262_144
MAX_MESSAGE = 8_388_608
# What somebody else may send us before the connection is given up: Redis itself takes 512 MiB.
MAX_INCOMING = 67_108_864
ECHO_EVERY = 1.0
# Counted and not timed: a node that was busy for long has not read what came meanwhile.
MAX_UNHEARD = 3
# Seconds that messages are acted on before the rest of the node has its turn.
TURN = 0.005
CONNECT_WITHIN = 3.0
FIRST_RETRY = 0.1
LAST_RETRY = 2.0
# Seconds that a busy node may need to connect and subscribe once it tries.
JOIN_WITHIN = 0.5


def check_size(payload: bytes) -> None:
    """Raises ``LimitExceeded`` if this is larger than a message may be."""
    if len(payload) > MAX_MESSAGE:
        raise LimitExceeded(f"{len(payload)} bytes are too many for one message to other nodes")


class RedisLink:
    """A connection that comes back by itself.

    Args:
        target: Where Redis is.
        on_message: Called with what was subscribed to, the channel and the payload of every message.
        verbs: The commands to publish and subscribe by.
        echo_channel: Where it hears itself; one that nobody else has, if not given.
        on_moved: Called when Redis says that a channel is another server's.
    """

    def __init__(
        self,
        target: Reachable,
        on_message: OnMessage,
        *,
        verbs: Verbs = CLASSIC,
        echo_channel: bytes | None = None,
        on_moved: Callable[[], None] | None = None,
    ) -> None:
        self._target = target
        self._on_message = on_message
        self._verbs = verbs
        self._on_moved = on_moved
        self._channels: dict[bytes, None] = {}
        self._patterns: dict[bytes, None] = {}
        self._backlog = Backlog()
        self._wake = trio.Event()
        self._replies: deque[Waiting | None] = deque()
        self._connected = False
        self._echo_channel = echo_channel or b"rtserver-echo#" + secrets.token_hex(8).encode()
        self._unheard = 0
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
        return len(self._backlog)

    async def settled(self) -> None:
        """Until it hears, or is known not to for now."""
        await self._settled.wait()

    # What others want. None of this waits, but the last three.

    def publish(self, channel: bytes, payload: bytes) -> None:
        """Hand a message to the other nodes, now or as soon as Redis is back.

        Raises:
            LimitExceeded: It is larger than a message may be.
        """
        check_size(payload)
        self.published += 1
        self._queue(pack(self._verbs.publish, channel, payload), None)

    def subscribe(self, channels: Sequence[bytes], patterns: Sequence[bytes] = ()) -> None:
        """Hear these from now on, over every connection to come."""
        self._channels.update(dict.fromkeys(channels))
        self._patterns.update(dict.fromkeys(patterns))
        self._change(self._verbs.subscribe, channels)
        self._change(b"PSUBSCRIBE", patterns)

    def unsubscribe(self, channels: Sequence[bytes], patterns: Sequence[bytes] = ()) -> None:
        """Hear these no more."""
        for channel in channels:
            self._channels.pop(channel, None)
        for pattern in patterns:
            self._patterns.pop(pattern, None)
        self._change(self._verbs.unsubscribe, channels)
        self._change(b"PUNSUBSCRIBE", patterns)

    def take_backlog(self) -> list[tuple[bytes, bytes]]:
        """The messages that wait, channel and payload, which are somebody else's to send from now on."""
        return self._backlog.take_messages()

    async def command(self, *args: bytes) -> Any:
        """Run a command and wait for its reply.

        Raises:
            RelayDown: Redis is away, went away, or has refused.
        """
        if not self._connected:
            raise RelayDown("redis does not answer")
        reply = Reply()
        self._queue(pack(*args), reply)
        await reply.event.wait()
        if isinstance(reply.value, Exception):
            raise RelayDown(str(reply.value)) from reply.value
        return reply.value

    async def subscribers(self, channel: bytes) -> int:
        """How many connections hear ``channel``. Raises ``RelayDown``."""
        match await self.command(b"PUBSUB", self._verbs.count, channel):
            case [name, int(count)] if name == channel:
                return count
        raise RelayDown("no answer to the question asked")

    async def names(self, pattern: bytes) -> list[bytes]:
        """The channels that somebody hears. Raises ``RelayDown``."""
        reply = await self.command(b"PUBSUB", self._verbs.names, pattern)
        return [name for name in reply if isinstance(name, bytes)] if isinstance(reply, list) else []

    async def flush(self) -> None:
        """Until Redis has taken all that was published before, however long that is."""
        while True:
            if not self._backlog.holds:
                with contextlib.suppress(RelayDown):
                    await self.command(b"PING")
                    return
            await trio.sleep(FIRST_RETRY)

    def _change(self, verb: bytes, names: Sequence[bytes]) -> None:
        # Without a connection there is nothing to say: the next one begins with all of it.
        if self._connected:
            for wire, waiting in self._changes(verb, names):
                self._queue(wire, waiting)

    def _changes(self, verb: bytes, names: Sequence[bytes]) -> Iterator[Command]:
        # Names of different slots may not stand in one command.
        for group in [[name] for name in names] if self._verbs.one_by_one else [names] if names else []:
            yield pack(verb, *group), Confirmation(verb.lower(), set(group))

    def _queue(self, wire: bytes, waiting: Waiting | None) -> None:
        if lost := self._backlog.add(wire, waiting):
            self.lost += lost
            self._quiet.warning("messages_lost", lost=self.lost)
        self._wake.set()

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
                try:
                    await self._serve(stream, retry)
                finally:
                    # A peer that has stopped answering is not waited for.
                    await trio.aclose_forcefully(stream)
            except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as group:
                self._quiet.warning("redis_away", reason=innermost(group))
            except* (RelayDown, hiredis.HiredisError, ssl.SSLError) as group:
                self._quiet.warning("redis_refuses", reason=innermost(group))
            self._become(LinkState.DEGRADED)
            if trio.current_time() - began > 2 * LAST_RETRY:
                retry = FIRST_RETRY
            await trio.sleep(retry * random.uniform(0.5, 1.0))
            retry = min(LAST_RETRY, retry * 2)

    async def _serve(self, stream: trio.abc.Stream, others_back_within: float) -> None:
        reader = hiredis.Reader()
        try:
            with trio.fail_after(CONNECT_WITHIN):
                await self._greet(stream, reader)
            self.connects += 1
            self._connected = True
            self._unheard = 0
            self._queue_subscriptions()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read, stream, reader)
                nursery.start_soon(self._write, stream)
                nursery.start_soon(self._listen_for_oneself)
                nursery.start_soon(self._release, others_back_within)
        finally:
            self._connected = False
            self._fail_waiting()

    async def _greet(self, stream: trio.abc.Stream, reader: hiredis.Reader) -> None:
        """Speak RESP3, and show who we are. Raises ``RelayDown`` if we may not."""
        await stream.send_all(pack(b"HELLO", b"3", *self._target.access()))
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
        commands = [
            *self._changes(self._verbs.subscribe, (*self._channels, self._echo_channel)),
            *self._changes(b"PSUBSCRIBE", tuple(self._patterns)),
            self._echo(),
        ]
        # Nobody hears yet what was kept while Redis was away from all of us.
        self._backlog.go_ahead(commands, hold=self._state is LinkState.DEGRADED)
        self._wake.set()

    async def _release(self, delay: float) -> None:
        """Publish what was held, once the others have had the time to come back that we have had."""
        await trio.sleep(delay + JOIN_WITHIN)
        self._backlog.release()
        self._wake.set()

    async def _write(self, stream: trio.abc.Stream) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            wire, waiting = self._backlog.take()
            self._replies.extend(waiting)
            await stream.send_all(wire)

    async def _read(self, stream: trio.abc.Stream, reader: hiredis.Reader) -> None:
        unread = 0
        while True:
            began = time.perf_counter()
            while (reply := reader.gets()) is not False:
                unread = 0
                if isinstance(reply, hiredis.PushNotification):
                    self._take_push(reply)
                else:
                    self._take_reply(reply)
                if time.perf_counter() - began > TURN:
                    await trio.lowlevel.checkpoint()
                    began = time.perf_counter()
            data = await stream.receive_some(RECEIVE_SIZE)
            unread += len(data)
            if not data or unread > MAX_INCOMING:
                raise RelayDown("a message without end" if data else "redis has closed the connection")
            reader.feed(bytes(data))

    def _take_push(self, push: Sequence[Any]) -> None:
        match push:
            case [b"message" | b"smessage", self._echo_channel, _]:
                self._unheard = 0
                self._become(LinkState.HEALTHY)
            case [b"message" | b"smessage", channel, payload]:
                self.received += 1
                self._on_message(channel, channel, payload)
            case [b"pmessage", pattern, channel, payload]:
                self.received += 1
                self._on_message(pattern, channel, payload)
            case [bytes(kind), bytes(name), _]:
                self._confirm(kind, name)

    def _confirm(self, kind: bytes, name: bytes) -> None:
        first = self._replies[0] if self._replies else None
        if isinstance(first, Confirmation) and first.verb == kind and name in first.names:
            first.names.discard(name)
            if not first.names:
                self._replies.popleft()
        elif kind == b"sunsubscribe":
            self._moved()
        elif kind.endswith(b"subscribe"):
            raise RelayDown("a confirmation of nothing")

    def _take_reply(self, value: Any) -> None:
        # More replies than commands would be Redis's fault, and a reason to begin anew.
        if not self._replies:
            raise RelayDown("a reply to no command")
        waiting = self._replies.popleft()
        if isinstance(waiting, Reply):
            waiting.set(value)
        if not isinstance(value, Exception):
            return
        moved = str(value).startswith("MOVED")
        if waiting is None:
            self.lost += 1
            self._quiet.warning("publish_refused", reason=str(value)[:200])
        elif isinstance(waiting, Confirmation) and not moved:
            # To be deaf for one channel is to be deaf.
            raise RelayDown(f"subscription refused: {value}")
        if moved:
            self._moved()

    def _moved(self) -> None:
        if self._on_moved is not None:
            self._on_moved()

    async def _listen_for_oneself(self) -> None:
        while True:
            await trio.sleep(ECHO_EVERY)
            if self._unheard > MAX_UNHEARD:
                raise RelayDown("nothing comes back")
            self._queue(*self._echo())

    def _echo(self) -> Command:
        self._unheard += 1
        # Nobody misses one that is lost, and none is sent later.
        return pack(self._verbs.publish, self._echo_channel, b""), Reply()

    def _fail_waiting(self) -> None:
        """Whoever waits on a connection that is gone waits no more. Publishes that were under way may be lost."""
        gone = RelayDown("redis has gone away")
        self.lost += sum(waiting is None for waiting in self._replies)
        for waiting in self._replies:
            if isinstance(waiting, Reply):
                waiting.set(gone)
        self._replies.clear()
        self._backlog.forget_commands(gone)
        if self._backlog:
            self._wake.set()

    def _become(self, state: LinkState) -> None:
        if state is not self._state:
            log.info("relay", state=state.value)
            self._state = state
        self._settled.set()
