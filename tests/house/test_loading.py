"""What is loaded when: the names of the package, and what small programs do without."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import rtserver

ROOT = Path(__file__).parents[2]
HEAVY = {"hypercorn", "jinja2", "quart", "rtserver.server", "wsproto"}


def declared() -> dict[str, object]:
    """The names that type checkers know, and what they stand for."""
    tree = ast.parse((ROOT / "rtserver" / "__init__.pyi").read_text())
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return {name.name: getattr(import_module(str(node.module)), name.name) for node in imports for name in node.names}


def test_the_names_of_the_package_are_the_declared_ones() -> None:
    names = declared()
    assert sorted(rtserver.__all__) == sorted(names)
    assert {name: getattr(rtserver, name) for name in names} == names
    assert set(names) <= set(dir(rtserver))
    with pytest.raises(AttributeError, match="no_such_name"):
        getattr(rtserver, "no_such_name")  # noqa: B009 - that there is none is the point


@pytest.mark.parametrize("module", ["proxy.cli", "rtserver.cli.keep", "rtserver.cli.local_redis"])
def test_what_stands_beside_nodes_is_loaded_without_what_makes_a_node(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    assert module in loaded
    assert loaded & HEAVY == set()


def test_a_server_has_its_application_however_little_was_loaded_before() -> None:
    code = "from rtserver.demo import create_demo; assert type(create_demo()).app_factory is not None"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
