"""What is loaded, fresh for each turn: a server alone, one behind a proxy, or several nodes and their Redis."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE / "build"
PEERS = HERE / "peers"
DEPLOY = HERE.parent / "deploy"
RTSERVER = str(Path(sys.executable).with_name("rtserver"))
BUN = str(PEERS / "node_modules" / ".bin" / "bun")
OURS = (RTSERVER, "serve", "--port", "{port}")

COMMANDS: dict[str, Sequence[str]] = {
    "rtserver": (*OURS, "servers.rtserver_node:plain"),
    "rtserver-async": (*OURS, "servers.rtserver_node:lazy"),
    "rtserver-full": (*OURS, "servers.rtserver_full:io"),
    "node": ("node", str(PEERS / "node.mjs"), "{port}"),
    "node-redis": ("node", str(PEERS / "node_redis.mjs"), "{port}"),
    "bun": (BUN, str(PEERS / "bun.mjs"), "{port}"),
    "python-socketio": (sys.executable, str(PEERS / "python_socketio.py"), "{port}"),
}

ENVIRONMENT = {**os.environ, "NODE_ENV": "production"}
# Of nodes that are thrown away after a turn.
SECRET = "a secret that guards nothing"
START_TIMEOUT = 20.0


class TurnFailed(Exception):
    """A server did not start, or the load generator found something lost, doubled, reordered or changed."""


@dataclass(frozen=True, slots=True)
class Stand:
    """What a turn loads.

    Args:
        ports: Where clients connect, in turn.
        servers: Process ids of the servers that are measured.
        beside: Those of what stands beside them, a proxy or Redis.
    """

    ports: tuple[int, ...]
    servers: tuple[int, ...]
    beside: tuple[int, ...] = ()


class Processes:
    """Starts processes, and ends them with the turn.

    Args:
        stack: Of the turn.
        before: The words before each command.
    """

    def __init__(self, stack: ExitStack, before: Sequence[str]) -> None:
        self._stack = stack
        self._before = before
        self.directory = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True))
        )

    def start(self, name: str, command: Sequence[str], port: int, environment: dict[str, str] | None = None) -> int:
        """Start a program and wait until it listens; gives its process id.

        Raises:
            TurnFailed: It cannot be started, or does not listen in time.
        """
        filled = [*self._before, *(part.replace("{port}", str(port)) for part in command)]
        with (BUILD / f"{name}.log").open("wb") as log:
            try:
                process = subprocess.Popen(
                    filled, cwd=HERE, env=ENVIRONMENT | (environment or {}), stdout=log, stderr=log
                )
            except OSError as exc:
                raise TurnFailed(f"{name} did not start: {exc}; 'make bench' installs what it needs") from exc
        self._stack.callback(_end, process)
        _until(lambda: _listens(port), process, name)
        return process.pid

    def until_ready(self, port: int, path: str) -> None:
        """Wait until a request is answered with 200, by a proxy that has found its nodes or a node that hears Redis."""
        _until(lambda: _answers(port, path), None, f"what listens for {path}")


@contextmanager
def running(server: str, nodes: int = 0, before: Sequence[str] = ()) -> Iterator[Stand]:
    """A fresh stand.

    Args:
        server: One of ``COMMANDS``, or of ``BEHIND``.
        nodes: So many of the server with a Redis between them; 0 is one without.
        before: The words before each command, that say what it may run on.
    """
    with ExitStack() as stack:
        processes = Processes(stack, before)
        if server in BEHIND:
            yield BEHIND[server](processes)
        elif nodes:
            yield _cluster(processes, server, nodes)
        else:
            port = free_port()
            yield Stand((port,), (processes.start(server, COMMANDS[server], port),))


def _cluster(processes: Processes, server: str, nodes: int) -> Stand:
    url, redis = _redis(processes)
    environment = _of_cluster(processes) | {"RTSERVER_REDIS_URL": url, "REDIS_URL": url}
    ports = tuple(free_port() for _ in range(nodes))
    command = COMMANDS["node-redis" if server == "node" else server]
    pids = tuple(
        processes.start(f"{server}-{number}", command, port, environment) for number, port in enumerate(ports, 1)
    )
    if server.startswith("rtserver"):
        for port in ports:
            processes.until_ready(port, "/readyz")
    return Stand(ports, pids, (redis,))


def _redis(processes: Processes) -> tuple[str, int]:
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    return url, processes.start("redis", (RTSERVER, "redis"), port, {"RTSERVER_REDIS_URL": url})


def _of_cluster(processes: Processes, run_dir: str = "run") -> dict[str, str]:
    return {"RTSERVER_SECRET": SECRET, "RTSERVER_RUN_DIR": str(processes.directory / run_dir)}


def _node(processes: Processes) -> tuple[int, int]:
    """A node that could be one of several; its port and process id."""
    port = free_port()
    return port, processes.start("rtserver", COMMANDS["rtserver"], port, _of_cluster(processes))


def _direct(processes: Processes) -> Stand:
    port, pid = _node(processes)
    return Stand((port,), (pid,))


def _proxied(processes: Processes, run_dir: str, *flags: str) -> tuple[int, int]:
    """Our proxy, once it has found its nodes; its port and process id."""
    port = free_port()
    command = (sys.executable, "-m", "proxy", "--listen", "127.0.0.1:{port}", *flags)
    pid = processes.start("proxy", command, port, _of_cluster(processes, run_dir))
    processes.until_ready(port, "/readyz")
    return port, pid


def _handed_over(processes: Processes) -> Stand:
    _, node = _node(processes)
    port, proxy = _proxied(processes, "run")
    return Stand((port,), (node,), (proxy,))


def _relayed(processes: Processes) -> Stand:
    node_port, node = _node(processes)
    # In the run directory of another machine there is no node of ours: the proxy knows only its address.
    port, proxy = _proxied(
        processes, "elsewhere", "--upstream", f"0=127.0.0.1:{node_port}", "--set", "max_connections_per_address=20000"
    )
    return Stand((port,), (node,), (proxy,))


def _behind_haproxy(processes: Processes) -> Stand:
    return _behind(processes, "haproxy.cfg", lambda file: ("haproxy", "-db", "-f", str(file)))


def _behind_nginx(processes: Processes) -> Stand:
    where = str(processes.directory)
    return _behind(
        processes,
        "nginx.conf",
        lambda file: ("nginx", "-p", where, "-c", str(file), "-e", "stderr", "-g", "daemon off;"),
    )


def _behind(processes: Processes, name: str, command: Callable[[Path], Sequence[str]]) -> Stand:
    """Another proxy, with our configuration for it but for the ports and the second node."""
    node_port, node = _node(processes)
    port = free_port()
    text = (DEPLOY / name).read_text().replace("127.0.0.1:8080", f"127.0.0.1:{port}")
    text = re.sub(r"^.*127\.0\.0\.1:8002.*\n", "", text, flags=re.MULTILINE).replace(":8001", f":{node_port}")
    # HAProxy wants two file descriptors for each, and does not start without.
    text = text.replace("maxconn 20000", "maxconn 2000")
    file = processes.directory / name
    file.write_text(text)
    proxy = processes.start(name.partition(".")[0], command(file), port)
    processes.until_ready(port, "/readyz")
    return Stand((port,), (node,), (proxy, *_children(proxy)))


def _idle_cluster(processes: Processes) -> Stand:
    cluster = _cluster(processes, "rtserver", 2)
    port, proxy = _proxied(processes, "run")
    return Stand((port,), cluster.servers, (proxy, *cluster.beside))


BEHIND: dict[str, Callable[[Processes], Stand]] = {
    "direct": _direct,
    "hand-off": _handed_over,
    "relay": _relayed,
    "haproxy": _behind_haproxy,
    "nginx": _behind_nginx,
    "two nodes": _idle_cluster,
}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _end(process: subprocess.Popen[bytes]) -> None:
    for child in _children(process.pid):
        with suppress(ProcessLookupError):
            os.kill(child, 9)
    process.kill()
    process.wait()


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _until(condition: Callable[[], bool], process: subprocess.Popen[bytes] | None, name: str) -> None:
    until = time.monotonic() + START_TIMEOUT
    while time.monotonic() < until and (process is None or process.poll() is None):
        if condition():
            return
        time.sleep(0.05)
    raise TurnFailed(f"{name} did not start: see the logs in benchmarks/build; 'make bench' installs what it needs")


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _answers(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
            status: int = answer.status
            return status == 200
    except (OSError, urllib.error.URLError):
        return False
