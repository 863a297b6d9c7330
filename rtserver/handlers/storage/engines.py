"""How each kind of database is connected to.

Rule: what is committed survives the loss of power, a foreign key is checked, and no
statement runs for longer than anybody waits for it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event

# Milliseconds that SQLite waits for the writer of another process.
BUSY_TIMEOUT = 4_000
STATEMENT_TIMEOUT = 4_000
CONNECT_TIMEOUT = 3
POOL_SIZE = 8


def create_postgresql(url: URL) -> Engine:
    """An engine for PostgreSQL, by psycopg."""
    options = f"-c statement_timeout={STATEMENT_TIMEOUT} -c lock_timeout={STATEMENT_TIMEOUT}"
    return create_engine(
        url,
        # A connection that broke while nobody used it is replaced before it is used.
        pool_pre_ping=True,
        pool_size=POOL_SIZE,
        max_overflow=2,
        pool_timeout=CONNECT_TIMEOUT,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT,
            "options": options,
            # A server that has vanished without a word is given up, and its thread with it.
            "keepalives_idle": 10,
            "tcp_user_timeout": 10_000,
        },
    )


def create_sqlite(url: URL) -> Engine:
    """An engine for a file of SQLite.

    Transactions are begun by us, since the driver begins them too late. Source: SQLAlchemy,
    "Serializable isolation / Savepoints / Transactional DDL" of the pysqlite dialect.
    """
    engine = create_engine(url, pool_size=POOL_SIZE, max_overflow=2, pool_timeout=CONNECT_TIMEOUT)

    @event.listens_for(engine, "connect")
    def connect(connection: Any, record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT}")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # Whoever will write says so at once: to find out later, having read, would be too late to wait.
        writes = connection.get_execution_options().get("writes", True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
