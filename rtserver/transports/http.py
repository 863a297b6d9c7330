"""HTTP/1.1 on the loop: one request after another on a connection, each read strictly.

Rule: a request is handled only when all of it is here, and the next one only when
it has been answered; what is pipelined meanwhile is kept up to a bound. What is
not Engine.IO's leaves the loop with every byte read. Source: RFC 9112.
"""

from __future__ import annotations

import enum
import socket
from collections.abc import Callable
from typing import Protocol

import httptools

from rtserver.config import Config
from rtserver.protocol.handoff import Metadata
from rtserver.protocol.websocket import deflate
from rtserver.protocol.websocket.handshake import check_upgrade, upgrade_response
from rtserver.transports.connection import RECEIVE_SIZE, Connection, Lingering
from rtserver.transports.request import BadRequest, Request, Response, check_partial_head, parse_head
from rtserver.transports.websocket import RawWebSocket, WebSocketHost

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
MAX_PIPELINED = 65_536
# What is read before a head is understood. A connection may have to be passed on with
# all of it in one datagram, beside a head that came before in pieces.
HEAD_RECEIVE_SIZE = 32_768
DIRECT = Metadata(hops=0, secure=False)
# A body that brings less than this in each window of ``head_timeout`` is given up.
LEAST_PROGRESS = 1_000


class Neighbour(Protocol):
    """Another node, which goes on with a connection."""

    def take(self, sock: socket.socket, metadata: Metadata, received: bytes) -> None:
        """From now on ``sock``, and the ``received`` bytes of it that nobody has answered, are the other's."""


class HttpHost(WebSocketHost, Protocol):
    """What an HTTP connection needs of its node."""

    config: Config

    def owns(self, path: str) -> bool:
        """Whether the loop serves ``path``."""

    def on_exchange(self, exchange: HttpConnection, body: bytes) -> None:
        """A request for the loop is complete."""

    def hand_over(self, connection: HttpConnection, request: Request, received: bytes) -> None:
        """A request is not for the loop: somebody else goes on with the connection."""

    def elsewhere(self, request: Request, hops: int) -> Neighbour | None:
        """The node that a request is for, if that is another one; ``hops`` have passed the connection on already."""

    def pass_on(self, connection: HttpConnection, neighbour: Neighbour, received: bytes) -> None:
        """Give the connection to another node."""

    def headers_of_refusal(self, request: Request) -> list[tuple[str, str]]:
        """Headers (of CORS) for an answer that the door gives by itself."""


