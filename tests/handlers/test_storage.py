"""The database: its tables, and what callers see when it is away."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from sqlalchemy import Connection, create_engine, inspect, select, text
from sqlalchemy.exc import DBAPIError

from rtserver import ConfigurationError, EventRefused
from rtserver.handlers.storage.database import Database, Unavailable
from rtserver.handlers.storage.engines import create_sqlite
from rtserver.handlers.storage.tables import metadata, users
from tests.services.postgresql import running_postgresql

PATIENCE = 10.0


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[Database]:
    database = Database(url, **options)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.run)
        with trio.fail_after(PATIENCE):
            await database.ready.wait()
        yield database
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], Any]) -> None:
    """Ask again and again, letting others run, until it is so."""
    with trio.fail_after(PATIENCE):
        while not await condition():
            await trio.lowlevel.checkpoint()


def add_user(name: str) -> Callable[[Connection], Any]:
    row = {"id": name, "name": name, "name_key": name, "created_at": 1}
    return lambda connection: connection.execute(users.insert(), row)


def names(connection: Connection) -> list[str]:
    return list(connection.execute(select(users.c.name).order_by(users.c.name)).scalars())


def facts(database: Any) -> dict[str, Any]:
    """What a database says of its tables, apart from Alembic's own."""
    seen = inspect(database)
    return {
        table: {
            "columns": {
                column["name"]: (str(column["type"]), column["nullable"]) for column in seen.get_columns(table)
            },
            "key": seen.get_pk_constraint(table)["constrained_columns"],
            "indexes": sorted((index["name"] or "", index["unique"]) for index in seen.get_indexes(table)),
            "refers": sorted(
                (tuple(key["constrained_columns"]), key["referred_table"], key["options"].get("ondelete"))
                for key in seen.get_foreign_keys(table)
            ),
        }
        for table in seen.get_table_names()
        if table != "alembic_version"
    }


async def test_what_is_written_is_there_after_a_restart(database_url: str) -> None:
    async with opened(database_url) as database:
        await database.write(add_user("ann"))
    async with opened(database_url) as database:
        assert await database.read(names) == ["ann"]


async def test_the_migrations_make_the_tables_that_queries_know(tmp_path: Path) -> None:
    file = tmp_path / "chat.db"
    async with opened(f"sqlite:///{file}"):
        pass
    wanted = create_engine(f"sqlite:///{tmp_path / 'wanted.db'}")
    migrated = create_engine(f"sqlite:///{file}")
    metadata.create_all(wanted)
    assert facts(migrated) == facts(wanted)
    for engine in (wanted, migrated):
        engine.dispose()


async def test_nodes_that_start_at_once_migrate_once(database_url: str) -> None:
    nodes = [Database(database_url) for _ in range(4)]
    async with trio.open_nursery() as nursery:
        for node in nodes:
            nursery.start_soon(node.run)
        with trio.fail_after(PATIENCE):
            for node in nodes:
                await node.ready.wait()
        versions = await nodes[0].read(
            lambda connection: connection.execute(text("SELECT * FROM alembic_version")).all()
        )
        assert len(versions) == 1
        nursery.cancel_scope.cancel()


def test_processes_that_start_at_once_migrate_once(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from sqlalchemy import make_url;"
        "from rtserver.handlers.storage.engines import create_sqlite;"
        "from rtserver.handlers.storage.migrate import migrate;"
        "file = Path(sys.argv[1]); migrate(create_sqlite(make_url(f'sqlite:///{file}')), file)"
    )
    file = tmp_path / "chat.db"
    started = [subprocess.Popen([sys.executable, "-c", program, str(file)]) for _ in range(3)]
    assert [process.wait(60) for process in started] == [0, 0, 0]
    assert file.stat().st_mode & 0o077 == 0


