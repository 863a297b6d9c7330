"""Random bytes for ids, fetched from the operating system some hundreds at a time.

Rule: every byte is given out once. A forked child begins with nothing, so that it
never repeats what its parent gives out. Asking the system for each id costs more
than the rest of a handshake's Python.
"""

from __future__ import annotations

import base64
import os

POOL_SIZE = 4_096

_pool = b""
_used = 0


def random_bytes(count: int) -> bytes:
    """``count`` bytes that nobody can guess.

    Source: ``os.urandom``, as ``secrets`` uses it.
    """
    global _pool, _used  # noqa: PLW0603 - one pool for the process, as there is one generator
    start, end = _used, _used + count
    if end > len(_pool):
        _pool = os.urandom(max(POOL_SIZE, count))
        start, end = 0, count
    _used = end
    return _pool[start:end]


def random_id(count: int) -> str:
    """``count`` random bytes in URL-safe base64 without padding: what ``secrets.token_urlsafe`` returns."""
    return base64.urlsafe_b64encode(random_bytes(count)).rstrip(b"=").decode("ascii")


def _forget() -> None:
    global _pool, _used
    _pool, _used = b"", 0


os.register_at_fork(after_in_child=_forget)
