"""Two streams joined: bytes of either go to the other one, unread.

Rule: the end of one side is passed on, and the other one gets a moment to finish; a tunnel
in which nobody says anything for too long is closed.
"""

from __future__ import annotations

import trio

from proxy.streams import Wire

FINISH_SECONDS = 5.0


async def tunnel(client: Wire, upstream: Wire, idle_seconds: float) -> None:
    """Join them until both have ended. Neither is closed."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            joint = _Tunnel(scope, idle_seconds)
            nursery.start_soon(joint.carry, client, upstream)
            nursery.start_soon(joint.carry, upstream, client)


class _Tunnel:
    def __init__(self, scope: trio.CancelScope, idle_seconds: float) -> None:
        self._scope = scope
        self._seconds = idle_seconds
        self._ended = False
        self._touch()

    def _touch(self) -> None:
        if not self._ended:
            self._scope.deadline = trio.current_time() + self._seconds

    async def carry(self, source: Wire, target: Wire) -> None:
        try:
            while source.buffer or await source.more():
                self._touch()
                await target.send(source.take())
        except trio.BrokenResourceError:
            self._scope.cancel()
            return
        if self._ended or not isinstance(target.stream, trio.abc.HalfCloseableStream):
            self._scope.cancel()
            return
        self._ended = True
        self._scope.deadline = trio.current_time() + FINISH_SECONDS
        try:
            await target.stream.send_eof()
        except trio.BrokenResourceError:
            self._scope.cancel()
