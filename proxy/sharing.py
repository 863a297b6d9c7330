"""Connections of each address, counted over all workers.

Rule: a worker writes its own row of a table in shared memory and reads those of all, so nobody
waits for anybody; workers that look at the same moment may take one each where there was room
for one. Addresses are told apart by a keyed hash: two may share a place and are then counted
together, which nobody outside can bring about on purpose.
"""

from __future__ import annotations

import mmap
import os
from hashlib import blake2s

PLACES = 65_536
_SIZE = 4
_KEY_SIZE = 16


class Shares:
    """The table, as one worker sees it.

    Args:
        fd: Of the memory that ``make_table`` has made. It is the caller's.
        row: This worker's, from 0 on. What an earlier one has left there is forgotten.
    """

    def __init__(self, fd: int, row: int) -> None:
        self._memory = mmap.mmap(fd, 0)
        self._key = self._memory[:_KEY_SIZE]
        self._counts = memoryview(self._memory)[_KEY_SIZE:].cast("I")
        self._own = range(row * PLACES, (row + 1) * PLACES)
        for at in self._own:
            self._counts[at] = 0

    def total(self, address: str) -> int:
        """How many connections an address has, by all workers."""
        return sum(self._counts[at] for at in range(self._place(address), len(self._counts), PLACES))

    def add(self, address: str, count: int) -> None:
        """This worker has so many more, or less."""
        self._counts[self._own.start + self._place(address)] += count

    def _place(self, address: str) -> int:
        digest = blake2s(address.encode(), key=self._key, digest_size=_SIZE).digest()
        return int.from_bytes(digest, "big") % PLACES

    def close(self) -> None:
        self._counts.release()
        self._memory.close()


def make_table(workers: int) -> int:
    """Memory for so many workers, by a descriptor; it is gone when nobody has that open."""
    fd = os.memfd_create("rtserver-proxy")
    os.write(fd, os.urandom(_KEY_SIZE))
    os.ftruncate(fd, _KEY_SIZE + workers * PLACES * _SIZE)
    return fd