class Chunks:
    """Decodes a chunked body with llhttp."""

    __slots__ = ("_parser", "body", "complete", "size")

    def __init__(self, head: bytes) -> None:
        self.body: list[bytes] = []
        self.size = 0
        self.complete = False
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(head)

    def feed(self, data: bytes) -> None:
        """Raises ``BadRequest`` on malformed chunks. What follows the body is ignored."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            if not self.complete:
                raise BadRequest(400, "malformed chunk") from exc

    def on_body(self, data: bytes) -> None:
        if not self.complete:
            self.body.append(data)
            self.size += len(data)

    def on_message_complete(self) -> None:
        self.complete = True


class Phase(enum.Enum):
    """What a connection is at."""

    HEAD = enum.auto()
    BODY = enum.auto()
    ANSWER = enum.auto()
    # The next request is another node's, and earlier answers are not out yet.
    FLUSH = enum.auto()


class HttpConnection(Connection):
    """A connection that speaks HTTP. It is the exchange of the request that it is at."""

    __slots__ = (
        "_advancing",
        "_body",
        "_buffer",
        "_chunks",
        "_phase",
        "_progress",
        "aborted",
        "metadata",
        "on_abort",
        "request",
    )

    host: HttpHost
    request: Request

    def __init__(self, host: HttpHost, sock: socket.socket, peer: str, metadata: Metadata = DIRECT) -> None:
        super().__init__(host, sock, peer)
        self.metadata = metadata
        self.on_abort: Callable[[], None] | None = None
        self.aborted = False
        self._advancing = False
        self._buffer = b""
        self._body: list[bytes] = []
        self._chunks: Chunks | None = None
        self._phase = Phase.HEAD
        self._progress = 0
        self.expect_within(host.config.head_timeout)

    # In.

    def on_readable(self) -> None:
        data = self.receive(HEAD_RECEIVE_SIZE if self._phase is Phase.HEAD else RECEIVE_SIZE)
        if data is not None:
            self.take(data)

    def take(self, data: bytes) -> None:
        """Go on with bytes that have been read."""
        if self._phase is Phase.BODY:
            self._take_body(data)
            return
        if self._phase is Phase.HEAD and not self._buffer:
            self.expect_within(self.host.config.head_timeout)
        self._buffer += data
        if self._phase is Phase.HEAD:
            self._advance()
        elif len(self._buffer) > MAX_PIPELINED:
            self.watch_reading(False)

    def _advance(self) -> None:
        """Begin with the requests whose heads are complete, one after another."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._phase is Phase.HEAD and self._buffer and not self.closed:
                end = self._buffer.find(b"\r\n\r\n", 0, self.host.config.max_head_size)
                if end < 0:
                    self._check_incomplete()
                    return
                head, self._buffer = self._buffer[: end + 4], self._buffer[end + 4 :]
                self._begin(parse_head(head, max_headers=self.host.config.max_headers))
        except BadRequest as exc:
            self.refuse(exc.status, exc.message)
        finally:
            self._advancing = False

    def _check_incomplete(self) -> None:
        if len(self._buffer) >= self.host.config.max_head_size:
            too_long = b"\r\n" not in self._buffer[: self.host.config.max_head_size]
            raise BadRequest(414 if too_long else 431, "request head too large")
        check_partial_head(self._buffer.removesuffix(b"\r"))

    def _begin(self, request: Request) -> None:
        request.peer = self.peer
        request.secure = self.metadata.secure
        self.request = request
        neighbour = self.host.elsewhere(request, self.metadata.hops)
        if neighbour is not None:
            self._pass_on(request, neighbour)
            return
        if self.metadata.hops:
            # Hops are counted between two answers: tabs of several nodes may share a connection for long.
            self.metadata = Metadata(hops=0, secure=self.metadata.secure, peer=self.metadata.peer)
        if not self.host.owns(request.path):
            received, self._buffer = request.raw + self._buffer, b""
            self.host.hand_over(self, request, received)
            return
        limit = self.host.config.max_http_buffer_size
        if request.length > limit:
            raise BadRequest(413, "payload too large")
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise BadRequest(415, "compressed bodies are not accepted")
        if request.wants_websocket:
            self._handle(b"")
            return
        if not request.chunked and not request.length:
            self._handle(b"")
            return
        self._phase = Phase.BODY
        self._body = []
        self._progress = 0
        self._chunks = Chunks(request.raw) if request.chunked else None
        if request.headers.get("expect", "").lower() == "100-continue":
            self.write(CONTINUE)
        self.expect_within(self.host.config.head_timeout)
        received, self._buffer = self._buffer, b""
        if received:
            self._take_body(received)

    def _pass_on(self, request: Request, neighbour: Neighbour) -> None:
        received, self._buffer = request.raw + self._buffer, b""
        if self._queue is None:
            self.host.pass_on(self, neighbour, received)
        else:
            self._buffer = received
            self._phase = Phase.FLUSH
            self.watch_reading(False)

    def on_flushed(self) -> None:
        if self._phase is Phase.FLUSH:
            self._phase = Phase.HEAD
            self.watch_reading(True)
            self._advance()

    def _take_body(self, data: bytes) -> None:
        try:
            if self._chunks is not None:
                self._take_chunks(self._chunks, data)
                return
        except BadRequest as exc:
            self.refuse(exc.status, exc.message)
            return
        self._body.append(data)
        self._progress += len(data)
        missing = self.request.length - sum(map(len, self._body)) if len(self._body) < 64 else self._compact_body()
        if missing <= 0:
            body = b"".join(self._body)
            self._buffer = body[self.request.length :]
            self._handle(body[: self.request.length])

    def _compact_body(self) -> int:
        """Join the pieces now and then, so that counting them stays cheap."""
        self._body = [b"".join(self._body)]
        return self.request.length - len(self._body[0])

    def _take_chunks(self, chunks: Chunks, data: bytes) -> None:
        self._progress += len(data)
        chunks.feed(data)
        if chunks.size > self.host.config.max_http_buffer_size:
            raise BadRequest(413, "payload too large")
        if chunks.complete:
            # Where a chunked body ends in what was read is the parser's secret,
            # so nothing can follow it: the answer closes the connection.
            self.request.keep_alive = False
            self._handle(b"".join(chunks.body))

    def _handle(self, body: bytes) -> None:
        self._phase = Phase.ANSWER
        self._body = []
        self._chunks = None
        self.deadline = None
        self.host.on_exchange(self, body)

    # Out.

    def respond(self, response: Response) -> None:
        """Answer the request that the connection is at."""
        if self._phase is not Phase.ANSWER or self.closed:
            return
        self.on_abort = None
        request = self.request
        keep_alive = request.keep_alive and not response.close and not request.wants_websocket
        self._phase = Phase.HEAD
        self.write(response.encode(keep_alive=keep_alive, head_only=request.method == "HEAD"))
        if not keep_alive:
            self._say_goodbye()
            return
        self.expect_within(self.host.config.keep_alive_timeout)
        if self._buffer:
            self.watch_reading(True)
            # Later, and not from here: whoever answers may be in the middle of something.
            self.host.loop.soon(self._advance)

    def refuse(self, status: int, message: str) -> None:
        """Answer by ourselves and close: the request is not one that can be served."""
        if self.closed:
            return
        request = getattr(self, "request", None)
        headers = [("Content-Type", "text/plain; charset=UTF-8")]
        if status == 413 and request is not None:
            headers += self.host.headers_of_refusal(request)
        self._phase = Phase.HEAD
        self._buffer = b""
        self.write(Response(status, message.encode(), headers, close=True).encode(keep_alive=False))
        self._say_goodbye()

    def _say_goodbye(self) -> None:
        if self.closed:
            return
        if self._queue is None:
            Lingering(self)
        else:
            self.expect_within(self.host.config.head_timeout)
            self.finish()

    def accept_websocket(self) -> RawWebSocket:
        """Answer 101 and go on as a WebSocket.

        Raises:
            UpgradeRefused: The handshake is not one; nothing has been answered.
        """
        headers = self.request.headers
        key = check_upgrade(headers)
        agreement = None
        if self.host.config.per_message_deflate:
            agreement = deflate.negotiate(headers.get("sec-websocket-extensions", ""))
        extra = () if agreement is None else (("Sec-WebSocket-Extensions", agreement.response),)
        websocket = RawWebSocket(self, self.host, agreement)
        websocket.write(upgrade_response(key, extra))
        if self._buffer:
            rest, self._buffer = self._buffer, b""
            self.host.loop.soon(lambda: websocket.begin(rest))
        return websocket

    # Endings.

    def on_lost(self) -> None:
        self.aborted = True
        on_abort, self.on_abort = self.on_abort, None
        if on_abort is not None:
            on_abort()

    def on_deadline(self, now: float) -> None:
        if self._phase is Phase.BODY and self._progress >= LEAST_PROGRESS:
            self._progress = 0
            self.expect_within(self.host.config.head_timeout)
        elif self._phase is Phase.BODY or (self._phase is Phase.HEAD and self._buffer):
            self.refuse(408, "request timeout")
        else:
            self.close()
