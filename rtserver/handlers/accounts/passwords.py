"""Passwords: hashed and checked in few threads, whatever the number of those who sign in.

Rule: a hash costs memory and time by design, so at most ``THREADS`` are made at once and at
most ``MAX_WAITING`` wait; and a user that does not exist costs as much as one that does.
"""

from __future__ import annotations

import trio
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from rtserver import EventRefused

THREADS = 2
MAX_WAITING = 50


class Passwords:
    """Makes hashes and checks passwords against them.

    Args:
        hasher: Argon2 with its costs; those of argon2-cffi unless given. Source: RFC 9106, section 4.
        max_waiting: So many may wait for a thread; the rest are refused.
    """

    def __init__(self, hasher: PasswordHasher | None = None, *, max_waiting: int = MAX_WAITING) -> None:
        self._hasher = hasher or PasswordHasher()
        self._limiter = trio.CapacityLimiter(THREADS)
        self._max_waiting = max_waiting
        self._nobody: str | None = None

    async def hash(self, password: str) -> str:
        """The hash of a new password.

        Raises:
            EventRefused: With the code ``busy``: too many wait already.
        """
        self._check_waiting()
        return await trio.to_thread.run_sync(self._hasher.hash, password, limiter=self._limiter)

    async def check(self, password: str, known: str | None) -> tuple[bool, str | None]:
        """Whether a password is the one of a hash; and a new hash, where the costs have changed since.

        Args:
            password: What somebody says.
            known: The hash; None where there is no such user.

        Raises:
            EventRefused: With the code ``busy``: too many wait already.
        """
        self._check_waiting()
        return await trio.to_thread.run_sync(self._check, password, known, limiter=self._limiter)

    def _check(self, password: str, known: str | None) -> tuple[bool, str | None]:
        if self._nobody is None:
            self._nobody = self._hasher.hash("a password that nobody has")
        try:
            self._hasher.verify(self._nobody if known is None else known, password)
        except (VerificationError, InvalidHashError):
            return False, None
        if known is None:
            return False, None
        return True, self._hasher.hash(password) if self._hasher.check_needs_rehash(known) else None

    def _check_waiting(self) -> None:
        if self._limiter.statistics().tasks_waiting >= self._max_waiting:
            raise EventRefused("busy", "too many are signing in", retry_after=1.0)
