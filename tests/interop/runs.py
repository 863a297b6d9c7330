"""Runs of the clients: the commands that serve them, and what came of each scenario."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TypeAlias

# For each scenario by its name: what went wrong, or None.
Outcomes: TypeAlias = dict[str, str | None]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BIN = Path(sys.executable).parent
LIMIT = 300
ENDING = "the server ends when it is told to, and has logged no traceback"
TRANSPORTS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": ["polling", "websocket"]}

# What a user would type to serve one VARIANT of the application on PORT.
COMMANDS = {
    "front": [str(BIN / "rtserver"), "serve", "tests.interop.served:VARIANT", "--port", "PORT"],
    "asgi": [
        str(BIN / "hypercorn"),
        *("-k", "trio", "--graceful-timeout", "1", "--bind", "127.0.0.1:PORT"),
        "tests.interop.served:VARIANT_app",
    ],
}
# What serves several variants; they and their ports are its last argument.
SEVERAL = {
    "reference": ["node", str(HERE / "application.mjs")],
    "front": [sys.executable, "-m", "tests.interop.application", "front"],
    "asgi": [sys.executable, "-m", "tests.interop.application", "asgi"],
}


def scenarios(*names: str) -> list[str]:
    """The names of the scenarios in these files, read from them: nothing needs to run for it."""
    javascript = r'^  async "(.+)"\(\) \{$'
    python = r"^(?:async )?def ((?:asynchronous|threaded)_\w+)"
    found: list[str] = []
    for name in names:
        pattern = python if name.endswith(".py") else javascript
        found += re.findall(pattern, (HERE / name).read_text(), re.MULTILINE)
    return found


def run(command: list[str]) -> Outcomes:
    """Run a process of a client to its end.

    Raises:
        AssertionError: It failed itself, rather than one of its scenarios.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            out, complaints = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            # It ends the servers that it has started.
            process.terminate()
            raise
    assert process.returncode == 0, complaints
    return {row["name"]: row["error"] for row in map(json.loads, out.splitlines())}
