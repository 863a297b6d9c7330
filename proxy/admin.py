"""The administration: metrics, state, and the passing on of the listening sockets.

Rule: on the Unix socket only our own user and root are heard; on a loopback port anybody
of this machine may read, and nobody may order.
"""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import msgspec
import structlog
import trio
from prometheus_client import CONTENT_TYPE_LATEST

from proxy.answers import answer
from proxy.errors import BadRequest
from proxy.head import RequestHead, parse_head, split_head
from proxy.links import make_run_dir, peer_uid
from proxy.listening import Listening
from proxy.settings import Settings
from proxy.state import ProxyState, metrics
from proxy.streams import SocketStream
from proxy.values import read_address

REQUEST_SECONDS = 5.0
CALL_SECONDS = 5.0
_MAX_DESCRIPTORS = 64
# Askers at a time: a port is open to all of the machine, and none of them shall cost clients their descriptors.
_MAX_ASKERS = 16

log = structlog.get_logger("proxy")


class Administered(Protocol):
    """What is administered: one process, or all of them."""

    listening: Sequence[Listening]

    async def states(self) -> list[ProxyState]:
        """How each process is."""

    def retire(self) -> None:
        """Take nobody new, and end."""


def admin_path(settings: Settings, run_dir: Path) -> str:
    """Where the administration is reached."""
    return settings.admin or str(run_dir / "proxy.sock")


@asynccontextmanager
async def administration(administered: Administered, where: str) -> AsyncIterator[None]:
    """Answer for the length of a block.

    Args:
        administered: Whose questions are answered.
        where: A path, or ``host:port``.

    Raises:
        OSError: It cannot be listened on there.
    """
    is_path = "/" in where
    sock = _listen_at(Path(where)) if is_path else _listen_on(where)
    inode = _inode(Path(where)) if is_path else 0
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_accept, administered, sock, is_path, nursery)
            yield
            nursery.cancel_scope.cancel()
    finally:
        sock.close()
        if is_path:
            _remove(Path(where), inode)


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def _remove(path: Path, inode: int) -> None:
    """It may be a successor's by now."""
    if _inode(path) == inode:
        path.unlink(missing_ok=True)


def _listen_at(path: Path) -> socket.socket:
    """In the place of whatever was there, without a moment in which nobody listens."""
    if not path.parent.exists():
        make_run_dir(path.parent)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with tempfile.TemporaryDirectory(prefix=".p", dir=path.parent) as place:
            made = Path(place) / "s"
            sock.bind(str(made))
            made.chmod(0o600)
            sock.listen(16)
            made.replace(path)
    except OSError as exc:
        sock.close()
        raise OSError(exc.errno, f"cannot listen on {path}: {exc.strerror or exc}") from exc
    return sock


def _listen_on(where: str) -> socket.socket:
    address = read_address(where)
    assert address is not None
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(16)
    except OSError as exc:
        sock.close()
        raise OSError(exc.errno, f"cannot listen on {where}: {exc.strerror}") from exc
    return sock


async def _accept(administered: Administered, sock: socket.socket, is_path: bool, nursery: trio.Nursery) -> None:
    askers = trio.Semaphore(_MAX_ASKERS)
    while True:
        await askers.acquire()
        await trio.lowlevel.wait_readable(sock)
        try:
            connection, _ = sock.accept()
        except OSError:
            askers.release()
            await trio.sleep(0.1)
            continue
        if is_path and peer_uid(connection) not in (os.geteuid(), 0):
            askers.release()
            connection.close()
        else:
            nursery.start_soon(_serve, administered, connection, is_path, askers)


async def _serve(
    administered: Administered, connection: socket.socket, may_order: bool, askers: trio.Semaphore
) -> None:
    # Whoever asks may leave at any time, most of all a successor that is killed.
    with contextlib.suppress(trio.BrokenResourceError, OSError):
        try:
            with connection, trio.move_on_after(REQUEST_SECONDS):
                await _serve_one(administered, SocketStream(connection), may_order)
        finally:
            askers.release()


async def _serve_one(administered: Administered, stream: SocketStream, may_order: bool) -> None:
    received = b""
    try:
        while (found := split_head(received)) is None:
            data = await stream.receive_some()
            if not data:
                return
            received += data
        await _answer(administered, stream, parse_head(found[0]), may_order)
    except BadRequest as exc:
        await stream.send_all(answer(exc.status, msgspec.json.encode({"message": exc.message}), []))


async def _answer(administered: Administered, stream: SocketStream, head: RequestHead, may_order: bool) -> None:
    match head.method, head.path:
        case "GET", "/metrics":
            await stream.send_all(answer(200, metrics(await administered.states()), [], CONTENT_TYPE_LATEST))
        case "GET", "/state":
            await stream.send_all(answer(200, msgspec.json.encode(await administered.states()), []))
        case "GET", "/healthz":
            await stream.send_all(answer(200, b'{"status":"alive"}', []))
        case "GET", "/readyz":
            ready = any(
                state.accepting and any(one.state == "ready" for one in state.upstreams)
                for state in await administered.states()
            )
            body = b'{"status":"ready"}' if ready else b'{"status":"not ready"}'
            await stream.send_all(answer(200 if ready else 503, body, []))
        case "POST", "/listeners" | "/retire" if not may_order:
            raise BadRequest(403, "only by the unix socket")
        case "POST", "/listeners":
            # All kinds in the body, all descriptors beside its first byte.
            kinds = msgspec.json.encode([one.tls for one in administered.listening])
            descriptors = [one.sock.fileno() for one in administered.listening]
            socket.send_fds(stream.sock, [answer(200, kinds, [])], descriptors)
        case "POST", "/retire":
            await stream.send_all(answer(200, b"{}", []))
            administered.retire()
        case _:
            raise BadRequest(404, "not found")


# The other end.


def call(where: str, method: str, path: str) -> tuple[bytes, list[int]]:
    """Ask an administration, and wait for the answer.

    Args:
        where: A path, or ``host:port``.
        method: ``GET`` or ``POST``.
        path: What is asked.

    Returns:
        The answer's body, and the descriptors that came with it.

    Raises:
        OSError: Nobody answers there, or not with 200.
    """
    address = read_address(where)
    family = socket.AF_UNIX if "/" in where or address is None else socket.AF_INET
    if family == socket.AF_INET and address is not None and ":" in address.host:
        family = socket.AF_INET6
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(CALL_SECONDS)
        sock.connect(where if family == socket.AF_UNIX or address is None else address)
        if family == socket.AF_UNIX and peer_uid(sock) != os.geteuid():
            raise PermissionError("the process that answers is another user's")
        sock.sendall(f"{method} {path} HTTP/1.1\r\nHost: proxy\r\n\r\n".encode())
        pieces, descriptors = [], []
        while True:
            data, fds, _, _ = socket.recv_fds(sock, 65_536, _MAX_DESCRIPTORS if family == socket.AF_UNIX else 0)
            descriptors += fds
            if not data:
                break
            pieces.append(data)
    head, _, body = b"".join(pieces).partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        for fd in descriptors:
            os.close(fd)
        raise ConnectionError(f"the proxy answered {head[:64]!r}")
    return body, descriptors


def take_over(where: str) -> list[Listening]:
    """The listening sockets of the proxy that is administered there; it goes on accepting.

    Raises:
        OSError: There is none.
    """
    body, descriptors = call(where, "POST", "/listeners")
    kinds = msgspec.json.decode(body, type=list[bool])
    return [Listening(socket.socket(fileno=fd), tls) for fd, tls in zip(descriptors, kinds, strict=True)]
