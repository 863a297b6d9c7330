"""Brings the tables to what this version of the application needs.

Rule: nodes that start at the same moment do it one after another, and all but the first
find nothing to do.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, text

MIGRATIONS = Path(__file__).parent / "migrations"
# The number of the lock in PostgreSQL: "rtserver" in ASCII.
LOCK = 0x7274_7365_7276_6572


def migrate(engine: Engine, file: Path | None) -> None:
    """Run the migrations that have not been run yet. It waits, so call it from a worker thread.

    Args:
        engine: Of the database.
        file: Where SQLite keeps it; None for PostgreSQL.

    Raises:
        SQLAlchemyError: The database is away, or refuses.
        OSError: The file's folder cannot be written to.
    """
    if file is None:
        with engine.connect() as connection, connection.begin():
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            _upgrade(connection)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with _locked(file.with_name(f"{file.name}.lock")):
        # What SQLite puts beside the file gets the file's mode.
        file.touch(mode=0o600)
        # It stays so, and cannot be changed inside a transaction.
        raw = engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA journal_mode = WAL")
        finally:
            raw.close()
        with engine.connect() as connection, connection.begin():
            _upgrade(connection)


def _upgrade(connection: Connection) -> None:
    config = Config()
    # Alembic reads ``%`` in a setting as the beginning of a reference.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("a") as lock:
        file.chmod(0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
