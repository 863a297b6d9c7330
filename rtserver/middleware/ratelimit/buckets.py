"""Buckets: a rate for each key, in a bounded table.

Rule: a bucket is one number, the time at which it will be full again (GCRA), so that an
event costs a lookup and an addition. Tables are bounded; what does not fit shares one
bucket, and a bucket that is not full is never forgotten, as that would fill it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from rtserver.errors import ConfigurationError

By: TypeAlias = Literal["socket", "user", "address"]

BY = ("socket", "user", "address")
MAX_KEYS = 100_000
# Looking for buckets that are full again is not worth doing more often.
SWEEP_EVERY = 1.0

_RATE = re.compile(
    r"(\d{1,9})\s*/\s*(s|sec|second|min|minute|h|hour)(?:\s+burst\s+(\d{1,9}))?(?:\s+per\s+(socket|user|address))?\Z",
    re.ASCII,
)
_SECONDS = {"s": 1, "sec": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600}


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in a time, and so many at once.

    Args:
        interval: Seconds for one.
        burst: How many may come at once when none has come for long.
        by: Whose they are; None for what the middleware says.
    """

    interval: float
    burst: int
    by: By | None = None

    @classmethod
    def of(cls, setting: str, text: Rate | str) -> Rate:
        """Read ``"30/min"``, ``"5/s per user"`` or ``"100/hour burst 20"``; without a burst it is the whole number.

        Raises:
            ConfigurationError: It is no rate.
        """
        if isinstance(text, Rate):
            return text
        match = _RATE.match(text) if isinstance(text, str) else None
        if match is None or int(match[1]) == 0 or match[3] == "0":
            raise ConfigurationError(setting, text, 'a rate such as "30/min", "5/s per user" or "100/hour burst 20"')
        count = int(match[1])
        return cls(_SECONDS[match[2]] / count, int(match[3] or count), cast(By | None, match[4]))


class Buckets:
    """The buckets of one rate, by key.

    Attributes:
        rate: For each key.
        full_at: When each bucket will be full again. Whoever reads it for speed must leave what is in
            doubt to ``take``.
        slack: Seconds that this may lie ahead while the bucket still has one.

    Args:
        rate: For each key.
        max_keys: So many keys have a bucket of their own.
    """

    __slots__ = ("_max", "_overflow", "_swept_at", "full_at", "rate", "slack")

    def __init__(self, rate: Rate, max_keys: int = MAX_KEYS) -> None:
        self.rate = rate
        # A millionth of an interval keeps rounding from costing the last of a burst.
        self.slack = rate.interval * (rate.burst - 1) + rate.interval * 1e-6
        self.full_at: dict[Hashable, float] = {}
        self._max = max_keys
        self._overflow = 0.0
        self._swept_at = -math.inf

    def take(self, key: Hashable, now: float) -> float:
        """Take one. 0 if there was one, else the seconds until there will be.

        Args:
            key: Whose bucket.
            now: In seconds of a clock that only goes forward.
        """
        table = self.full_at
        full_at = table.get(key, now)
        if full_at <= now:
            if len(table) >= self._max and key not in table and not self._make_room(now):
                return self._take_without_room(now)
            table[key] = now + self.rate.interval
            return 0.0
        wait = full_at - now - self.slack
        if wait > 0:
            return wait
        table[key] = full_at + self.rate.interval
        return 0.0

    def wait(self, key: Hashable, now: float) -> float:
        """The seconds until there is one to take, without taking it."""
        return max(0.0, self.full_at.get(key, now) - now - self.slack)

    def _make_room(self, now: float) -> bool:
        """Sweep, unless that has just been done; whether there is room now."""
        if now - self._swept_at < SWEEP_EVERY:
            return False
        self._swept_at = now
        self.sweep(now)
        return len(self.full_at) < self._max

    def sweep(self, now: float) -> None:
        """Forget buckets that are full again: a new one would be the same."""
        for key in [known for known, full_at in self.full_at.items() if full_at <= now]:
            del self.full_at[key]

    def _take_without_room(self, now: float) -> float:
        full_at = max(self._overflow, now)
        wait = full_at - now - self.slack
        if wait > 0:
            return wait
        self._overflow = full_at + self.rate.interval
        return 0.0

    def __len__(self) -> int:
        return len(self.full_at)


def rounded(seconds: float) -> float:
    """Milliseconds up, so that who waits for so long has waited long enough."""
    return math.ceil(seconds * 1000) / 1000
