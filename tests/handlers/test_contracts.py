"""The documents that are made of the application's events are those that are checked in."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from rtserver.cli import main

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("command", "file"), [("typescript", "webui/src/lib/events.ts"), ("asyncapi", "docs/asyncapi.json")]
)
def test_documents_have_not_drifted(command: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTSERVER_CHAT_FOLDER", str(tmp_path))
    ran = CliRunner().invoke(main, [command, "rtserver.handlers.app:io", "--check", str(ROOT / file)])
    assert ran.exit_code == 0, f"make contracts writes it anew:\n{ran.output[:4000]}"


@pytest.mark.parametrize("command", ["typescript", "asyncapi"])
def test_drift_is_noticed(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTSERVER_CHAT_FOLDER", str(tmp_path))
    other = tmp_path / "other"
    other.write_text("{}")
    ran = CliRunner().invoke(main, [command, "rtserver.handlers.app:io", "--check", str(other)])
    assert ran.exit_code == 1
