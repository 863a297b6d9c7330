"""A small client that sees bytes: HTTP answers as they came, WebSocket frames, Engine.IO packets.

Rule: nothing here uses the product, so what both of them get wrong in the same way shows.
"""

from __future__ import annotations

import abc
import base64
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

import quart_trio
import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio import serve as hypercorn_serve
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

from rtserver import Server

Door: TypeAlias = Literal["front", "asgi"]
Kind: TypeAlias = Literal["polling", "websocket", "upgraded"]
Headers: TypeAlias = tuple[tuple[str, str], ...]
Wire: TypeAlias = str | bytes

PATH = "/socket.io/"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
# Real seconds after which a test that waits has failed.
PATIENCE = 5.0


@dataclass(frozen=True)
class Answer:
    """An HTTP answer. ``lines`` are the head's, as they came."""

    lines: tuple[str, ...]
    body: bytes

    @property
    def status(self) -> int:
        return int(self.lines[0].split(" ")[1])

    @property
    def headers(self) -> Headers:
        """Names in lower case, as doors differ in that alone; without what every answer has."""
        pairs = (line.partition(": ") for line in self.lines[1:])
        lower = ((name.lower(), value) for name, _, value in pairs)
        return tuple(pair for pair in lower if pair[0] not in ("date", "connection", "content-length", "server"))

    def header(self, name: str) -> str | None:
        values = [line.partition(": ")[2] for line in self.lines[1:] if line.lower().startswith(f"{name.lower()}: ")]
        assert len(values) <= 1
        return values[0] if values else None

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def facts(self) -> tuple[int, str]:
        """Status and body: all that a client of the protocol looks at."""
        return self.status, self.text


class HttpClient:
    """One connection; requests go out one after another."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.received = b""

    async def send(self, method: str, target: str, body: bytes = b"", headers: Iterable[tuple[str, str]] = ()) -> None:
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers)]
        if body or method in ("POST", "PUT"):
            lines.append(f"Content-Length: {len(body)}")
        await self.stream.send_all("\r\n".join([*lines, "", ""]).encode() + body)

    async def receive(self, *, bodiless: bool = False) -> Answer:
        with trio.fail_after(PATIENCE):
            while b"\r\n\r\n" not in self.received:
                await self._more()
            head, _, self.received = self.received.partition(b"\r\n\r\n")
            answer = Answer(tuple(head.decode("latin-1").split("\r\n")), b"")
            if bodiless or answer.status in (101, 204, 304):
                return answer
            return Answer(answer.lines, await self._body(answer))

    async def _body(self, answer: Answer) -> bytes:
        length = answer.header("content-length")
        # Every answer of ours is whole: none is chunked, none ends with the connection.
        assert length is not None, answer
        while len(self.received) < int(length):
            await self._more()
        body, self.received = self.received[: int(length)], self.received[int(length) :]
        return body

    async def _more(self) -> None:
        data = await self.stream.receive_some()
        if not data:
            raise trio.EndOfChannel
        self.received += data

    async def ended(self) -> None:
        """The server closes, having sent nothing more."""
        with trio.fail_after(PATIENCE):
            assert self.received == b""
            assert await self.stream.receive_some() == b""

    async def request(
        self, method: str, target: str, body: bytes = b"", headers: Iterable[tuple[str, str]] = ()
    ) -> Answer:
        await self.send(method, target, body, headers)
        return await self.receive(bodiless=method == "HEAD")


@dataclass(frozen=True)
class Closed:
    """A WebSocket's end: the code of the Close frame, or 1006 without one."""

    code: int


class RawWebSocket:
    """A WebSocket after its handshake."""

    def __init__(self, stream: trio.SocketStream, answer: Answer, rest: bytes) -> None:
        self.stream = stream
        self.answer = answer
        self.connection = Connection(ConnectionType.CLIENT, trailing_data=rest)
        self._waiting: deque[Event] = deque()
        self.control: list[Event] = []
        self.answers_close = True
        self._closed: Closed | None = None

    async def send(self, message: Wire) -> None:
        event: Event = TextMessage(data=message) if isinstance(message, str) else BytesMessage(data=message)
        await self.stream.send_all(self.connection.send(event))

    async def send_event(self, event: Event) -> None:
        await self.stream.send_all(self.connection.send(event))

    async def receive(self) -> Wire | Closed:
        """The next message; the end, again and again, after the last one."""
        if self._closed is not None:
            return self._closed
        pieces: list[Any] = []
        with trio.fail_after(PATIENCE):
            while True:
                match await self._next():
                    case (
                        TextMessage(data=data, message_finished=finished)
                        | BytesMessage(data=data, message_finished=finished)
                    ):
                        pieces.append(data)
                        if finished:
                            message: Wire = pieces[0][:0].join(pieces)
                            return message
                    case Ping() | Pong() as event:
                        self.control.append(event)
                    case CloseConnection() as event:
                        await self._answer_close(event)
                        self._closed = Closed(event.code)
                        return self._closed
                    case None:
                        self._closed = Closed(1006)
                        return self._closed

    async def _next(self) -> Event | None:
        while not self._waiting:
            self._waiting.extend(self.connection.events())
            if self._waiting:
                break
            try:
                data = await self.stream.receive_some()
            except trio.BrokenResourceError:
                return None
            if not data:
                return None
            self.connection.receive_data(data)
        return self._waiting.popleft()

    async def _answer_close(self, event: CloseConnection) -> None:
        if not self.answers_close or self.connection.state is not ConnectionState.REMOTE_CLOSING:
            return
        try:
            await self.stream.send_all(self.connection.send(event.response()))
        except trio.BrokenResourceError:
            return

    async def close(self) -> None:
        await self.send_event(CloseConnection(1000))

    async def ended(self) -> None:
        """TCP is closed by the server."""
        with trio.fail_after(PATIENCE):
            try:
                assert await self.stream.receive_some() == b""
            except trio.BrokenResourceError:
                return


