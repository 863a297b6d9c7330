"""Questions to the other nodes: what has been answered, by whom, and who is still silent."""

from __future__ import annotations

import math
from typing import Any

import structlog
import trio

from rtserver.adapters.base import Gathered, PendingAnswers
from rtserver.adapters.redis.messages import Dialect, Question
from rtserver.adapters.redis.replies import Link, RelayDown
from rtserver.errors import LimitExceeded

log = structlog.get_logger("rtserver.redis")

# Requests of this node that wait for answers.
MAX_REQUESTS = 10_000


class Request:
    """A question to the other nodes."""

    def __init__(self, kind: Question) -> None:
        self.kind = kind
        self.answers: list[Any] = []
        self.answered_by: set[str] = set()
        self.expected: float = math.inf
        self.event = trio.Event()

    def add(self, answer: Any, uid: str | None) -> bool:
        """A node has answered; one that says its name counts once. Returns whether it does."""
        if uid is not None:
            if uid in self.answered_by:
                return False
            self.answered_by.add(uid)
        self.answers.append(answer)
        self._check()
        return True

    def expect(self, count: int) -> None:
        """So many nodes have been asked."""
        self.expected = count
        self._check()

    def _check(self) -> None:
        if len(self.answers) >= self.expected:
            self.event.set()


class AckRequest(Request):
    """A broadcast with acknowledgements: the number of clients from each node, and then their answers."""

    def __init__(self, pending: PendingAnswers) -> None:
        super().__init__(Question.ACKS)
        self.pending = pending
        self.missing = 0

    def counted(self, clients: int, uid: str | None) -> None:
        """A node has asked so many of its clients."""
        if self.add(clients, uid):
            self.missing += clients
            self.pending.expect(clients)

    def acknowledged(self, value: Any) -> None:
        """A client has answered. Never more than were announced: a node may say what it likes."""
        if self.missing > 0:
            self.missing -= 1
            self.pending.answered((value,))


class Requests:
    """The questions of one namespace.

    Args:
        namespace: Its name, for the log.
        dialect: Its words.
        link: The way to the other nodes.
        timeout: Seconds that they have for an answer.
    """

    def __init__(self, namespace: str, dialect: Dialect, link: Link, timeout: float) -> None:
        self._namespace = namespace
        self._dialect = dialect
        self._link = link
        self._timeout = timeout
        # How many nodes there were when Redis last said so.
        self._last_count = 1
        self._open: dict[str, Request] = {}
        # What is being asked for, by request.
        self.kinds: dict[str, Question] = {}

    def get(self, name: str) -> Request | None:
        """The request of this name, if it still waits."""
        return self._open.get(name)

    def open(self, request: Request) -> str:
        """Begin to wait. Raises ``LimitExceeded``."""
        if len(self._open) >= MAX_REQUESTS:
            raise LimitExceeded(f"{MAX_REQUESTS} requests to other nodes are waiting for answers already")
        name = self._dialect.new_request()
        self._open[name] = request
        self.kinds[name] = request.kind
        return name

    def close(self, name: str) -> None:
        """Wait no more."""
        self._open.pop(name, None)
        self.kinds.pop(name, None)

    async def server_count(self) -> int:
        """How many nodes serve the namespace; only this one while Redis does not tell."""
        try:
            with trio.move_on_after(self._timeout):
                return await self._count()
        except RelayDown:
            return 1
        return 1

    async def _count(self) -> int:
        """Raises ``RelayDown``."""
        self._last_count = max(1, await self._link.subscribers(self._dialect.everybody))
        return self._last_count

    async def wait(self, request: Request) -> Gathered[Any]:
        """Until every other node has answered, or has had the time to."""
        try:
            with trio.move_on_after(self._timeout):
                request.expect(await self._count() - 1)
                await request.event.wait()
                return Gathered(request.answers)
        except RelayDown:
            # Nobody can have been asked. That Redis is away has been said already.
            return Gathered(request.answers, silent=max(0, self._last_count - 1 - len(request.answers)))
        expected = self._last_count - 1 if request.expected == math.inf else int(request.expected)
        count = max(0, expected - len(request.answers))
        names = await self._silent_nodes(request)
        log.warning(
            "nodes_silent", namespace=self._namespace, request=request.kind.name, silent=count, nodes=sorted(names)
        )
        return Gathered(request.answers, silent=count, silent_nodes=names)

    async def _silent_nodes(self, request: Request) -> frozenset[str]:
        """Nodes that hear, and have not answered under their name."""
        channels: list[bytes] = []
        try:
            with trio.move_on_after(self._timeout):
                channels = await self._link.names(self._dialect.peers())
        except RelayDown:
            return frozenset()
        named = {self._dialect.peer(channel) for channel in channels} - {None, self._dialect.uid}
        return frozenset(name for name in named if name is not None) - request.answered_by
