"""Sessions of others that hold locks in PostgreSQL, as an administrator's open transaction does: what needs the lock is refused, and the
one writer goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from hub.eventlog.interface import EventLogError
from hub.eventlog.postgresql import PostgresEventLog
from hub.storage.backends import backend_of
from hub.storage.database import Database
from hub.storage.interface import Patience
from hub.storage.migrations import HUB
from hub.storage.transactions import StorageError, Transactions
from hub.storage.url import DatabaseUrl
from tests.hub.storage.backends import EVENTS, Postgres, postgres

__all__ = ["postgres"]

SHORT = Patience(lock_s=0.2, statement_s=1.0)


@pytest.fixture
async def name(postgres: Postgres) -> str:
    return await postgres.create()


@pytest.fixture
async def store(postgres: Postgres, name: str) -> AsyncIterator[Transactions]:
    database = Database(postgres.url(name))
    made = Transactions(backend_of(database, patience=SHORT))
    await made.start()
    await made.write(lambda tx: (tx.run("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT)"), None)[1])
    await made.write(lambda tx: tx.run("INSERT INTO things (id, name) VALUES (1, 'one'), (2, 'two')"))
    yield made
    await made.stop()
    database.close()


def stranger(postgres: Postgres, name: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(host=str(postgres.socket_dir), user="postgres", dbname=name)


async def rename(store: Transactions, number: int) -> int:
    return await store.write(lambda tx: tx.run("UPDATE things SET name = 'new' WHERE id = ?", (number,)))


async def test_a_row_that_a_stranger_holds_is_refused_and_others_are_written(store: Transactions, postgres: Postgres, name: str) -> None:
    with stranger(postgres, name) as held:
        held.execute("SELECT * FROM things WHERE id = 1 FOR UPDATE")
        results = await asyncio.gather(rename(store, 1), rename(store, 2), rename(store, 1), return_exceptions=True)
        assert [isinstance(result, StorageError) for result in results] == [True, False, True]
        assert "lock timeout" in str(results[0])
        assert (results[1], store.counters.blocked, store.counters.faults) == (1, 2, 0)
        assert await store.trouble() is None
        held.rollback()
    assert await rename(store, 1) == 1


async def test_a_statement_that_takes_too_long_is_refused(store: Transactions) -> None:
    with pytest.raises(StorageError, match="statement timeout"):
        await store.write(lambda tx: tx.row("SELECT pg_sleep(60)"))
    assert store.counters.blocked == 1
    assert await rename(store, 1) == 1


async def test_a_table_that_a_stranger_holds_is_not_read(store: Transactions, postgres: Postgres, name: str) -> None:
    with stranger(postgres, name) as held:
        held.execute("LOCK TABLE things IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StorageError, match="lock timeout"):
            await store.read(lambda tx: tx.rows("SELECT * FROM things"))
        with pytest.raises(StorageError, match="lock timeout"):
            await rename(store, 1)
    assert len(await store.read(lambda tx: tx.rows("SELECT * FROM things"))) == 2


async def test_the_event_log_waits_no_longer_either(postgres: Postgres) -> None:
    name = await postgres.migrated((*HUB, EVENTS))
    log = PostgresEventLog(DatabaseUrl.parse(postgres.url(name)), patience=SHORT)
    try:
        await log.append("acme", "s", [b"1"])
        with stranger(postgres, name) as held:
            held.execute("SELECT * FROM event_streams FOR UPDATE")
            with pytest.raises(EventLogError, match="lock timeout"):
                await log.append("acme", "s", [b"2"])
            await log.append("other", "s", [b"1"])
        assert await log.append("acme", "s", [b"2"]) == 2
    finally:
        await log.close()
