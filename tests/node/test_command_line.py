"""``rtserver serve``: what it runs, and what it says to bad settings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from rtserver.client import open_socket

MODULE = """
from rtserver import Server
io = Server(ping_interval=7)
@io.on("ping")
def ping(socket): return "pong"
not_a_server = 7
def create(): return io
def create_with(store): return io
"""


@contextmanager
def command(*arguments: str, cwd: Path | None = None, **environment: str) -> Iterator[subprocess.Popen[str]]:
    program = [sys.executable, "-c", "from rtserver.cli import main; main()", *arguments]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("RTSERVER_")}
    with subprocess.Popen(
        program, cwd=cwd, env={**variables, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def url_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().split()[-1]


def refusal(*arguments: str, cwd: Path | None = None, **environment: str) -> str:
    with command(*arguments, cwd=cwd, **environment) as process:
        _, err = process.communicate(timeout=30)
        assert process.returncode == 1
        assert "Traceback" not in err
        return err


async def test_without_a_module_it_serves_echo_and_rooms() -> None:
    with command("serve", "--port", "0") as process:
        url = url_of(process)
        async with open_socket(url) as ann, open_socket(url) as bob:
            assert await ann.receive("welcome") == ann.id
            assert await ann.call("echo", 1, {"two": 2}) == (1, {"two": 2})
            assert await ann.call("join", "lobby") == sorted(["lobby", str(ann.id)])
            await bob.call("join", "lobby")
            assert await bob.call("say", "lobby", "hello") == {"status": "ok"}
            assert await ann.receive("said") == ("lobby", bob.id, "hello")
            assert await bob.call("leave", "lobby") == [bob.id]
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


async def test_a_module_is_served_and_flags_win_over_the_environment(tmp_path: Path) -> None:
    (tmp_path / "chat.py").write_text(MODULE)
    environment = {"RTSERVER_PING_TIMEOUT": "3", "RTSERVER_PING_INTERVAL": "5", "RTSERVER_PORT": "0"}
    with command("serve", "chat:io", "--set", "ping_interval=4", cwd=tmp_path, **environment) as process:
        url = url_of(process)
        async with open_socket(url) as client:
            assert await client.call("ping") == "pong"
        async with httpx.AsyncClient(base_url=url) as http:
            handshake = (await http.get("/socket.io/?EIO=4&transport=polling")).text
        assert '"pingInterval":4000,"pingTimeout":3000' in handshake


def test_it_listens_on_a_unix_socket_and_takes_it_away_again(tmp_path: Path) -> None:
    path = tmp_path / "node.sock"
    with command("serve", "--uds", str(path)) as process:
        assert url_of(process) == f"unix:{path}"
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://node") as http:
            assert http.get("/healthz").status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    assert not path.exists()


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["--port", "70000"], {}, ["--port", "70000", "65535"]),
        ([], {"RTSERVER_PORT": "http"}, ["RTSERVER_PORT", "http", "65535"]),
        (["--set", "ping_interval=soon"], {}, ["ping_interval", "soon", "number"]),
        (["--set", "ping_interval=-1"], {}, ["ping_interval", "-1", "above 0"]),
        (["--set", "nonsense=1"], {}, ["nonsense"]),
        (["--set", "nonsense"], {}, ["nonsense", "NAME=VALUE"]),
        ([], {"RTSERVER_ALLOW_UPGRADES": "perhaps"}, ["RTSERVER_ALLOW_UPGRADES", "perhaps", "true or false"]),
        ([], {"RTSERVER_TRANSPORTS": "pigeon"}, ["transports", "pigeon", "polling"]),
        (["nowhere:io"], {}, ["nowhere:io", "imported"]),
        (["chat"], {}, ["chat", "app:io"]),
        (["chat:not_a_server"], {}, ["not_a_server", "Server"]),
        (["--uds", "/tmp/x", "--port", "1"], {}, ["--uds", "either"]),
        (["--host", "no.such.host.invalid"], {}, ["no.such.host.invalid"]),
    ],
)
def test_a_bad_setting_is_one_clear_line(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], words: list[str]
) -> None:
    (tmp_path / "chat.py").write_text(MODULE)
    said = refusal("serve", *arguments, cwd=tmp_path, **environment)
    assert len(said.strip().splitlines()) == 1
    for word in words:
        assert word in said


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with command("serve", "--port", "0") as process:
        port = url_of(process).rpartition(":")[2]
        assert port in refusal("serve", "--port", port)


async def test_a_function_that_makes_the_server_is_as_good(tmp_path: Path) -> None:
    (tmp_path / "chat.py").write_text(MODULE)
    with command("serve", "chat:create", "--port", "0", cwd=tmp_path) as process:
        async with open_socket(url_of(process)) as client:
            assert await client.call("ping") == "pong"


def test_a_function_that_needs_an_argument_is_no_server(tmp_path: Path) -> None:
    (tmp_path / "chat.py").write_text(MODULE)
    assert "chat:create_with" in refusal("serve", "chat:create_with", cwd=tmp_path)
