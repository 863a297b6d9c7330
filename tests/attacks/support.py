"""A node under attack, bystanders who must not notice, and raw bytes.

The oracle, after every attack: the node takes a new client, the bystanders have lost
nothing, what the attacker made is gone, and no traceback was logged for it.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import structlog
import trio
import trio.lowlevel
import trio.testing

from proxy.listening import listen
from proxy.proxy import Proxy
from proxy.settings import load
from rtserver import Server, Socket
from rtserver.client import open_socket
from rtserver.protocol.websocket.frames import TEXT, client_frame

HANDSHAKE = "/socket.io/?EIO=4&transport=polling"
UPGRADE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
MASK = b"\x01\x02\x03\x04"
PATIENCE = 10.0
SECRET = "a secret of the attacked"

# Straight to the node, or by the proxy, which hands connections over to it or relays what they say.
Door = Literal["front", "handed", "relayed"]


def text(payload: str) -> bytes:
    """A masked text frame."""
    return client_frame(TEXT, payload.encode(), MASK)


def build(**options: Any) -> Server:
    io = Server(**{"close_timeout": 0.1, **options})

    @io.on("echo")
    def echo(socket: Socket, *values: Any) -> list[Any]:
        return list(values)

    @io.on("join")
    def join(socket: Socket, room: str) -> None:
        socket.join(room)

    @io.on("say")
    def say(socket: Socket, room: str, value: Any) -> None:
        io.to(room).emit("said", value)

    return io


class Raw:
    """A TCP connection of the attacker."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.received = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def send_for_ever(self, data: bytes = b"x" * 65_536) -> None:
        while True:
            await self.send(data)

    async def until(self, ending: bytes) -> bytes:
        """What comes up to and with ``ending``."""
        with trio.fail_after(PATIENCE):
            while ending not in self.received:
                data = await self.stream.receive_some()
                assert data, f"closed after {self.received!r}"
                self.received += data
        found, _, self.received = self.received.partition(ending)
        return found + ending

    async def to_the_end(self) -> bytes:
        """Everything until the node closes; a reset counts as closing."""
        with trio.fail_after(PATIENCE):
            try:
                while data := await self.stream.receive_some():
                    self.received += data
            except trio.BrokenResourceError:
                pass
        return self.received

    async def ask(self, method: str, path: str, body: str = "") -> bytes:
        """One request on this connection, which stays; the body of its answer."""
        length = len(body.encode())
        await self.send(f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}".encode())
        head = await self.until(b"\r\n\r\n")
        rest = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        with trio.fail_after(PATIENCE):
            while len(self.received) < rest:
                self.received += await self.stream.receive_some()
        answer, self.received = self.received[:rest], self.received[rest:]
        return answer

    async def become_poller(self) -> str:
        """Handshake by polling; the path of the session."""
        opened = await self.ask("GET", HANDSHAKE)
        return HANDSHAKE + "&sid=" + opened.partition(b'"sid":"')[2].partition(b'"')[0].decode()

    async def become_websocket(self) -> None:
        """Handshake, CONNECT, and nothing unread."""
        await self.send(UPGRADE)
        await self.until(b"\r\n\r\n")
        await self.until(b"}")
        await self.send(text("40"))
        await self.until(b"}")


