"""A connection to each master of a Redis Cluster, for channels that belong to slots.

Rule: a channel is heard, and a message is published, where its slot is. Who owns which slot
is asked again whenever a server says that something has moved, or does not answer.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Sequence

import redis.crc
import structlog
import trio

from rtserver.adapters.redis.backlog import MAX_MESSAGES
from rtserver.adapters.redis.link import RedisLink, check_size
from rtserver.adapters.redis.replies import SHARDED, LinkState, OnMessage, RelayDown
from rtserver.adapters.redis.target import ClusterTarget
from rtserver.logs import LimitedLog

log = structlog.get_logger("rtserver.redis")

CHECK_EVERY = 0.5
ASK_EVERY = 30.0

Address = tuple[str, int]


class _Master:
    """One server, and the connection to it."""

    def __init__(self, link: RedisLink, echo_slot: int) -> None:
        self.link = link
        self.echo_slot = echo_slot
        self.scope = trio.CancelScope()

    async def run(self) -> None:
        with self.scope:
            await self.link.run()


class ClusterLink:
    """The way to the other nodes through a Redis Cluster. Implements ``replies.Link``.

    Args:
        target: Where the cluster is.
        on_message: Called with what was subscribed to, the channel and the payload of every message.
    """

    def __init__(self, target: ClusterTarget, on_message: OnMessage) -> None:
        self._target = target
        self._on_message = on_message
        self._masters: dict[Address, _Master] = {}
        # By slot; empty until a server has said it.
        self._owners: list[Address] = []
        self._channels: dict[bytes, None] = {}
        # What is published before it is known where to.
        self._early: deque[tuple[bytes, bytes]] = deque()
        self._changed = trio.Event()
        self._away = False
        self._quiet = LimitedLog()
        # Of servers that are no masters any more.
        self._before = {"published": 0, "received": 0, "lost": 0, "connects": 0}

    @property
    def state(self) -> LinkState:
        """Deaf on one server is deaf."""
        states = {master.link.state for master in self._masters.values()}
        if self._away or LinkState.DEGRADED in states:
            return LinkState.DEGRADED
        return LinkState.HEALTHY if states == {LinkState.HEALTHY} else LinkState.STARTING

    @property
    def published(self) -> int:
        return self._total("published") + len(self._early)

    @property
    def received(self) -> int:
        return self._total("received")

    @property
    def lost(self) -> int:
        return self._total("lost")

    @property
    def connects(self) -> int:
        return self._total("connects")

    @property
    def backlog(self) -> int:
        return len(self._early) + sum(master.link.backlog for master in self._masters.values())

    def _total(self, name: str) -> int:
        now: int = sum(getattr(master.link, name) for master in self._masters.values())
        return self._before[name] + now

    # What others want.

    def publish(self, channel: bytes, payload: bytes) -> None:
        """Hand a message to the other nodes. Raises ``LimitExceeded``."""
        if self._owners:
            self._link_of(channel).publish(channel, payload)
            return
        check_size(payload)
        self._early.append((channel, payload))
        if len(self._early) > MAX_MESSAGES:
            self._early.popleft()
            self._before["published"] += 1
            self._before["lost"] += 1

    def subscribe(self, channels: Sequence[bytes], patterns: Sequence[bytes] = ()) -> None:
        """Hear these from now on. There are no patterns for channels of slots."""
        for channel in channels:
            self._channels[channel] = None
            if self._owners:
                self._link_of(channel).subscribe((channel,))

    def unsubscribe(self, channels: Sequence[bytes], patterns: Sequence[bytes] = ()) -> None:
        """Hear these no more."""
        for channel in channels:
            self._channels.pop(channel, None)
            if self._owners:
                self._link_of(channel).unsubscribe((channel,))

    async def subscribers(self, channel: bytes) -> int:
        """How many connections hear ``channel``. Raises ``RelayDown``."""
        if not self._owners:
            raise RelayDown("no server of the cluster answers")
        return await self._link_of(channel).subscribers(channel)

    async def names(self, pattern: bytes) -> list[bytes]:
        """The channels that somebody hears, on any server. Raises ``RelayDown``."""
        found = [await master.link.names(pattern) for master in list(self._masters.values())]
        return [name for names in found for name in names]

    async def flush(self) -> None:
        """Until every server has taken what was published before."""
        while not self._owners:  # noqa: ASYNC110 - a server that comes back tells nobody
            await trio.sleep(CHECK_EVERY)
        for master in list(self._masters.values()):
            await master.link.flush()

    def _link_of(self, channel: bytes) -> RedisLink:
        return self._masters[self._owners[_slot(channel)]].link

    # The life of it.

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Stay connected until cancelled. Has started once it hears, or is known not to for now."""
        async with trio.open_nursery() as nursery:
            await self._ask(nursery)
            for master in list(self._masters.values()):
                await master.link.settled()
            task_status.started()
            asked_at = trio.current_time()
            while True:
                with trio.move_on_after(CHECK_EVERY):
                    await self._changed.wait()
                if (
                    self._changed.is_set()
                    or self.state is LinkState.DEGRADED
                    or trio.current_time() - asked_at > ASK_EVERY
                ):
                    await self._ask(nursery)
                    asked_at = trio.current_time()

    async def _ask(self, nursery: trio.Nursery) -> None:
        """Who owns which slot now?"""
        self._changed = trio.Event()
        # Who answers is asked first.
        known = sorted(self._masters, key=lambda address: self._masters[address].link.state is LinkState.DEGRADED)
        try:
            owners = await trio.to_thread.run_sync(self._target.discover, known, abandon_on_cancel=True)
        except (RelayDown, OSError) as exc:
            self._away = not self._masters
            self._quiet.warning("redis_cluster_away", reason=str(exc)[:200])
            return
        self._away = False
        if owners != self._owners:
            self._follow(owners, nursery)

    def _follow(self, owners: list[Address], nursery: trio.Nursery) -> None:
        before, self._owners = self._owners, owners
        moved: list[tuple[bytes, bytes]] = []
        for address, master in list(self._masters.items()):
            # Whoever has lost the slot of its own echo would take itself for deaf.
            if owners[master.echo_slot] != address:
                moved += master.link.take_backlog()
                for name in self._before:
                    self._before[name] += getattr(master.link, name)
                master.scope.cancel()
                del self._masters[address]
        kept = set(self._masters)
        for address in sorted(set(owners) - kept):
            self._masters[address] = self._master(address)
            nursery.start_soon(self._masters[address].run)
        for channel in self._channels:
            slot = _slot(channel)
            old, new = before[slot] if before else None, owners[slot]
            if old != new or new not in kept:
                self._masters[new].link.subscribe((channel,))
                if old in kept and old != new:
                    self._masters[old].link.unsubscribe((channel,))
        early, self._early = self._early, deque()
        for channel, payload in (*early, *moved):
            self.publish(channel, payload)
        # A message that has moved was published once.
        self._before["published"] -= len(moved)
        log.info("redis_cluster", masters=len(self._masters))

    def _master(self, address: Address) -> _Master:
        echo = b"rtserver-echo#" + secrets.token_hex(8).encode() + b"#"
        number = 0
        while self._owners[_slot(echo + b"%d" % number)] != address:
            number += 1
        host, port = address
        link = RedisLink(
            self._target.at(host, port),
            self._on_message,
            verbs=SHARDED,
            echo_channel=echo + b"%d" % number,
            on_moved=self._has_changed,
        )
        return _Master(link, _slot(echo + b"%d" % number))

    def _has_changed(self) -> None:
        self._changed.set()


def _slot(channel: bytes) -> int:
    return redis.crc.key_slot(channel)
