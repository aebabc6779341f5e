"""A connection to PostgreSQL that is of no use any more is given up, whoever it belongs to, and the next one works."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg import errors

from hub.audit.log import AuditLog, Recorder
from hub.security.store import Store
from hub.storage.backends import backend_of
from hub.storage.database import Database
from hub.storage.postgresql_errors import of_no_use
from hub.storage.transactions import StorageError, Transactions
from tests.hub.storage.backends import Postgres, opened
from tests.support.cheap_secrets import QUICK


@pytest.fixture
async def database(postgres: Postgres) -> AsyncIterator[Database]:
    async with opened(postgres.url(await postgres.migrated())) as made:
        yield made


@pytest.fixture
async def store(database: Database) -> AsyncIterator[Transactions]:
    made = Transactions(backend_of(database))
    await made.start()
    yield made
    await made.stop()


async def ended(postgres: Postgres, database: Database) -> None:
    """Every connection to the database is ended by the server, as by an administrator or a restart."""
    async with await psycopg.AsyncConnection.connect(host=str(postgres.socket_dir), user="postgres", autocommit=True) as connection:
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (database.url.database,))


RAISE = "INSERT INTO tenants (name, created_ms) VALUES ('a', 1)"


async def test_a_writer_that_may_only_read_gets_another_connection(store: Transactions) -> None:
    """As after a primary was demoted, or a provider's disk is full."""
    assert store._writer.connection is not None
    store._writer.connection.execute("SET default_transaction_read_only = on")
    with pytest.raises(StorageError, match="read-only transaction"):
        await store.write(lambda tx: tx.run(RAISE))
    assert await store.write(lambda tx: tx.run(RAISE)) == 1
    assert store.counters.faults == 1


async def test_the_security_layer_that_may_only_read_gets_another_connection(store: Transactions) -> None:
    security = Store(store, lambda: 1, Recorder(AuditLog(b"a secret", lambda: 1)), QUICK)
    await store.write(lambda tx: tx.run("SET SESSION default_transaction_read_only = on"))
    with pytest.raises(StorageError, match="read-only transaction"):
        await security.add_tenant("acme")
    assert (await security.add_tenant("acme")).name == "acme"


async def test_readers_and_writers_whose_connections_the_server_ended(store: Transactions, database: Database, postgres: Postgres) -> None:
    assert await store.read(lambda tx: tx.row("SELECT 1")) == (1,)
    await ended(postgres, database)
    assert await store.read(lambda tx: tx.row("SELECT 1")) == (1,)  # nothing was written: it is done again at once
    with pytest.raises(StorageError):
        await store.write(lambda tx: tx.run(RAISE))
    assert await store.write(lambda tx: tx.run(RAISE)) == 1
    assert await store.read(lambda tx: tx.row("SELECT 1")) == (1,)
    assert [tenant.name for tenant in await Store(store, lambda: 1, Recorder(AuditLog(b"a secret", lambda: 1)), QUICK).tenants()] == ["a"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("25006", True),
        ("08006", True),
        ("57P01", True),
        ("57P03", True),
        ("53100", True),
        ("26000", True),
        ("42P05", True),
        ("XX001", True),
        ("23505", False),
        ("40001", False),
        ("40P01", False),
        ("57014", False),
        ("55P03", False),
        ("22021", False),
        ("42P01", False),
    ],
)
def test_which_errors_say_that_a_connection_is_of_no_use(code: str, expected: bool) -> None:
    assert of_no_use(errors.lookup(code)("x")) is expected


async def test_a_server_that_says_a_statement_is_gone_is_asked_without_prepared_ones_from_then_on(store: Transactions) -> None:
    """As behind something that hands connections around without a pooler's sign: the process number is the server's own."""

    def turns(tx: object) -> None:
        for _ in range(10):
            tx.rows("SELECT 1 + ?", (1,))  # type: ignore[attr-defined]

    assert store._writer.connection is not None
    await store.write(turns)
    prepared = "SELECT count(*) FROM pg_prepared_statements"
    assert await store.write(lambda tx: tx.row(prepared)) != (0,)
    await store.write(lambda tx: tx.run("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$"))
    store._writer.connection._connection.prepare_threshold = 0  # type: ignore[attr-defined]
    with pytest.raises(StorageError, match="does not exist"):
        await store.write(turns)
    await store.write(turns)
    assert await store.write(lambda tx: tx.row(prepared)) == (0,)
