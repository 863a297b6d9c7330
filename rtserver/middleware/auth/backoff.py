"""Addresses that fail to authenticate wait longer and longer.

Rule: the table is bounded, the clock only goes forward, and a success of one address
says nothing of another. An IPv6 address counts with its /64, which is what one host has.
Clients whose address is not known are not told apart, so they never wait for one another.
"""

from __future__ import annotations

from dataclasses import dataclass

from rtserver.core.addresses import group

FREE_FAILURES = 5
FIRST_WAIT = 1.0
LONGEST_WAIT = 300.0
FORGET_AFTER = 900.0
MAX_ADDRESSES = 10_000


@dataclass(slots=True)
class _Failures:
    count: int
    blocked_until: float
    last: float


class Backoff:
    """Failures by address.

    Args:
        free: So many failures cost nothing but the refusal.
    """

    def __init__(self, free: int = FREE_FAILURES) -> None:
        self._free = free
        self._failed: dict[str, _Failures] = {}

    def blocked(self, address: str, now: float) -> bool:
        """Whether ``address`` has to wait still, at ``now`` in seconds of a clock that only goes forward."""
        failures = self._failed.get(group(address))
        return failures is not None and now < failures.blocked_until

    def failed(self, address: str, now: float) -> None:
        """A client at ``address`` was refused."""
        if not address:
            return
        key = group(address)
        failures = self._failed.pop(key, None)
        if failures is None or now - failures.last > FORGET_AFTER:
            failures = _Failures(0, 0.0, now)
        failures.count += 1
        failures.last = now
        if failures.count > self._free:
            wait = FIRST_WAIT * 2 ** min(failures.count - self._free - 1, 20)
            failures.blocked_until = now + min(LONGEST_WAIT, wait)
        # The one that failed longest ago goes first.
        while len(self._failed) >= MAX_ADDRESSES:
            del self._failed[next(iter(self._failed))]
        self._failed[key] = failures

    def succeeded(self, address: str) -> None:
        """A client at ``address`` is who it says it is, which makes up for one failure.

        Not for all of them: who has an account would sign in now and then, and guess for ever.
        """
        failures = self._failed.get(group(address))
        if failures is not None:
            failures.count -= 1
            if failures.count <= 0:
                del self._failed[group(address)]

    def __len__(self) -> int:
        return len(self._failed)
