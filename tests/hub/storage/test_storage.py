"""Database and migrations, on both backends."""

import asyncio
import stat
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, select, text, update
from sqlalchemy.exc import IntegrityError

from hub.security.models import RevisionRow, TenantRow, UserRow
from hub.storage.database import Base, Database
from hub.storage.migrations import HUB, NewerDatabaseError, migrate
from tests.hub.storage.backends import Sqlite, opened

MIGRATE = """
import asyncio, sys
from hub.storage.database import Database
from hub.storage.migrations import HUB, migrate

async def main():
    database = Database(sys.argv[1])
    await migrate(database)
    await database.close()

asyncio.run(main())
"""


async def number(database: Database) -> int | None:
    async with database.read() as session:
        return await session.scalar(select(RevisionRow.number))


WITHOUT_MODELS = {"outbox_events", "outbox_revision", "endpoints", "deliveries", "attempts"}
"""Hot tables, which are used by plain SQL."""


async def test_migrating_makes_the_tables_of_the_models_and_nothing_else(database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        options = {"include_name": lambda name, kind, _: kind != "table" or name not in WITHOUT_MODELS}
        return compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata)

    async with database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []
        assert await connection.run_sync(lambda sync: WITHOUT_MODELS - set(inspect(sync).get_table_names())) == set()


async def test_migrating_twice_changes_nothing(database: Database) -> None:
    async with database.write() as session:
        await session.execute(update(RevisionRow).values(number=7))
    await migrate(database)
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
    async with light_database.write() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = 'outbox_9999' WHERE version_num LIKE 'outbox%'"))
    with pytest.raises(NewerDatabaseError, match="outbox_9999"):
        await migrate(light_database)


async def test_a_migration_that_fails_leaves_nothing_behind(sqlite: Sqlite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "broken_versions"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "broken_0001.py").write_text(
        "from alembic import op\nrevision = 'broken_0001'\ndown_revision = None\nbranch_labels = ('broken',)\ndepends_on = None\n\n"
        "def upgrade():\n    op.execute('CREATE TABLE half (id INTEGER)')\n    op.execute('nonsense')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    async with opened(sqlite.new()) as database:
        with pytest.raises(Exception, match="nonsense"):
            await migrate(database, ["broken_versions"])
        async with database.read() as session:
            assert (await session.execute(text("SELECT name FROM sqlite_master WHERE name = 'half'"))).all() == []


async def test_families_bring_versions_of_their_own(sqlite: Sqlite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "family_versions"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "family_0001.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        "revision = 'family_0001'\ndown_revision = None\nbranch_labels = ('family',)\ndepends_on = None\n\n"
        "def upgrade():\n    op.create_table('things', sa.Column('id', sa.Integer, primary_key=True))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    async with opened(sqlite.new()) as database:
        await migrate(database)
        await migrate(database, (*HUB, "family_versions"))
        async with database.read() as session:
            versions = await session.scalars(text("SELECT version_num FROM alembic_version ORDER BY 1"))
            assert list(versions) == ["family_0001", "outbox_0002", "security_0002"]


async def test_an_unknown_package_is_an_error(light_database: Database) -> None:
    with pytest.raises(ModuleNotFoundError):
        await migrate(light_database, ["no.such.package"])


async def test_a_database_in_memory_is_migrated_without_a_lock_file() -> None:
    async with opened("sqlite+aiosqlite://") as database:
        await migrate(database)
        assert await number(database) == 1


async def test_the_sqlite_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "hub.db"
    async with opened(f"sqlite+aiosqlite:///{path}") as database:
        await migrate(database)
        async with database.write() as session:
            session.add(TenantRow(name="acme", created_ms=1))
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes.keys() >= {"hub.db", "hub.db-wal", "hub.db.migrating"}
    assert set(modes.values()) == {0o600}


async def test_foreign_keys_hold(database: Database) -> None:
    with pytest.raises(IntegrityError):
        async with database.write() as session:
            session.add(UserRow(id="1", tenant="nobody", name="a", password_hash="", roles=[], created_ms=1))


async def test_a_transaction_that_raises_leaves_nothing(database: Database) -> None:
    async def fail() -> None:
        async with database.write() as session:
            await session.execute(update(RevisionRow).values(number=9))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        await fail()
    assert await number(database) == 1


async def test_what_a_reader_changes_is_not_kept(database: Database) -> None:
    async with database.read() as session:
        await session.execute(update(RevisionRow).values(number=9))
    assert await number(database) == 1


async def test_writers_queue_and_lose_nothing(database: Database) -> None:
    async def add() -> None:
        async with database.write() as session:
            await session.execute(update(RevisionRow).values(number=RevisionRow.number + 1))

    await asyncio.gather(*(add() for _ in range(20)))
    assert await number(database) == 21


def test_a_database_says_where_it_is_without_its_password() -> None:
    assert str(Database("postgresql+psycopg://ana:geheim@db/hub")) == "postgresql+psycopg://ana:***@db/hub"
