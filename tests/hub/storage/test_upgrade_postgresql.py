"""A PostgreSQL database with the tables of version 0.1.0 is copied to a schema of its own, then brought up to date, or left as it was."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from channels.families import FAMILIES
from hub.families import migrations_of
from hub.storage.backends import backend_of
from hub.storage.migrations import _TableRecord, migrate, versions_of
from hub.storage.schema import POSTGRESQL, newest, upgrade
from hub.storage.transactions import StorageError
from hub.storage.upgrade_copy_postgresql import SCHEMA, copy_schema
from tests.hub.storage.backends import Postgres, opened

PACKAGES = migrations_of(FAMILIES)

OLD = {"messaging_0001", "secure_email_0001", "interactions_0001"}
"""What 0.1.0 noted of its versions; they stand for those that they depend on, too."""

NEW = set(newest(versions_of(PACKAGES)))


def with_those_before(names: set[str]) -> set[str]:
    """These versions, and all that they depend on."""
    before = {name for version in versions_of(PACKAGES) if version.name in names for name in version.after} - names
    return with_those_before(names | before) if before else names


LATER = {version.name for version in versions_of(PACKAGES)} - with_those_before(OLD)
"""What 0.1.0 did not have."""

ROWS = """
INSERT INTO tenants (name, created_ms) VALUES ('acme', 1), ('other', 1);
INSERT INTO users (id, tenant, name, password_hash, roles, created_ms) VALUES ('u1', 'acme', 'ana', 'x', '["user"]', 2);
INSERT INTO outbox_events (tenant, type, key, media, operation_id, trace_id, endpoint, body, at_ms, origin, lease_owner, lease_until_ms)
    SELECT 'acme', 'a.b', 'k' || n, '', 'op', 'trace', '', '\\x7b7d', n, '', '', 0 FROM generate_series(1, 5) n;
