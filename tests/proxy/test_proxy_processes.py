"""The running proxy: its administration, its workers, its end, and the change to a new one."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.admin import call
from tests.cluster.support import SECRET
from tests.proxy.processes import PATIENCE, ROOT, node_process, port_of, proxy_process, run
from tests.proxy.support import HANDSHAKE


def ask(port: int, target: str = HANDSHAKE) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", target)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def state(run_dir: Path) -> Any:
    body, _ = call(str(run_dir / "proxy.sock"), "GET", "/state")
    return json.loads(body)


def until_ready(run_dir: Path) -> None:
    """Wait until every process of the proxy knows a node that is ready."""
    done = threading.Event()
    for _ in range(2_000):
        found = state(run_dir)
        if found and all(any(one["state"] == "ready" for one in process["upstreams"]) for process in found):
            return
        done.wait(0.01)
    raise AssertionError(state(run_dir))


@contextmanager
def asking(port: int) -> Iterator[list[int]]:
    """Somebody connects again and again for the length of a block; gives what they get."""
    statuses: list[int] = []
    over = threading.Event()

    def go_on() -> None:
        while not over.is_set():
            try:
                statuses.append(ask(port)[0])
            except OSError:
                statuses.append(0)

    threads = [threading.Thread(target=go_on) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        over.set()
        for thread in threads:
            thread.join()


def enough(statuses: list[int], more: int = 100) -> None:
    """Wait until so many more have been answered."""
    goal = len(statuses) + more
    done = threading.Event()
    for _ in range(2_000):
        if len(statuses) >= goal:
            return
        done.wait(0.01)
    raise AssertionError(f"{len(statuses)} of {goal}")


def websocket(port: int) -> socket.socket:
    """An open one, past its first packet."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    sock.sendall(
        b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n"
        b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    received = b""
    while b'"maxPayload"' not in received:
        data = sock.recv(4_096)
        assert data, received
        received += data
    return sock


def say(sock: socket.socket, packet: bytes) -> bytes:
    """Send a packet, and what comes back."""
    sock.sendall(bytes([0x81, 0x80 | len(packet), 0, 0, 0, 0]) + packet)
    return sock.recv(4_096)


def test_what_was_handed_over_outlives_a_proxy_that_is_killed(tmp_path: Path) -> None:
    with node_process(tmp_path), node_process(tmp_path):
        with proxy_process(tmp_path) as proxy:
            port = port_of(proxy)
            until_ready(tmp_path)
            sockets = [websocket(port) for _ in range(20)]
            proxy.signal(signal.SIGKILL)
            assert proxy.wait() == -signal.SIGKILL
        for sock in sockets:
            assert b'40{"sid":' in say(sock, b"40")
            sock.close()
        # A new one serves at once.
        with proxy_process(tmp_path, f"--listen=127.0.0.1:{port}") as proxy:
            assert port_of(proxy) == port
            until_ready(tmp_path)
            assert ask(port)[0] == 200


def test_a_node_that_is_killed_is_passed_over_at_once_and_comes_back(tmp_path: Path) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(node_process(tmp_path))
        stack.enter_context(node_process(tmp_path))
        proxy = stack.enter_context(proxy_process(tmp_path))
        port = port_of(proxy)
        until_ready(tmp_path)
        with asking(port) as statuses:
            enough(statuses)
            first.signal(signal.SIGKILL)
            first.wait()
            enough(statuses)
            stack.enter_context(node_process(tmp_path))
            enough(statuses)
        # What the node had in hand when it died is lost with it, and nothing else.
        assert {status for status in statuses if status} == {200}
        assert statuses.count(0) <= 4


def test_a_node_that_hangs_gets_no_new_clients_until_it_speaks_again(tmp_path: Path) -> None:
    with node_process(tmp_path) as first, node_process(tmp_path), proxy_process(tmp_path) as proxy:
        port = port_of(proxy)
        until_ready(tmp_path)
        first.signal(signal.SIGSTOP)
        until_states(tmp_path, {"silent", "ready"})
        assert [ask(port)[0] for _ in range(20)] == [200] * 20
        first.signal(signal.SIGCONT)
        until_states(tmp_path, {"ready"})


def until_states(run_dir: Path, expected: set[str]) -> None:
    done = threading.Event()
    for _ in range(2_000):
        if {one["state"] for one in state(run_dir)[0]["upstreams"]} == expected:
            return
        done.wait(0.01)
    raise AssertionError(state(run_dir))


