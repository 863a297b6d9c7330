"""A node at work: the loop, the front door with its listeners, and the way to Hypercorn.

Rule: owns the raw sockets of a server for as long as it serves; ``Server`` says
when to begin, to drain and to end.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import trio
from hypercorn.typing import ASGIFramework

from rtserver.transports.asgi import ASGIApp, EngineAsgi
from rtserver.transports.door import FrontDoor
from rtserver.transports.engine import Engine
from rtserver.transports.handover import Handover
from rtserver.transports.listening import open_listener
from rtserver.transports.loop import Loop

DELAY_EVERY = 0.5
# How long a drain waits for clients to fetch what is left for them.
FETCH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class NodeStatistics:
    """Counters of a node's raw sockets.

    Args:
        connections: On the loop now, of any kind.
        handed_over: With Hypercorn now.
        accepted: Since the start.
        adopted: Those of them that a proxy or another node had accepted.
        passed_on: Given to the node whose session they were for, since the start.
        turned_away: Refused since the start because the node was full.
        bytes_in: Read since the start.
        bytes_out: Written since the start.
        loop_delay: By how much the last check of the loop came late, in seconds.
        longest_turn: The longest turn of the loop, in seconds.
    """

    connections: int
    handed_over: int
    accepted: int
    adopted: int
    passed_on: int
    turned_away: int
    bytes_in: int
    bytes_out: int
    loop_delay: float
    longest_turn: float


class Node:
    """Serves an engine, and an ASGI application beside it, on real sockets."""

    def __init__(self, engine: Engine, app: ASGIApp | None, *, websockets: bool) -> None:
        self.loop = Loop()
        self._engine = engine
        self._handover = None
        if app is not None:
            # A connection that has left the loop may still ask for Engine.IO.
            both = EngineAsgi(engine, app, lifespan=app)
            self._handover = Handover(_framework(both), engine.config, websockets=websockets)
        others = None if self._handover is None else self._handover.take
        self.door = FrontDoor(engine, self.loop, others)
        self._delay = 0.0
        engine.run_soon_by(self.loop.soon)

    @contextmanager
    def listening(self, addresses: Sequence[str]) -> Iterator[list[str]]:
        """Listen on ``addresses``; gives them back with their real ports."""
        with ExitStack() as stack:
            sockets = [stack.enter_context(open_listener(address)) for address in addresses]
            for sock in sockets:
                self.door.listen(sock)
            yield [_written(sock) for sock in sockets]

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            if self._handover is not None:
                await nursery.start(self._handover.run)
            nursery.start_soon(self.loop.run)
            nursery.start_soon(self._measure_delay)
            task_status.started()

    async def _measure_delay(self) -> None:
        while True:
            due = trio.current_time() + DELAY_EVERY
            await trio.sleep_until(due)
            self._delay = trio.current_time() - due

    def stop_listening(self) -> None:
        self.door.stop_listening()

    async def drain(self) -> None:
        """Wait until answers are out and connections have ended."""
        if self._handover is not None:
            await self._handover.stop()
        with trio.move_on_after(FETCH_SECONDS):
            # Whoever polls may be between two polls, on a connection that looks idle.
            while self._engine.sessions and self.door.connections:  # noqa: ASYNC110 - as below
                await trio.sleep(0.01)
        self.door.close_idle()
        while self._unfinished():  # noqa: ASYNC110 - a drain happens once; connections need no event for it
            await trio.sleep(0.01)

    def _unfinished(self) -> int:
        return len(self.door.connections) + (0 if self._handover is None else len(self._handover))

    def close(self) -> None:
        """Close whatever is left."""
        self.door.close()
        if self._handover is not None:
            self._handover.abort()

    @property
    def occupied(self) -> int:
        """Connections of any kind, with the loop or with Hypercorn."""
        return self._unfinished()

    def statistics(self) -> NodeStatistics:
        door = self.door
        return NodeStatistics(
            connections=len(door.connections),
            handed_over=0 if self._handover is None else len(self._handover),
            accepted=door.accepted,
            adopted=door.adopted,
            passed_on=door.passed_on,
            turned_away=door.turned_away,
            bytes_in=door.counters.bytes_in,
            bytes_out=door.counters.bytes_out,
            loop_delay=self._delay,
            longest_turn=self.loop.longest_turn,
        )


def _framework(app: ASGIApp) -> ASGIFramework:
    return app


def _written(sock: socket.socket) -> str:
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix:{name}"
    return f"[{name[0]}]:{name[1]}" if sock.family == socket.AF_INET6 else f"{name[0]}:{name[1]}"