@dataclass
class Site:
    """A server at work, and everything that the test has opened to it."""

    door: Door
    io: Server
    connect_stream: Callable[[], Awaitable[trio.SocketStream]]
    stop: Callable[[], None]
    streams: list[trio.SocketStream] = field(default_factory=list)

    async def end(self) -> None:
        """Cut what is still open, then stop: nobody waits for a client that is not there."""
        for stream in self.streams:
            await trio.aclose_forcefully(stream)
        self.stop()

    async def http(self) -> HttpClient:
        stream = await self.connect_stream()
        self.streams.append(stream)
        return HttpClient(stream)

    async def request(
        self, method: str, target: str, body: bytes = b"", headers: Iterable[tuple[str, str]] = ()
    ) -> Answer:
        """A request on a connection of its own."""
        client = await self.http()
        answer = await client.request(method, target, body, headers)
        await client.stream.aclose()
        return answer

    async def get(self, query: str, headers: Iterable[tuple[str, str]] = ()) -> Answer:
        return await self.request("GET", f"{PATH}?{query}", headers=headers)

    async def post(self, query: str, body: bytes, headers: Iterable[tuple[str, str]] = ()) -> Answer:
        return await self.request("POST", f"{PATH}?{query}", body, headers)

    async def upgrade(self, query: str, headers: Iterable[tuple[str, str]] = ()) -> RawWebSocket:
        """Ask for a WebSocket; ``answer.status`` says whether it is one."""
        client = await self.http()
        asked = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", KEY)]
        await client.send("GET", f"{PATH}?{query}", headers=[*asked, ("Sec-WebSocket-Version", "13"), *headers])
        answer = await client.receive()
        return RawWebSocket(client.stream, answer, client.received)

    # Sessions.

    async def open(self, kind: Kind) -> Peer:
        """A session on a transport, past its handshake."""
        match kind:
            case "polling":
                return await self.open_polling()
            case "websocket":
                return await self.open_websocket()
            case "upgraded":
                return await self.open_upgraded()

    async def open_polling(self) -> PollingPeer:
        answer = await self.get("EIO=4&transport=polling")
        assert answer.status == 200, answer
        return PollingPeer(self, sid_of(answer.text))

    async def open_websocket(self) -> WebSocketPeer:
        websocket = await self.upgrade("EIO=4&transport=websocket")
        assert websocket.answer.status == 101, websocket.answer
        opened = await websocket.receive()
        assert isinstance(opened, str)
        return WebSocketPeer(websocket, sid_of(opened))

    async def open_upgraded(self) -> WebSocketPeer:
        polling = await self.open_polling()
        return await polling.upgrade()


class Serve(Protocol):
    """The fixture: serves a server behind the test's door."""

    async def __call__(self, io: Server, app: quart_trio.QuartTrio | None = None) -> Site: ...


class Peer(abc.ABC):
    """An Engine.IO client on one transport: packets out, packets in."""

    sid: str

    @abc.abstractmethod
    async def send(self, *packets: Wire) -> None:
        """Text packets with their type digit; bytes are a binary message."""

    @abc.abstractmethod
    async def packet(self) -> Wire | None:
        """The next packet; None once the session is over."""

    @abc.abstractmethod
    async def vanish(self) -> None:
        """Let the connection break without a word."""

    async def receive(self) -> Wire:
        packet = await self.packet()
        assert packet is not None, "the session is over"
        return packet

    async def rest(self) -> list[Wire]:
        """Everything until the session is over."""
        packets = []
        while (packet := await self.packet()) is not None:
            packets.append(packet)
        return packets

    async def join(self, namespace: str = "/", auth: str = "") -> str:
        """Connect to a namespace; its socket id."""
        name = "" if namespace == "/" else f"{namespace},"
        await self.send(f"40{name}{auth}")
        answer = await self.receive()
        assert isinstance(answer, str)
        assert answer.startswith(f'40{name}{{"sid":"'), answer
        assert answer.endswith('"}'), answer
        return answer[len(f'40{name}{{"sid":"') : -2]


