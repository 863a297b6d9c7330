"""The loop: one selector inside one Trio task drives every raw socket of a node.

Rule: nothing that runs in a turn awaits. Trio waits for the selector as it would
for any file descriptor, so cancellation, nurseries and clocks stay Trio's.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from typing import Protocol

import trio

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE

# A turn ends after this long so that Trio's other tasks (async handlers, the
# relay, Hypercorn) get the processor even while sockets never run dry.
TURN_SECONDS = 0.005


class Ready(Protocol):
    """What the loop calls. Both must return at once and tolerate a spurious call."""

    def on_readable(self) -> None: ...

    def on_writable(self) -> None: ...


class Loop:
    """Waits for raw sockets and calls their owners, in one Trio task."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._soon: list[Callable[[], None]] = []
        self._turning = False
        self._closed = False
        self.turns = 0
        self.longest_turn = 0.0

    def add(self, sock: socket.socket, owner: Ready, events: int = READ) -> None:
        """Start to watch ``sock`` (non-blocking) for ``events``."""
        self._selector.register(sock, events, owner)

    def change(self, sock: socket.socket, owner: Ready, events: int) -> None:
        """Watch ``sock`` for ``events`` from now on, or call another owner."""
        self._selector.modify(sock, events, owner)

    def remove(self, sock: socket.socket) -> None:
        """Stop watching ``sock``. Must be called before it is closed."""
        if not self._closed:
            self._selector.unregister(sock)

    def __len__(self) -> int:
        """How many sockets are being watched."""
        return 0 if self._closed else len(self._selector.get_map())

    def soon(self, callback: Callable[[], None]) -> None:
        """Run ``callback`` once the current round of sockets is done; at once outside of a round."""
        if self._turning:
            self._soon.append(callback)
        else:
            callback()

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._selector.fileno())
                while self._turn():
                    await trio.lowlevel.checkpoint()
        finally:
            self._closed = True
            self._selector.close()

    def _turn(self) -> bool:
        """Serve rounds of ready sockets; True when more may be ready."""
        started = time.perf_counter()
        until = started + TURN_SECONDS
        select = self._selector.select
        busy = True
        self._turning = True
        try:
            while busy:
                ready = select(0)
                if not ready:
                    break
                for key, events in ready:
                    if events & READ:
                        key.data.on_readable()
                    if events & WRITE:
                        key.data.on_writable()
                if self._soon:
                    self._run_soon()
                busy = time.perf_counter() < until
        finally:
            self._turning = False
        self._closed = False
        self.turns += 1
        self.longest_turn = max(self.longest_turn, time.perf_counter() - started)
        return not busy

    def _run_soon(self) -> None:
        callbacks, self._soon = self._soon, []
        for callback in callbacks:
            callback()
