"""The rules about the code's shape that no linter holds."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted([*(ROOT / "proxy").rglob("*.py"), *(ROOT / "rtserver").rglob("*.py")])
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MAX_LINES = 400


def layers() -> set[str]:
    settings: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = {contract["id"]: contract for contract in settings["tool"]["importlinter"]["contracts"]}
    return {name for layer in contracts["layers"]["layers"] for name in re.findall(r"\w+", layer)}


def sleeps(source: str) -> list[int]:
    """The lines that let real time pass: any sleep but ``trio.sleep`` under ``autojump_clock``, or for no time."""

    def walk(node: ast.AST, virtual: bool) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            virtual = virtual or any(arg.arg == "autojump_clock" for arg in node.args.args + node.args.kwonlyargs)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "sleep":
            trio_sleep = ast.unparse(node.func) == "trio.sleep"
            no_time = bool(node.args) and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
            if not (trio_sleep and (virtual or no_time)):
                found.append(node.lineno)
        for child in ast.iter_child_nodes(node):
            walk(child, virtual)

    found: list[int] = []
    walk(ast.parse(source), virtual=False)
    return found


def test_every_module_of_the_package_belongs_to_a_layer() -> None:
    present = {path.stem if path.is_file() else path.name for path in (ROOT / "rtserver").iterdir()}
    assert present - {"__init__", "__pycache__", "py"} <= layers()


def test_the_architecture_names_every_layer() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    assert [name for name in layers() if f"`rtserver.{name}`" not in text and name != "__main__"] == []


def test_the_architecture_calls_planned_what_is_not_there() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    planned = set(re.findall(r"`rtserver\.(\w+)` \(planned\)", text))
    here = {path.stem for path in (ROOT / "rtserver").iterdir()}
    assert planned == layers() - here - {"__main__"}


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        ("utils.py", "", "rtserver.utils"),
        ("core/trespass.py", "import rtserver.server", "rtserver.core is not allowed to import rtserver.server"),
        ("protocol/trespass.py", "import trio", "rtserver.protocol is not allowed to import trio"),
        ("protocol/trespass.py", "import rtserver.logs", "rtserver.protocol is not allowed to import time"),
        ("middleware/one.py", "import rtserver.middleware.two", "rtserver.middleware.one is not allowed to import"),
        ("core/trespass.py", "import proxy", "rtserver is not allowed to import proxy"),
        ("../proxy/trespass.py", "import rtserver.transports", "proxy is not allowed to import rtserver.transports"),
    ],
)
def test_a_module_that_leaves_its_layer_is_found(tmp_path: Path, path: str, source: str, complaint: str) -> None:
    for package in ("proxy", "rtserver"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    target = tmp_path / "rtserver" / path
    target.parent.mkdir(exist_ok=True)
    for name in ("__init__.py", "two.py") if target.parent.name == "middleware" else ():
        (target.parent / name).touch()
    target.write_text(source)
    linter = Path(sys.executable).parent / "lint-imports"
    ran = subprocess.run([linter, "--no-cache", "--no-logo"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode != 0
    assert complaint in ran.stdout


def test_modules_stay_short() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in MODULES
        if (lines := len(path.read_text().splitlines())) > MAX_LINES
    }
    assert long == {}


def test_tests_do_not_sleep() -> None:
    # The services of tests wait for other programs, which tell nobody when they are ready.
    looked_at = [path for path in TESTS if path.parent != ROOT / "tests" / "services"]
    found = [f"{path.relative_to(ROOT)}:{line}" for path in looked_at for line in sleeps(path.read_text())]
    assert found == []


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("time.sleep(0.1)", [1]),
        ("async def test_x() -> None:\n    await trio.sleep(1)", [2]),
        ("async def test_x(autojump_clock: MockClock) -> None:\n    await trio.sleep(1)", []),
        ("async def test_x(autojump_clock: MockClock) -> None:\n    await asyncio.sleep(1)", [2]),
        ("await trio.sleep(0)", []),
        ("await trio.sleep_forever()", []),
    ],
)
def test_a_sleep_is_one_that_takes_real_time(source: str, lines: list[int]) -> None:
    assert sleeps(source) == lines
