"""New clients that come all the time, and find out how long nobody served them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.chaos.cluster import Cluster

COME_EVERY = 0.02
# As long as a client waits for its connection.
PATIENCE = 20.0


class Newcomers(threading.Thread):
    """One after the other asks for a session, and leaves.

    Attributes:
        served: How many had one.
        refused: How many had none.
        longest_gap: Seconds between two that were served, at most.
    """

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(daemon=True)
        self.served = 0
        self.refused = 0
        self.longest_gap = 0.0
        self._cluster = cluster
        self._enough = threading.Event()

    def run(self) -> None:
        last = time.monotonic()
        while not self._enough.wait(COME_EVERY):
            if self._cluster.serves(PATIENCE):
                now = time.monotonic()
                self.longest_gap = max(self.longest_gap, now - last)
                last = now
                self.served += 1
            else:
                self.refused += 1

    def stop(self) -> None:
        self._enough.set()
        self.join()


@contextmanager
def newcomers(cluster: Cluster) -> Iterator[Newcomers]:
    """For the length of a block."""
    them = Newcomers(cluster)
    them.start()
    try:
        yield them
    finally:
        them.stop()
