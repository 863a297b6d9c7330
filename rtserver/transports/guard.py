"""What stands between a client and Hypercorn: requests are read strictly before it sees them.

Rule: only bytes that mean one thing come out of ``RequestGuard``; a request that
could end a worker or be read in two ways is refused here. No I/O in the guard;
``GuardedStream`` is the thin part around it.
"""

from __future__ import annotations

import contextlib
import enum
import socket

import trio

from rtserver.config import Config
from rtserver.protocol.websocket.handshake import UpgradeRefused, check_upgrade
from rtserver.transports.http import LEAST_PROGRESS, Chunks
from rtserver.transports.request import BadRequest, Request, Response, check_partial_head, parse_head

SEND_SLICE = 65_536
SEND_SECONDS = 10.0
# Headers that would switch the protocol, or choose how frames are compressed.
_SWITCHING = frozenset([b"upgrade", b"http2-settings", b"sec-websocket-extensions", b"sec-websocket-protocol"])


class _Phase(enum.Enum):
    HEAD = enum.auto()
    BODY = enum.auto()
    CHUNKS = enum.auto()
    TUNNEL = enum.auto()
    END = enum.auto()


class RequestGuard:
    """Reads a client's bytes as requests and lets through those that are sound.

    Args:
        config: For the limits of a head.
        websockets: Whether the application asked for WebSocket upgrades.
        single: Whether a connection ends with its first answer. In a cluster it must: the
            next request on it may be for a session of another node, and nothing passes it
            on from here.
    """

    def __init__(self, config: Config, *, websockets: bool, single: bool = False) -> None:
        self._config = config
        self._websockets = websockets
        self._single = single
        self._buffer = b""
        self._missing = 0
        self._chunks: Chunks | None = None
        self._phase = _Phase.HEAD

    @property
    def unfinished(self) -> bool:
        """Whether the client is in the middle of a request."""
        return self._phase in (_Phase.BODY, _Phase.CHUNKS) or bool(self._buffer)

    def feed(self, data: bytes) -> bytes:
        """What of ``data``, and of what came before, may pass.

        Raises:
            BadRequest: The client shall get this answer, and the connection ends.
        """
        if self._phase is _Phase.TUNNEL:
            return data
        self._buffer += data
        passed: list[bytes] = []
        while self._buffer and (step := self._step()) is not None:
            passed.append(step)
        return b"".join(passed)

    def _step(self) -> bytes | None:
        match self._phase:
            case _Phase.HEAD:
                return self._head()
            case _Phase.BODY:
                piece, self._buffer = self._buffer[: self._missing], self._buffer[self._missing :]
                self._missing -= len(piece)
                if not self._missing:
                    self._phase = _Phase.HEAD
                return piece
            case _Phase.CHUNKS:
                return self._chunk()
            case _Phase.TUNNEL:
                piece, self._buffer = self._buffer, b""
                return piece
            case _Phase.END:
                self._buffer = b""
                return None

    def _head(self) -> bytes | None:
        limit = self._config.max_head_size
        end = self._buffer.find(b"\r\n\r\n", 0, limit)
        if end < 0:
            if len(self._buffer) >= limit:
                raise BadRequest(431, "request head too large")
            check_partial_head(self._buffer.removesuffix(b"\r"))
            return None
        head, self._buffer = self._buffer[: end + 4], self._buffer[end + 4 :]
        request = parse_head(head, max_headers=self._config.max_headers)
        if request.wants_websocket:
            self._check_websocket(request)
            self._phase = _Phase.TUNNEL
            return _without_switching(head, keep=(b"upgrade",))
        if request.chunked:
            self._chunks = Chunks(head)
            self._phase = _Phase.CHUNKS
            # Where its body ends only the parser knows, so no request can follow.
            return _with_connection(_without_switching(head), b"close")
        if request.length:
            self._missing = request.length
            self._phase = _Phase.BODY
        if self._single:
            return _with_connection(_without_switching(head), b"close")
        if "upgrade" in request.headers:
            return _with_connection(_without_switching(head), b"keep-alive" if request.keep_alive else b"close")
        return head

    def _check_websocket(self, request: Request) -> None:
        if not self._websockets:
            raise BadRequest(400, "no websocket here")
        try:
            check_upgrade(request.headers)
        except UpgradeRefused as exc:
            raise BadRequest(exc.status, exc.message) from exc

    def _chunk(self) -> bytes:
        """Encode the chunks anew: one spelling, no extensions, no trailers."""
        assert self._chunks is not None
        data, self._buffer = self._buffer, b""
        self._chunks.feed(data)
        body = b"".join(self._chunks.body)
        self._chunks.body.clear()
        passed = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        if self._chunks.complete:
            self._phase = _Phase.END
            passed += b"0\r\n\r\n"
        return passed


