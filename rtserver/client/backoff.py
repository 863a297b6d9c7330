"""How long to wait before the next attempt to reconnect.

Rule: nothing here reads a clock. Many clients that lost one server at the same
moment must not come back at the same moment, hence the jitter.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from rtserver.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Reconnection:
    """Whether and how a lost connection is made anew.

    Args:
        attempts: How many attempts in a row; None for no end.
        delay: Seconds before the first one; doubled for each further one.
        max_delay: Seconds that no delay exceeds.
        jitter: Each delay is multiplied by something between ``1 - jitter`` and ``1 + jitter``.
        initially: Whether the first connection is tried again as well, rather than its failure raised.

    Raises:
        ConfigurationError: A number is out of range.
    """

    attempts: int | None = None
    delay: float = 1.0
    max_delay: float = 5.0
    jitter: float = 0.5
    initially: bool = False

    def __post_init__(self) -> None:
        if self.attempts is not None and self.attempts < 1:
            raise ConfigurationError("attempts", self.attempts, "a positive number, or None for no end")
        if self.delay < 0:
            raise ConfigurationError("delay", self.delay, "seconds, zero or more")
        if self.max_delay < self.delay:
            raise ConfigurationError("max_delay", self.max_delay, "seconds, not less than delay")
        if not 0 <= self.jitter <= 1:
            raise ConfigurationError("jitter", self.jitter, "a number from 0 to 1")


class Backoff:
    """Counts the attempts of one outage.

    Args:
        policy: The bounds.
        spread: Gives a random number between its two arguments.
    """

    def __init__(self, policy: Reconnection, spread: Callable[[float, float], float] = random.uniform) -> None:
        self._policy = policy
        self._spread = spread
        self.attempts = 0

    def reset(self) -> None:
        """A connection was made: the next outage starts from the beginning."""
        self.attempts = 0

    def next_delay(self) -> float | None:
        """Seconds until the next attempt; None if there shall be no more."""
        policy = self._policy
        if policy.attempts is not None and self.attempts >= policy.attempts:
            return None
        # Past 2**32 every delay is over any sensible maximum, and floats overflow at 2**1024.
        delay = min(policy.delay * 2.0 ** min(self.attempts, 32), policy.max_delay)
        self.attempts += 1
        return min(delay * self._spread(1 - policy.jitter, 1 + policy.jitter), policy.max_delay)
