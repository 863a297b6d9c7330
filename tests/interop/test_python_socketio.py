"""The clients of python-socketio, asyncio's and the threaded one, work with this server as with the reference."""

from __future__ import annotations

import json
import shutil
import sys
from functools import cache

import pytest

from tests.interop.runs import SEVERAL, TRANSPORTS, Outcomes, run, scenarios

NODE = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
SERVERS = [
    pytest.param(("reference", "upgrade"), marks=NODE),
    ("front", "polling"),
    ("front", "upgrade"),
    ("asgi", "upgrade"),
]


@cache
def outcomes(server: str, transports: str) -> Outcomes:
    program = [sys.executable, "-W", "ignore", "-m", "tests.interop.python_clients"]
    return run([*program, json.dumps(SEVERAL[server]), json.dumps(TRANSPORTS[transports])])


@pytest.mark.parametrize("wanted", SERVERS, ids="-".join)
@pytest.mark.parametrize("scenario", scenarios("python_clients.py"))
def test_from_python(scenario: str, wanted: tuple[str, str]) -> None:
    error = outcomes(*wanted)[scenario]
    assert error is None, error


def test_every_scenario_is_a_test() -> None:
    assert sorted(outcomes("front", "upgrade")) == sorted(scenarios("python_clients.py"))
