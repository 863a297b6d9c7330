"""A cluster over two hosts: connections to the node beside the proxy are handed over, others are relayed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from proxy.admin import call
from rtserver.cli.local_redis import find_server
from rtserver.client import ClientSocket, open_socket
from rtserver.client.backoff import Reconnection
from rtserver.types import TransportName
from tests.cluster.conftest import client_of
from tests.proxy.processes import Process
from tests.services.hosts import Host, NoHosts, two_hosts

PATIENCE = 20.0
SERVE = (sys.executable, "-c", "from rtserver.cli import main; main()", "serve")
KINDS: list[list[TransportName]] = [["websocket"], ["polling"], ["polling", "websocket"]]
# So that both ends soon notice a cable that is out: nothing else tells them.
HEARTBEAT = ("RTSERVER_PING_INTERVAL=0.5", "RTSERVER_PING_TIMEOUT=1")


@dataclass
class TwoHosts:
    """A proxy and a node on one host, a node on the other, and a Redis that both reach."""

    here: Host
    there: Host
    url: str
    run_dir: Path

    def proxy(self) -> dict[str, Any]:
        body, _ = call(str(self.run_dir / "proxy.sock"), "GET", "/state")
        found: dict[str, Any] = json.loads(body)[0]
        return found

    def upstream(self, kind: str) -> dict[str, Any]:
        """The node that is here (``node``) or there (``leased``), as the proxy sees it; empty if it does not."""
        return next((one for one in self.proxy()["upstreams"] if one["kind"] == kind), {})

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE):
            while not condition():
                await trio.lowlevel.checkpoint()


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    with ExitStack() as stack:
        try:
            both = stack.enter_context(two_hosts())
        except NoHosts as exc:
            pytest.skip(f"no network namespaces: {exc}")
        # The test itself is where the proxy and the clients are.
        stack.enter_context(both[0].inside())
        yield both


@pytest.fixture
def cluster(hosts: tuple[Host, Host], tmp_path: Path) -> Iterator[TwoHosts]:
    here, there = hosts
    url = f"redis://:a-password@{here.address}:6379/0"
    lines = [f"bind {here.address}", "port 6379", "requirepass a-password", 'save ""', f"dir {tmp_path}"]
    (tmp_path / "redis.conf").write_text("\n".join([*lines, ""]))
    near, far = tmp_path / "near", tmp_path / "far"
    with ExitStack() as stack:
        redis = subprocess.Popen([find_server(), str(tmp_path / "redis.conf")], stdout=subprocess.DEVNULL)
        stack.callback(redis.wait)
        stack.callback(redis.kill)
        client_of(url).close()

        def start(run_dir: Path, *command: str) -> Process:
            process = Process(run_dir, "env", f"RTSERVER_REDIS_URL={url}", *HEARTBEAT, *command)
            stack.callback(process.close)
            return process

        trusted = f"RTSERVER_TRUSTED_PROXIES={here.address}/32"
        beside = start(near, *SERVE, "--host", here.address, "--port", "0")
        with there.inside():
            away = start(far, trusted, *SERVE, "--host", there.address, "--port", "0")
        for node in (beside, away):
            node.line("listening on")
        settings = ("--set", "connect_timeout=0.3", "--set", "slow_start=0.1", "--set", "eject_seconds=0.5")
        start(near, sys.executable, "-m", "proxy", "--listen", f"{here.address}:8080", *settings).line(
            "proxy listening"
        )
        yield TwoHosts(here, there, f"http://{here.address}:8080", near)


async def open_clients(stack: AsyncExitStack, url: str, count: int) -> list[ClientSocket]:
    retry = Reconnection(delay=0.1, max_delay=0.5, initially=True)
    return [
        await stack.enter_async_context(
            open_socket(url, transports=KINDS[number % len(KINDS)], reconnection=retry, connect_timeout=3.0)
        )
        for number in range(count)
    ]


async def everybody_hears_everybody(sockets: list[ClientSocket], when: str) -> None:
    for client in sockets:
        await client.call("join", "lobby")
    for number, speaker in enumerate(sockets):
        assert await speaker.call("say", "lobby", f"{when} {number}") == {"status": "ok"}
    for number, listener in enumerate(sockets):
        due = {f"{when} {other}" for other in range(len(sockets)) if other != number}
        with trio.fail_after(PATIENCE):
            while due:
                due.discard((await listener.receive("said"))[2])


async def test_clients_of_two_hosts_talk_and_a_host_that_is_cut_off_comes_back(cluster: TwoHosts) -> None:
    await cluster.until(lambda: {cluster.upstream(kind).get("state") for kind in ("node", "leased")} == {"ready"})
    async with AsyncExitStack() as stack:
        sockets = await open_clients(stack, cluster.url, 12)
        await cluster.until(lambda: sum(cluster.upstream(kind)["sessions"] for kind in ("node", "leased")) == 12)
        assert cluster.upstream("node")["sessions"] > 0
        assert cluster.upstream("leased")["sessions"] > 0
        counters = cluster.proxy()["counters"]
        assert min(counters[name] for name in ("handed", "relayed", "tunnels")) > 0
        await everybody_hears_everybody(sockets, "before")

        lost = cluster.upstream("leased")["sessions"]
        cluster.there.cable("down")
        await cluster.until(lambda: cluster.upstream("node")["sessions"] == 12)
        await cluster.until(lambda: all(client.connected for client in sockets))
        assert lost > 0
        await everybody_hears_everybody(sockets, "cut off")

        cluster.there.cable("up")
        await cluster.until(lambda: cluster.upstream("leased").get("state") == "ready")
        sockets += await open_clients(stack, cluster.url, 12)
        await cluster.until(lambda: cluster.upstream("leased")["sessions"] > 0)
        await everybody_hears_everybody(sockets, "afterwards")
