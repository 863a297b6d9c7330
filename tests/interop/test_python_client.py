"""The python-socketio clients, unmodified, work with this server."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from typing import Any

import pytest

from tests.interop.test_javascript_client import ROOT, TRANSPORTS, running

EXPECTED: dict[str, Any] = {
    "asynchronous": {
        "welcome": "welcome",
        "id": 20,
        "echo": {"text": "grüße", "list": [1, None]},
        "bytes": [7, 7, 7],
        "join": "joined",
    },
    "asked": {"answer": {"answer": [1, 2]}},
    "refused": {"error": {"message": "not allowed", "data": {"code": 7}}},
    "threaded": {"echo": True},
}


@cache
def results(door: str, transports: str) -> dict[str, Any]:
    with running(door) as port:
        command = [sys.executable, "-W", "ignore", "-m", "tests.interop.python_client"]
        command += [f"http://127.0.0.1:{port}", json.dumps(TRANSPORTS[transports])]
        out = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=60, check=True).stdout
    return dict(map(json.loads, out.strip().split("\n")))


@pytest.mark.parametrize("scenario", list(EXPECTED))
@pytest.mark.parametrize("transports", list(TRANSPORTS))
@pytest.mark.parametrize("door", ["front", "asgi"])
def test_the_python_client_sees(door: str, transports: str, scenario: str) -> None:
    assert results(door, transports)[scenario] == EXPECTED[scenario]
