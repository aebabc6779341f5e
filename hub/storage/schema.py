"""Versions of a database's tables: what each of them changes, and which of them a database lacks.

The database of tenants and both logs have the same mechanism. A version changes tables by plain SQL; where SQLite and PostgreSQL differ, a
statement has a word in braces (:data:`SQLITE`, :data:`POSTGRESQL`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from hub.storage.interface import Connection, Transaction

SQLITE: Final = {"bytes": "BLOB", "number": "INTEGER", "counter": "INTEGER", "never_again": " AUTOINCREMENT"}
"""``counter`` numbers the rows of a table as they come, ``number`` refers to such a row. With ``never_again`` no number is given twice, not
even when the newest row was removed. SQLite numbers rows by itself only where the column's type is INTEGER.
"""

POSTGRESQL: Final = {"bytes": "BYTEA", "number": "BIGINT", "counter": "BIGSERIAL", "never_again": ""}


class Schema:
    """What a version works on: the one transaction in which all is done that a database lacks."""

    __slots__ = ("_words", "transaction")

    def __init__(self, connection: Connection, words: Mapping[str, str]) -> None:
        self.transaction = Transaction(connection, "", [])
        """For what a version changes in rows."""
        self._words = words

    def run(self, *statements: str) -> None:
        """Run statements, with this database's words in place of those in braces."""
        for statement in statements:
            self.transaction.run(statement.format_map(self._words))


@dataclass(frozen=True, slots=True)
class Version:
    """One step from a database without tables to that of this hub."""

    name: str
    after: tuple[str, ...]
    """The versions that come before it; where it is, they are."""
    upgrade: Callable[[Schema], object]


class Record(Protocol):
    """Where a database notes which versions it has."""

    def read(self, connection: Connection) -> set[str]:
        """The versions that are noted; they stand for those before them, too. Empty where the database has no tables yet."""
        ...

    def write(self, connection: Connection, versions: Sequence[Version]) -> None:
        """Note that the database has all of these."""
        ...


class UnknownVersionError(Exception):
    """A database has versions that this hub does not know; ``names`` are theirs, sorted."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"this hub does not know its schema {', '.join(names)}")
        self.names = tuple(names)


def upgrade(
    connection: Connection, words: Mapping[str, str], versions: Sequence[Version], record: Record, before: Callable[[], object]
) -> bool:
    """Within a transaction that the caller began and ends, run each version that the database lacks; returns whether it had none.
    ``before`` is called before the tables of a database that has some are changed.

    Raises:
        UnknownVersionError: it has a version that is none of these; nothing was changed.
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
    """The same versions, each behind those that it comes after.

    Raises:
        ValueError: one comes after a version that is none of these, or after itself.
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
    """The names of those that no other version comes after, sorted."""
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
