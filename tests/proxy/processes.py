"""Proxies and nodes in processes of their own, for what only a process can show."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import IO

from tests.cluster.support import SECRET

PATIENCE = 20.0
ROOT = Path(__file__).parents[2]


class Process:
    """A process whose lines can be waited for."""

    def __init__(self, run_dir: Path, *command: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RTSERVER_")}
        environment |= {"RTSERVER_SECRET": SECRET, "RTSERVER_RUN_DIR": str(run_dir), "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        self.lines: list[str] = []
        self._queue: Queue[str | None] = Queue()
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, stdout: IO[str]) -> None:
        for line in stdout:
            self._queue.put(line.rstrip())
        self._queue.put(None)

    def line(self, pattern: str) -> re.Match[str]:
        """The next line in which something is found."""
        while True:
            try:
                line = self._queue.get(timeout=PATIENCE)
            except Empty:
                raise AssertionError(f"no {pattern!r} in {self.lines}") from None
            assert line is not None, f"ended without {pattern!r}: {self.lines}"
            self.lines.append(line)
            if found := re.search(pattern, line):
                return found

    def ended(self) -> None:
        """Wait until nobody writes to its output any more."""
        self._reader.join(PATIENCE)
        assert not self._reader.is_alive(), self.lines

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit status."""
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def proxy_process(run_dir: Path, *arguments: str) -> Iterator[Process]:
    """``python -m proxy`` on a free port, unless told otherwise."""
    told = any(argument.startswith(("--config", "--listen")) for argument in arguments)
    listen = () if told else ("--listen", "127.0.0.1:0")
    process = Process(run_dir, sys.executable, "-m", "proxy", *listen, *arguments)
    try:
        yield process
    finally:
        process.close()


@contextmanager
def node_process(run_dir: Path) -> Iterator[Process]:
    """``rtserver serve`` on a free port, in a cluster."""
    process = Process(run_dir, str(Path(sys.executable).parent / "rtserver"), "serve", "--port", "0")
    try:
        process.line("listening on")
        yield process
    finally:
        process.close()


def port_of(process: Process) -> int:
    """Where a proxy has said that it listens."""
    return int(process.line(r"proxy listening on https?://127\.0\.0\.1:(\d+)")[1])


def run(run_dir: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """``python -m proxy`` that ends by itself."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RTSERVER_")}
    environment |= {"RTSERVER_RUN_DIR": str(run_dir), **variables}
    return subprocess.run(
        [sys.executable, "-m", "proxy", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
