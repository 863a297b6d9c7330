"""A Redis of our own, for the tests that need one.

Rule: it listens on a free port of the loopback only, keeps nothing, and is gone with the
block. It can be killed, started again on the same port, and stopped as a network stops.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from rtserver.cli.local_redis import find_server

PATIENCE = 10.0


class RedisServer:
    """One server.

    Args:
        directory: Where it works.
        lines: More of its configuration.
        password: Of the default user, if it shall ask for one.
    """

    def __init__(self, directory: Path, lines: tuple[str, ...] = (), password: str | None = None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        asked = () if password is None else (f"requirepass {password}",)
        base = ("bind 127.0.0.1", f"port {self.port}", f"dir {directory}", 'save ""', "loglevel warning")
        self._configuration = "\n".join([*base, *asked, *lines])
        self._process: subprocess.Popen[bytes] | None = None
        access = "" if password is None else f":{password}@"
        self.url = f"redis://{access}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, on the same port as ever, and wait until it answers."""
        self._process = subprocess.Popen([find_server(), "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert self._process.stdin is not None
        self._process.stdin.write(self._configuration.encode())
        self._process.stdin.close()
        with self.client() as client:
            client.ping()

    def client(self) -> redis.Redis:
        """A plain client, which waits for the server to come up."""
        retry = redis.retry.Retry(redis.backoff.ConstantBackoff(0.02), int(PATIENCE / 0.02))
        errors = [redis.ConnectionError, redis.TimeoutError]
        return redis.Redis.from_url(self.url, retry=retry, retry_on_error=errors)

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
def running_redis(directory: Path, lines: tuple[str, ...] = (), password: str | None = None) -> Iterator[RedisServer]:
    """A server for the length of a block."""
    server = RedisServer(directory, lines, password)
    server.start()
    try:
        yield server
    finally:
        server.kill()
