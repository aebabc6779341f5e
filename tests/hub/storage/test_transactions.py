"""The writer and the readers, on both databases."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from hub.storage.backends import backend_of
from hub.storage.database import Database
from hub.storage.lock import InUseError
from hub.storage.transactions import Operation, StorageError, Transaction, Transactions


@asynccontextmanager
async def with_things(database: Database, **options: int) -> AsyncIterator[Transactions]:
    """A database with a table ``things``, whose ids are unique."""
    made = Transactions(backend_of(database), **options)
    await made.start()
    await made.write(lambda tx: (tx.run("DROP TABLE IF EXISTS things"), tx.run("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT)")))
    yield made
    if made._writer.running:
        await made.write(lambda tx: tx.run("DROP TABLE things"))
    await made.stop()


@pytest.fixture
async def store(database: Database) -> AsyncIterator[Transactions]:
    async with with_things(database) as made:
        yield made


def insert(number: int, name: str = "x") -> Operation[int]:
    return lambda tx: tx.run("INSERT INTO things (id, name) VALUES (?, ?)", (number, name))


async def ids(store: Transactions) -> list[int]:
    return [number for (number,) in await store.read(lambda tx: tx.rows("SELECT id FROM things ORDER BY id"))]


async def test_what_is_written_is_read(store: Transactions) -> None:
    assert await store.write(insert(1, "a % and a ?")) == 1
    assert await store.write(lambda tx: tx.row("UPDATE things SET name = name || ? WHERE id = ? RETURNING name", ("!", 1))) == (
        "a % and a ?!",
    )
    assert await store.read(lambda tx: tx.row("SELECT name FROM things WHERE id = 1")) == ("a % and a ?!",)
    assert await store.read(lambda tx: tx.row("SELECT name FROM things WHERE id = 2")) is None


async def test_many_at_once_share_commits(store: Transactions) -> None:
    before = store.counters.commits
    await asyncio.gather(*(store.write(insert(number)) for number in range(500)))
    assert await ids(store) == list(range(500))
    assert store.counters.commits - before < 100


class Refused(Exception):
    """An operation's own reason."""


async def test_who_is_refused_takes_nobody_along(store: Transactions) -> None:
    def half(tx: Transaction) -> None:
        tx.run("INSERT INTO things (id, name) VALUES (?, ?)", (100, "half"))
        raise Refused

    results = await asyncio.gather(*(store.write(half if number == 5 else insert(number)) for number in range(10)), return_exceptions=True)
    assert [type(result) for result in results if result != 1] == [Refused]
    assert await ids(store) == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert store.counters.refused == 1


async def test_a_statement_that_fails_takes_nobody_along(store: Transactions) -> None:
    results = await asyncio.gather(*(store.write(insert(number)) for number in (1, 2, 1, 3)), return_exceptions=True)
    assert [isinstance(result, sqlite3.IntegrityError | psycopg.errors.UniqueViolation) for result in results] == [
        False,
        False,
        True,
        False,
    ]
    assert await ids(store) == [1, 2, 3]


async def test_operations_run_in_the_order_in_which_they_came(store: Transactions) -> None:
    ran: list[int] = []
    await asyncio.gather(*(store.write(lambda tx, number=number: ran.append(number)) for number in range(200)))  # type: ignore[misc]
    assert ran == list(range(200))


async def test_what_happens_after_the_commit_happens_on_the_loop_and_before_the_caller_goes_on(store: Transactions) -> None:
    seen: list[Any] = []

    def write(tx: Transaction) -> None:
        insert(1)(tx)
        tx.after_commit(lambda: seen.append(threading.current_thread() is threading.main_thread()))

    await store.write(write)
    assert seen == [True]


async def test_nothing_happens_after_what_is_not_kept(store: Transactions) -> None:
    seen: list[int] = []

    def write(tx: Transaction) -> None:
        tx.after_commit(lambda: seen.append(1))
        raise Refused

    with pytest.raises(Refused):
        await store.write(write)
    await store.write(insert(1))
    assert seen == []


async def test_a_caller_that_is_gone_does_not_stop_its_operation(store: Transactions) -> None:
    task = asyncio.ensure_future(store.write(insert(1)))
    await asyncio.sleep(0)
    task.cancel()
    await store.write(insert(2))
    assert await ids(store) == [1, 2]


