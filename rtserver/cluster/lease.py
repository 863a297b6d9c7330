"""Slots across machines: a key in Redis for each, leased by the node that has the slot.

Rule: a lease is kept by its token alone. Who finds another token in its key has lost the
slot and must go; who finds no key at all takes it again, for its sids still name it.
The commands are few and may wait, so they are redis-py's, in worker threads.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import redis
import redis.exceptions
import structlog
import trio

from rtserver.adapters.redis.target import REDIS_ERRORS, read_url
from rtserver.cluster.rundir import lease_path
from rtserver.cluster.slots import SLOTS, NoSlot, hold_slot
from rtserver.protocol.handoff import LeasedState, NodeState, encode_lease
from rtserver.protocol.sid import Owner

log = structlog.get_logger("rtserver.cluster")

LEASE_MS = 15_000
REFRESH_EVERY = 2.0
_RETRY_EVERY = 1.0
_NODES = "rtserver:nodes"

# Source: Redis, "Distributed locks": compare the token where the key is, then write.
_REFRESH = """
local held = redis.call('GET', KEYS[1])
if held then
    local read, lease = pcall(cjson.decode, held)
    if not read or type(lease) ~= 'table' or lease.token ~= ARGV[1] then return 0 end
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""
_LEAVE = """
local held = redis.call('GET', KEYS[1])
if held and cjson.decode(held).token == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

R = TypeVar("R")

# To be waited out; anything else that Redis says at the start is a mistake in the settings.
_AWAY = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.ClusterError,
    redis.exceptions.RedisClusterException,
)


class Lease:
    """A slot that Redis gives. ``hold_lease`` makes one.

    Attributes:
        owner: The slot and its incarnation.
    """

    def __init__(self, client: Any, owner: Owner, token: str) -> None:
        self.owner = owner
        self._client = client
        self._token = token
        self._changed = trio.Event()

    async def keep(self, describe: Callable[[], NodeState], on_lost: Callable[[], None]) -> None:
        """Renew the lease for ever, with the state of the moment.

        Args:
            describe: How the node is.
            on_lost: Called once when another node has the slot.
        """
        while await self._renew(describe()):
            self._changed = trio.Event()
            with trio.move_on_after(REFRESH_EVERY):
                await self._changed.wait()
        log.error("slot_lost", slot=self.owner.slot)
        on_lost()

    def changed(self) -> None:
        """The state is another one: do not wait to say so."""
        self._changed.set()

    async def _renew(self, state: NodeState) -> bool:
        value = encode_lease(_leased(state, self._token))
        try:
            return bool(await _run(lambda: self._write(value)))
        except REDIS_ERRORS as exc:
            log.warning("lease_not_renewed", slot=self.owner.slot, error=type(exc).__name__)
            return True

    def _write(self, value: bytes) -> Any:
        self._client.sadd(_NODES, self.owner.slot)
        return self._client.eval(_REFRESH, 1, _key(self.owner.slot), self._token, value, LEASE_MS)

    async def leave(self) -> None:
        """Give the slot back."""
        with contextlib.suppress(*REDIS_ERRORS):
            await _run(self._delete)

    def _delete(self) -> None:
        if self._client.eval(_LEAVE, 1, _key(self.owner.slot), self._token):
            self._client.srem(_NODES, self.owner.slot)


@asynccontextmanager
async def hold_lease(url: str, directory: Path) -> AsyncIterator[Lease]:
    """Hold the first slot that is free in Redis, and in the run directory, for the length of a block.

    Waits for Redis as long as it takes.

    Args:
        url: Of Redis.
        directory: The run directory. Nodes of two clusters that share one must not share a slot's socket.

    Raises:
        NoSlot: Every slot is taken.
        ConfigurationError: The URL cannot be used.
    """
    client = await _until_reached(read_url(url).client)
    token = secrets.token_urlsafe(16)
    try:
        with contextlib.ExitStack() as stack:
            lease = await _claim(client, directory, token, stack)
            try:
                yield lease
            finally:
                with trio.CancelScope(shield=True):
                    await lease.leave()
    finally:
        client.close()


async def _claim(client: Any, directory: Path, token: str, stack: contextlib.ExitStack) -> Lease:
    slot = 0
    while slot < SLOTS:
        if stack.enter_context(hold_slot(directory, slot)) is not None:
            incarnation = await _until_answered(client, directory, slot, token)
            if incarnation is not None:
                return Lease(client, Owner(slot, incarnation), token)
        stack.pop_all().close()
        slot += 1
    raise NoSlot("every slot of the cluster is taken")


async def _until_reached(connect: Callable[[], Any]) -> Any:
    while True:
        try:
            return await _run(connect)
        except REDIS_ERRORS as exc:
            log.warning("waiting_for_redis", error=type(exc).__name__)
            await trio.sleep(_RETRY_EVERY)


async def _until_answered(client: Any, directory: Path, slot: int, token: str) -> int | None:
    while True:
        try:
            return await _run(lambda: _take(client, directory, slot, token))
        except _AWAY as exc:
            log.warning("waiting_for_redis", error=type(exc).__name__)
            await trio.sleep(_RETRY_EVERY)


def _take(client: Any, directory: Path, slot: int, token: str) -> int | None:
    """The slot's new incarnation, or None when another node has the slot."""
    value = encode_lease(_leased(NodeState(slot, 0, "starting", 0, 0.0, None, 0), token))
    # Whoever had the slot on this machine is dead, for we hold its lock; nobody has to wait for
    # its lease to end. Our own token is there when the answer to an earlier attempt got lost.
    remembered = lease_path(directory, slot)
    for known in (_remembered(remembered), token):
        if client.eval(_REFRESH, 1, _key(slot), known, value, LEASE_MS):
            break
    else:
        return None
    remembered.write_text(token)
    incarnation = int(client.incr(f"rtserver:incarnation:{slot}")) % SLOTS
    client.sadd(_NODES, slot)
    return incarnation


def _remembered(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""


def _key(slot: int) -> str:
    return f"rtserver:node:{slot}"


def _leased(state: NodeState, token: str) -> LeasedState:
    return LeasedState(
        state.slot,
        state.incarnation,
        state.state,
        state.sessions,
        state.load,
        state.address,
        state.pid,
        token=token,
        host=socket.gethostname() or "localhost",
    )


async def _run(command: Callable[[], R]) -> R:
    return await trio.to_thread.run_sync(command, abandon_on_cancel=True)
