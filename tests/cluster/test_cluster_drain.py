"""How a node of a cluster ends: nobody new, the sessions let go little by little, then the rest."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
import trio
import trio.testing

from rtserver import Server, Socket
from rtserver.client import open_socket
from rtserver.cluster.drain import TELL_SECONDS, let_go
from rtserver.testing import open_server
from tests.behaviour.support import PATH, PATIENCE, Closed, Kind, Record
from tests.cluster.support import SECRET, Caller, eventually, start_node


async def test_sessions_are_let_go_at_the_rate_of_the_setting(autojump_clock: trio.testing.MockClock) -> None:
    io = Server()
    ended: list[float] = []

    @io.on_disconnect
    def gone(socket: Socket, reason: str) -> None:
        assert reason == "server shutting down"
        ended.append(trio.current_time())

    async with open_server(io) as server, AsyncExitStack() as stack:
        for _ in range(40):
            await stack.enter_async_context(server.socket())
        begun = trio.current_time()
        await let_go(io.engine.sessions.values(), rate=20)
        assert len(ended) == 40
        seconds = [when - begun for when in ended]
        for second in (0.5, 1.0, 1.5):
            assert sum(when < second for when in seconds) == pytest.approx(20 * second, abs=1)


async def test_a_client_that_does_not_poll_again_is_not_waited_for_long(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run", drain_timeout=600.0)
        await site.open_polling()
        with trio.fail_after(TELL_SECONDS + PATIENCE):
            site.io.stop()
            while site.io.running:
                await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("kind", ["polling", "websocket", "upgraded"])
async def test_a_drain_closes_the_transport_and_never_says_goodbye(tmp_path: Path, kind: Kind) -> None:
    record = Record()
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run", drain_timeout=5.0)

        @site.io.on_disconnect
        def gone(socket: Socket, reason: str) -> None:
            record.add(reason)

        peer = await site.open(kind)
        await peer.join()
        site.io.emit("last")
        site.io.stop()
        assert await peer.rest() == ['42["last"]']
        assert await record.next() == "server shutting down"
        await eventually(lambda: not site.io.running)
        await site.end()


async def test_a_node_is_out_of_rotation_before_its_sessions_are(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run", drain_rate=1, drain_timeout=60.0)
        peers = [await site.open_websocket() for _ in range(3)]
        async with Caller(tmp_path / "run", 0) as proxy:
            site.io.stop()
            drained = await proxy.state_that(lambda state: state["state"] != "ready")
            assert drained["state"] == "draining"
            assert drained["sessions"] == 3
            answer = await site.request("GET", "/readyz")
            assert answer.facts == (503, '{"status":"draining"}\n')
            assert (await site.request("GET", "/healthz")).status == 200
            # Whoever has a session is served until its turn comes.
            await peers[2].join()
            last = await proxy.state_that(lambda state: state["sessions"] == 2)
            assert last["state"] == "draining"
        await site.end()
        nursery.cancel_scope.cancel()


async def test_whoever_is_left_at_the_limit_is_closed_at_once(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run", drain_rate=1, drain_timeout=0.5)
        peers = [await site.open_websocket() for _ in range(5)]
        site.io.stop()
        for peer in peers:
            assert await peer.websocket.receive() == Closed(1000)
        await eventually(lambda: not site.io.running)
        await site.end()


async def test_a_message_on_the_unix_socket_drains_a_node(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        site = await start_node(nursery, tmp_path / "run")
        async with Caller(tmp_path / "run", 0) as operator:
            await operator.state()
            await operator.say(b"D")
            while await operator.datagram():
                pass
        await eventually(lambda: not site.io.running)
        await site.end()


# The command.


@contextmanager
def nodes(run_dir: Path, count: int, **settings: str) -> Iterator[tuple[list[subprocess.Popen[str]], list[str]]]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RTSERVER_")},
        "RTSERVER_SECRET": SECRET,
        "RTSERVER_RUN_DIR": str(run_dir),
        **settings,
    }
    program = [sys.executable, "-c", "from rtserver.cli import main; main()", "serve", "--port", "0"]
    processes = []
    urls = []
    try:
        for _ in range(count):
            process = subprocess.Popen(
                program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            processes.append(process)
            assert process.stdout is not None
            urls.append("http://" + process.stdout.readline().split()[-1])
        yield processes, urls
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def drain(run_dir: Path, *arguments: str) -> tuple[int, str]:
    program = [sys.executable, "-c", "from rtserver.cli import main; main()", "drain", "--run-dir", str(run_dir)]
    done = subprocess.run([*program, *arguments], capture_output=True, text=True, timeout=30, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def test_the_only_node_is_drained(tmp_path: Path) -> None:
    with nodes(tmp_path / "run", 1) as (processes, _):
        assert drain(tmp_path / "run") == (0, "node 0 drains; it has 0 sessions\nnode 0 has ended\n")
        assert processes[0].wait(10) == 0
    assert drain(tmp_path / "run") == (1, "Error: no node lives here\n")


def test_one_of_two_nodes_must_be_named(tmp_path: Path) -> None:
    with nodes(tmp_path / "run", 2) as (processes, _):
        assert drain(tmp_path / "run") == (1, "Error: which node? --slot with one of: 0, 1; or --all\n")
        assert drain(tmp_path / "run", "--slot", "7") == (1, "Error: no node lives in slot 7; there are: 0, 1\n")
        assert drain(tmp_path / "run", "--slot", "1")[0] == 0
        assert processes[1].wait(10) == 0
        assert processes[0].poll() is None
        assert drain(tmp_path / "run", "--all")[0] == 0
        assert processes[0].wait(10) == 0


async def test_clients_of_a_drained_node_only_see_a_reconnect(tmp_path: Path) -> None:
    with nodes(tmp_path / "run", 1) as (_, urls):
        async with open_socket(urls[0]) as client:
            await client.receive("welcome")
            ended = await trio.to_thread.run_sync(drain, tmp_path / "run")
            assert ended == (0, "node 0 drains; it has 1 sessions\nnode 0 has ended\n")
            with trio.fail_after(10):
                while client.connected:
                    await trio.lowlevel.checkpoint()


def test_a_second_signal_ends_a_drain_at_once(tmp_path: Path) -> None:
    with nodes(tmp_path / "run", 1, RTSERVER_DRAIN_TIMEOUT="600") as (processes, urls):
        assert httpx.get(f"{urls[0]}{PATH}?EIO=4&transport=polling").status_code == 200
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as proxy:
            proxy.connect(str(tmp_path / "run" / "node-0.sock"))
            processes[0].send_signal(signal.SIGTERM)
            while b'"draining"' not in proxy.recv(1_000):
                pass
        processes[0].send_signal(signal.SIGTERM)
        assert processes[0].wait(10) == 128 + signal.SIGTERM
