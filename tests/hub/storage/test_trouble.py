"""Faults of a database, and what its condition says of them: real ones, on real files and a real server."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from hub.eventlog.interface import EventLogError
from hub.eventlog.sqlite import SqliteEventLog
from hub.storage.backends import backend_of
from hub.storage.database import Database
from hub.storage.reasons import Reason
from hub.storage.transactions import Operation, StorageError, Transaction, Transactions
from hub.storage.transactions_sqlite import SqliteBackend
from hub.storage.watch import StorageWatch
from tests.hub.storage.backends import Postgres, opened


@pytest.fixture
async def store(light_database: Database) -> AsyncIterator[Transactions]:
    made = Transactions(backend_of(light_database))
    await made.start()
    await made.write(lambda tx: tx.run("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT)"))
    yield made
    await made.stop()


def insert(size: int = 1) -> Operation[int]:
    return lambda tx: tx.run("INSERT INTO things (name) VALUES (?)", ("x" * size,))


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def limit_pages(connection: Any, pages: int) -> None:
    connection.execute(f"PRAGMA max_page_count = {pages}")


async def test_a_full_disk_fails_all_of_a_group_and_is_over_when_there_is_room(store: Transactions) -> None:
    assert store._writer.connection is not None
    (pages,) = store._writer.connection.execute("PRAGMA page_count").fetchone()
    limit_pages(store._writer.connection, pages)
    results = await asyncio.gather(*(store.write(insert(20_000)) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [StorageError] * 3
    assert store.condition.trouble is Reason.FULL
    limit_pages(store._writer.connection, 1_000_000)
    await store.look()
    assert store.condition.trouble is None
    await store.write(insert(20_000))


async def test_a_file_that_another_process_has_locked(store: Transactions, light_database: Database) -> None:
    assert store._writer.connection is not None
    store._writer.connection.execute("PRAGMA busy_timeout = 1")
    assert light_database.path is not None
    blocker = sqlite3.connect(light_database.path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="locked"):
        await store.write(insert())
    assert store.condition.trouble is Reason.LOCKED
    blocker.execute("ROLLBACK")
    blocker.close()
    watch = StorageWatch([store], 0.01)
    await watch.start()
    await until(lambda: store.condition.trouble is None)
    await watch.stop()


def test_a_writer_asks_for_a_locked_file_so_often_that_it_finds_the_moment_in_between(light_database: Database) -> None:
    """Another process that writes without a pause gives the lock back for a tenth of a millisecond at a time."""
    assert light_database.file is not None
    backend = SqliteBackend(light_database.file, exclusive=False)
    blocker, writer = backend.connect(), backend.connect()
    asked = 0

    def execute(sql: str, *parameters: object) -> object:
        nonlocal asked
        if sql == "BEGIN IMMEDIATE" and (asked := asked + 1) == 50:  # long before its time is over
            blocker.execute("COMMIT")
        return writer.raw.execute(sql, *parameters)

    blocker.begin_writing()
    writer.execute = execute
    writer.begin_writing()
    assert asked == 50
    for each in (writer, blocker):
        each.roll_back()
        each.close()


async def test_trouble_is_logged_when_it_begins_and_when_it_ends(store: Transactions, light_database: Database) -> None:
    assert store._writer.connection is not None
    store._writer.connection.execute("PRAGMA query_only = on")
    with capture_logs() as logs:
        for _ in range(20):
            with pytest.raises(StorageError):
                await store.write(insert())
        assert store.condition.trouble is Reason.NOT_WRITABLE
        assert store._writer.connection is not None
        store._writer.connection.execute("PRAGMA query_only = off")
        await store.write(insert())
    assert [(line["event"], line.get("failed_operations")) for line in logs] == [
        ("database_in_trouble", None),
        ("database_works_again", 20),
    ]


async def test_a_damaged_page_is_said_and_stays_said(store: Transactions, light_database: Database) -> None:
    """Bytes in the middle of a table's pages are flipped, as by a torn write; other pages still work."""
    for _ in range(30):
        await store.write(insert(3000))
    assert light_database.path is not None
    with sqlite3.connect(light_database.path) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (root,) = other.execute("SELECT rootpage FROM sqlite_master WHERE name = 'things'").fetchone()
    other.close()
    descriptor = os.open(light_database.path, os.O_RDWR)
    os.pwrite(descriptor, b"\xff" * 4096, (root - 1) * 4096)
    # closed at the end alone: closing it here would let go of SQLite's locks
    assert store._writer.connection is not None
    store._writer.connection.execute("PRAGMA shrink_memory")
    with pytest.raises(StorageError, match="malformed"):
        await store.read(lambda tx: tx.rows("SELECT name FROM things"))
    assert store.condition.trouble is Reason.DAMAGED
    await store.write(lambda tx: tx.run("UPDATE revision SET number = number + 1"))
    assert store.condition.trouble is Reason.DAMAGED
    os.close(descriptor)


