"""Log lines that a client can cause, at a bounded rate.

Rule: one fact is one line with fields. What a peer does wrong is a warning
without a traceback, and a thousand of them in a second are one line and a count.
"""

from __future__ import annotations

import time

import structlog

_log = structlog.get_logger("rtserver")


class LimitedLog:
    """Writes at most one line of each kind every ``interval`` seconds, and says how many it held back."""

    def __init__(self, interval: float = 1.0) -> None:
        self._interval = interval
        self._last: dict[str, float] = {}
        self._held: dict[str, int] = {}

    def warning(self, kind: str, **fields: object) -> None:
        """Write a line of ``kind`` (a fixed name, never a client's text) unless there was one just now."""
        now = time.monotonic()
        last = self._last.get(kind)
        if last is not None and now - last < self._interval:
            self._held[kind] = self._held.get(kind, 0) + 1
            return
        self._last[kind] = now
        held = self._held.pop(kind, 0)
        if held:
            fields["held_back"] = held
        _log.warning(kind, **fields)
