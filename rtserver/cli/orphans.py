"""Processes that do not outlive the one that has started them.

Rule: the kernel tells them of its end, however it ends, as far as the system can: Linux does,
elsewhere they live on. Source: PR_SET_PDEATHSIG in prctl(2).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def end_with_parent(number: signal.Signals) -> Callable[[], None]:
    """What a new process has to call before it becomes another program.

    Args:
        number: The signal that it gets when the thread that calls this has ended.
    """
    parent = os.getpid()
    # Found before the fork: loading a library after one may wait for ever.
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def prepare() -> None:
        if prctl is None:
            return
        prctl(_PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:
            # It was too late: the parent has ended already.
            os.kill(os.getpid(), number)

    return prepare
