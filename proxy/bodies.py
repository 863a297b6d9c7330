"""The body of a request, read whole before an upstream hears of it.

Rule: a body is bounded, and must make progress; a slow client keeps a connection to the
proxy busy and never one to an upstream. All bodies that wait together are bounded too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from proxy.errors import BadGateway, BadRequest
from proxy.head import RequestHead
from proxy.settings import Settings
from proxy.streams import Chunks, MalformedChunk, Wire

# A body that brings less than this in each window of ``head_timeout`` is given up.
LEAST_PROGRESS = 1_000
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Gone(Exception):
    """The client has left."""


class Bodies:
    """All bodies that wait in this process.

    Attributes:
        size: Bytes of them.
        limit: The most that there may be.
    """

    def __init__(self) -> None:
        self.size = 0
        self.limit = 0

    @contextmanager
    def share(self) -> Iterator[Share]:
        """What one request takes of it, for the length of a block."""
        share = Share(self)
        try:
            yield share
        finally:
            self.size -= share.size


class Share:
    """One request's part of all bodies that wait."""

    def __init__(self, bodies: Bodies) -> None:
        self.size = 0
        self._bodies = bodies

    def grow(self, size: int) -> None:
        """So many bytes more.

        Raises:
            BadGateway: There are too many.
        """
        if self._bodies.size + size > self._bodies.limit:
            raise BadGateway(503, "too many requests at a time")
        self._bodies.size += size
        self.size += size


async def read_body(wire: Wire, head: RequestHead, settings: Settings, share: Share) -> bytes:
    """Read it; what follows it stays in the wire's buffer.

    Raises:
        BadRequest: It is too large, malformed, or too slow.
        BadGateway: There are too many bodies already.
        Gone: The client has left.
    """
    if not head.has_body:
        return b""
    if head.length > settings.max_body:
        raise BadRequest(413, "payload too large")
    if (head.get(b"expect") or b"").lower() == b"100-continue" and not wire.buffer:
        await wire.send(CONTINUE)
    return await (
        _read_chunks(wire, settings, share) if head.chunked else _read_length(wire, head.length, settings, share)
    )


async def _read_length(wire: Wire, length: int, settings: Settings, share: Share) -> bytes:
    pieces: list[bytes] = []
    missing = length
    progress = _Progress(settings.head_timeout)
    while True:
        data = wire.take()
        pieces.append(data[:missing])
        share.grow(len(pieces[-1]))
        if len(data) >= missing:
            wire.buffer = data[missing:]
            return b"".join(pieces)
        missing -= len(data)
        await progress.more(wire)


async def _read_chunks(wire: Wire, settings: Settings, share: Share) -> bytes:
    chunks = Chunks()
    pieces: list[bytes] = []
    size = 0
    progress = _Progress(settings.head_timeout)
    while True:
        try:
            payload, rest = chunks.feed(wire.take())
        except MalformedChunk as exc:
            raise BadRequest(400, str(exc)) from exc
        pieces.append(payload)
        share.grow(len(payload))
        size += len(payload)
        if size > settings.max_body:
            raise BadRequest(413, "payload too large")
        if chunks.complete:
            wire.buffer = rest
            return b"".join(pieces)
        await progress.more(wire)


class _Progress:
    """Reads on as long as enough comes in each window of time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until = trio.current_time() + seconds
        self._had = 0

    async def more(self, wire: Wire) -> None:
        now = trio.current_time()
        if self._had >= LEAST_PROGRESS:
            self._had, self._until = 0, now + self._seconds
        with trio.move_on_at(self._until) as scope:
            if not await wire.more():
                raise Gone
        if scope.cancelled_caught:
            if self._had < LEAST_PROGRESS:
                raise BadRequest(408, "request timeout")
            return
        self._had += len(wire.buffer)
