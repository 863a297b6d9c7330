"""``rtserver keep`` and ``rtserver redis``: what stands between honcho and what it runs."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from tests.cluster.conftest import client_of
from tests.cluster.support import free_port

MAIN = [sys.executable, "-c", "from rtserver.cli import main; main()"]
# Writes its process id and what happens to it; ends by itself if it is the first one.
KEPT = """
import os, pathlib, signal, sys
log = pathlib.Path(sys.argv[1])
first = not log.exists()
def told(number, frame):
    with log.open("a") as file: print("told", number, file=file)
    raise SystemExit(7)
signal.signal(signal.SIGTERM, told)
signal.signal(signal.SIGINT, told)
with log.open("a") as file: print("begun", file=file)
print(os.getpid(), flush=True)
if first: raise SystemExit(3)
while True: signal.pause()
"""


@contextmanager
def command(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("RTSERVER_")}
    with subprocess.Popen(
        [*MAIN, *arguments],
        env={**variables, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_dies_is_run_again_and_is_told_once_to_end(tmp_path: Path, number: signal.Signals) -> None:
    log = tmp_path / "log"
    with command("keep", sys.executable, "-c", KEPT, str(log)) as process:
        first, second = line(process), line(process)
        assert first != second
        os.kill(int(second), signal.SIGKILL)
        assert line(process) not in (first, second)
        # As honcho does: everybody in the group is told.
        os.killpg(process.pid, number)
        assert process.wait(10) == 0
    assert log.read_text().splitlines() == ["begun", "begun", "begun", f"told {number.value}"]


def test_what_is_kept_ends_when_its_keeper_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    with command("keep", sys.executable, "-c", KEPT, str(log)) as process:
        kept = int(line(process))
        process.kill()
        try:
            # Until the end of its output, which both of them have held.
            assert process.communicate(timeout=10)[0] == ""
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(kept, signal.SIGKILL)
    assert log.read_text().splitlines() == ["begun", f"told {signal.SIGTERM.value}"]


# Answers one client on the listening socket that it is given, and dies.
SERVES_ONE = """
import os, socket
assert os.environ["LISTEN_FDS"] == "1"
sock, _ = socket.socket(fileno=3).accept()
sock.sendall(str(os.getpid()).encode())
os._exit(1)
"""


def test_clients_wait_for_the_next_one_and_are_not_refused() -> None:
    port = free_port()
    with command("keep", "--listen", f"127.0.0.1:{port}", sys.executable, "-c", SERVES_ONE):
        seen: list[bytes] = []
        while len(seen) < 3:
            try:
                sock = socket.create_connection(("127.0.0.1", port), timeout=10)
            except ConnectionRefusedError:
                # Before the keeper listens; afterwards somebody always does.
                assert not seen
                continue
            with sock:
                seen.append(sock.recv(100))
        assert len(set(seen)) == 3
        assert b"" not in seen


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("nonsense", "Error: address: 'nonsense' is not allowed; expected host:port, [ipv6]:port, or unix:/path\n"),
        ("192.0.2.1:80", "Error: cannot listen on 192.0.2.1:80: Cannot assign requested address\n"),
    ],
)
def test_where_a_keeper_cannot_listen_is_said_in_one_line(address: str, complaint: str) -> None:
    with command("keep", "--listen", address, "true") as process:
        assert process.communicate(timeout=10)[1] == complaint
        assert process.returncode == 1


def test_what_cannot_be_run_is_said_so() -> None:
    with command("keep", "no-such-command-anywhere") as process:
        _, err = process.communicate(timeout=10)
        assert process.returncode == 1
        assert err == "Error: no-such-command-anywhere: No such file or directory\n"


def test_a_redis_is_started_where_the_url_says_and_with_its_password() -> None:
    url = f"redis://:a%20pass%22word@127.0.0.1:{free_port()}/0"
    with command("redis", RTSERVER_REDIS_URL=url) as process:
        client = client_of(url)
        assert client.ping()
        client.close()
        stranger = redis.Redis.from_url(url.replace(":a%20pass%22word@", ""))
        with pytest.raises(redis.AuthenticationError):
            stranger.ping()
        stranger.close()
        assert "pass" not in Path(f"/proc/{process.pid}/cmdline").read_text()
        process.terminate()
        assert process.wait(10) == 0


@pytest.mark.parametrize("url", ["redis://redis.example:6379/0", "rediss://127.0.0.1:6379/0", "redis://10.0.0.7/0"])
def test_a_redis_of_somebody_else_is_left_to_them(url: str) -> None:
    with command("redis", RTSERVER_REDIS_URL=url) as process:
        assert line(process) == "the Redis of RTSERVER_REDIS_URL is not one to be started here"
        assert process.poll() is None


def test_without_a_url_there_is_no_redis() -> None:
    with command("redis") as process:
        _, err = process.communicate(timeout=10)
        assert process.returncode == 1
        assert "RTSERVER_REDIS_URL is not set" in err
