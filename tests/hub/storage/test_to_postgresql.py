"""``hub migrate``: from a SQLite file into a real PostgreSQL, in one go, interrupted, and refused."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from channels.families import FAMILIES
from hub.families import migrations_of
from hub.storage.backends import backend_of
from hub.storage.database import Database
from hub.storage.interface import Connection
from hub.storage.migrations import migrate
from hub.storage.to_postgresql import MigrationError, Progress, migrate_to_postgresql
from tests.hub.storage.backends import Postgres
from tests.support.hub_process import clean_environment, run_hub

PACKAGES = migrations_of(FAMILIES)
TENANTS = 250


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with many tenants, a token and an API key."""
    folder = tmp_path_factory.mktemp("alone")
    for arguments in (
        ("tenant", "add", "acme"),
        ("token", "add", "ana", "--tenant", "acme", "--role", "admin"),
        ("key", "add", "desk", "--tenant", "acme", "--role", "integrator"),
    ):
        done = run_hub(arguments, folder, clean_environment({"HUB_DATA_DIR": str(folder)}))
        assert done.returncode == 0, done.stdout + done.stderr
    with sqlite3.connect(folder / "hub.db") as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(tenants)")]
        chosen = ", ".join("'tenant-' || value" if column == "name" else column for column in columns)
        database.execute(
            f"WITH RECURSIVE numbers (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM numbers WHERE value < {TENANTS})"
            f" INSERT INTO tenants ({', '.join(columns)}) SELECT {chosen} FROM tenants, numbers WHERE name = 'acme'"
        )
    database.close()
    return folder


@pytest.fixture
async def target(postgres: Postgres) -> Database:
    database = Database(postgres.url(await postgres.create()))
    await migrate(database, PACKAGES)
    return database


@pytest.fixture
def connection(target: Database) -> Iterator[Connection]:
    made = backend_of(target).connect()
    yield made
    made.close()


def ignore(_: Progress) -> None:
    pass


def rows(connection: sqlite3.Connection | Connection, table: str) -> list[tuple[object, ...]]:
    """All rows, with JSON as its value: SQLite has it as text."""

    def plain(each: object) -> object:
        if isinstance(each, str) and each[:1] in ("[", "{"):
            return json.loads(each)
        return bytes(each) if isinstance(each, memoryview) else each

    found = connection.execute(f"SELECT * FROM {table}").fetchall()
    return sorted((tuple(plain(each) for each in row) for row in found), key=repr)


def test_every_row_is_copied_and_the_source_stays(source: Path, target: Database, connection: Connection) -> None:
    file = source / "hub.db"
    before = hashlib.sha256(file.read_bytes()).digest()
    steps: list[Progress] = []
    counts = migrate_to_postgresql(file, target, PACKAGES, steps.append, piece=100)
    assert hashlib.sha256(file.read_bytes()).digest() == before
    assert counts["tenants"] == TENANTS + 1
    assert [step for step in steps if step.table == "tenants"][-1] == Progress("tenants", TENANTS + 1, TENANTS + 1)
    with sqlite3.connect(file) as original:
        for table in counts:
            assert rows(connection, table) == rows(original, table), table
    original.close()
    assert migrate_to_postgresql(file, target, PACKAGES, ignore, piece=100) == counts, "once more changes nothing"


def test_a_migration_that_was_interrupted_goes_on(source: Path, target: Database, connection: Connection) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(step: Progress) -> None:
        if step.table == "tenants" and step.copied >= 100:
            raise Interrupted

    with pytest.raises(Interrupted):
        migrate_to_postgresql(source / "hub.db", target, PACKAGES, interrupt, piece=100)
    steps: list[Progress] = []
    counts = migrate_to_postgresql(source / "hub.db", target, PACKAGES, steps.append, piece=100)
    assert [step.copied for step in steps if step.table == "tenants"] == [200, TENANTS + 1]
    (found,) = connection.execute("SELECT count(*) FROM tenants").fetchone()
    assert found == counts["tenants"]


def test_a_database_that_has_tenants_is_refused(source: Path, target: Database, connection: Connection) -> None:
    migrate_to_postgresql(source / "hub.db", target, PACKAGES, ignore, piece=100)
    connection.execute("DROP TABLE hub_migration")
    with pytest.raises(MigrationError, match=f"expected an empty database, got one with {TENANTS + 1} tenants"):
        migrate_to_postgresql(source / "hub.db", target, PACKAGES, ignore, piece=100)


def test_a_file_of_another_version_is_refused(source: Path, target: Database, tmp_path: Path) -> None:
    old = tmp_path / "hub.db"
    old.write_bytes((source / "hub.db").read_bytes())
    with sqlite3.connect(old) as database:
        database.execute("DELETE FROM alembic_version WHERE version_num LIKE 'eventlog%'")
    database.close()
    with pytest.raises(MigrationError, match="start this version of the hub on the data folder once"):
        migrate_to_postgresql(old, target, PACKAGES, ignore, piece=100)


async def test_the_command(source: Path, postgres: Postgres) -> None:
    url = postgres.url(await postgres.create())
    environment = clean_environment({"HUB_DATA_DIR": str(source)})
    done = run_hub(("migrate", "--to-postgresql", url), source, environment)
    assert done.returncode == 0, done.stderr
    assert "rows of" in done.stdout
    listed = run_hub(("token", "list", "--tenant", "acme"), source, environment | {"HUB_DATABASE_URL": url})
    assert "ana" in listed.stdout, listed.stderr
    refused = run_hub(("migrate", "--to-postgresql", "sqlite:///x.db"), source, environment)
    assert refused.returncode == 1
    assert "expected a URL such as postgresql://" in refused.stderr
    missing = source / "mistyped"
    refused = run_hub(("migrate", "--to-postgresql", url, "--data-dir", str(missing)), source, environment)
    assert refused.returncode == 1
    assert "name the data folder of the hub with --data-dir" in " ".join(refused.stderr.split())
    assert not missing.exists()