"""


FULL = """
CREATE FUNCTION full_disk() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full', MESSAGE = 'could not extend file: No space left on device'; END $$
"""


@pytest.fixture
async def name(postgres: Postgres) -> str:
    """A database as 0.1.0 left it."""
    made = await postgres.create()
    async with opened(postgres.url(made)) as database:
        backend = backend_of(database)
        connection = backend.connect()
        connection.begin_writing()
        versions = [version for version in versions_of(PACKAGES) if version.name not in LATER]
        assert upgrade(connection, POSTGRESQL, versions, _TableRecord(sqlite=False), lambda: None)
        connection.execute("COMMIT")
        connection.close()
    with connected(postgres, made) as direct:
        direct.execute(ROWS.encode())
    return made


@contextmanager
def connected(postgres: Postgres, name: str, user: str = "postgres") -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(host=str(postgres.socket_dir), user=user, dbname=name, autocommit=True) as connection:
        yield connection


def versions(connection: psycopg.Connection[Any], schema: str = "public") -> set[str]:
    return {name for (name,) in connection.execute(f"SELECT version_num FROM {schema}.alembic_version".encode())}


def content(connection: psycopg.Connection[Any], schema: str) -> dict[str, Any]:
    """The columns, rows, indexes and foreign keys of each table of a schema."""
    tables = [name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (schema,))]
    found: dict[str, Any] = {}
    for table in tables:
        columns = connection.execute(
            "SELECT column_name, data_type, is_nullable, replace(column_default, 'hub_before_upgrade.', '')"
            " FROM information_schema.columns WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
            (schema, table),
        ).fetchall()
        rows = connection.execute(f"SELECT to_jsonb(t) FROM {schema}.{table} t".encode()).fetchall()
        unique = connection.execute(
            "SELECT i.indisunique, i.indisprimary, i.indkey::text FROM pg_index i WHERE i.indrelid = %s::regclass", (f"{schema}.{table}",)
        ).fetchall()
        keys = connection.execute(
            "SELECT conname, replace(pg_get_constraintdef(oid), 'hub_before_upgrade.', '') FROM pg_constraint"
            " WHERE contype = 'f' AND conrelid = %s::regclass",
            (f"{schema}.{table}",),
        ).fetchall()
        found[table] = (columns, sorted(map(str, rows)), sorted(unique), sorted(keys))
    return found


async def upgraded(postgres: Postgres, name: str) -> None:
    async with opened(postgres.url(name)) as database:
        assert not await migrate(database, PACKAGES)


async def test_it_is_copied_then_upgraded(postgres: Postgres, name: str) -> None:
    with connected(postgres, name) as connection:
        before = content(connection, "public")
        with capture_logs() as logs:
            await upgraded(postgres, name)
        assert (versions(connection), versions(connection, SCHEMA)) == (NEW, OLD)
        assert content(connection, SCHEMA) == before
        assert [entry["tables"] for entry in logs if entry["event"] == "copied_before_upgrade"] == [len(before)]
        await upgraded(postgres, name)
        assert versions(connection, SCHEMA) == OLD, "what is up to date is not copied"


async def test_the_copy_takes_the_place_of_what_was_upgraded(postgres: Postgres, name: str) -> None:
    """Sequences go on, foreign keys hold, and it is upgraded again."""
    await upgraded(postgres, name)
    with connected(postgres, name) as connection:
        connection.execute(f"BEGIN; DROP SCHEMA public CASCADE; ALTER SCHEMA {SCHEMA} RENAME TO public; COMMIT".encode())
        assert versions(connection) == OLD
        await upgraded(postgres, name)
        assert (versions(connection), versions(connection, SCHEMA)) == (NEW, OLD)
        connection.execute(
            "INSERT INTO outbox_events (tenant, type, key, media, operation_id, trace_id, endpoint, body, at_ms, origin)"
            " VALUES ('acme', 'a.b', 'k', '', 'op', 'trace', '', '', 1, '')"
        )
        assert connection.execute("SELECT max(id), count(*) FROM outbox_events").fetchone() == (6, 6)
        connection.execute("DELETE FROM tenants WHERE name = 'acme'")
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)


async def test_hubs_in_two_schemas_of_a_database_have_a_copy_each(postgres: Postgres, name: str) -> None:
    long = "l" * 60
    with connected(postgres, name) as connection:
        before = content(connection, "public")
        for number, schema in enumerate(("second", "Odd Name", long)):
            connection.execute(f'ALTER SCHEMA public RENAME TO "{schema}"'.encode())
            connection.execute(f'ALTER DATABASE {name} SET search_path = "{schema}"'.encode())
            await upgraded(postgres, name)
            copy = copy_schema(schema)
            assert len(copy) <= 63
            assert (versions(connection, f'"{schema}"'), versions(connection, f'"{copy}"')) == (NEW, OLD)
            connection.execute(f'ALTER SCHEMA "{schema}" RENAME TO done_{number}'.encode())
            connection.execute(f'ALTER SCHEMA "{copy}" RENAME TO public'.encode())
        assert content(connection, "public").keys() == before.keys()
    assert len({copy_schema(schema) for schema in ("public", "second", "Odd Name", long, f"{long}l")}) == 5


async def test_a_disk_that_is_full_while_the_copy_is_made_leaves_everything_as_it_was(postgres: Postgres, name: str) -> None:
    """Also the copy of the upgrade before, which is dropped first."""
    with connected(postgres, name) as connection:
        connection.execute(f"CREATE SCHEMA {SCHEMA}; CREATE TABLE {SCHEMA}.before AS SELECT 7 AS n".encode())
        old = content(connection, "public")
        connection.execute(FULL.encode())
        for full_at in ("CREATE SCHEMA", "CREATE TABLE", "CREATE SEQUENCE", "ALTER TABLE"):
            when = f"ON ddl_command_end WHEN TAG IN ('{full_at}')"
            connection.execute(f"CREATE EVENT TRIGGER full_disk {when} EXECUTE FUNCTION full_disk()".encode())
            async with opened(postgres.url(name)) as database:
                with pytest.raises(StorageError, match="No space left on device"):
                    await migrate(database, PACKAGES)
            connection.execute(b"DROP EVENT TRIGGER full_disk")
            assert versions(connection) == OLD
            assert content(connection, "public") == old
            assert connection.execute(f"SELECT n FROM {SCHEMA}.before".encode()).fetchall() == [(7,)]
        await upgraded(postgres, name)  # there is room again
        assert (versions(connection), versions(connection, SCHEMA)) == (NEW, OLD)


async def test_a_database_without_tables_is_not_copied(postgres: Postgres) -> None:
    new = await postgres.create()
    async with opened(postgres.url(new)) as database:
        assert await migrate(database, PACKAGES)
    with connected(postgres, new) as connection:
        assert connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (SCHEMA,)).fetchone() is None


async def test_who_may_not_make_schemas_is_told_to_dump_before(postgres: Postgres, name: str) -> None:
    role = f"owner_{name}"
    with connected(postgres, name) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN; GRANT ALL ON SCHEMA public TO {role}".encode())
        for table in content(connection, "public"):
            connection.execute(f"ALTER TABLE public.{table} OWNER TO {role}".encode())
        try:
            async with opened(postgres.url(name).replace("postgres@", f"{role}@")) as database:
                with capture_logs() as logs:
                    assert not await migrate(database, PACKAGES)
            (said,) = [entry for entry in logs if entry["event"] == "not_copied_before_upgrade"]
            assert "pg_dump" in said["advice"]
            assert versions(connection) == NEW
            assert connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (SCHEMA,)).fetchone() is None
        finally:
            connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())


DIE = """
import asyncio, os, signal, sys

