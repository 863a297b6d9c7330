"""The loop: one poller inside one Trio task drives every raw socket of a node.

Rule: nothing that runs in a turn awaits. Trio waits for the poller as it would for
any file descriptor, so cancellation, nurseries and clocks stay Trio's.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from time import perf_counter
from typing import Protocol

import structlog
import trio

from rtserver.transports.poller import Poller, new_poller

# A turn ends after this long so that Trio's other tasks (async handlers, the
# relay, Hypercorn) get the processor even while sockets never run dry.
TURN_SECONDS = 0.005

READ, WRITE = 1, 2


log = structlog.get_logger("rtserver.loop")


class Ready(Protocol):
    """What the loop calls. All must return at once, and tolerate a spurious call."""

    def on_readable(self) -> None: ...

    def on_writable(self) -> None: ...

    def on_failed(self) -> None:
        """A call has raised, which is a bug: end, so that nobody else suffers from it."""


class Loop:
    """Waits for raw sockets and calls their owners, in one Trio task.

    Attributes:
        turns: Since the start.
        longest_turn: In seconds.
    """

    def __init__(self, poller: Poller | None = None) -> None:
        self._poller = poller or new_poller()
        # ``READ | WRITE`` as an index: what the poller calls it.
        read, write = self._poller.read, self._poller.write
        self._events = (0, read, write, read | write)
        self._owners: dict[int, Ready] = {}
        self._soon: list[Callable[[], None]] = []
        self._turning = False
        self._closed = False
        self.turns = 0
        self.longest_turn = 0.0

    def add(self, sock: socket.socket, owner: Ready, events: int = READ) -> None:
        """Start to watch ``sock`` (non-blocking) for ``events``."""
        fd = sock.fileno()
        self._poller.register(fd, self._events[events])
        self._owners[fd] = owner

    def change(self, sock: socket.socket, owner: Ready, events: int) -> None:
        """Watch ``sock`` for ``events`` from now on, or call another owner."""
        fd = sock.fileno()
        self._poller.modify(fd, self._events[events])
        self._owners[fd] = owner

    def remove(self, sock: socket.socket) -> None:
        """Stop watching ``sock``. Must be called before it is closed."""
        if not self._closed:
            fd = sock.fileno()
            self._poller.unregister(fd)
            del self._owners[fd]

    def __len__(self) -> int:
        """How many sockets are being watched."""
        return len(self._owners)

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
                await trio.lowlevel.wait_readable(self._poller.fileno())
                while self._turn():
                    await trio.lowlevel.checkpoint()
        finally:
            self._closed = True
            self._owners.clear()
            self._poller.close()

    def _turn(self) -> bool:
        """Serve rounds of ready sockets; True when more may be ready."""
        started = perf_counter()
        until = started + TURN_SECONDS
        ready, owner_of, write = self._poller.ready, self._owners.get, self._poller.write
        busy = True
        self._turning = True
        try:
            while busy:
                found = ready()
                # What was put off may have put something off in its turn, and nobody else would wake us for it.
                if not found and not self._soon:
                    break
                for fd, events in found:
                    # Nobody, if it was closed by one of those before it. If its number
                    # has been given to a new socket since, the call is spurious.
                    owner = owner_of(fd)
                    if owner is None:
                        continue
                    try:
                        if events != write:
                            owner.on_readable()
                        if events & write:
                            owner.on_writable()
                    except Exception:
                        log.exception("connection_failed")
                        _end(owner)
                if self._soon:
                    self._run_soon()
                busy = perf_counter() < until
        finally:
            self._turning = False
        self.turns += 1
        self.longest_turn = max(self.longest_turn, perf_counter() - started)
        return not busy

    def _run_soon(self) -> None:
        callbacks, self._soon = self._soon, []
        for callback in callbacks:
            try:
                callback()
            except Exception:
                log.exception("callback_failed")


def _end(owner: Ready) -> None:
    try:
        owner.on_failed()
    except Exception:
        log.exception("connection_failed")
