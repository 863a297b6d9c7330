"""What the official client sees when a connection ends that nobody wanted to end."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.interop.test_javascript_client import HERE, ROOT, TRANSPORTS

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Application:
    """The application under test, in a process of its own, on a fixed port."""

    def __init__(self, port: int, **options: Any) -> None:
        command = [sys.executable, "-m", "tests.interop.app", "front", json.dumps({"port": port, **options})]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        assert any(line.startswith("port ") for line in iter(self.process.stdout.readline, ""))

    def end(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Watcher:
    """A Node process with one client."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def next(self) -> list[Any]:
        assert self._process.stdout is not None
        line: list[Any] = json.loads(self._process.stdout.readline())
        return line


@contextmanager
def watching(port: int, transports: str) -> Iterator[Watcher]:
    command = ["node", "watch.mjs", f"http://127.0.0.1:{port}", json.dumps({"transports": TRANSPORTS[transports]})]
    with subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Watcher(process)
        finally:
            process.kill()


@pytest.mark.parametrize("transports", list(TRANSPORTS))
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_client_comes_back_after_a_restart(transports: str, how: signal.Signals) -> None:
    port = free_port()
    application = Application(port)
    with watching(port, transports) as client:
        assert client.next() == ["connected", "hello"]
        application.end(how)
        what, reason = client.next()
        assert what == "disconnected"
        # Never "io server disconnect": after that one the client would stay away.
        assert reason in ("transport close", "transport error")
        application = Application(port)
        assert client.next() == ["connected", "hello"]
    application.end(signal.SIGTERM)


@pytest.mark.parametrize("transports", ["websocket", "polling"])
def test_a_client_misses_the_pings_of_a_server_that_hangs(transports: str) -> None:
    port = free_port()
    application = Application(port, ping_interval=0.3, ping_timeout=0.2)
    with watching(port, transports) as client:
        assert client.next() == ["connected", "hello"]
        application.process.send_signal(signal.SIGSTOP)
        assert client.next() == ["disconnected", "ping timeout"]
        application.process.send_signal(signal.SIGCONT)
        assert client.next() == ["connected", "hello"]
    application.end(signal.SIGTERM)