class PollingPeer(Peer):
    """Polls when somebody wants a packet, each time on a new connection."""

    def __init__(self, site: Site, sid: str) -> None:
        self.site = site
        self.sid = sid
        self.query = f"EIO=4&transport=polling&sid={sid}"
        self._waiting: deque[Wire] = deque()
        self._over = False

    async def send(self, *packets: Wire) -> None:
        parts = [p if isinstance(p, str) else "b" + base64.b64encode(p).decode() for p in packets]
        answer = await self.post("\x1e".join(parts).encode())
        assert answer.facts in ((200, "ok"), (400, '{"code":3,"message":"Bad request"}')), answer

    async def post(self, body: bytes, headers: Iterable[tuple[str, str]] = ()) -> Answer:
        return await self.site.post(self.query, body, headers)

    async def get(self, headers: Iterable[tuple[str, str]] = ()) -> Answer:
        return await self.site.get(self.query, headers)

    async def pending_get(self) -> HttpClient:
        """A poll that the server has got, and has nothing for."""
        client = await self.site.http()
        await client.send("GET", f"{PATH}?{self.query}")
        session = self.site.io.engine.sessions[self.sid]
        # Nobody is told that a poll has come.
        while not session.transport.writable:
            await trio.lowlevel.checkpoint()
        return client

    async def packet(self) -> Wire | None:
        if not self._waiting and not self._over:
            answer = await self.get()
            if answer.status == 200:
                parts = answer.text.split("\x1e")
                self._waiting.extend(base64.b64decode(p[1:]) if p.startswith("b") else p for p in parts)
        if not self._waiting or self._waiting[0] == "1":
            self._over = True
            return None
        return self._waiting.popleft()

    async def vanish(self) -> None:
        client = await self.pending_get()
        await client.stream.aclose()

    async def probe(self) -> RawWebSocket:
        return await self.site.upgrade(f"EIO=4&transport=websocket&sid={self.sid}")

    async def upgrade(self) -> WebSocketPeer:
        websocket = await self.probe()
        await websocket.send("2probe")
        assert await websocket.receive() == "3probe"
        await websocket.send("5")
        # Nothing answers this packet; a clock that is put forward must not overtake it.
        session = self.site.io.engine.sessions[self.sid]
        while session.transport_name != "websocket":
            await trio.lowlevel.checkpoint()
        return WebSocketPeer(websocket, self.sid)


class WebSocketPeer(Peer):
    def __init__(self, websocket: RawWebSocket, sid: str) -> None:
        self.websocket = websocket
        self.sid = sid

    async def send(self, *packets: Wire) -> None:
        for packet in packets:
            await self.websocket.send(packet)

    async def packet(self) -> Wire | None:
        message = await self.websocket.receive()
        return None if isinstance(message, Closed) else message

    async def vanish(self) -> None:
        await self.websocket.stream.aclose()


class Record:
    """What handlers have seen, in order, for a test to wait on."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[Any](1_000)

    def add(self, seen: Any) -> None:
        self._send.send_nowait(seen)

    async def next(self) -> Any:
        with trio.fail_after(PATIENCE):
            return await self._receive.receive()

    @property
    def empty(self) -> bool:
        return self._receive.statistics().current_buffer_used == 0


def sid_of(open_packet: str) -> str:
    prefix = '0{"sid":"'
    assert open_packet.startswith(prefix), open_packet
    return open_packet[len(prefix) :].partition('"')[0]


# Doors.


async def start_site(nursery: trio.Nursery, io: Server, door: Door, app: quart_trio.QuartTrio | None = None) -> Site:
    """Serve ``io``, and ``app`` beside it, in ``nursery`` until the site is stopped."""
    return await (_front if door == "front" else _asgi)(nursery, io, app)


async def _front(nursery: trio.Nursery, io: Server, app: quart_trio.QuartTrio | None) -> Site:
    (bound,) = await nursery.start(lambda task_status: io.serve("127.0.0.1:0", app=app, task_status=task_status))
    return Site("front", io, lambda: open_tcp(bound), io.stop)


async def _asgi(nursery: trio.Nursery, io: Server, app: quart_trio.QuartTrio | None) -> Site:
    if app is None:
        app = quart_trio.QuartTrio("site")
    io.mount(app)
    config = HypercornConfig()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    config.accesslog = None
    config.include_server_header = False
    config.graceful_timeout = 0.05
    stopped = trio.Event()

    async def run(task_status: trio.TaskStatus[list[str]]) -> None:
        await hypercorn_serve(app, config, shutdown_trigger=stopped.wait, task_status=task_status)

    (bound,) = await nursery.start(run)
    return Site("asgi", io, lambda: open_tcp(bound.removeprefix("http://")), stopped.set)


async def open_tcp(address: str) -> trio.SocketStream:
    host, _, port = address.rpartition(":")
    return await trio.open_tcp_stream(host.strip("[]"), int(port))
