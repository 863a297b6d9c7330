"""A Redis of our own, for the tests that need one.

Rule: it listens on a free port of the loopback only, keeps nothing, and is gone with the
block. It can be killed, started again on the same port, and stopped as a network stops.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import redis
import trio

from rtserver.cli.local_redis import find_server

PATIENCE = 10.0


def free_port() -> int:
    """A port that nobody has just now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class RedisServer:
    """One server.

    Args:
        directory: Where it works.
        lines: More of its configuration.
        password: Of the default user, if it shall ask for one.
        sentinel: Whether it is a sentinel.
    """

    def __init__(
        self, directory: Path, lines: tuple[str, ...] = (), password: str | None = None, *, sentinel: bool = False
    ) -> None:
        self.port = free_port()
        asked = () if password is None else (f"requirepass {password}",)
        base = ["bind 127.0.0.1", f"port {self.port}", f"dir {directory}", "loglevel warning"]
        if not sentinel:
            base += ['save ""', "repl-diskless-sync-delay 0"]
        self._configuration = directory / "redis.conf"
        self._configuration.write_text("\n".join([*base, *asked, *lines, ""]))
        self._sentinel = sentinel
        self._process: subprocess.Popen[bytes] | None = None
        access = "" if password is None else f":{password}@"
        self.url = f"redis://{access}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, on the same port as ever, and wait until it answers."""
        command = [find_server(), str(self._configuration), *(["--sentinel"] if self._sentinel else [])]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until(self._answers)

    def client(self) -> Any:
        """A plain client."""
        return redis.Redis.from_url(self.url, socket_timeout=PATIENCE)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False

    def kill(self) -> None:
        """End it without a word."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Answer nobody, and close nothing: what a partition looks like from outside."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)


@contextmanager
def running_redis(
    directory: Path,
    lines: tuple[str, ...] = (),
    password: str | None = None,
    *,
    sentinel: bool = False,
) -> Iterator[RedisServer]:
    """A server for the length of a block."""
    server = RedisServer(directory, lines, password, sentinel=sentinel)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@asynccontextmanager
async def behind_tls(server: RedisServer, folder: Path) -> AsyncIterator[int]:
    """A port where ``server`` speaks TLS, with the certificate in ``folder``: not every build of Redis can."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")

    async def relay(client: trio.SSLStream[trio.SocketStream]) -> None:
        # Who hangs up, or does not trust the certificate, is the test's matter.
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with client, await trio.open_tcp_stream("127.0.0.1", server.port) as inner:
                await client.do_handshake()
                async with trio.open_nursery() as nursery:
                    for source, sink in ((client, inner), (inner, client)):
                        nursery.start_soon(pump, source, sink, nursery.cancel_scope)

    async def pump(source: trio.abc.Stream, sink: trio.abc.Stream, scope: trio.CancelScope) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in source:
                await sink.send_all(data)
        scope.cancel()

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_ssl_over_tcp, relay, 0, context, host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        yield listener.transport_listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def until(condition: Callable[[], object]) -> None:
    """Wait for servers to agree on something, which they tell nobody."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "the servers do not agree"
        time.sleep(0.02)
