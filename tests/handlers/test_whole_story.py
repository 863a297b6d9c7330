"""The application as its users have it: a node in a process of its own, and the official client."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STORY = Path(__file__).parent / "whole_story.mjs"


@contextmanager
def running(folder: Path, database_url: str | None) -> Iterator[str]:
    """A node on that folder; gives its URL once it can be reached."""
    command = [str(Path(sys.executable).parent / "rtserver"), "serve", "rtserver.handlers.app:io", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RTSERVER_CHAT_FOLDER": str(folder)}
    environment.pop("DATABASE_URL", None)
    if database_url is not None:
        environment["DATABASE_URL"] = database_url
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as node:
        try:
            assert node.stdout is not None
            assert node.stderr is not None
            line = node.stdout.readline()
            assert "http://" in line, node.stderr.read()
            # Answers before this would say that there is no storage yet.
            while "storage_ready" not in (said := node.stderr.readline()):
                assert said, "the node ended"
            yield line.split()[-1]
        finally:
            node.terminate()
            _, complaints = node.communicate(timeout=20)
            assert "Traceback" not in complaints
            assert node.returncode == 0


def tell(url: str, transport: str, chapter: str, *given: str) -> str:
    command = ["node", str(STORY), url, transport, chapter, *given]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 0, told.stderr
    return told.stdout


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_a_user_signs_in_talks_and_finds_everything_after_a_restart(
    database_url: str, transport: str, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    where = None if database_url.startswith("sqlite") else database_url
    with running(folder, where) as url:
        given = tell(url, transport, "first")
    with running(folder, where) as url:
        tell(url, transport, "second", given)
