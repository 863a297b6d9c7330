"""The program behind ``make chaos`` works: a fault is done to a real cluster, and the verdict is the truth."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_killed_node_is_measured(tmp_path: Path) -> None:
    written = tmp_path / "chaos.json"
    sizes = ["--nodes", "2", "--clients", "10", "--seconds", "0.3"]
    command = [sys.executable, "-m", "benchmarks.chaos", "--only", "node-killed", *sizes, "--json", str(written)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (row,) = json.loads(written.read_text())["rows"]
    assert row["holds"]
    assert row["figures"]["lost by others"] == 0
    assert row["figures"]["their deliveries"] > 0
    assert row["figures"]["its clients"] > 0
    assert "| kill -9 of a node |" in ran.stdout
