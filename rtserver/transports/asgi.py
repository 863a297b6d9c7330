"""The second door: the engine as an ASGI application, for servers that others run.

Rule: the same engine with the same answers as behind the front door; only what an
ASGI server decides by itself (frames, request heads) differs. Source: ASGI 3.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, TypeAlias

import trio

from rtserver.config import Config
from rtserver.protocol.websocket.handshake import UpgradeRefused
from rtserver.protocol.websocket.receiver import Item
from rtserver.transports.engine import Engine
from rtserver.transports.request import BadRequest, Request, Response, read_headers
from rtserver.transports.session import EngineSession
from rtserver.transports.transport import Ending, Sendable
from rtserver.transports.websocket import NORMAL, WebSocket

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
# Frameworks type these in their own ways, so an application takes anything.
ASGIApp: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

TOO_BIG = 1009
# What sending raises while the client's connection ends. Source: ASGI 2.4; Hypercorn 0.18, amid its own close.
GONE = (OSError, trio.BusyResourceError)


class AsgiExchange:
    """A request that came through ASGI and waits for its answer."""

    def __init__(self, request: Request, websocket: AsgiWebSocket | None = None) -> None:
        self.request = request
        self.on_abort: Callable[[], None] | None = None
        self.aborted = False
        self.response: Response | None = None
        self.answered = trio.Event()
        self.websocket = websocket
        self.accepted = False

    def respond(self, response: Response) -> None:
        if self.response is None and not self.accepted:
            self.on_abort = None
            self.response = response
            self.answered.set()

    def accept_websocket(self) -> WebSocket:
        if self.websocket is None:
            raise UpgradeRefused(400, "not a websocket")
        self.accepted = True
        self.answered.set()
        return self.websocket

    def abort(self) -> None:
        """The client has gone away."""
        self.aborted = True
        on_abort, self.on_abort = self.on_abort, None
        if on_abort is not None:
            on_abort()


class AsgiWebSocket(WebSocket):
    """A WebSocket whose frames the ASGI server makes; one task writes, one reads."""

    def __init__(self, config: Config) -> None:
        self.session: EngineSession | None = None
        self.probing = False
        self.held: deque[Item] | None = None
        self.closing = False
        self._code = NORMAL
        self._config = config
        self._queue: deque[Sendable] = deque()
        self._queued = 0
        self._wake = trio.Event()
        self._readable = trio.Event()
        self._readable.set()

    @property
    def writable(self) -> bool:
        return not self._queue and not self.closing

    def send(self, message: Sendable, volatile: bool = False) -> bool:
        if self.closing or (volatile and self._queue):
            return False
        config = self._config
        if len(self._queue) >= config.max_queue_packets or self._queued >= config.max_queue_bytes:
            if self.session is not None:
                self.session.overflow()
            return False
        self._queue.append(message)
        self._queued += len(message.frames)
        self._wake.set()
        return True

    def end(self, ending: Ending) -> None:
        if ending is Ending.DISCARD:
            self._queue.clear()
        self.held = None
        self.closing = True
        self._wake.set()
        self._readable.set()

    def watch_reading(self, wanted: bool) -> None:
        if wanted:
            self._readable.set()
        else:
            self._readable = trio.Event()

    def take_control(self, item: Item) -> None:
        """ASGI servers answer control frames by themselves."""

    async def write(self, send: Send) -> None:
        """Send what is queued until the session ends, then close."""
        while True:
            while self._queue:
                message = self._queue.popleft()
                self._queued -= len(message.frames)
                for packet in message.packets():
                    key = "text" if isinstance(packet, str) else "bytes"
                    await send({"type": "websocket.send", key: packet})
            if self.closing:
                await send({"type": "websocket.close", "code": self._code, "reason": ""})
                return
            self._wake = trio.Event()
            await self._wake.wait()

    async def read(self, receive: Receive) -> None:
        """Take what arrives until the client is gone."""
        while True:
            await self._readable.wait()
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self.closing = True
                self.gone()
                return
            if message["type"] != "websocket.receive":
                continue
            data = message.get("text")
            item = data if data is not None else bytes(message["bytes"])
            if _size(item) > self._config.max_http_buffer_size:
                self._too_big()
            else:
                self.take((item,))

    def _too_big(self) -> None:
        """The ASGI server's own limit, if it has one, is not ours."""
        if self.closing:
            return
        self._code = TOO_BIG
        session, self.session = self.session, None
        self.end(Ending.DISCARD)
        if session is not None and self.probing:
            session.probe_lost()
        elif session is not None:
            session.fail("transport error")


