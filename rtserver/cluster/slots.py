"""Slots of one machine: numbered files, each locked by the node that has the slot.

Rule: the kernel lets go of a lock when its process ends, however it ends, so a slot is
never lost; and each time one is taken its incarnation grows, so that sids of an earlier
life are told apart.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rtserver.cluster.rundir import lock_path
from rtserver.protocol.sid import Owner

SLOTS = 65_536


class NoSlot(OSError):
    """Every slot is taken."""


@contextmanager
def hold_slot(directory: Path, slot: int) -> Iterator[int | None]:
    """Hold a slot's lock for the length of a block; gives its incarnation, or None when another node has it."""
    fd = os.open(lock_path(directory, slot), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        incarnation = (_read(fd) + 1) % SLOTS
        os.pwrite(fd, b"%-5d\n" % incarnation, 0)
        yield incarnation
    finally:
        os.close(fd)


def _read(fd: int) -> int:
    text = os.pread(fd, 16, 0).strip()
    # Whatever else is in there was not written by a node; any number will do.
    return int(text) if text.isdigit() and len(text) <= 5 else int.from_bytes(os.urandom(2), "big")


@contextmanager
def take_slot(directory: Path) -> Iterator[Owner]:
    """Hold the first free slot for the length of a block.

    Raises:
        NoSlot: There is none.
    """
    with contextlib.ExitStack() as stack:
        for slot in range(SLOTS):
            incarnation = stack.enter_context(hold_slot(directory, slot))
            if incarnation is not None:
                yield Owner(slot, incarnation)
                return
            stack.pop_all().close()
        raise NoSlot("every slot of the run directory is taken")
