"""Nodes of other machines, found by their leases in Redis.

Rule: what a lease says is checked as if strangers had written it; an address out of one is
used as it is or not at all. While Redis is away, the nodes that were known stay known.
"""

from __future__ import annotations

import redis
import structlog
import trio

from proxy.pool import Pool
from proxy.values import Address, read_address
from rtserver.errors import ProtocolError
from rtserver.protocol.handoff import LeasedState, decode_lease

LOOK_EVERY = 1.0
# A client cannot make us ask more often than this.
NOT_SOONER = 0.2
COMMAND_SECONDS = 2.0
_NODES = "rtserver:nodes"
_MAX_DIGITS = 5

log = structlog.get_logger("proxy")


class Discovery:
    """Keeps a pool's leased nodes up to date.

    Args:
        url: Of Redis.
        pool: Gets them.
    """

    def __init__(self, url: str, pool: Pool) -> None:
        self._client = redis.Redis.from_url(
            url, socket_timeout=COMMAND_SECONDS, socket_connect_timeout=COMMAND_SECONDS, protocol=3
        )
        self._pool = pool
        self._looking = trio.Lock()
        self._looked_at = -NOT_SOONER
        self._away = False

    async def look(self) -> None:
        """Ask Redis now; whoever calls while somebody asks gets that answer."""
        called_at = trio.current_time()
        async with self._looking:
            if self._looked_at >= called_at:
                return
            if called_at - self._looked_at < NOT_SOONER:
                await trio.sleep(NOT_SOONER - (called_at - self._looked_at))
            started = trio.current_time()
            try:
                values = await trio.to_thread.run_sync(self._ask, abandon_on_cancel=True)
            except redis.RedisError as exc:
                if not self._away:
                    self._away = True
                    log.warning("redis_away", error=type(exc).__name__)
                return
            finally:
                self._looked_at = started
            if self._away:
                self._away = False
                log.info("redis_back")
            self._take(values)

    def _ask(self) -> list[object]:
        # A slot has five digits at most; whatever else is in the set is nobody's, however long it is.
        slots = [int(slot) for slot in self._client.smembers(_NODES) if slot.isdigit() and len(slot) <= _MAX_DIGITS]
        return list(self._client.mget([f"rtserver:node:{slot}" for slot in slots])) if slots else []

    def _take(self, values: list[object]) -> None:
        states: list[LeasedState] = []
        addresses: dict[int, Address] = {}
        for value in values:
            if not isinstance(value, bytes):
                continue
            try:
                state = decode_lease(value)
            except ProtocolError as exc:
                log.warning("lease_unreadable", error=str(exc))
                continue
            address = None if state.address is None else read_address(state.address)
            if address is not None and address.port:
                addresses[state.slot] = address
            states.append(state)
        self._pool.lease(states, addresses)

    async def run(self) -> None:
        """Ask every second, for ever."""
        while True:
            await self.look()
            await trio.sleep(LOOK_EVERY)

    def close(self) -> None:
        self._client.close()
