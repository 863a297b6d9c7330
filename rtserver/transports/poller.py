"""Which sockets are ready: epoll where the system has it, else what ``selectors`` offers.

Rule: level-triggered, and tells owners apart by file descriptor. ``selectors`` would
serve on Linux too, at twice the cost for each event and twice the memory for each socket.
"""

from __future__ import annotations

import select
import selectors
import sys
from collections.abc import Callable
from typing import Protocol


class Poller(Protocol):
    """Watches file descriptors.

    Attributes:
        read: The bit of ``events`` for readability.
        write: The bit for writability.
    """

    read: int
    write: int

    def fileno(self) -> int:
        """Readable when a watched descriptor is ready."""

    def register(self, fd: int, events: int) -> None: ...

    def modify(self, fd: int, events: int) -> None: ...

    def unregister(self, fd: int) -> None: ...

    def ready(self) -> list[tuple[int, int]]:
        """What is ready now. Bits that are neither ``read`` nor ``write`` are errors: reading finds out which."""

    def close(self) -> None: ...


class SelectorPoller:
    """kqueue and the like."""

    read = selectors.EVENT_READ
    write = selectors.EVENT_WRITE

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def fileno(self) -> int:
        descriptor: int = self._selector.fileno()
        return descriptor

    def register(self, fd: int, events: int) -> None:
        self._selector.register(fd, events)

    def modify(self, fd: int, events: int) -> None:
        self._selector.modify(fd, events)

    def unregister(self, fd: int) -> None:
        self._selector.unregister(fd)

    def ready(self) -> list[tuple[int, int]]:
        return [(key.fd, events) for key, events in self._selector.select(0)]

    def close(self) -> None:
        self._selector.close()


if sys.platform == "linux":

    class EpollPoller:
        """epoll, without anything around it."""

        read = select.EPOLLIN
        write = select.EPOLLOUT

        def __init__(self) -> None:
            epoll = select.epoll()
            self.fileno = epoll.fileno
            self.register = epoll.register
            self.modify = epoll.modify
            self.unregister = epoll.unregister
            self.close = epoll.close
            self._poll = epoll.poll

        def ready(self) -> list[tuple[int, int]]:
            return self._poll(0)

    new_poller: Callable[[], Poller] = EpollPoller
else:
    new_poller: Callable[[], Poller] = SelectorPoller