class EngineAsgi:
    """An engine in front of another ASGI application.

    Args:
        engine: Serves what is under its path.
        inner: Serves everything else; None answers 404.
        lifespan: Takes the lifespan calls; keeps the engine's clock running meanwhile.
    """

    def __init__(self, engine: Engine, inner: ASGIApp | None, lifespan: ASGIApp) -> None:
        self._engine = engine
        self._inner = inner or _not_found
        self._lifespan = lifespan

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif not self._engine.owns(scope.get("path", "")):
            await self._inner(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await self._websocket(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = AsgiExchange(_request_of(scope))
        try:
            body = await self._body(exchange, receive)
        except BadRequest as exc:
            await _send_response(send, Response(exc.status, exc.message.encode(), close=True))
            return
        if body is None:
            return
        self._engine.on_request(exchange, body)
        if not exchange.answered.is_set():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_watch_abort, exchange, receive, nursery.cancel_scope)
                await exchange.answered.wait()
                nursery.cancel_scope.cancel()
        if exchange.response is not None and not exchange.aborted:
            with suppress(*GONE):
                await _send_response(send, exchange.response)

    async def _body(self, exchange: AsgiExchange, receive: Receive) -> bytes | None:
        limit = self._engine.config.max_http_buffer_size
        if exchange.request.length > limit:
            raise BadRequest(413, "payload too large")
        pieces: list[bytes] = []
        size = 0
        more = True
        while more:
            with trio.move_on_after(self._engine.config.head_timeout) as scope:
                message = await receive()
            if scope.cancelled_caught:
                raise BadRequest(408, "request timeout")
            if message["type"] == "http.disconnect":
                return None
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > limit:
                raise BadRequest(413, "payload too large")
            more = message.get("more_body", False)
        return b"".join(pieces)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        websocket = AsgiWebSocket(self._engine.config)
        exchange = AsgiExchange(_request_of(scope), websocket)
        self._engine.on_upgrade(exchange)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch_refused, exchange, receive, nursery.cancel_scope)
            await exchange.answered.wait()
            nursery.cancel_scope.cancel()
        if exchange.response is not None:
            await _refuse_websocket(scope, send, exchange.response)
        if not exchange.accepted:
            return
        await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, websocket, send, nursery.cancel_scope)
            await websocket.read(receive)
            nursery.cancel_scope.cancel()

    async def _write(self, websocket: AsgiWebSocket, send: Send, scope: trio.CancelScope) -> None:
        try:
            await websocket.write(send)
        except GONE:
            websocket.closing = True
            websocket.gone()
        # The client's Close ends the reader; a client that sends none is not waited for.
        scope.deadline = trio.current_time() + self._engine.config.close_timeout


def _size(message: str | bytes) -> int:
    """In bytes. Text is nearly always ASCII, whose length costs nothing."""
    return len(message) if isinstance(message, bytes) or message.isascii() else len(message.encode())


async def _watch_abort(exchange: AsgiExchange, receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    exchange.abort()
    scope.cancel()


async def _watch_refused(exchange: AsgiExchange, receive: Receive, scope: trio.CancelScope) -> None:
    """A client that leaves while it is being let in. Messages cannot arrive before the accept."""
    if exchange.answered.is_set():
        return
    while (await receive())["type"] != "websocket.disconnect":
        pass
    exchange.abort()
    exchange.answered.set()


async def _send_response(send: Send, response: Response) -> None:
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.headers]
    if response.status != 304:
        headers.append((b"content-length", str(len(response.body)).encode()))
    if response.close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": False})


async def _refuse_websocket(scope: Scope, send: Send, response: Response) -> None:
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": NORMAL, "reason": ""})
        return
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.headers]
    headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "websocket.http.response.start", "status": response.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": response.body, "more_body": False})


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await _send_response(send, Response(404, b"not found", [("Content-Type", "text/plain; charset=UTF-8")]))
    else:
        await _refuse_websocket(scope, send, Response(404))


def _request_of(scope: Scope) -> Request:
    """An ASGI scope as a request; its head is written out for those who keep it."""
    method = scope.get("method", "GET")
    path = scope.get("raw_path") or scope["path"].encode()
    query = scope.get("query_string", b"")
    lines = [b"%b %b?%b HTTP/1.1" % (method.encode(), path.partition(b"?")[0], query)]
    lines += [b"%b: %b" % (name, value) for name, value in scope["headers"]]
    raw = b"\r\n".join([*lines, b"", b""])
    request = Request(method, scope["path"], query.decode("latin-1"), read_headers(raw), raw)
    client = scope.get("client")
    request.peer = str(client[0]) if client else ""
    request.secure = scope.get("scheme") in ("https", "wss")
    length = request.headers.get("content-length", "0")
    request.length = int(length) if length.isascii() and length.isdigit() else 0
    return request


async def answer_lifespan(scope: Any, receive: Any, send: Any) -> None:
    """An application that has nothing to start and nothing to stop."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