async def test_a_change_that_fails_leaves_nothing_behind(database_url: str) -> None:
    def fail(connection: Connection) -> None:
        add_user("ann")(connection)
        raise EventRefused("no", "no")

    async with opened(database_url) as database:
        with pytest.raises(EventRefused):
            await database.write(fail)
        assert await database.read(names) == []


async def test_a_query_that_outlives_the_node_leaves_no_connection_open(postgresql: Any) -> None:
    started, go_on = threading.Event(), threading.Event()
    connections: list[Any] = []

    def slow(connection: Connection) -> None:
        connections.append(connection.connection.dbapi_connection)
        started.set()
        go_on.wait()

    async with opened(postgresql.create_database("outlived")) as database, trio.open_nursery() as nursery:
        nursery.start_soon(database.read, slow)
        await trio.to_thread.run_sync(started.wait)
        nursery.cancel_scope.cancel()
    assert not connections[0].closed
    go_on.set()

    async def closed() -> bool:
        return bool(connections[0].closed)

    await until(closed)


async def test_texts_that_cannot_be_stored_are_the_clients_fault(database_url: str) -> None:
    async with opened(database_url) as database:
        with pytest.raises(EventRefused) as refused:
            await database.write(add_user("\ud800"))
        assert refused.value.code == "invalid_payload"
        await database.write(add_user("ann"))


async def test_a_wrong_query_is_a_bug_and_not_a_database_that_is_away(postgresql: Any) -> None:
    async with opened(postgresql.create_database("wrong")) as database:
        with pytest.raises(DBAPIError):
            await database.read(lambda connection: connection.execute(text("SELECT nothing")).all())
        assert await database.read(names) == []


async def test_writers_wait_for_one_another(database_url: str) -> None:
    async with opened(database_url) as database, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(database.write, add_user(f"u{number}"))
    async with opened(database_url) as database:
        assert len(await database.read(names)) == 20


async def test_before_the_first_migration_callers_are_told_at_once(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'chat.db'}")
    with pytest.raises(Unavailable) as refused:
        await database.read(names)
    assert (refused.value.code, refused.value.details) == ("unavailable", {"retry_after": 1.0})


async def test_a_database_that_goes_away_is_reported_at_once_and_used_again_when_it_is_back() -> None:
    with running_postgresql() as server:
        async with opened(server.create_database("chat")) as database:
            await database.write(add_user("ann"))
            await trio.to_thread.run_sync(server.stop)
            for _ in range(3):
                with pytest.raises(Unavailable), trio.fail_after(2):
                    await database.write(add_user("bob"))
            await trio.to_thread.run_sync(server.start)

            async def answers() -> bool:
                try:
                    return await database.read(names) == ["ann"]
                except Unavailable:
                    return False

            await until(answers)
            await database.write(add_user("bob"))


async def test_a_database_that_is_away_at_the_start_is_waited_for() -> None:
    with running_postgresql() as server:
        await trio.to_thread.run_sync(server.stop)
        database = Database(server.url)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(database.run)
            with pytest.raises(Unavailable):
                await database.read(names)
            await trio.to_thread.run_sync(server.start)
            with trio.fail_after(PATIENCE):
                await database.ready.wait()
            assert await database.read(names) == []
            nursery.cancel_scope.cancel()


async def test_a_writer_of_another_process_that_does_not_end_makes_it_unavailable(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'chat.db'}"
    async with opened(url, patience=0.05) as database:
        other = create_engine(url)
        with other.connect() as held:
            held.exec_driver_sql("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable):
                await database.write(add_user("ann"))
        other.dispose()


@pytest.mark.parametrize("url", ["nonsense", "mysql://host/name", "sqlite://", "sqlite:///:memory:", ""])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL"):
        Database(url)


def test_foreign_keys_are_checked_in_sqlite(tmp_path: Path) -> None:
    engine = create_sqlite(create_engine(f"sqlite:///{tmp_path / 'chat.db'}").url)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
    engine.dispose()