class Target:
    """The node, by the way in that is attacked."""

    def __init__(self, io: Server, port: int, proxy: Proxy | None = None) -> None:
        self.io = io
        self.port = port
        self.proxy = proxy
        self.url = f"http://127.0.0.1:{port}"

    @asynccontextmanager
    async def raw(self) -> AsyncIterator[Raw]:
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        async with stream:
            yield Raw(stream)

    async def send(self, data: bytes) -> bytes:
        """The whole of what the node answers to ``data`` before it closes."""
        async with self.raw() as raw:
            await raw.send(data)
            return await raw.to_the_end()

    def holdings(self) -> dict[str, int]:
        """What an attack could leave behind."""
        node = self.io.statistics().node
        assert node is not None
        edge = None if self.proxy is None else self.proxy.edge
        return {
            "held by the proxy": 0 if edge is None else edge.connections,
            "timed by the proxy": 0 if edge is None else len(edge.loop.timed),
            "clients": len(self.io.clients),
            "sessions": len(self.io.engine.sessions),
            "sockets": sum(len(namespace.sockets) for namespace in self.io.namespaces.values()),
            "namespaces": len(self.io.namespaces),
            "rooms": len(self.io.adapter.local_rooms()),
            "connections": node.connections,
            "handed over": node.handed_over,
            "tasks": trio.lowlevel.current_statistics().tasks_living,
            "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        }


@asynccontextmanager
async def under_attack(**options: Any) -> AsyncIterator[Target]:
    """A node that has to pass the oracle when the block ends.

    Args:
        options: Of the server; or ``io``, one that is there already. ``app`` and ``websockets`` are those of
            ``serve``, ``door`` is how clients come to it, ``settings`` are the proxy's, if there is one.
    """
    door: Door = options.pop("door", "front")
    with tempfile.TemporaryDirectory() as folder:
        if door != "front":
            options |= {"secret": SECRET, "run_dir": f"{folder}/nodes", "drain_timeout": 0.05}
        async with (
            _serving(door, folder, options) as target,
            open_socket(target.url, transports=["websocket"], parser=target.io.parser) as walker,
            open_socket(target.url, transports=["polling"], parser=target.io.parser) as poller,
        ):
            for bystander, room in ((walker, "walkers"), (poller, "pollers")):
                await bystander.call("join", room)
            if door != "front":
                # The poller's next poll is on its way through the proxy.
                await trio.testing.wait_all_tasks_blocked(0.05)
            before = target.holdings()
            yield target
            for bystander, room in ((walker, "walkers"), (poller, "pollers")):
                assert bystander.connected
                assert await bystander.call("say", room, 1) is None
                with trio.fail_after(PATIENCE):
                    assert await bystander.receive("said") == 1
            with trio.fail_after(1):
                async with open_socket(target.url, transports=["websocket"], parser=target.io.parser) as fresh:
                    assert await fresh.call("echo", "new") == ["new"]
            await back_to(before, target)


@asynccontextmanager
async def _serving(door: Door, folder: str, options: dict[str, Any]) -> AsyncIterator[Target]:
    """The node, and the proxy before it if there is one; neither may have met with a bug."""
    app, websockets = options.pop("app", None), options.pop("websockets", False)
    settings = options.pop("settings", {})
    io = options.pop("io", None) or build(**options)
    with structlog.testing.capture_logs() as lines:
        async with trio.open_nursery() as nursery:
            (address,) = await nursery.start(partial(io.serve, "127.0.0.1:0", app=app, websockets=websockets))
            port = int(address.rpartition(":")[2])
            if door == "front":
                yield Target(io, port)
            else:
                if door == "relayed":
                    settings = {"run_dir": f"{folder}/none", "upstreams": f"0=127.0.0.1:{port}", **settings}
                proxy = _proxy(**{"run_dir": f"{folder}/nodes", "probe_interval": 600, **settings})
                await nursery.start(proxy.run)
                yield Target(io, proxy.listening[0].sock.getsockname()[1], proxy)
                proxy.stop()
            io.stop()
    assert [line for line in lines if line["log_level"] in ("error", "critical")] == []


def _proxy(**given: Any) -> Proxy:
    settings = load(None, {"listen": "127.0.0.1:0", "secret": SECRET, "drain_timeout": 0.1, **given}, {})
    return Proxy(settings, listen(settings))


async def back_to(before: dict[str, int], target: Target) -> None:
    """Wait until nothing of the attack is left."""
    with trio.move_on_after(PATIENCE):
        while any(now > before[name] for name, now in target.holdings().items()):
            await trio.lowlevel.checkpoint()
            gc.collect()
    assert {name: now for name, now in target.holdings().items() if now > before[name]} == {}
