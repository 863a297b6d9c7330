"""A PostgreSQL of our own, for the tests that need one.

Rule: it lives in a temporary folder, listens on a free port of the loopback only, and is
gone with the block. ``initdb`` refuses root, so root becomes the user that the package made.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

USER = "postgres"
SETTINGS = {"fsync": "off", "full_page_writes": "off", "max_connections": "60"}


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=_version)
    if found:
        return found[-1].parent
    command = shutil.which("pg_ctl")
    return None if command is None else Path(command).parent


def _version(program: Path) -> int:
    return int(re.sub(r"\D", "", program.parts[-3]) or 0)


PROGRAMS = _programs()


class PostgreSQL:
    """A running server.

    Attributes:
        url: Of a database, for SQLAlchemy.
    """

    def __init__(self, programs: Path, folder: Path, port: int) -> None:
        self._programs = programs
        self._data = folder / "data"
        self._log = folder / "log"
        self.port = port
        self.url = self.database_url("postgres")

    def database_url(self, name: str) -> str:
        """The URL of another database of this server."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{name}"

    def create(self) -> None:
        self._run("initdb", "-D", self._data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale", "-N")

    def start(self) -> None:
        options = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items())
        listen = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories="
        self._run("pg_ctl", "start", "-w", "-D", self._data, "-l", self._log, "-o", f"{options} {listen}")

    def stop(self) -> None:
        """Stop as an operator in a hurry does: open connections are cut."""
        self._run("pg_ctl", "stop", "-w", "-D", self._data, "-m", "immediate")

    def create_database(self, name: str) -> str:
        """Make an empty database; its URL."""
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, name)
        return self.database_url(name)

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [*_as_user(), self._programs / program, *arguments]
        subprocess.run(command, cwd=self._data.parent, check=True, stdout=subprocess.DEVNULL, timeout=60)


def _as_user() -> Sequence[str]:
    return () if os.geteuid() else ("runuser", "-u", USER, "--")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_postgresql() -> Iterator[PostgreSQL]:
    """A new server for the length of a block.

    Raises:
        RuntimeError: PostgreSQL is not installed.
    """
    if PROGRAMS is None:
        raise RuntimeError("PostgreSQL is not installed")
    with tempfile.TemporaryDirectory(prefix="rtserver-postgresql-") as name:
        folder = Path(name)
        if not os.geteuid():
            account = pwd.getpwnam(USER)
            os.chown(folder, account.pw_uid, account.pw_gid)
        server = PostgreSQL(PROGRAMS, folder, _free_port())
        server.create()
        server.start()
        try:
            yield server
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):
                # A test may have stopped it already.
                server.stop()
