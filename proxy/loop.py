"""The loop: one epoll inside one Trio task drives the sockets whose heads are being read.

Rule: nothing that runs in a turn awaits. A connection that is handed over never costs a
Trio task; only relays have one.
"""

from __future__ import annotations

import select
from typing import Protocol

import structlog
import trio

# A turn ends after so many rounds of ready sockets, so that relays get the processor.
ROUNDS = 8
SWEEP_EVERY = 0.25

READ, WRITE, EDGE = select.EPOLLIN, select.EPOLLOUT, select.EPOLLET
# One of the processes that share a listening socket is woken, not all.
EXCLUSIVE = select.EPOLLEXCLUSIVE

log = structlog.get_logger("proxy")


class Ready(Protocol):
    """What the loop calls. Spurious calls must be tolerated."""

    def on_ready(self) -> None: ...

    def on_failed(self) -> None:
        """A call has raised, which is a bug: end, so that nobody else suffers from it."""


class Timed(Protocol):
    """Something that must have happened by a time."""

    deadline: float

    def on_deadline(self) -> None: ...

    def on_failed(self) -> None: ...


class Loop:
    """Watches sockets and deadlines.

    Attributes:
        timed: What has a deadline; deadlines are looked at four times a second.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._owners: dict[int, Ready] = {}
        self.timed: set[Timed] = set()

    def add(self, fd: int, owner: Ready, events: int = READ) -> None:
        self._epoll.register(fd, events)
        self._owners[fd] = owner

    def change(self, fd: int, events: int) -> None:
        self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        """Stop watching. Must be called before the descriptor is closed or passed on."""
        if self._owners.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._sweep)
                while True:
                    await trio.lowlevel.wait_readable(self._epoll.fileno())
                    while self._turn():
                        await trio.lowlevel.checkpoint()
        finally:
            self._owners.clear()
            self._epoll.close()

    def _turn(self) -> bool:
        """Serve what is ready; True when more may be."""
        for _ in range(ROUNDS):
            found = self._epoll.poll(0)
            if not found:
                return False
            for fd, _events in found:
                owner = self._owners.get(fd)
                if owner is not None:
                    _call(owner.on_ready, owner)
        return True

    async def _sweep(self) -> None:
        while True:
            await trio.sleep(SWEEP_EVERY)
            now = trio.current_time()
            for one in [one for one in self.timed if one.deadline <= now]:
                # One may have ended another one.
                if one in self.timed:
                    _call(one.on_deadline, one)


class _Failing(Protocol):
    def on_failed(self) -> None: ...


class _Call(Protocol):
    def __call__(self) -> None: ...


def _call(call: _Call, owner: _Failing) -> None:
    try:
        call()
    except Exception:
        log.exception("connection_failed")
        owner.on_failed()
