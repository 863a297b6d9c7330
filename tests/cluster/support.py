"""Nodes of a cluster in one process, and somebody who hands them connections as a proxy does.

Rule: the far end of a node's Unix socket is written here anew, without the product's own.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Self

import trio

from rtserver import Server
from tests.behaviour.support import PATIENCE, HttpClient, Site, open_tcp

SECRET = "a secret of the tests"
POLLING = "EIO=4&transport=polling"
UNKNOWN_SID = (400, '{"code":1,"message":"Session ID unknown"}')


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until it holds: nobody tells when a file or another process has changed."""
    with trio.fail_after(PATIENCE):
        while not condition():
            await trio.lowlevel.checkpoint()


@dataclass
class NodeSite(Site):
    """A node. ``gone`` is set when ``serve`` has returned."""

    gone: trio.Event = field(default_factory=trio.Event)


async def start_node(nursery: trio.Nursery, run_dir: Path, **options: Any) -> NodeSite:
    """A node; the first one gets slot 0, and so on. Its end waits for nobody, unless told to."""
    io = Server(**{"secret": SECRET, "run_dir": run_dir, "drain_timeout": 0.05, **options})
    gone = trio.Event()

    async def run(task_status: trio.TaskStatus[list[str]]) -> None:
        try:
            await io.serve("127.0.0.1:0", task_status=task_status)
        finally:
            gone.set()

    (bound,) = await nursery.start(run)
    return NodeSite("front", io, lambda: open_tcp(bound), io.stop, gone=gone)


async def ended(site: NodeSite) -> None:
    """End it, and wait until its slot is free again."""
    await site.end()
    with trio.fail_after(PATIENCE):
        await site.gone.wait()


async def know_each_other(*sites: Site) -> None:
    """Wait until every node has heard of every other one."""

    def heard(site: Site) -> int:
        cluster = site.io.statistics().cluster
        return 0 if cluster is None else len(cluster.neighbours)

    await eventually(lambda: all(heard(site) == len(sites) - 1 for site in sites))


def connections(site: Site) -> int:
    """How many are on the node's loop."""
    node = site.io.statistics().node
    assert node is not None
    return node.connections


def failures(site: Site) -> int:
    """How many passed connections and messages the node has dropped."""
    cluster = site.io.statistics().cluster
    assert cluster is not None
    return cluster.handoff_failures


def free_port() -> int:
    """One that nobody has right now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def descriptors() -> int:
    """How many this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class Caller:
    """A connection to a node's Unix socket."""

    def __init__(self, run_dir: Path, slot: int) -> None:
        self.path = run_dir / f"node-{slot}.sock"
        self.sock = trio.socket.from_stdlib_socket(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))

    async def __aenter__(self) -> Self:
        try:
            await self.sock.connect(str(self.path))
        except OSError:
            self.sock.close()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.sock.close()

    async def datagram(self) -> bytes:
        with trio.fail_after(PATIENCE):
            return await self.sock.recv(70_000)

    async def state(self) -> dict[str, Any]:
        wire = await self.datagram()
        assert wire[:1] == b"S", wire
        found: dict[str, Any] = json.loads(wire[1:])
        return found

    async def state_that(self, accepts: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The next one of which something is true."""
        with trio.fail_after(PATIENCE):
            while not accepts(state := await self.state()):
                pass
        return state

    async def say(self, wire: bytes, *passed: socket.socket | BinaryIO) -> None:
        fds = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(passed)}i", *(s.fileno() for s in passed)))]
        await self.sock.sendmsg([wire], fds if passed else [])

    async def pass_connection(self, sock: socket.socket, received: bytes = b"", **metadata: Any) -> None:
        """Hand a connection over, and be done with it."""
        await self.say(connection(received, **metadata), sock)
        sock.close()


def connection(received: bytes = b"", **metadata: Any) -> bytes:
    text = json.dumps({"secure": False, "hops": 0, **metadata}).encode()
    return b"C" + len(text).to_bytes(2, "big") + text + received


async def tcp_pair() -> tuple[HttpClient, socket.socket]:
    """A client, and the socket that a proxy has accepted for it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        stream = await trio.open_tcp_stream("127.0.0.1", listener.getsockname()[1])
        accepted, _ = listener.accept()
    return HttpClient(stream), accepted


async def hung_up(client: HttpClient) -> None:
    """The node closes, having said nothing more."""
    await client.ended()
    await client.stream.aclose()


def request(target: str, *lines: str, method: str = "GET", body: bytes = b"") -> bytes:
    head = [f"{method} {target} HTTP/1.1", "Host: localhost", *lines]
    if body:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode() + body
