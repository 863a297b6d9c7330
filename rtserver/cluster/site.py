"""Where a server is reached: its node's raw sockets and, in a cluster, its place in that.

Rule: both live for exactly as long as the block of ``open_site``; a slot is given back when
nothing of the node is left.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from rtserver.cluster.member import ClusterStatistics, Membership, join
from rtserver.transports.asgi import ASGIApp
from rtserver.transports.engine import Engine
from rtserver.transports.node import Node


class Site:
    """A node, alone or in a cluster.

    Attributes:
        node: Its raw sockets.
        addresses: Where it listens, with real ports.
    """

    def __init__(self, node: Node, membership: Membership | None, addresses: list[str]) -> None:
        self.node = node
        self.addresses = addresses
        self._membership = membership

    async def run(
        self, on_drain: Callable[[], None], task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until cancelled.

        Args:
            on_drain: Called when the node is to end because somebody else says so.
            task_status: Told when everything is reachable.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(self.node.run)
            if self._membership is not None:
                await nursery.start(self._membership.run, on_drain)
            task_status.started()

    async def leave(self) -> None:
        """In a cluster: let the sessions go to other nodes, as long as that may take."""
        if self._membership is not None:
            await self._membership.leave()

    def statistics(self) -> ClusterStatistics | None:
        """What it knows of its cluster; None when it is alone."""
        return None if self._membership is None else self._membership.statistics()


@asynccontextmanager
async def open_site(
    engine: Engine, app: ASGIApp | None, addresses: Sequence[str], *, websockets: bool
) -> AsyncIterator[Site]:
    """Listen, and in a cluster take a slot, for the length of a block.

    Args:
        engine: Serves what is Engine.IO's.
        app: Serves everything else.
        addresses: Where to listen.
        websockets: Whether ``app`` serves WebSockets of its own.

    Raises:
        ConfigurationError: An address cannot be read, or the run directory cannot be used.
        OSError: An address cannot be listened on, or every slot is taken.
    """
    node = Node(engine, app, websockets=websockets)
    async with AsyncExitStack() as stack:
        bound = stack.enter_context(node.listening(addresses))
        membership = None
        if engine.config.secret:
            membership = await stack.enter_async_context(join(engine.config, engine, node, bound))
        yield Site(node, membership, bound)
