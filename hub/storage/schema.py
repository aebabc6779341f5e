"""Versions of a database's tables: runs those that a database lacks.

The database of tenants and both logs use the same mechanism. A version changes tables by plain SQL. Where SQLite and PostgreSQL differ, a
statement contains a word in braces (:data:`SQLITE`, :data:`POSTGRESQL`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from hub.storage.interface import Connection, Transaction

SQLITE: Final = {"bytes": "BLOB", "number": "INTEGER", "counter": "INTEGER", "never_again": " AUTOINCREMENT"}
"""``counter`` is the type of a column that numbers the rows of a table, ``number`` that of a reference to such a row. With ``never_again``
no number is used twice, not even that of the newest row after it was removed. SQLite numbers rows only in a column of type INTEGER.
"""

POSTGRESQL: Final = {"bytes": "BYTEA", "number": "BIGINT", "counter": "BIGSERIAL", "never_again": ""}


class Schema:
    """The transaction in which all versions run that a database lacks."""

    __slots__ = ("_words", "transaction")

    def __init__(self, connection: Connection, words: Mapping[str, str]) -> None:
        self.transaction = Transaction(connection, "", [])
        """For versions that change rows."""
        self._words = words

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite, for what a word in braces cannot say: the languages of triggers have little in common."""
        return self._words is SQLITE

    def run(self, *statements: str) -> None:
        """Run statements, after replacing each word in braces by the one of this kind of database."""
        for statement in statements:
            self.transaction.run(statement.format_map(self._words))


@dataclass(frozen=True, slots=True)
class Version:
    """One step from a database without tables to the tables of this hub."""

    name: str
    after: tuple[str, ...]
    """The versions that come before it. A database that has this version has those too."""
    upgrade: Callable[[Schema], object]


class Record(Protocol):
    """The place where a database records its versions."""

    def read(self, connection: Connection) -> set[str]:
        """Read the recorded versions; each implies those before it. Empty if the database has no tables yet."""
        ...

    def write(self, connection: Connection, versions: Sequence[Version]) -> None:
        """Record that the database has all of these versions."""
        ...


class UnknownVersionError(Exception):
    """A database has versions that this hub does not know; ``names`` are their names, sorted."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"this hub does not know its schema {', '.join(names)}")
        self.names = tuple(names)


def upgrade(
    connection: Connection, words: Mapping[str, str], versions: Sequence[Version], record: Record, before: Callable[[], object]
) -> bool:
    """Run each version that the database lacks, within a transaction that the caller begins and ends. Returns whether the database had no
    version. ``before`` is called before existing tables are changed.

    Raises:
        UnknownVersionError: the database has a version that is not among ``versions``; nothing was changed.
    """
    found = record.read(connection)
    if unknown := found - {version.name for version in versions}:
        raise UnknownVersionError(sorted(unknown))
    there = _with_those_before(found, versions)
    missing = [version for version in in_order(versions) if version.name not in there]
    if missing:
        if found:
            before()
        schema = Schema(connection, words)
        for version in missing:
            version.upgrade(schema)
        record.write(connection, versions)
    return not found


def in_order(versions: Sequence[Version]) -> list[Version]:
    """Sort versions so that each stands behind those that come before it.

    Raises:
        ValueError: a version comes after one that is not among ``versions``, or after itself.
    """
    ordered: list[Version] = []
    waiting = list(versions)
    while waiting:
        done = {version.name for version in ordered}
        ready = [version for version in waiting if done.issuperset(version.after)]
        if not ready:
            raise ValueError(f"{waiting[0].name}: expected versions before it that are known, got {', '.join(waiting[0].after)}")
        ordered += ready
        waiting = [version for version in waiting if version not in ready]
    return ordered


def newest(versions: Sequence[Version]) -> list[str]:
    """The names of the versions that no other version comes after, sorted."""
    followed = {name for version in versions for name in version.after}
    return sorted(version.name for version in versions if version.name not in followed)


def _with_those_before(names: set[str], versions: Sequence[Version]) -> set[str]:
    known = {version.name: version for version in versions}
    there: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in there:
            there.add(name)
            waiting += known[name].after
    return there
