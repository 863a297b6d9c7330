"""Instructions that the codecs take, counted by valgrind's callgrind.

Rule: a count is the same each time for the same interpreter and the same libraries, and says nothing for others. So
what it was made with is kept beside it.
"""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.guard.codecs import COUNTED, WORKS

PROGRAM = Path(__file__).with_name("codecs.py")
# A function of the C library that nothing else calls: a dump is written each time it is entered.
MARK = "getpgid"
# Chance and the user's settings stay outside.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "PYTHONHASHSEED": "0", "LC_ALL": "C"}
LIBRARIES = ("msgspec", "websockets")
TIMEOUT = 600.0  # seconds; it takes about half a minute on an idle machine


class CannotCount(Exception):
    """Valgrind is not here, or did not do what it was asked for."""


def made_with() -> dict[str, str]:
    """What a count depends on beside the code, the Python version aside."""
    libraries = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return {"compiler": platform.python_compiler(), "machine": platform.machine(), **libraries}


def count() -> dict[str, int]:
    """Instructions that each of the codecs' works takes once.

    Raises:
        CannotCount: Also where valgrind is not installed.
    """
    if shutil.which("valgrind") is None:
        raise CannotCount("valgrind is not installed (on Debian: apt-get install valgrind)")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        tool = ("valgrind", "--tool=callgrind", f"--dump-before={MARK}", f"--callgrind-out-file={out}")
        command = (*tool, sys.executable, str(PROGRAM))
        done = subprocess.run(
            command, env=ENVIRONMENT, cwd=PROGRAM.parent, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
        dumps = [path.read_text() for path in sorted(Path(folder).glob("out.*"), key=lambda path: int(path.suffix[1:]))]
    if done.returncode or len(dumps) < 2 * len(WORKS):
        raise CannotCount(f"valgrind ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    # Dumps come in pairs: what a work took to get warm, and what it took when it was counted.
    return {name: total(dumps[2 * i + 1]) // COUNTED for i, name in enumerate(WORKS)}


def total(dump: str) -> int:
    """The instructions of one of callgrind's files."""
    found = re.search(r"^summary: (\d+)", dump, re.MULTILINE)
    if found is None:
        raise CannotCount("a file of callgrind without a summary")
    return int(found[1])
