"""What makes a node a member of a cluster: a slot, sids that name it, announcements, and the others.

Rule: a node takes its slot before it serves and gives it back when it has ended; in between
it says how it is, to proxies and other nodes of the machine by its Unix socket, to others
by its lease in Redis.
"""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

import structlog
import trio

from rtserver.cluster.control import Control
from rtserver.cluster.drain import let_go
from rtserver.cluster.neighbours import Neighbours
from rtserver.cluster.rundir import open_run_dir, socket_path
from rtserver.cluster.slots import take_slot
from rtserver.config import Config
from rtserver.entropy import random_bytes
from rtserver.errors import ConfigurationError
from rtserver.protocol.handoff import NodeState, State, encode_state
from rtserver.protocol.sid import RANDOM_BYTES, Owner, SidCodec
from rtserver.transports.engine import Engine
from rtserver.transports.node import Node
from rtserver.types import Secret

log = structlog.get_logger("rtserver.cluster")

ANNOUNCE_EVERY = 1.0
# Of the connections that a node can hold. What is left is for the sessions that it has.
FULL_AT = 0.90
NOT_FULL_AT = 0.85
_ANYWHERE = ("0.0.0.0:", "[::]:")


class Lease(Protocol):
    """A slot that has to be renewed. See ``rtserver.cluster.lease``."""

    @property
    def owner(self) -> Owner: ...

    async def keep(self, describe: Callable[[], NodeState], on_lost: Callable[[], None]) -> None:
        """Renew it until it is lost."""

    def changed(self) -> None:
        """The state is another one: do not wait to say so."""


@dataclass(frozen=True, slots=True)
class ClusterStatistics:
    """What a node knows of its cluster.

    Args:
        slot: The node's own.
        incarnation: Its life in that slot.
        state: What it tells others.
        load: The share of the last second that it was busy, 0 to 1.
        neighbours: The states of the other nodes of this machine that it is connected to.
        callers: Proxies and others that are connected to it.
        handoff_failures: Passed connections and messages that were dropped, since the start.
    """

    slot: int
    incarnation: int
    state: State
    load: float
    neighbours: tuple[NodeState, ...]
    callers: int
    handoff_failures: int