def _without_switching(head: bytes, keep: tuple[bytes, ...] = ()) -> bytes:
    lines = []
    for line in head.split(b"\r\n"):
        name = line.partition(b":")[0].strip().lower()
        if name in _SWITCHING and name not in keep:
            continue
        if name == b"connection" and not keep:
            continue
        lines.append(line)
    return b"\r\n".join(lines)


def _with_connection(head: bytes, value: bytes) -> bytes:
    return head.removesuffix(b"\r\n") + b"Connection: " + value + b"\r\n\r\n"


class GuardedStream:
    """A connection as Hypercorn wants it, with every send bounded in time.

    Hypercorn shields its sends, so a client that stops reading would hold up a
    shutdown for ever; here a send without progress breaks the connection.
    """

    def __init__(self, stream: trio.SocketStream, guard: RequestGuard, received: bytes, stall: float) -> None:
        self.socket = stream.socket
        self._stream = stream
        self._guard = guard
        self._received = received
        self._stall = stall
        self._waited = 0.0
        self._progress = 0.0
        self.ended = trio.Event()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes that the application may see; empty at the end."""
        while not self.ended.is_set():
            data, self._received = self._received, b""
            if not data:
                data = await self._read(max_bytes)
                if not data:
                    break
            try:
                passed = self._guard.feed(data)
            except BadRequest as exc:
                await self._refuse(exc)
                break
            if passed:
                return passed
        self.ended.set()
        return b""

    async def _read(self, max_bytes: int | None) -> bytes:
        if not self._guard.unfinished or self._progress >= LEAST_PROGRESS:
            self._waited = self._progress = 0.0
        if not self._guard.unfinished:
            return bytes(await self._stream.receive_some(max_bytes))
        # Only waiting counts: an application may read as slowly as it likes.
        begun = trio.current_time()
        with trio.move_on_after(self._stall - self._waited):
            data = bytes(await self._stream.receive_some(max_bytes))
            self._waited += trio.current_time() - begun
            self._progress += len(data)
            return data
        return b""

    async def _refuse(self, exc: BadRequest) -> None:
        headers = [("Content-Type", "text/plain; charset=UTF-8")]
        response = Response(exc.status, exc.message.encode(), headers, close=True)
        await self.send_all(response.encode(keep_alive=False))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, slice by slice.

        Raises:
            trio.BrokenResourceError: The client takes nothing any more.
        """
        view = memoryview(data)
        for start in range(0, len(view), SEND_SLICE):
            with trio.move_on_after(SEND_SECONDS) as scope:
                await self._stream.send_all(view[start : start + SEND_SLICE])
            if scope.cancelled_caught:
                self.abort()
                raise trio.BrokenResourceError("the client does not read")

    # Hypercorn ends a connection in the application's task, which may be cancelled by
    # then: nothing here waits, so that the end is never left half done.

    async def send_eof(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        self.abort()

    def abort(self) -> None:
        """Close at once; whoever waits on the stream is woken with an error."""
        self.socket.close()
