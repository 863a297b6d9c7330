"""The official JavaScript client, unmodified, sees the same of this server as of the reference."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SCENARIOS = re.findall(r'^  async "(.+)"\(\) \{$', (HERE / "scenarios.mjs").read_text(), re.MULTILINE)

TRANSPORTS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": ["polling", "websocket"]}
SERVERS = ("reference", "front", "asgi")


@contextmanager
def running(server: str, **options: Any) -> Iterator[int]:
    """A server under test in a process of its own; gives its port."""
    if server == "reference":
        command = ["node", "reference_server.mjs", json.dumps(options)]
        folder = HERE
    else:
        command = [sys.executable, "-m", "tests.interop.app", server, json.dumps(options)]
        folder = ROOT
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("port "):
                    yield int(line.removeprefix("port "))
                    return
            raise AssertionError(f"{command} did not start")
        finally:
            process.terminate()
            process.wait(20)


@cache
def results(server: str, transports: str, msgpack: bool) -> dict[str, dict[str, Any]]:
    """What every scenario gave, from one run of them all."""
    settings = {"transports": TRANSPORTS[transports], "msgpack": msgpack}
    with running(server, msgpack=msgpack) as port:
        command = ["node", "scenarios.mjs", f"http://127.0.0.1:{port}", json.dumps(settings)]
        out = subprocess.run(command, cwd=HERE, stdout=subprocess.PIPE, text=True, timeout=120, check=True).stdout
    return {row["name"]: row for row in map(json.loads, out.strip().split("\n"))}


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize("msgpack", [False, True], ids=["json", "msgpack"])
@pytest.mark.parametrize("transports", list(TRANSPORTS))
@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_client_sees(scenario: str, server: str, transports: str, msgpack: bool) -> None:
    result = results(server, transports, msgpack)[scenario]
    assert result["ok"], result["error"]


def test_every_scenario_is_run() -> None:
    assert len(SCENARIOS) > 25
    assert set(SCENARIOS) == set(results("front", "websocket", False))
