"""Upstreams: who they are, how they are, and when one is passed over.

Rule: what a client sends never becomes an address. It can only name, by a sid or a cookie
that is checked, one of the upstreams that are in the table anyway.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from proxy.values import Address

MAX_EJECT_SECONDS = 60.0
# A node says how it is each second. One that has not for so long does not run.
STALE_SECONDS = 3.5


@dataclass(frozen=True, slots=True)
class HealthRules:
    """When an upstream is passed over.

    Args:
        eject_after: Failures in a row.
        eject_seconds: For how long, the first time; doubled each further time, up to a minute.
        slow_start: Seconds in which one that has come takes its share gradually.
    """

    eject_after: int = 3
    eject_seconds: float = 5.0
    slow_start: float = 10.0


class Upstream:
    """A server that requests go to.

    Args:
        name: What logs and metrics call it.
        address: Where it listens; None for one that is only handed connections.
        now: The time on the loop's clock.

    Attributes:
        state: What it says of itself: ``starting``, ``ready``, ``draining`` or ``full``.
        slot: Its place in the cluster, if it is one of our nodes.
        incarnation: Its life there; None when that is not known.
        sessions: How many it has said to have.
        sent: Requests without a session that went to it since it said so.
        heard_at: When it has last said something; None for one that never does.
        total: Requests and connections that went to it since the start.
        failed: Those that failed.
    """

    def __init__(self, name: str, address: Address | None, now: float) -> None:
        self.name = name
        self.address = address
        self.state = "ready"
        self.slot: int | None = None
        self.incarnation: int | None = None
        self.sessions = 0
        self.sent = 0
        self.heard_at: float | None = None
        self.total = 0
        self.failed = 0
        self.probed_down = False
        self.fresh_since = now
        self._failures = 0
        self._ejections = 0
        self._ejected_at = 0.0
        self._passed_over_until = 0.0

    def __str__(self) -> str:
        return self.name

    # How it does.

    def failed_at(self, now: float, rules: HealthRules, *, certain: bool = False) -> bool:
        """A request has failed by its fault; True when it is passed over from now on.

        Args:
            now: The time.
            rules: When it is.
            certain: It cannot be reached at all: there is nothing to wait for.
        """
        self.failed += 1
        self._failures += 1
        if self._failures < rules.eject_after and not certain and not self._ejections:
            return False
        if self._ejections and now - self._ejected_at < rules.eject_seconds:
            # Requests of its sessions go to it all the same; they are no further reason.
            return False
        self._ejected_at = now
        self._ejections += 1
        seconds = rules.eject_seconds * 2 ** (min(self._ejections, 10) - 1)
        self._passed_over_until = now + min(seconds, MAX_EJECT_SECONDS)
        return True

    def succeeded_at(self, now: float) -> bool:
        """It has answered; True when it was passed over until now."""
        recovered = self._ejections > 0
        if recovered:
            self.fresh_since = now
        self._failures = self._ejections = 0
        self._passed_over_until = 0.0
        return recovered

    def probed(self, now: float, healthy: bool) -> bool:
        """What a probe has found; True when that has changed."""
        changed = healthy == self.probed_down
        self.probed_down = not healthy
        if healthy:
            changed = self.succeeded_at(now) or changed
            if changed:
                self.fresh_since = now
        return changed

    def usable(self, now: float) -> bool:
        """Whether clients without a session may be sent to it.

        One that was passed over for long enough gets one of them each ``eject_seconds`` until it succeeds.
        """
        if self.state != "ready" or self.probed_down or now < self._passed_over_until:
            return False
        return self.heard_at is None or now - self.heard_at < STALE_SECONDS

    def chosen(self, now: float, rules: HealthRules) -> None:
        """A request without a session goes to it."""
        self.sent += 1
        if self._ejections:
            # A trial: nobody else until it is known how that went.
            self._passed_over_until = now + rules.eject_seconds

    def describe(self, now: float) -> str:
        """Its state in a word, as far as the proxy is concerned."""
        if self.state != "ready":
            return self.state
        if self.probed_down:
            return "down"
        if now < self._passed_over_until:
            return "ejected"
        if self.heard_at is not None and now - self.heard_at >= STALE_SECONDS:
            return "silent"
        return "ready"


def pick(candidates: Sequence[Upstream], now: float, rules: HealthRules) -> Upstream | None:
    """Of the usable ones two at random, and the less burdened of them.

    One that has just come is left out of account more often than not at first, so that
    the others' new clients do not all fall on it.
    """
    pair = random.sample(candidates, 2) if len(candidates) > 2 else list(candidates)
    if not all(one.usable(now) for one in pair):
        usable = [one for one in candidates if one.usable(now)]
        pair = random.sample(usable, 2) if len(usable) > 2 else usable
    if not pair:
        return None
    found, second = min(pair, key=_burden), max(pair, key=_burden)
    age = now - found.fresh_since
    # Where all have just come, as when a cluster starts, nobody has anything to fall on.
    established = now - second.fresh_since >= rules.slow_start
    if age < rules.slow_start and established and random.random() * rules.slow_start > age:
        found = second
    found.chosen(now, rules)
    return found


def _burden(upstream: Upstream) -> int:
    return upstream.sessions + upstream.sent
