"""``rtserver asyncapi`` and ``rtserver typescript``: what they print, and how they find drift."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rtserver import Server
from rtserver.contracts.asyncapi import asyncapi
from rtserver.contracts.typescript import typescript
from tests.contracts import sample

ROOT = Path(__file__).parents[2]
TARGET = "tests.contracts.sample:io"
COMMANDS = pytest.mark.parametrize(("command", "write"), [("asyncapi", asyncapi), ("typescript", typescript)])


def run(*arguments: str | Path, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", "from rtserver.cli import main; main()", *map(str, arguments)]
    variables = {**os.environ, **environment}
    return subprocess.run(program, cwd=cwd, env=variables, capture_output=True, text=True, timeout=60, check=False)


@COMMANDS
def test_standard_output_is_the_document(command: str, write: Callable[[Server], str]) -> None:
    ran = run(command, TARGET)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, write(sample.io), "")


@COMMANDS
def test_the_environment_of_a_node_changes_nothing(command: str, write: Callable[[Server], str]) -> None:
    ran = run(command, TARGET, RTSERVER_API_TITLE="Other", RTSERVER_PATH="/other/", RTSERVER_PORT="nonsense")
    assert ran.stdout == write(sample.io)


@COMMANDS
def test_a_file_that_is_up_to_date_passes(command: str, write: Callable[[Server], str], tmp_path: Path) -> None:
    file = tmp_path / "contract"
    file.write_text(write(sample.io), encoding="utf-8")
    ran = run(command, "tests.contracts.sample:create", "--check", file)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@COMMANDS
def test_a_file_that_has_drifted_is_shown(command: str, write: Callable[[Server], str], tmp_path: Path) -> None:
    file = tmp_path / "contract"
    file.write_text(write(sample.io).replace("chat:post", "chat:send"), encoding="utf-8")
    ran = run(command, TARGET, "--check", file)
    assert ran.returncode == 1
    assert ran.stderr == ""
    lines = ran.stdout.splitlines()
    assert lines[:2] == [f"--- {file}", f"+++ {TARGET}"]
    assert any(line.startswith("-") and "chat:send" in line for line in lines)
    assert any(line.startswith("+") and "chat:post" in line for line in lines)


@COMMANDS
def test_a_file_without_its_last_newline_has_drifted(
    command: str, write: Callable[[Server], str], tmp_path: Path
) -> None:
    file = tmp_path / "contract"
    file.write_text(write(sample.io).rstrip("\n"), encoding="utf-8")
    ran = run(command, TARGET, "--check", file)
    assert ran.returncode == 1
    assert ran.stdout.endswith("\n")


@COMMANDS
def test_a_file_that_is_missing_has_drifted(command: str, write: Callable[[Server], str], tmp_path: Path) -> None:
    ran = run(command, TARGET, "--check", tmp_path / "contract")
    assert ran.returncode == 1
    assert all(line.startswith(("+", "-", "@")) for line in ran.stdout.splitlines())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["chat"], ["MODULE:SERVER", "'chat'"]),
        (["nothing:io"], ["nothing:io"]),
        (["strange:io"], ["payload", "Strange"]),
        (["strange:io", "--check", "text"], ["payload", "Strange"]),
        (["fine:io", "--check", "binary"], ["--check", "binary", "UTF-8"]),
    ],
)
@pytest.mark.parametrize("command", ["asyncapi", "typescript"])
def test_a_mistake_is_one_line(command: str, arguments: list[str], words: list[str], tmp_path: Path) -> None:
    (tmp_path / "fine.py").write_text("from rtserver import Server\nio = Server()\n")
    strange = "from rtserver import Server, event\nclass Strange: ...\nio = Server()\nio.emits(event('it', Strange))\n"
    (tmp_path / "strange.py").write_text(strange)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "text").write_text("")
    ran = run(command, *arguments, cwd=tmp_path)
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert len(ran.stderr.strip().splitlines()) == 1
    for word in words:
        assert word in ran.stderr
