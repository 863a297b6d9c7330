"""Unmodified clients see the same of this server, by either door, as of the reference.

A scenario that fails on the reference is wrong itself. One process of the client
runs all scenarios of a kind; each is a test of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
SERVERS = ("reference", "front", "asgi")
TRANSPORTS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": ["polling", "websocket"]}
ENDING = "the server ends when it is told to, and has logged no traceback"
LIMIT = 180

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def scenarios(name: str) -> list[str]:
    if name.endswith(".py"):
        return re.findall(r"^(?:async )?def ((?:asynchronous|threaded)_\w+)", (HERE / name).read_text(), re.MULTILINE)
    return [*re.findall(r'^  async "(.+)"\(\) \{$', (HERE / name).read_text(), re.MULTILINE), ENDING]


def serving(server: str) -> list[str]:
    """The command that serves the application; the variants and their ports are its last argument."""
    if server == "reference":
        return ["node", str(HERE / "application.mjs")]
    return [sys.executable, "-m", "tests.interop.clients.application", server]


def run(command: list[str]) -> dict[str, str | None]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    # In a session of its own, so that what it leaves behind when it is stuck can be ended with it.
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, complaints = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            raise
    assert process.returncode == 0, complaints
    return {row["name"]: row["error"] for row in map(json.loads, out.splitlines())}


def converse(kind: str, **settings: Any) -> dict[str, str | None]:
    """Run the official client through the scenarios of one kind; see ``harness.mjs`` for the settings."""
    return run(["node", str(HERE / "run.mjs"), kind, json.dumps(settings)])


@cache
def official(kind: str, server: str, transports: str, parser: str) -> dict[str, str | None]:
    return converse(kind, command=serving(server), server=server, transports=TRANSPORTS[transports], parser=parser)


@cache
def python(server: str, transports: str) -> dict[str, str | None]:
    program = [sys.executable, "-W", "ignore", "-m", "tests.interop.clients.python_clients"]
    return run([*program, json.dumps(serving(server)), json.dumps(TRANSPORTS[transports])])


@pytest.mark.parametrize("parser", ["json", "msgpack"])
@pytest.mark.parametrize("transports", list(TRANSPORTS))
@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("scenario", scenarios("conversation.mjs"))
def test_in_conversation(scenario: str, server: str, transports: str, parser: str) -> None:
    error = official("conversation", server, transports, parser)[scenario]
    assert error is None, error


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("scenario", scenarios("doors.mjs"))
def test_at_the_door(scenario: str, server: str) -> None:
    error = official("doors", server, "upgrade", "json")[scenario]
    assert error is None, error


@pytest.mark.parametrize("transports", list(TRANSPORTS))
@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("scenario", scenarios("endings.mjs"))
def test_at_the_end(scenario: str, server: str, transports: str) -> None:
    error = official("endings", server, transports, "json")[scenario]
    assert error is None, error


@pytest.mark.parametrize("transports", list(TRANSPORTS))
@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("scenario", scenarios("python_clients.py"))
def test_from_python(scenario: str, server: str, transports: str) -> None:
    error = python(server, transports)[scenario]
    assert error is None, error


def test_every_scenario_is_run() -> None:
    for kind in ("conversation", "doors", "endings"):
        assert list(official(kind, "reference", "upgrade", "json")) == scenarios(f"{kind}.mjs")
    assert list(python("reference", "upgrade")) == scenarios("python_clients.py")
