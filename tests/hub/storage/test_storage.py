"""Database and migrations, on both backends."""

import asyncio
import sqlite3
import stat
import sys
from pathlib import Path

import psycopg
import pytest

from hub.storage.database import Database
from hub.storage.interface import StorageError
from hub.storage.migrations import HUB, NewerDatabaseError, migrate
from tests.hub.storage.backends import Sqlite, opened, running

MIGRATE = """
import asyncio, sys
from hub.storage.database import Database
from hub.storage.migrations import HUB, migrate

async def main():
    database = Database(sys.argv[1])
    await migrate(database)
    database.close()

asyncio.run(main())
"""


async def number(database: Database) -> int:
    async with running(database) as transactions:
        row = await transactions.read(lambda tx: tx.row("SELECT number FROM revision"))
    assert row is not None
    return int(row[0])


async def run(database: Database, sql: str) -> None:
    async with running(database) as transactions:
        await transactions.write(lambda tx: tx.run(sql))


async def test_migrating_makes_these_tables_and_nothing_else(database: Database) -> None:
    catalogue = (
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        if database.is_sqlite
        else "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    )
    async with running(database) as transactions:
        found = {name for (name,) in await transactions.read(lambda tx: tx.rows(catalogue))}
    security = {"tenants", "roles", "users", "api_keys", "access_keys", "tokens", "revision", "revocations"}
    security |= {
        "clients",
        "families",
        "codes",
        "access_tokens",
        "refresh_tokens",
        "signing_keys",
        "device_codes",
        "audit",
        "audit_chains",
        "external_tokens",
        "blocked_tokens",
    }
    outbox = {"outbox_events", "outbox_revision", "endpoints", "deliveries", "attempts"}
    assert found == {"alembic_version", *security, *outbox}


async def test_migrating_twice_changes_nothing(database: Database) -> None:
    assert not await migrate(database)
    await run(database, "UPDATE revision SET number = 7")
    assert not await migrate(database)
    assert await number(database) == 7


async def test_two_processes_may_migrate_at_once(empty_url: str) -> None:
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", MIGRATE, empty_url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        for _ in range(3)
    ]
    outputs = await asyncio.gather(*(process.communicate() for process in started))
    assert [(process.returncode, out) for process, (out, _) in zip(started, outputs, strict=True)] == [(0, b"")] * 3
    async with opened(empty_url) as database:
        assert await number(database) == 1


async def test_a_database_of_a_newer_hub_is_refused(light_database: Database) -> None:
    await run(light_database, "UPDATE alembic_version SET version_num = 'outbox_9999' WHERE version_num LIKE 'outbox%'")
    with pytest.raises(NewerDatabaseError, match="outbox_9999"):
        await migrate(light_database)


async def test_a_migration_that_fails_leaves_nothing_behind(sqlite: Sqlite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "broken_versions"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "broken_0001.py").write_text(
        "revision = 'broken_0001'\nafter = ()\n\ndef upgrade(schema):\n    schema.run('CREATE TABLE half (id INTEGER)', 'nonsense')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    async with opened(sqlite.new()) as database:
        with pytest.raises(StorageError, match=r"cannot be brought up to date: .*nonsense"):
            await migrate(database, ["broken_versions"])
        async with running(database) as transactions:
            assert await transactions.read(lambda tx: tx.rows("SELECT name FROM sqlite_master")) == []


async def test_families_bring_versions_of_their_own(sqlite: Sqlite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "family_versions"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "family_0001.py").write_text(
        "revision = 'family_0001'\nafter = ('security_0001',)\n\n"
        "def upgrade(schema):\n    schema.run('CREATE TABLE things (id {counter} PRIMARY KEY)')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    async with opened(sqlite.new()) as database:
        await migrate(database)
        await migrate(database, (*HUB, "family_versions"))
        async with running(database) as transactions:
            versions = await transactions.read(lambda tx: tx.rows("SELECT version_num FROM alembic_version ORDER BY 1"))
        assert versions == [("family_0001",), ("outbox_0002",), ("security_0007",)]


async def test_an_unknown_package_is_an_error(light_database: Database) -> None:
    with pytest.raises(ModuleNotFoundError):
        await migrate(light_database, ["no.such.package"])


async def test_the_sqlite_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "hub.db"
    async with opened(f"sqlite:///{path}") as database:
        await migrate(database)
        async with running(database) as transactions:
            await transactions.write(lambda tx: tx.run("INSERT INTO tenants (name, created_ms) VALUES ('acme', 1)"))
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes.keys() >= {"hub.db", "hub.db-wal", "hub.db.migrating"}
    assert set(modes.values()) == {0o600}


async def test_foreign_keys_hold(database: Database) -> None:
    with pytest.raises((sqlite3.IntegrityError, psycopg.IntegrityError)):
        await run(
            database, "INSERT INTO users (id, tenant, name, password_hash, roles, created_ms) VALUES ('1', 'nobody', 'a', '', '[]', 1)"
        )


@pytest.mark.parametrize("url", ["sqlite:///x.db", "sqlite+aiosqlite:///x.db", "sqlite+pysqlite:///x.db"])
def test_the_driver_that_a_url_names_changes_nothing(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    database = Database(url)
    assert (str(database), database.path) == ("sqlite:///x.db", Path("x.db"))
    database.close()


def test_a_database_says_where_it_is_without_its_password() -> None:
    assert str(Database("postgresql+psycopg://ana:geheim@db/hub")) == "postgresql://ana:***@db/hub"