class Membership:
    """A node in a cluster, for as long as it serves. ``join`` makes one.

    Attributes:
        owner: The node's slot and incarnation.
    """

    def __init__(
        self,
        config: Config,
        owner: Owner,
        directory: Path,
        engine: Engine,
        node: Node,
        address: str | None,
        lease: Lease | None = None,
    ) -> None:
        self.owner = owner
        self._config = config
        self._engine = engine
        self._node = node
        self._address = address
        self._path = socket_path(directory, owner.slot)
        codec = SidCodec([secret.reveal() for secret in config.secret])
        self.neighbours = Neighbours(directory, owner, codec, node.door)
        self.control: Control | None = None
        self._lease = lease
        self._started = False
        self._full = False
        self._announced: State = "starting"
        self._load = 0.0
        engine.new_sid = lambda: codec.mint(owner, random_bytes(RANDOM_BYTES))

    @property
    def state(self) -> State:
        """What others are told."""
        if not self._started:
            return "starting"
        if not self._engine.accepting:
            return "draining"
        share = self._node.occupied / self._node.door.limit
        self._full = share >= (NOT_FULL_AT if self._full else FULL_AT)
        return "full" if self._full else "ready"

    def describe(self) -> NodeState:
        """How the node is now."""
        return NodeState(
            slot=self.owner.slot,
            incarnation=self.owner.incarnation,
            state=self.state,
            sessions=len(self._engine.sessions),
            load=self._load,
            address=self._address,
            pid=os.getpid(),
        )

    def statistics(self) -> ClusterStatistics:
        control = self.control
        states = [link.state for link in self.neighbours.links.values()]
        return ClusterStatistics(
            slot=self.owner.slot,
            incarnation=self.owner.incarnation,
            state=self.state,
            load=self._load,
            neighbours=tuple(state for state in states if state is not None),
            callers=0 if control is None else len(control.callers),
            handoff_failures=0 if control is None else control.failures,
        )

    def check(self) -> None:
        """Tell everybody at once if the state is not what they have been told."""
        if self.state != self._announced:
            self.announce()
            if self._lease is not None:
                self._lease.changed()

    def announce(self) -> None:
        self._announced = self.state
        if self.control is not None:
            self.control.announce()

    async def run(
        self, on_drain: Callable[[], None], task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve others until cancelled.

        Args:
            on_drain: Called when somebody orders the node to drain, or when it has lost its slot.
            task_status: Told when the node can be given connections.

        Raises:
            OSError: The Unix socket cannot be made.
        """
        self.control = Control(self._path, self._node.door, lambda: encode_state(self.describe()), self.check, on_drain)
        self._node.door.neighbourhood = self.neighbours
        self._started = True
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.neighbours.run)
                if self._lease is not None:
                    nursery.start_soon(self._lease.keep, self.describe, on_drain)
                task_status.started()
                log.info("joined", slot=self.owner.slot, incarnation=self.owner.incarnation)
                await self._announce_each_second()
        finally:
            self._node.door.neighbourhood = None
            control, self.control = self.control, None
            control.close()
            self.neighbours.close()

    async def leave(self) -> None:
        """Take nobody new, and let the sessions go to other nodes; returns when they have, or in ``drain_timeout``."""
        self._engine.accepting = False
        self.check()
        with trio.move_on_after(self._config.drain_timeout):
            await let_go(self._engine.sessions.values(), rate=self._config.drain_rate)

    async def _announce_each_second(self) -> None:
        wall, used = time.monotonic(), time.thread_time()
        while True:
            self.announce()
            await trio.sleep(ANNOUNCE_EVERY)
            # All that a node does happens in this thread: its loop, its handlers, its relay.
            later, used_later = time.monotonic(), time.thread_time()
            self._load = min(1.0, (used_later - used) / max(later - wall, math.ulp(1.0)))
            wall, used = later, used_later


@asynccontextmanager
async def join(config: Config, engine: Engine, node: Node, addresses: list[str]) -> AsyncIterator[Membership]:
    """Be a member for the length of a block.

    Args:
        config: The node's settings; the secret is one of them.
        engine: Mints the sids from now on.
        node: Its raw sockets.
        addresses: Where it listens.

    Raises:
        ConfigurationError: The run directory cannot be used.
        NoSlot: Every slot is taken.
    """
    directory = open_run_dir(config.run_dir)
    usual = engine.new_sid
    address = config.advertise or _reachable(addresses)
    try:
        if config.redis_url is None:
            with ExitStack() as stack:
                owner = stack.enter_context(take_slot(directory))
                yield Membership(config, owner, directory, engine, node, address)
        else:
            async with _hold_lease(config.redis_url.reveal(), directory) as lease:
                yield Membership(config, lease.owner, directory, engine, node, address, lease)
    finally:
        engine.new_sid = usual


def _hold_lease(url: str, directory: Path) -> AbstractAsyncContextManager[Lease]:
    # Loaded when it is wanted: a node without Redis needs no client for it.
    try:
        module = import_module("rtserver.cluster.lease")
    except ModuleNotFoundError as exc:
        raise ConfigurationError("redis_url", Secret(""), "none, or an installation of rtserver[redis]") from exc
    return cast(AbstractAsyncContextManager[Lease], module.hold_lease(url, directory))


def _reachable(addresses: list[str]) -> str | None:
    """Where other machines may reach a node that listens on ``addresses``."""
    for address in addresses:
        if address.startswith("unix:"):
            continue
        if address.startswith(_ANYWHERE):
            return f"{socket.gethostname()}:{address.rpartition(':')[2]}"
        return address
    return None
