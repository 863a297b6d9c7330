"""Who was ended lately, for those of them who are still being let in.

Rule: while authentication asks who a client is, nobody can find it by its user. So an order to
end a user is kept for as long as a client that came before it may take to be let in.
"""

from __future__ import annotations

import trio


class Endings:
    """The users that were ended."""

    def __init__(self) -> None:
        self._count = 0
        # The number and the time of each user's last one, the oldest first.
        self._last: dict[str, tuple[int, float]] = {}

    def mark(self) -> int:
        """Stands for now: what comes later is ``since`` it."""
        return self._count

    def note(self, user_id: str, remember: float) -> None:
        """A user is ended now, and what was longer than ``remember`` seconds ago is forgotten."""
        now = trio.current_time()
        self._count += 1
        self._last.pop(user_id, None)
        self._last[user_id] = self._count, now
        while self._last:
            oldest = next(iter(self._last))
            if now - self._last[oldest][1] <= remember:
                break
            del self._last[oldest]

    def since(self, user_id: str | None, mark: int) -> bool:
        """Whether a user was ended after ``mark`` was made."""
        if user_id is None or user_id not in self._last:
            return False
        return self._last[user_id][0] > mark

    def __len__(self) -> int:
        return len(self._last)
