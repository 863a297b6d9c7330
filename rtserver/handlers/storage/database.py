"""The database, called from worker threads of which there are few.

Rule: nobody waits long. Whatever keeps the database from answering, a caller is told
``unavailable`` within ``PATIENCE`` seconds; once it was seen to be away, callers are told
at once, and one of them a second is let through to see whether it is back.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import structlog
import trio
from sqlalchemy import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, SQLAlchemyError

from rtserver import ConfigurationError, EventRefused
from rtserver.handlers.storage.engines import create_postgresql, create_sqlite
from rtserver.handlers.storage.migrate import migrate
from rtserver.logs import LimitedLog

log = structlog.get_logger("rtserver.storage")

R = TypeVar("R")

PATIENCE = 5.0
# Between two looks at a database that is away.
RETRY_AFTER = 1.0
POSTGRESQL_THREADS = 8
SQLITE_READERS = 4


class Unavailable(EventRefused):
    """The database does not answer. What was asked may be asked again."""

    def __init__(self) -> None:
        super().__init__("unavailable", "the server cannot reach its storage", retry_after=RETRY_AFTER)


class Database:
    """A database, and the threads that may call it.

    Args:
        url: Of SQLAlchemy, such as ``sqlite:////var/lib/chat.db`` or ``postgresql://localhost/chat``.
        patience: Seconds after which a caller is not kept waiting.

    Attributes:
        ready: Set once the tables are as this version of the application needs them.

    Raises:
        ConfigurationError: The URL cannot be read, or names another kind of database.
    """

    def __init__(self, url: str, *, patience: float = PATIENCE) -> None:
        self._url = _checked(url)
        self._patience = patience
        self._sqlite = self._url.get_backend_name() == "sqlite"
        self._engine: Engine = create_sqlite(self._url) if self._sqlite else create_postgresql(self._url)
        # SQLite has one writer at a time; more threads would only wait for one another.
        self._readers = trio.CapacityLimiter(SQLITE_READERS if self._sqlite else POSTGRESQL_THREADS)
        self._writers = trio.CapacityLimiter(1) if self._sqlite else self._readers
        self._away_until = 0.0
        self._closing = False
        self._quiet = LimitedLog(interval=RETRY_AFTER)
        self.ready = trio.Event()

    async def run(self) -> None:
        """Make the tables, as soon as there is a database to make them in; close it at the end."""
        self._closing = False
        try:
            while not await self._prepare():  # noqa: ASYNC110 - a database tells nobody that it is back
                await trio.sleep(RETRY_AFTER)
            self.ready.set()
            await trio.sleep_forever()
        finally:
            self.ready = trio.Event()
            self._closing = True
            self._close_pool()

    def _close_pool(self) -> None:
        # Pooled connections are closed without a word to the other end, so this does not wait. Whoever is in
        # a thread still gives its connection back to this same pool, and then closes it again.
        self._engine.pool.dispose()

    async def _prepare(self) -> bool:
        def prepare() -> None:
            file = self._url.database if self._sqlite else None
            try:
                migrate(self._engine, None if file is None else Path(file))
            finally:
                if self._closing:
                    self._close_pool()

        try:
            await trio.to_thread.run_sync(prepare, abandon_on_cancel=True)
        except (SQLAlchemyError, OSError) as exc:
            self._quiet.warning("storage_unavailable", reason=_reason(exc))
            return False
        log.info("storage_ready", database=self._url.render_as_string(hide_password=True))
        return True

    async def read(self, query: Callable[[Connection], R]) -> R:
        """What ``query`` gives. It runs in a worker thread, in a transaction.

        Raises:
            Unavailable: The database does not answer.
            EventRefused: What the query raises of it, or a value that the database cannot hold.
        """
        return await self._call(query, self._readers, writes=False)

    async def write(self, change: Callable[[Connection], R]) -> R:
        """The same for what changes something. When it returns, the change is committed.

        Raises:
            Unavailable: The database does not answer; whether the change was made is not known.
            EventRefused: As for ``read``; nothing was changed then.
        """
        return await self._call(change, self._writers, writes=True)

    async def _call(self, query: Callable[[Connection], R], limiter: trio.CapacityLimiter, *, writes: bool) -> R:
        now = trio.current_time()
        if not self.ready.is_set() or now < self._away_until:
            raise Unavailable
        if self._away_until:
            # This caller looks whether it is back; the others need not wait to be told that it is not.
            self._away_until = now + RETRY_AFTER

        started = False

        def call() -> R:
            nonlocal started
            started = True
            try:
                with self._engine.connect().execution_options(writes=writes) as connection, connection.begin():
                    return query(connection)
            finally:
                if self._closing:
                    self._close_pool()

        try:
            with trio.fail_after(self._patience):
                result = await trio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=limiter)
        except IntegrityError:
            raise
        except (DataError, UnicodeEncodeError) as exc:
            raise EventRefused("invalid_payload", "a text holds what cannot be stored") from exc
        except (SQLAlchemyError, OSError, trio.TooSlowError) as exc:
            if isinstance(exc, DBAPIError) and not _is_away(exc):
                raise
            if started:
                self._away_until = trio.current_time() + RETRY_AFTER
            # Else no thread was free in time: there is much to do, and the others may be served.
            self._quiet.warning("storage_unavailable", reason=_reason(exc) if started else "no thread was free")
            raise Unavailable from exc
        self._away_until = 0.0
        return result


def _is_away(exc: DBAPIError) -> bool:
    """Whether it is the database's trouble, rather than a wrong query."""
    return type(exc).__name__ in ("OperationalError", "InterfaceError", "InternalError") or exc.connection_invalidated


def _reason(exc: BaseException) -> str:
    cause = exc.orig if isinstance(exc, DBAPIError) and exc.orig is not None else exc
    lines = str(cause).splitlines()
    return f"{type(cause).__name__}: {lines[0][:200]}" if lines else type(cause).__name__


def _checked(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as exc:
        raise ConfigurationError("DATABASE_URL", "…", "a URL such as postgresql://user@host/name") from exc
    match url.drivername:
        case "sqlite" | "sqlite+pysqlite" if url.database and url.database != ":memory:":
            return url.set(drivername="sqlite+pysqlite")
        case "postgresql" | "postgres" | "postgresql+psycopg":
            return url.set(drivername="postgresql+psycopg")
        case _:
            raise ConfigurationError("DATABASE_URL", url.drivername, "sqlite:///a-file or postgresql://…")