from channels.families import FAMILIES
from hub.families import migrations_of
from hub.storage.database import Database
from hub.storage.migrations import migrate
from hub.storage.transactions_postgresql import PostgresConnection

left = 1_000_000

def step():
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

def counted(self, *arguments, execute=PostgresConnection.execute):
    step()
    return execute(self, *arguments)

def closed(self, close=PostgresConnection.close):
    step()
    close(self)

PostgresConnection.execute, PostgresConnection.close = counted, closed

async def upgrade(url):
    database = Database(url)
    await migrate(database, migrations_of(FAMILIES))

whole, *killed = sys.argv[1:]
asyncio.run(upgrade(whole))
steps = 1_000_000 - left
chosen = [0, 3, steps // 3, steps * 2 // 3, steps - 3, steps - 2, steps - 1]
for url, at in zip(killed, chosen, strict=True):
    child = os.fork()
    if child == 0:
        left = at
        asyncio.run(upgrade(url))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, at
print(steps)
"""
"""Ends processes before their statements: before the copy, within it, behind it, before the commit and behind that."""


async def test_a_kill_at_any_step_leaves_the_old_or_the_new(postgres: Postgres, name: str) -> None:
    with connected(postgres, name) as connection:
        before = content(connection, "public")
    names = [f"{name}_{number}" for number in range(8)]
    with connected(postgres, "postgres") as connection:
        for each in names:
            connection.execute(f"CREATE DATABASE {each} TEMPLATE {name}".encode())
    urls = [postgres.url(each) for each in names]
    done = subprocess.run([sys.executable, "-c", DIE, *urls], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) > 50
    seen = set()
    for each in names[1:]:
        with connected(postgres, each) as connection:
            found = versions(connection)
            assert found in (OLD, NEW)
            seen.add("old" if found == OLD else "new")
            copied = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (SCHEMA,)).fetchone() is not None
            assert copied == (found == NEW), "the copy is of the same transaction"
            if found == OLD:
                assert content(connection, "public") == before
            await upgraded(postgres, each)
            assert versions(connection) == NEW
            assert content(connection, SCHEMA) == before
    assert seen == {"old", "new"}


async def test_tables_of_others_are_left_alone(postgres: Postgres, name: str) -> None:
    """In the same schema there may be tables of an extension or of another application, which the hub's user may not even read."""
    role = f"owner_{name}"
    with connected(postgres, name) as connection:
        connection.execute(
            f"CREATE ROLE {role} LOGIN; GRANT ALL ON SCHEMA public TO {role}; GRANT CREATE ON DATABASE {name} TO {role}".encode()
        )
        for table in content(connection, "public"):
            connection.execute(f"ALTER TABLE public.{table} OWNER TO {role}".encode())
        before = content(connection, "public")
        connection.execute(
            b"CREATE TABLE public.spatial_ref_sys (srid integer PRIMARY KEY, name text REFERENCES public.tenants (name));"
            b"INSERT INTO public.spatial_ref_sys VALUES (4326, 'acme')"
        )
        try:
            async with opened(postgres.url(name).replace("postgres@", f"{role}@")) as database:
                assert not await migrate(database, PACKAGES)
            assert versions(connection) == NEW
            assert content(connection, SCHEMA) == before
        finally:
            connection.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}".encode())


async def test_tables_of_another_application_of_the_same_user_do_no_harm(postgres: Postgres, name: str) -> None:
    """Numbers that the server alone may give, columns that it computes, keys that lead elsewhere, odd names."""
    with connected(postgres, name) as connection:
        connection.execute(
            b"CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.kinds (id integer PRIMARY KEY); INSERT INTO elsewhere.kinds VALUES (1);"
            b"CREATE TABLE public.orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, price integer NOT NULL,"
            b" twice integer GENERATED ALWAYS AS (price * 2) STORED, kind integer REFERENCES elsewhere.kinds);"
            b"INSERT INTO public.orders (price, kind) VALUES (5, 1), (6, 1);"
            b'CREATE TABLE public."who\'s %s?" (id bigserial PRIMARY KEY, "what?" text);'
            b'INSERT INTO public."who\'s %s?" ("what?") VALUES (\'x\')'
        )
        await upgraded(postgres, name)
        assert versions(connection) == NEW
        assert versions(connection, SCHEMA) == OLD
