"""What waits to be written to Redis, in order and within bounds.

Rule: what is too much is given up, the oldest message first; subscriptions and commands are
never. After Redis was away messages may be held, while commands go ahead of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import hiredis

from rtserver.adapters.redis.replies import Reply, Waiting

# What is kept while Redis is away.
MAX_BYTES = 16_777_216
MAX_MESSAGES = 100_000

# A command and who waits for its reply; None if it publishes.
Command = tuple[bytes, Waiting | None]


class Backlog:
    """The outgoing queue of one connection."""

    def __init__(self) -> None:
        self._queue: deque[Command] = deque()
        # Messages that are not to leave yet; None if they may.
        self._held: deque[Command] | None = None
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._queue) + len(self._held or ())

    @property
    def holds(self) -> bool:
        """Whether messages are not to leave yet."""
        return self._held is not None

    def add(self, wire: bytes, waiting: Waiting | None) -> int:
        """Queue a command; returns how many messages had to be given up for it."""
        queue = self._held if self._held is not None and waiting is None else self._queue
        queue.append((wire, waiting))
        self._bytes += len(wire)
        lost = 0
        while (self._bytes > MAX_BYTES or len(self) > MAX_MESSAGES) and self._lose_oldest():
            lost += 1
        return lost

    def _lose_oldest(self) -> bool:
        queue = self._held or self._queue
        for index, (wire, waiting) in enumerate(queue):
            if waiting is None:
                del queue[index]
                self._bytes -= len(wire)
                return True
        return False

    def go_ahead(self, commands: Iterable[Command], *, hold: bool) -> None:
        """Put commands in front of all that waits, which with ``hold`` is messages that wait for ``release``."""
        waiting, self._queue = self._queue, deque(commands)
        self._bytes += sum(len(wire) for wire, _ in self._queue)
        if hold and waiting:
            self._held = waiting
        else:
            self._queue.extend(waiting)

    def release(self) -> None:
        """Let everything leave."""
        if self._held is not None:
            self._queue.extend(self._held)
            self._held = None

    def take(self) -> tuple[bytes, list[Waiting | None]]:
        """All that may leave, in one piece, and who waits for the replies."""
        batch, self._queue = self._queue, deque()
        wire = b"".join([wire for wire, _ in batch])
        self._bytes -= len(wire)
        return wire, [waiting for _, waiting in batch]

    def forget_commands(self, reason: Exception) -> None:
        """Keep the messages only; whoever waits for a reply is told why there will be none."""
        self.release()
        for _, waiting in self._queue:
            if isinstance(waiting, Reply):
                waiting.set(reason)
        self._queue = deque(command for command in self._queue if command[1] is None)
        self._bytes = sum(len(wire) for wire, _ in self._queue)

    def take_messages(self) -> list[tuple[bytes, bytes]]:
        """The messages, channel and payload, which are somebody else's to send from now on."""
        self.release()
        reader = hiredis.Reader()
        for wire, waiting in self._queue:
            if waiting is None:
                reader.feed(wire)
        self._queue.clear()
        self._bytes = 0
        messages = []
        while (command := reader.gets()) is not False:
            _, channel, payload = command
            messages.append((channel, payload))
        return messages
