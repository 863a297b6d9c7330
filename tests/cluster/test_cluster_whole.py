"""``rtserver cluster``: a Redis, two nodes and the proxy, as an operator runs them and as clients see them."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from rtserver.cli.cluster import PROCFILE
from rtserver.client import ClientSocket, open_socket
from rtserver.client.backoff import Reconnection
from rtserver.types import TransportName
from tests.cluster.conftest import client_of
from tests.cluster.support import Caller, free_port

ROOT = Path(__file__).parents[2]
MAIN = [sys.executable, "-c", "from rtserver.cli import main; main()"]
PATIENCE = 30.0


@dataclass
class Cluster:
    process: subprocess.Popen[str]
    run_dir: Path
    url: str

    async def state(self, slot: int) -> dict[str, object]:
        async with Caller(self.run_dir, slot) as caller:
            return await caller.state()

    async def pid(self, slot: int) -> int:
        return int(str((await self.state(slot))["pid"]))

    async def ready_again(self, slot: int, pid: int) -> None:
        """Wait for a life of the node that is not of this process."""
        with trio.fail_after(PATIENCE):
            while True:
                await trio.lowlevel.checkpoint()
                try:
                    state = await self.state(slot)
                except (OSError, AssertionError):
                    continue
                if state["state"] == "ready" and state["pid"] != pid:
                    return


@contextmanager
def running_cluster(tmp_path: Path, *arguments: str, **settings: str) -> Iterator[Cluster]:
    run_dir = tmp_path / "run"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RTSERVER_")}
    with subprocess.Popen(
        [*MAIN, "cluster", "rtserver.demo:create_demo", "--port", "0", *arguments],
        cwd=ROOT,
        env={**environment, "RTSERVER_RUN_DIR": str(run_dir), **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            url = next(line.split()[-1] for line in process.stdout if line.startswith("rtserver cluster at http://"))
            yield Cluster(process, run_dir, url)
        finally:
            process.terminate()
            process.stdout.read()


@asynccontextmanager
async def clients(url: str, count: int, *transports: TransportName) -> AsyncIterator[list[ClientSocket]]:
    async with AsyncExitStack() as stack:
        sockets = []
        for number in range(count):
            chosen: list[TransportName] = [transports[number % len(transports)]]
            if chosen == ["polling"] and number % 4 == 0:
                chosen.append("websocket")
            retry = Reconnection(delay=0.1, max_delay=0.5)
            sockets.append(await stack.enter_async_context(open_socket(url, transports=chosen, reconnection=retry)))
        yield sockets


async def everybody_hears(sockets: list[ClientSocket], text: str) -> None:
    for client in sockets:
        await client.call("join", "lobby")
    assert await sockets[0].call("say", "lobby", text) == {"status": "ok"}
    with trio.fail_after(PATIENCE):
        for client in sockets[1:]:
            while (await client.receive("said"))[2] != text:
                pass


async def test_clients_of_every_transport_are_spread_over_the_nodes_and_hear_one_another(tmp_path: Path) -> None:
    with running_cluster(tmp_path) as cluster:
        for slot in (0, 1):
            await cluster.ready_again(slot, 0)
        async with clients(cluster.url, 12, "polling", "websocket") as sockets:
            await everybody_hears(sockets, "hello")
            held = [int(str((await cluster.state(slot))["sessions"])) for slot in (0, 1)]
            assert sum(held) == 12
            assert 0 not in held


async def test_a_node_that_is_killed_comes_back_and_its_clients_go_on_elsewhere(tmp_path: Path) -> None:
    with running_cluster(tmp_path) as cluster:
        for slot in (0, 1):
            await cluster.ready_again(slot, 0)
        async with clients(cluster.url, 8, "polling", "websocket") as sockets:
            await everybody_hears(sockets, "before")
            pid = await cluster.pid(1)
            os.kill(pid, signal.SIGKILL)
            await cluster.ready_again(1, pid)
            with trio.fail_after(PATIENCE):
                while not all(client.connected for client in sockets):
                    await trio.lowlevel.checkpoint()
            await everybody_hears(sockets, "after")


async def test_a_redis_that_is_killed_comes_back_and_nobody_else_ends(tmp_path: Path) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    with running_cluster(tmp_path, "--nodes", "1", RTSERVER_REDIS_URL=url) as cluster:
        node = await cluster.pid(0)
        with closing(client_of(url)) as client:
            os.kill(client.info("server")["process_id"], signal.SIGKILL)
        with closing(client_of(url)) as client:
            with trio.fail_after(PATIENCE):
                # The node has taken its lease again.
                while not client.exists("rtserver:node:0"):
                    await trio.lowlevel.checkpoint()
        assert await cluster.pid(0) == node
        assert cluster.process.poll() is None


async def test_a_node_that_is_drained_comes_back_and_its_clients_only_reconnect(tmp_path: Path) -> None:
    with running_cluster(tmp_path) as cluster:
        for slot in (0, 1):
            await cluster.ready_again(slot, 0)
        async with clients(cluster.url, 8, "polling", "websocket") as sockets:
            await everybody_hears(sockets, "before")
            for slot in (0, 1):
                pid = await cluster.pid(slot)
                os.kill(pid, signal.SIGTERM)
                await cluster.ready_again(slot, pid)
            with trio.fail_after(PATIENCE):
                while not all(client.connected for client in sockets):
                    await trio.lowlevel.checkpoint()
            await everybody_hears(sockets, "after")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_to_end_everything_ends_and_that_is_a_success(tmp_path: Path, number: signal.Signals) -> None:
    with running_cluster(tmp_path, "--nodes", "3") as cluster:
        pids = [pid_of(cluster.run_dir / f"node-{slot}.sock") for slot in range(3)]
        cluster.process.send_signal(number)
        assert cluster.process.stdout is not None
        cluster.process.stdout.read()
        assert cluster.process.wait(PATIENCE) == 0
        assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
        assert list(cluster.run_dir.glob("*.sock")) == []


def pid_of(path: Path) -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as caller:
        while True:
            try:
                caller.connect(str(path))
            except OSError:
                continue
            return int(caller.recv(1_000).partition(b'"pid":')[2].partition(b"}")[0])


def test_the_procfile_says_what_the_command_runs() -> None:
    assert (ROOT / "Procfile").read_text() == PROCFILE


def test_ctrl_c_under_make_is_a_success_too(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(f"run:\n\t@cd {ROOT} && $(COMMAND) cluster --port 0\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RTSERVER_")}
    command = f"{sys.executable} -c 'from rtserver.cli import main; main()'"
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execvpe("make", ["make", "--silent", "run", f"COMMAND={command}"], environment)
    seen = b""
    try:
        while b"rtserver cluster at" not in seen:
            seen += os.read(terminal, 65_536)
        os.write(terminal, b"\x03")
        while True:
            seen += os.read(terminal, 65_536)
    except OSError:
        # The end of a terminal.
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, seen.decode()
    os.close(terminal)
