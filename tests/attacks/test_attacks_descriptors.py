"""A node that runs out of file descriptors refuses, lives, and does not spin."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx

LIMIT = 128


def limit_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT))


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_node_without_descriptors_refuses_and_recovers() -> None:
    program = [sys.executable, "-c", "from rtserver.cli import main; main()", "serve", "--port", "0"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, preexec_fn=limit_descriptors) as process:  # noqa: PLW1509
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().rpartition(":")[2])
            refused = 0
            with ExitStack() as stack:
                for _ in range(LIMIT * 2):
                    connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                    connection.settimeout(0.02)
                    try:
                        refused += connection.recv(12) == b"HTTP/1.1 503"
                    except TimeoutError:
                        continue
                assert refused >= LIMIT
                before = cpu_seconds(process.pid)
                with httpx.Client() as http:
                    assert http.get(f"http://127.0.0.1:{port}/healthz").status_code == 503
                assert cpu_seconds(process.pid) - before < 1
            transport = httpx.HTTPTransport(retries=5)
            with httpx.Client(transport=transport) as http:
                while http.get(f"http://127.0.0.1:{port}/healthz").status_code != 200:
                    assert process.poll() is None
        finally:
            process.kill()
