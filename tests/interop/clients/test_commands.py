"""The commands that users type serve unmodified clients, and end when they are told to."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from tests.interop.clients.test_unmodified_clients import ENDING, ROOT, TRANSPORTS, converse, scenarios

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")

COMMANDS = {
    "rtserver": ["rtserver", "serve", "tests.interop.clients.served:io", "--port", "0"],
    "hypercorn": ["hypercorn", "-k", "trio", "--bind", "127.0.0.1:0", "tests.interop.clients.served:app"],
}


@contextmanager
def served(command: str) -> Iterator[str]:
    """Run a command until its URL has been used, then end it as a service manager would."""
    program, *arguments = COMMANDS[command]
    with subprocess.Popen(
        [Path(sys.executable).with_name(program), *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            lines: list[str] = []
            for line in process.stdout:
                lines.append(line)
                if (found := re.search(r"http://127\.0\.0\.1:\d+", line)) is not None:
                    yield found[0]
                    process.send_signal(signal.SIGTERM)
                    rest, _ = process.communicate(timeout=20)
                    assert process.returncode == 0, rest
                    assert "Traceback" not in rest, rest
                    return
            raise AssertionError("".join(lines))
        finally:
            process.kill()


@cache
def results(command: str) -> dict[str, str | None]:
    with served(command) as url:
        return converse("conversation", transports=TRANSPORTS["upgrade"], parser="json", url=url)


@pytest.mark.parametrize("command", list(COMMANDS))
@pytest.mark.parametrize("scenario", [name for name in scenarios("conversation.mjs") if name != ENDING])
def test_a_command_serves(scenario: str, command: str) -> None:
    error = results(command)[scenario]
    assert error is None, error