@pytest.mark.parametrize("workers", [1, 3])
def test_a_successor_takes_the_place_of_a_proxy_and_nobody_notices(tmp_path: Path, workers: int) -> None:
    with node_process(tmp_path), proxy_process(tmp_path, f"--workers={workers}") as old:
        port = port_of(old)
        until_ready(tmp_path)
        with ExitStack() as stack:
            with asking(port) as statuses:
                enough(statuses)
                new = stack.enter_context(proxy_process(tmp_path, f"--workers={workers}", "--replace"))
                assert port_of(new) == port
                assert old.wait() == 0
                enough(statuses)
            assert set(statuses) == {200}
            until_workers(tmp_path, workers, without=old.process.pid)
            until_ready(tmp_path)
            new.signal(signal.SIGTERM)
            assert new.wait() == 0
    assert not list(tmp_path.glob("proxy*"))


def test_with_nobody_to_replace_a_proxy_just_starts(tmp_path: Path) -> None:
    with proxy_process(tmp_path, "--replace") as proxy:
        assert port_of(proxy)


def test_listening_sockets_may_be_inherited(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, node_process(tmp_path):
        code = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True);"
            "os.environ |= {'LISTEN_FDS': '1', 'LISTEN_PID': str(os.getpid())};"
            "os.execv(sys.executable, [sys.executable, '-m', 'proxy'])"
        )
        environment = {**os.environ, "RTSERVER_SECRET": SECRET, "RTSERVER_RUN_DIR": str(tmp_path)}
        with subprocess.Popen(
            [sys.executable, "-c", code, str(listener.fileno())],
            cwd=ROOT,
            env=environment,
            pass_fds=[listener.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            port = listener.getsockname()[1]
            assert process.stdout is not None
            assert process.stdout.readline() == f"proxy listening on http://127.0.0.1:{port}\n"
            until_ready(tmp_path)
            assert ask(port)[0] == 200
            process.terminate()
            assert process.wait(PATIENCE) == 0


def test_workers_share_the_connections_and_are_replaced_when_they_die(tmp_path: Path) -> None:
    with node_process(tmp_path), proxy_process(tmp_path, "--workers=2") as proxy:
        port = port_of(proxy)
        until_workers(tmp_path, 2)
        until_ready(tmp_path)
        with asking(port) as statuses:
            enough(statuses)
        assert set(statuses) == {200}
        victim = state(tmp_path)[0]["pid"]
        os.kill(victim, signal.SIGKILL)
        proxy.line("worker_ended")
        until_workers(tmp_path, 2, without=victim)
        until_ready(tmp_path)
        assert ask(port)[0] == 200
        # What each address has is counted in memory that they share.
        assert all("rtserver-proxy" in Path(f"/proc/{one['pid']}/maps").read_text() for one in state(tmp_path))
        table = run(tmp_path, "status", RTSERVER_SECRET=SECRET)
        assert table.stdout.count("accepting on") == 2
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0


def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    with node_process(tmp_path), proxy_process(tmp_path, "--workers=2") as proxy:
        port = port_of(proxy)
        until_workers(tmp_path, 2)
        proxy.signal(signal.SIGKILL)
        proxy.wait()
        # They share its output: its end is theirs.
        proxy.ended()
    with proxy_process(tmp_path, f"--listen=127.0.0.1:{port}") as proxy:
        assert port_of(proxy) == port


def test_a_stop_right_after_the_start_leaves_no_worker_behind(tmp_path: Path) -> None:
    with proxy_process(tmp_path, "--workers=3") as proxy:
        port_of(proxy)
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0
        proxy.ended()


def until_workers(run_dir: Path, count: int, without: int = 0) -> None:
    done = threading.Event()
    for _ in range(2_000):
        pids = [one["pid"] for one in state(run_dir)]
        if len(pids) == count and without not in pids:
            return
        done.wait(0.01)
    raise AssertionError("the workers did not come")


def test_state_metrics_and_table_tell_the_same(tmp_path: Path) -> None:
    with node_process(tmp_path), proxy_process(tmp_path) as proxy:
        port = port_of(proxy)
        until_ready(tmp_path)
        assert ask(port)[0] == 200
        assert ask(port, f"{HANDSHAKE}&sid=forged")[0] == 400
        (found,) = state(tmp_path)
        assert (found["counters"]["handed"], found["counters"]["unknown_sessions"]) == (1, 1)
        assert found["listening"] == [f"http://127.0.0.1:{port}"]
        metrics, _ = call(str(tmp_path / "proxy.sock"), "GET", "/metrics")
        assert b'rtproxy_handed_total{worker="0"} 1.0' in metrics
        assert b'rtproxy_upstream_ready{upstream="node-0",worker="0"} 1.0' in metrics
        table = run(tmp_path, "status", RTSERVER_SECRET=SECRET).stdout
        assert f"accepting on http://127.0.0.1:{port}" in table
        assert "\nnode-0    node  ready  " in table
        assert json.loads(run(tmp_path, "status", "--json", RTSERVER_SECRET=SECRET).stdout)[0]["pid"] == found["pid"]
        assert call(str(tmp_path / "proxy.sock"), "GET", "/readyz")[0] == b'{"status":"ready"}'
        assert (tmp_path / "proxy.sock").stat().st_mode & 0o777 == 0o600


def test_on_a_loopback_port_the_administration_may_be_read_and_takes_no_orders(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        admin = free.getsockname()[1]
    with node_process(tmp_path), proxy_process(tmp_path, f"--admin=127.0.0.1:{admin}") as proxy:
        port_of(proxy)
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=PATIENCE) as answer:
            assert b"rtproxy_accepted_total" in answer.read()
        assert ask(admin, "/nothing")[0] == 404
        for order in ("/listeners", "/retire"):
            with pytest.raises(OSError, match="403"):
                call(f"127.0.0.1:{admin}", "POST", order)
        assert proxy.process.poll() is None


def test_settings_are_taken_anew_at_a_signal_and_bad_ones_are_not(tmp_path: Path) -> None:
    file = tmp_path / "proxy.toml"
    base = 'listen = "127.0.0.1:0"\n'
    file.write_text(base)
    with node_process(tmp_path), proxy_process(tmp_path, f"--config={file}") as proxy:
        port = port_of(proxy)
        until_ready(tmp_path)
        file.write_text(base + "max_headers = 1\n")
        proxy.signal(signal.SIGHUP)
        proxy.line("reloaded")
        assert ask(port)[0] == 431
        for bad in ("max_headers = 0\n", "nonsense", 'admin = "/elsewhere"\n'):
            file.write_text(base + bad)
            proxy.signal(signal.SIGHUP)
            proxy.line("not_reloaded")
            assert ask(port)[0] == 431
        file.write_text(base)
        proxy.signal(signal.SIGHUP)
        proxy.line("reloaded")
        assert ask(port)[0] == 200


def test_the_access_log_has_a_line_for_each_request_and_no_sid(tmp_path: Path) -> None:
    with node_process(tmp_path), proxy_process(tmp_path, f"--access-log={tmp_path / 'access.log'}") as proxy:
        port = port_of(proxy)
        until_ready(tmp_path)
        sid = json.loads(ask(port)[1][1:])["sid"]
        ask(port, f"{HANDSHAKE}&sid={sid[::-1]}")
        ask(port, "/readyz")
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0
    text = (tmp_path / "access.log").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(line["method"], line["path"]) for line in lines] == [("GET", "/socket.io/")] * 2 + [("GET", "/readyz")]
    assert [line.get("to") for line in lines] == ["node-0", None, "node-0"]
    assert lines[1]["status"] == 400
    assert sid not in text
    assert sid[::-1] not in text


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    upstream = socket.create_server(("127.0.0.1", 0))
    listed = f"127.0.0.1:{upstream.getsockname()[1]}"
    with upstream, proxy_process(tmp_path, f"--upstream={listed}", "--set=affinity=cookie") as proxy:
        port = port_of(proxy)
        waiting = socket.create_connection(("127.0.0.1", port))
        waiting.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with waiting:
            taken: list[socket.socket] = []
            while not any(sock.recv(100).startswith(b"GET / ") for sock in taken[-1:]):
                taken.append(upstream.accept()[0])
            proxy.signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                proxy.process.wait(0.5)
            proxy.signal(signal.SIGTERM)
            assert proxy.wait() == 128 + signal.SIGTERM
            for sock in taken:
                sock.close()
