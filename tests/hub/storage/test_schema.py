"""Versions: their order, and which of them a database lacks."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from channels.families import FAMILIES
from hub.families import migrations_of
from hub.storage.migrations import migrate, versions_of
from hub.storage.schema import SQLITE, UnknownVersionError, Version, in_order, newest, upgrade
from tests.hub.storage.backends import Postgres, Sqlite, opened

PACKAGES = migrations_of(FAMILIES)

RECORDED = Path(__file__).parents[2] / "channels" / "statistics" / "recorded_0_1_0" / "hub.sql"


class Noted:
    """Notes versions in memory."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)

    def read(self, _: object) -> set[str]:
        return set(self.names)

    def write(self, _: object, versions: Sequence[Version]) -> None:
        self.names = set(newest(versions))


def taken(record: Noted, *versions: tuple[str, tuple[str, ...]]) -> tuple[bool, list[str]]:
    """Upgrade; returns whether the database was new, and what happened in which order."""
    done: list[str] = []
    made = [Version(name, after, lambda _, name=name: done.append(name)) for name, after in versions]  # type: ignore[misc]
    connection: Any = sqlite3.connect(":memory:")
    is_new = upgrade(connection, SQLITE, made, record, lambda: done.append("before"))
    connection.close()
    return is_new, done


A1, A2, B1, B2 = ("a1", ()), ("a2", ("a1",)), ("b1", ("a1",)), ("b2", ("b1", "a2"))


def test_each_comes_behind_those_that_it_comes_after() -> None:
    record = Noted()
    assert taken(record, B2, B1, A2, A1) == (True, ["a1", "b1", "a2", "b2"])
    assert record.names == {"b2"}


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (["a1"], ["before", "a2", "b1", "b2"]),
        (["b1"], ["before", "a2", "b2"]),  # it stands for a1
        (["b1", "a2"], ["before", "b2"]),
        (["b2"], []),
    ],
)
def test_what_is_noted_stands_for_what_comes_before_it(there: list[str], expected: list[str]) -> None:
    assert taken(Noted(*there), A1, A2, B1, B2) == (False, expected)


def test_a_version_that_nobody_knows_is_refused_before_anything_happens() -> None:
    with pytest.raises(UnknownVersionError, match="does not know its schema y9, z9") as refused:
        taken(Noted("a1", "z9", "y9"), A1, A2)
    assert refused.value.names == ("y9", "z9")


@pytest.mark.parametrize("after", [("nothing",), ("a2",)])
def test_a_version_after_one_that_is_not_there_is_a_fault(after: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="a2: expected versions before it that are known"):
        in_order([Version("a1", (), lambda _: None), Version("a2", after, lambda _: None)])


def test_every_version_of_the_hub_has_a_name_of_its_own() -> None:
    names = [version.name for version in versions_of(PACKAGES)]
    assert len(set(names)) == len(names)
    in_order(versions_of(PACKAGES))


def shape(connection: sqlite3.Connection) -> dict[str, Any]:
    """The tables of a SQLite file: columns, indexes and foreign keys."""
    found: dict[str, Any] = {}
    for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'").fetchall():
        indexes = {}
        for _, index, unique, origin, partial in connection.execute(f"PRAGMA index_list({table})").fetchall():
            columns = [name for _, _, name in connection.execute(f"PRAGMA index_info({index})")]
            indexes[index] = (unique, origin, partial, columns)
        found[table] = (
            connection.execute(f"PRAGMA table_xinfo({table})").fetchall(),
            indexes,
            connection.execute(f"PRAGMA foreign_key_list({table})").fetchall(),
        )
    return found


async def test_a_database_of_0_1_0_has_the_tables_of_a_new_one_afterwards(sqlite: Sqlite, tmp_path: Path) -> None:
    old = tmp_path / "hub.db"
    with sqlite3.connect(old) as connection:
        connection.executescript(RECORDED.read_text())
    connection.close()
    shapes = []
    for url in (sqlite.new(), f"sqlite:///{old}"):
        async with opened(url) as database:
            await migrate(database, PACKAGES)
            assert database.path is not None
            connection = sqlite3.connect(database.path)
            shapes.append(shape(connection))
            connection.close()
    assert shapes[0] == shapes[1]


async def test_who_may_not_create_tables_on_postgresql_may_use_those_that_are_there(postgres: Postgres) -> None:
    """As where an administrator makes the tables, and the hub's own user may only read and write."""
    name = await postgres.create()
    async with opened(postgres.url(name)) as database:
        assert await migrate(database, PACKAGES)
    role = f"reader_{name}"
    await postgres._run(name, f"CREATE ROLE {role} LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    await postgres._run(name, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    async with opened(postgres.url(name).replace("postgres@", f"{role}@")) as database:
        assert not await migrate(database, PACKAGES)
    with psycopg.connect(host=str(postgres.socket_dir), user="postgres", dbname=name, autocommit=True) as connection:
        connection.execute(f"DROP OWNED BY {role}".encode())
        connection.execute(f"DROP ROLE {role}".encode())
