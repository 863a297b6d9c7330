"""The real cluster, as ``rtserver cluster`` starts it, and its processes by name.

Rule: only Redis is started beside it, so that it can be away for as long as a fault wants; nodes and the proxy are
kept by ``rtserver keep``, as in the ``Procfile``.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
APPLICATION = "benchmarks.chaos.application:io"
PROCFILE = """\
node: exec rtserver keep rtserver serve --host 127.0.0.1 --port 0 $RTSERVER_APP
proxy: exec rtserver keep --listen $RTSERVER_PROXY_LISTEN python -m proxy
"""
POLLING = "/socket.io/?EIO=4&transport=polling"
PATIENCE = 60.0
LOOK_EVERY = 0.02


class Broken(Exception):
    """Something that a fault needs did not come about in time."""


def wait_until(what: str, condition: Callable[[], bool], seconds: float = PATIENCE) -> float:
    """Wait until it holds; gives the seconds that it took.

    Raises:
        Broken: It did not.
    """
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > seconds:
            raise Broken(f"not within {seconds:.0f} s: {what}")
        time.sleep(LOOK_EVERY)
    return time.monotonic() - begun


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has of the machine: resident memory in kB, open descriptors, processor time in seconds."""

    rss_kb: int
    descriptors: int
    cpu: float


def usage_of(pid: int) -> Usage:
    """Raises ``OSError`` if the process is gone."""
    folder = Path(f"/proc/{pid}")
    status = folder.joinpath("status").read_text()
    rss = re.search(r"^VmRSS:\s+(\d+)", status, re.MULTILINE)
    fields = folder.joinpath("stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return Usage(
        rss_kb=int(rss[1]) if rss else 0,
        descriptors=len(list(folder.joinpath("fd").iterdir())),
        cpu=ticks / os.sysconf("SC_CLK_TCK"),
    )


def lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


class Redis:
    """The Redis between the nodes."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [BIN / "rtserver", "redis"], env=self._environment, stdout=output, stderr=subprocess.STDOUT
            )

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        if number == signal.SIGKILL:
            self._process.wait()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Cluster:
    """A running cluster.

    Attributes:
        url: Where clients go.
        slots: Of its nodes.
        redis: Between them.
    """

    def __init__(self, url: str, run_dir: Path, nodes: int, redis: Redis, environment: dict[str, str]) -> None:
        self.url = url
        self.slots = range(nodes)
        self.redis = redis
        self.environment = environment
        self._run_dir = run_dir

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    # Nodes.

    def node(self, slot: int) -> dict[str, Any] | None:
        """What a node says of itself to whoever connects to its Unix socket; None if nobody is there."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.settimeout(2.0)
            try:
                sock.connect(str(self._run_dir / f"node-{slot}.sock"))
                wire = sock.recv(65_536)
            except OSError:
                return None
        if not wire.startswith(b"S"):
            return None
        said: dict[str, Any] = json.loads(wire[1:])
        return said

    def pid(self, slot: int) -> int:
        """Raises ``Broken`` if there is no such node."""
        said = self.node(slot)
        if said is None:
            raise Broken(f"no node in slot {slot}")
        return int(said["pid"])

    def pids(self) -> dict[int, int]:
        return {slot: self.pid(slot) for slot in self.slots}

    def back(self, slot: int, pid: int) -> bool:
        """Whether a slot has a ready node that is not the process ``pid``."""
        said = self.node(slot)
        return said is not None and said["state"] == "ready" and said["pid"] != pid

    def sessions(self) -> int:
        return sum(said["sessions"] for slot in self.slots if (said := self.node(slot)) is not None)

    def readiness(self, slot: int) -> str:
        """``ready``, ``degraded`` or ``draining``, or why there is no answer."""
        said = self.node(slot)
        if said is None:
            return "gone"
        try:
            status: str = httpx.get(f"http://{said['address']}/readyz", trust_env=False, timeout=5.0).json()["status"]
        except httpx.TransportError as exc:
            return type(exc).__name__
        return status

    def metric(self, name: str) -> float:
        """The sum of one metric over all nodes."""
        total = 0.0
        for slot in self.slots:
            if (said := self.node(slot)) is not None:
                text = httpx.get(f"http://{said['address']}/metrics", trust_env=False, timeout=10.0).text
                total += sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))
        return total

    # The proxy.

    def proxy(self) -> dict[str, Any] | None:
        """How the proxy is; None if it does not say."""
        try:
            transport = httpx.HTTPTransport(uds=str(self._run_dir / "proxy.sock"))
            with httpx.Client(transport=transport, timeout=5.0) as client:
                said: list[dict[str, Any]] = client.get("http://proxy/state").json()
        except (httpx.TransportError, ValueError):
            return None
        return said[0]

    def proxy_pid(self) -> int:
        """0 if there is none that says so."""
        said = self.proxy()
        return 0 if said is None else int(said["pid"])

    def in_rotation(self, slot: int) -> bool:
        """Whether the proxy sends new clients to a node."""
        said = self.proxy()
        return said is not None and any(one["slot"] == slot and one["state"] == "ready" for one in said["upstreams"])

    def all_ready(self) -> bool:
        return all(self.in_rotation(slot) for slot in self.slots)

    def serves(self, patience: float = 1.0) -> bool:
        """Whether a new client gets a session, and may leave it, with answers in ``patience`` seconds."""
        connection = http.client.HTTPConnection(*self.address, timeout=patience)
        try:
            connection.request("GET", POLLING)
            body = connection.getresponse().read()
            if not body.startswith(b"0{"):
                return False
            connection.request("POST", f"{POLLING}&sid={json.loads(body[1:])['sid']}", b"1")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


@contextmanager
def running_cluster(nodes: int, log: Path, *, files: int | None = None, **settings: str) -> Iterator[Cluster]:
    """A cluster, for the length of a block.

    Args:
        nodes: How many.
        log: What all of it says.
        files: Descriptors that each process may have, if not as many as this one.
        settings: More of the environment.

    Raises:
        Broken: It has not started.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rtserver-chaos-")))
        procfile = folder / "Procfile"
        procfile.write_text(PROCFILE)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RTSERVER_")}
        environment |= {
            "RTSERVER_RUN_DIR": str(folder / "run"),
            "RTSERVER_SECRET": secrets.token_urlsafe(32),
            "RTSERVER_REDIS_URL": f"redis://:chaos@127.0.0.1:{free_port()}/0",
            **settings,
        }
        log.write_bytes(b"")
        redis = Redis(environment, log)
        stack.callback(redis.stop)
        output = stack.enter_context(log.open("ab"))
        command = [str(BIN / "rtserver"), "cluster", APPLICATION, "--port", str(free_port()), "--nodes", str(nodes)]
        command += ["--procfile", str(procfile)]
        if files is not None:
            command = ["sh", "-c", f'ulimit -n {files} && exec "$@"', "sh", *command]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
        stack.callback(_end, process)
        wait_until("the cluster says its URL", lambda: process.poll() is not None or _url(log) is not None)
        url = _url(log)
        if url is None:
            raise Broken(f"the cluster did not start: see {log}")
        cluster = Cluster(url, folder / "run", nodes, redis, environment)
        wait_until("all nodes are in rotation", cluster.all_ready)
        yield cluster


def _url(log: Path) -> str | None:
    found = re.search(r"^rtserver cluster at (http://\S+)", log.read_text(), re.MULTILINE)
    return found[1] if found else None


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
