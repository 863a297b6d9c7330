"""A proxy in the process of the test, nodes behind it, and upstreams that say what they are told to.

Rule: clients and upstreams are written here anew or taken from the tests of the nodes; of the
product there is the proxy, and real nodes.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, Self

import trio

from proxy.listening import listen
from proxy.proxy import Proxy
from proxy.settings import Settings, load
from tests.behaviour.support import PATIENCE, HttpClient, open_tcp
from tests.cluster.support import SECRET, eventually

HANDSHAKE = "/socket.io/?EIO=4&transport=polling"
UNKNOWN = (400, '{"code":1,"message":"Session ID unknown"}')


def settings(run_dir: Path, **given: Any) -> Settings:
    """Settings for a test: a free port, and nothing of the machine's."""
    flags = {"listen": "127.0.0.1:0", "secret": SECRET, "run_dir": str(run_dir), "drain_timeout": 0.1, **given}
    return load(None, flags, {})


class Through:
    """A way in: a proxy at work, and what the test has opened to it."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.addresses = [one.url.partition("://")[2] for one in proxy.listening]
        self.streams: list[trio.SocketStream] = []

    @property
    def counters(self) -> Any:
        return self.proxy.edge.counters

    async def http(self) -> HttpClient:
        stream = await open_tcp(self.addresses[0])
        self.streams.append(stream)
        return HttpClient(stream)

    async def request(self, method: str, target: str, body: bytes = b"", headers: Any = ()) -> Any:
        """A request on a connection of its own."""
        client = await self.http()
        answer = await client.request(method, target, body, headers)
        await client.stream.aclose()
        return answer

    async def raw(self, sent: bytes) -> bytes:
        """All that comes back for some bytes, until the end."""
        client = await self.http()
        received = b""
        with trio.fail_after(PATIENCE):
            # Whoever is hung up on in the middle of a word learns so by a reset.
            with contextlib.suppress(trio.BrokenResourceError):
                await client.stream.send_all(sent)
                while data := await client.stream.receive_some():
                    received += data
        await client.stream.aclose()
        return received

    async def handshake(self) -> str:
        """A new polling session; its sid."""
        answer = await self.request("GET", HANDSHAKE)
        assert answer.status == 200, answer
        return str(answer.text).partition('"sid":"')[2].partition('"')[0]

    async def knows(self, count: int) -> None:
        """Wait until so many upstreams are ready."""
        await eventually(lambda: self.ready() == count)

    def ready(self) -> int:
        now = trio.current_time()
        return sum(one.usable(now) for one in self.proxy.pool.candidates)


@asynccontextmanager
async def proxied(run_dir: Path, **given: Any) -> AsyncIterator[Through]:
    """A proxy for the length of a block."""
    chosen = settings(run_dir, **given)
    proxy = Proxy(chosen, listen(chosen))
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.run)
        through = Through(proxy)
        try:
            yield through
        finally:
            for stream in through.streams:
                stream.socket.close()
            proxy.stop()


Health = Literal["well", "ill", "silent"]
Answer = Callable[["Connection"], Awaitable[None]]


class Connection:
    """A connection that an upstream has got."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.buffer = b""

    async def fill(self) -> None:
        """Read until a head is whole."""
        while b"\r\n\r\n" not in self.buffer:
            await self._more()

    async def request(self) -> tuple[bytes, bytes]:
        """The next request's head and body; the body's length must be announced."""
        await self.fill()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        while len(self.buffer) < length:
            await self._more()
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return head, body

    async def _more(self) -> None:
        data = await self.stream.receive_some()
        if not data:
            raise trio.EndOfChannel
        self.buffer += data

    async def say(self, data: bytes) -> None:
        await self.stream.send_all(data)


class Upstream:
    """A server whose every connection is served by a function of the test.

    Attributes:
        address: Where it listens.
        heads: Of all requests that it got, if it always answers in the same way.
        bodies: Theirs.
        connections: How many it got, those of probes left out.
        health: What it says to probes of ``/probe``.
        probes: How many it got.
    """

    def __init__(self, serve: Answer | None = None) -> None:
        self.serve = serve or self.always(b"hello")
        self.health: Health = "well"
        self.probes = 0
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self.address = ""
        self._port = 0
        self._nursery: trio.Nursery | None = None

    async def start(self, nursery: trio.Nursery) -> Self:
        (listener,) = await trio.open_tcp_listeners(self._port, host="127.0.0.1")
        self._port = listener.socket.getsockname()[1]
        self.address = f"127.0.0.1:{self._port}"
        self._scope = await nursery.start(self._run, listener)
        return self

    async def _run(self, listener: trio.SocketListener, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        with trio.CancelScope() as scope:
            task_status.started(scope)
            await trio.serve_listeners(self._take, [listener])

    def stop(self) -> None:
        """Nobody listens here any more, and every connection is cut."""
        self._scope.cancel()

    async def _take(self, stream: trio.SocketStream) -> None:
        connection = Connection(stream)
        try:
            await connection.fill()
            if connection.buffer.startswith(b"GET /probe "):
                await self._answer_probe(connection)
            else:
                self.connections += 1
                await self.serve(connection)
        except (trio.EndOfChannel, trio.BrokenResourceError):
            pass
        finally:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)

    async def _answer_probe(self, connection: Connection) -> None:
        self.probes += 1
        match self.health:
            case "well":
                await connection.say(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            case "ill":
                await connection.say(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
            case "silent":
                await trio.sleep_forever()

    def always(self, body: bytes, *lines: str, status: str = "200 OK") -> Answer:
        """Answers every request in the same way."""

        async def serve(connection: Connection) -> None:
            while True:
                head, sent = await connection.request()
                self.heads.append(head)
                self.bodies.append(sent)
                text = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines, "", ""])
                await connection.say(text.encode() + body)

        return serve


def says(data: bytes, *, hang_up: bool = True) -> Answer:
    """Answers the first request with some bytes, and hangs up."""

    async def serve(connection: Connection) -> None:
        await connection.request()
        await connection.say(data)
        if not hang_up:
            await trio.sleep_forever()

    return serve


def lines_of(head: bytes, name: str) -> list[str]:
    """The values of a header."""
    lines = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])
    return [value.strip() for key, _, value in lines if key.lower() == name.lower()]