async def test_what_was_asked_wrongly_is_no_trouble(store: Transactions) -> None:
    with pytest.raises(sqlite3.Error, match="no such table"):
        await store.write(lambda tx: tx.run("INSERT INTO nowhere VALUES (1)"))
    with pytest.raises(sqlite3.IntegrityError):
        await store.write(lambda tx: [tx.run("INSERT INTO things (id) VALUES (1)") for _ in range(2)])
    assert store.condition.trouble is None


async def test_nothing_is_acknowledged_into_a_file_that_was_deleted(store: Transactions, light_database: Database) -> None:
    assert light_database.path is not None
    aside = light_database.path.with_suffix(".aside")
    light_database.path.rename(aside)
    with pytest.raises(StorageError, match="deleted"):
        await store.write(insert())
    assert store.condition.trouble is Reason.CHANGED
    assert not light_database.path.exists()  # no new one was made in its place
    aside.rename(light_database.path)
    await store.write(insert())
    assert store.condition.trouble is None


async def test_who_reads_makes_no_new_file_in_the_place_of_one_that_is_gone(store: Transactions, light_database: Database) -> None:
    """The first reader has a connection; the second makes one, when the file is gone."""
    path = light_database.path
    assert path is not None
    reading, gone = threading.Event(), threading.Event()

    def hold(tx: Transaction) -> Any:
        reading.set()
        gone.wait()
        return tx.row("SELECT number FROM revision")

    first = asyncio.create_task(store.read(hold))
    await asyncio.to_thread(reading.wait)
    path.rename(path.with_suffix(".aside"))
    with pytest.raises(StorageError, match="deleted"):
        await store.read(lambda tx: tx.row("SELECT number FROM revision"))
    gone.set()
    assert await first == (1,)
    assert not path.exists()


async def test_a_file_that_is_deleted_during_a_commit_is_noticed_before_anybody_is_told(
    store: Transactions, light_database: Database
) -> None:
    def remove(tx: Any) -> int:
        assert light_database.path is not None
        light_database.path.rename(light_database.path.with_suffix(".aside"))
        return insert()(tx)

    with pytest.raises(StorageError, match="deleted"):
        await store.write(remove)


async def test_an_event_log_whose_file_was_replaced(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path)
    await log.append("t", "s", [b"a"])
    other = tmp_path / "restored.db"
    other.write_bytes(log.path.read_bytes())
    os.replace(other, log.path)
    results = await asyncio.gather(*(log.append("t", "s", [b"b"]) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [EventLogError] * 3
    assert "replaced by another file" in str(results[0])
    assert log.file.condition.trouble is Reason.CHANGED
    await log.close()


async def test_an_event_log_without_room_and_with_it_again(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path)
    (pages,) = log.file.writing.execute("PRAGMA page_count").fetchone()
    limit_pages(log.file.writing, pages)
    with pytest.raises(EventLogError, match="full"):
        await log.append("t", "s", [b"x" * 50_000])
    assert log.file.condition.trouble is Reason.FULL
    limit_pages(log.file.writing, 1_000_000)
    await log.file.look()
    assert log.file.condition.trouble is None
    assert await log.append("t", "s", [b"x" * 50_000]) == 1
    await log.close()


async def test_a_server_that_takes_no_writes_and_takes_them_again(postgres: Postgres) -> None:
    async with opened(postgres.url(await postgres.migrated())) as database:
        store = Transactions(backend_of(database))
        await store.start()
        database_name = database.url.database
        await postgres._run("postgres", f"ALTER DATABASE {database_name} SET default_transaction_read_only = on")
        assert store._writer.connection is not None
        store._writer.connection.execute("SET default_transaction_read_only = on")
        for _ in range(2):  # the new connection may only read, too
            with pytest.raises(StorageError):
                await store.write(lambda tx: tx.run("INSERT INTO tenants (name, created_ms) VALUES ('a', 1)"))
        with pytest.raises(StorageError):
            await store.look()
        assert store.condition.trouble is Reason.READ_ONLY
        await postgres._run("postgres", f"ALTER DATABASE {database_name} RESET default_transaction_read_only")
        watch = StorageWatch([store], 0.01)
        await watch.start()
        await until(lambda: store.condition.trouble is None)
        await watch.stop()
        assert await store.write(lambda tx: tx.run("INSERT INTO tenants (name, created_ms) VALUES ('a', 1)")) == 1
        await store.stop()