async def test_a_reader_sees_one_moment(store: Transactions) -> None:
    loop = asyncio.get_running_loop()

    def twice(tx: Transaction) -> list[Any]:
        first = tx.row("SELECT count(*) FROM things")
        asyncio.run_coroutine_threadsafe(store.write(insert(1)), loop).result(10)
        return [first, tx.row("SELECT count(*) FROM things")]

    assert await store.read(twice) == [(0,), (0,)]


async def test_who_reads_may_not_write_on_postgresql_and_a_reader_that_failed_reads_again(store: Transactions) -> None:
    with pytest.raises((sqlite3.Error, psycopg.Error, StorageError)):
        await store.read(lambda tx: tx.rows("SELECT nothing FROM nowhere"))
    for _ in range(4):
        assert await store.read(lambda tx: tx.row("SELECT 1")) == (1,)


async def test_what_waits_is_bounded(database: Database) -> None:
    gate = threading.Event()
    async with with_things(database, max_waiting=3) as store:
        blocked = asyncio.ensure_future(store.write(lambda tx: gate.wait(10)))
        await asyncio.sleep(0)
        waiting = []
        while store.waiting < 3:
            waiting.append(asyncio.ensure_future(store.write(insert(len(waiting)))))
            await asyncio.sleep(0)
        with pytest.raises(StorageError, match="does not keep up: 3 operations wait"):
            await store.write(insert(99))
        gate.set()
        await asyncio.gather(blocked, *waiting)
        assert await ids(store) == list(range(len(waiting)))


async def test_stopping_writes_what_waits(store: Transactions, database: Database) -> None:
    writing = [asyncio.ensure_future(store.write(insert(number))) for number in range(50)]
    await asyncio.sleep(0)
    await store.stop()
    await asyncio.gather(*writing)
    with pytest.raises(StorageError, match="not open"):
        await store.write(insert(99))
    with pytest.raises(StorageError, match="not open"):
        await store.read(lambda tx: tx.row("SELECT 1"))
    again = Transactions(backend_of(database))
    await again.start()
    assert await ids(again) == list(range(50))
    await again.write(lambda tx: tx.run("DROP TABLE things"))
    await again.stop()


async def test_a_sqlite_file_serves_one_hub(light_database: Database) -> None:
    backend = backend_of(light_database)
    with pytest.raises(InUseError, match="is in use by process"):
        backend_of(light_database)
    backend.close()
    backend_of(light_database).close()


async def test_a_sqlite_database_in_memory_is_refused() -> None:
    with pytest.raises(StorageError, match="needs a file"):
        backend_of(Database("sqlite://"))


async def test_a_database_that_came_back_is_written_again(store: Transactions) -> None:
    """The connection is cut from outside, as a restart of PostgreSQL does; SQLite's file cannot go away."""
    await store.write(insert(1))
    assert store._writer.connection is not None
    store._writer.connection.close()
    with pytest.raises((StorageError, sqlite3.Error)):
        await store.write(insert(2))
    await store.write(insert(3))
    assert await ids(store) == [1, 3]
    assert store.counters.faults == 1


async def test_two_writers_that_want_each_others_rows(store: Transactions, database: Database) -> None:
    """PostgreSQL ends a deadlock by failing one of the two: it is tried again."""
    if database.is_sqlite:
        with pytest.raises(InUseError):
            backend_of(database)  # there cannot be two
        return
    other = Transactions(backend_of(database))
    await other.start()
    await store.write(lambda tx: [insert(number)(tx) for number in (1, 2)])
    both = threading.Barrier(2)
    met: list[int] = []

    def update(first: int, second: int) -> Operation[None]:
        def run(tx: Transaction) -> None:
            tx.run("UPDATE things SET name = name || ? WHERE id = ?", ("y", first))
            if not met:
                both.wait(10)
                met.append(first)
            tx.run("UPDATE things SET name = name || ? WHERE id = ?", ("z", second))

        return run

    await asyncio.gather(store.write(update(1, 2)), other.write(update(2, 1)))
    assert await store.read(lambda tx: tx.rows("SELECT length(name) FROM things")) == [(3,), (3,)]
    # The one that was failed may take its first row again before the other has woken up for it: then they meet twice.
    assert store.counters.retried + other.counters.retried >= 1
    await other.stop()
