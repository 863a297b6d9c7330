"""The reference server, under Node."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

SCRIPT = Path(__file__).with_name("reference_server.mjs")

StartReference = Callable[..., "Reference"]


class Reference:
    """A running server."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self._process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._process.kill()
        self._process.wait()


@contextmanager
def reference_server(**options: Any) -> Iterator[Reference]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    command = [node, str(SCRIPT), json.dumps(options)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Reference(process, int(process.stdout.readline()))
        finally:
            process.kill()


@pytest.fixture
async def patience() -> AsyncIterator[None]:
    """Ends a test that waits for something that never comes."""

    async def run_out() -> None:
        with trio.fail_after(20):
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_out)
        yield
        nursery.cancel_scope.cancel()


@pytest.fixture(scope="session")
def shared_reference() -> Iterator[Reference]:
    with reference_server() as server:
        yield server


@pytest.fixture
async def reference(shared_reference: Reference, patience: None) -> Reference:
    """A server with the reference's default options."""
    return shared_reference


@pytest.fixture(scope="session")
def shared_msgpack_reference() -> Iterator[Reference]:
    with reference_server(msgpack=True) as server:
        yield server


@pytest.fixture
async def msgpack_reference(shared_msgpack_reference: Reference, patience: None) -> Reference:
    """A server with the msgpack parser."""
    return shared_msgpack_reference


@pytest.fixture
def unused_port() -> int:
    """A port at which nobody listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture
async def start_reference(patience: None) -> AsyncIterator[StartReference]:
    """Starts servers with options of their own, for one test."""
    with ExitStack() as servers:
        yield lambda **options: servers.enter_context(reference_server(**options))


@pytest.fixture(params=["polling", "websocket", "upgrade"])
def transports(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Every way for a client to be connected, as its ``transports``."""
    ways = {"polling": ("polling",), "websocket": ("websocket",), "upgrade": ("polling", "websocket")}
    return ways[request.param]
