"""Copies the rows that can still be read from a damaged SQLite file into a new one.

If a page is damaged, the rows on it cannot be read; if it is an inner page of a b-tree, neither can those below it. Other rows can still be
found by their keys. Therefore each table is read forwards until an error, then backwards until an error; the range between is divided into
halves, which are read in the same way.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from hub.doctor.inspection import open_to_read

MAX_PROBES: Final = 4000
"""Failed reads of one table after which ranges are no longer divided: a file with damage everywhere would take too long."""

BATCH: Final = 500

_LARGEST_KEY: Final = 2**62


class SalvageError(Exception):
    """No row of a file can be read, or the folder cannot be salvaged; the text says why."""


@dataclass(slots=True)
class TableReport:
    """The result for one table."""

    name: str
    rows: int = 0
    """Rows in the new file."""
    gaps: list[str] = field(default_factory=list)
    """Descriptions of the places where rows may be missing."""


class _Span(NamedTuple):
    """The rows of a table, or of a part of it, that are read by a key that is a whole number."""

    table: str
    key: str
    where: str
    values: tuple[Any, ...]
    shown: str


def salvage(source: Path, target: Path) -> list[TableReport]:
    """Copy the rows of ``source`` that can be read into a new file ``target``, readable by its owner only.

    Raises:
        SalvageError: nothing can be read.
        FileExistsError: the target exists already.
    """
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with closing(_opened(source)) as old, closing(sqlite3.connect(target, isolation_level=None)) as new:
        try:
            schema = old.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'").fetchall()
            (version,) = old.execute("PRAGMA user_version").fetchone()
        except sqlite3.Error as error:
            raise SalvageError(f"{source}: {error}") from error
        new.execute("PRAGMA journal_mode = WAL")
        new.execute("PRAGMA foreign_keys = OFF")
        for _, _, sql in sorted((each for each in schema if each[0] == "table"), key=lambda each: str(each[1])):
            new.execute(sql)
        tables = _parents_first(new, [name for kind, name, _ in schema if kind == "table"])
        reports = [_Rescue(old, new, name).run() for name in tables]
        for kind, name, sql in schema:
            if kind != "table":
                try:
                    new.execute(sql)
                except sqlite3.Error as error:
                    reports.append(TableReport(name, 0, [f"the {kind} cannot be made: {error}"]))
        new.execute(f"PRAGMA user_version = {version}")
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return reports


def _opened(source: Path) -> sqlite3.Connection:
    try:
        return open_to_read(source)
    except sqlite3.Error as error:
        raise SalvageError(f"{source}: {error}") from error


def _parents_first(new: sqlite3.Connection, names: Sequence[str]) -> list[str]:
    """Sort tables so that each comes after those to which its foreign keys refer."""
    ordered: list[str] = []

    def add(name: str, above: tuple[str, ...]) -> None:
        if name in ordered or name in above or name not in names:
            return
        for row in new.execute(f"PRAGMA foreign_key_list({_quoted(name)})").fetchall():
            add(row[2], (*above, name))
        ordered.append(name)

    for name in sorted(names):
        add(name, ())
    return ordered


class _Rescue:
    """Copies the rows of one table."""

    def __init__(self, old: sqlite3.Connection, new: sqlite3.Connection, name: str) -> None:
        self._old = old
        self._new = new
        self._report = TableReport(name)
        self._probes = 0
        columns = new.execute(f"PRAGMA table_info({_quoted(name)})").fetchall()
        self._columns = ", ".join(_quoted(column[1]) for column in columns)
        marks = ", ".join("?" * len(columns))
        self._insert = f"INSERT OR IGNORE INTO {_quoted(name)} ({self._columns}) VALUES ({marks})"
        self._key = [column for column in sorted(columns, key=lambda column: int(column[5])) if column[5]]

    def run(self) -> TableReport:
        """Copy all rows that can be read."""
        name = self._report.name
        (without_rowid,) = self._new.execute("SELECT wr FROM pragma_table_list WHERE name = ? AND schema = 'main'", (name,)).fetchone()
        if not without_rowid:
            self._span(_Span(name, "rowid", "1", (), ""))
        elif len(self._key) > 1 and self._key[-1][2].upper() == "INTEGER":
            for span in self._spans():
                self._span(span)
        else:
            self._both_ends()
        (self._report.rows,) = self._new.execute(f"SELECT count(*) FROM {_quoted(name)}").fetchone()
        return self._report

    def _spans(self) -> Iterator[_Span]:
        """The parts of a table whose key consists of a number of another table's row and a number: one part for each of those rows."""
        *leading, last = (column[1] for column in self._key)
        references = {row[3]: (row[2], row[4]) for row in self._new.execute(f"PRAGMA foreign_key_list({_quoted(self._report.name)})")}
        if len(leading) != 1 or leading[0] not in references:
            self._both_ends()
            return
        table, column = references[leading[0]]
        for (value,) in self._new.execute(f"SELECT {_quoted(column)} FROM {_quoted(table)}").fetchall():
            yield _Span(self._report.name, _quoted(last), f"{_quoted(leading[0])} = ?", (value,), f"{leading[0]} {value}: ")

    def _span(self, span: _Span) -> None:
        self._between(span, -_LARGEST_KEY, _LARGEST_KEY)

    def _between(self, span: _Span, low: int, high: int) -> None:
        """Copy the rows whose keys lie between ``low`` and ``high``, both excluded."""
        waiting = [(low, high)]
        while waiting:
            low, high = waiting.pop()
            reached, whole = self._read(span, low, high, "ASC")
            if whole:
                continue
            back, whole = self._read(span, reached, high, "DESC")
            if whole or back - reached <= 1:
                continue
            if self._probes >= MAX_PROBES or back - reached <= 2:
                self._report.gaps.append(f"{span.shown}{_shown(reached, back)}")
                continue
            middle = (reached + back) // 2
            waiting += [(middle - 1, back), (reached, middle)]

    def _read(self, span: _Span, low: int, high: int, order: str) -> tuple[int, bool]:
        """Copy rows in key order until an error; returns the key of the last row that was read, and whether all rows were."""
        reached = low if order == "ASC" else high
        query = (
            f"SELECT {span.key}, {self._columns} FROM {_quoted(span.table)} WHERE {span.where} AND {span.key} > ? AND {span.key} < ?"
            f" ORDER BY {span.key} {order}"
        )
        batch: list[Any] = []
        try:
            for key, *row in self._old.execute(query, (*span.values, low, high)):
                reached = key
                batch.append(row)
                if len(batch) >= BATCH:
                    self._keep(batch)
        except sqlite3.Error:
            self._probes += 1
            return self._one_more(query, span, reached, low, high, order, batch), False
        finally:
            self._keep(batch)
        return reached, True

    def _one_more(self, query: str, span: _Span, reached: int, low: int, high: int, order: str, batch: list[Any]) -> int:
        """Read the last rows one by one. The driver reads one row ahead, so a damaged row would lose the good row before it."""
        while True:
            bounds = (reached, high) if order == "ASC" else (low, reached)
            try:
                found = self._old.execute(f"{query} LIMIT 1", (*span.values, *bounds)).fetchone()
            except sqlite3.Error:
                return reached
            if found is None:
                return reached
            reached, *row = found
            batch.append(row)

    def _both_ends(self) -> None:
        """Copy a table whose key is no number: from the first row until an error, then from the last row until an error."""
        key = ", ".join(_quoted(column[1]) for column in self._key)
        for order in ("ASC", "DESC"):
            batch: list[Any] = []
            ordered = ", ".join(f"{_quoted(column[1])} {order}" for column in self._key) or key
            try:
                for row in self._old.execute(f"SELECT {self._columns} FROM {_quoted(self._report.name)} ORDER BY {ordered}"):
                    batch.append(row)
                    if len(batch) >= BATCH:
                        self._keep(batch)
            except sqlite3.Error as error:
                if order == "DESC":
                    self._report.gaps.append(f"rows in the middle: {error}")
            else:
                return
            finally:
                self._keep(batch)

    def _keep(self, batch: list[Any]) -> None:
        if not batch:
            return
        self._new.execute("BEGIN")
        for row in batch:
            try:
                self._new.execute(self._insert, row)
            except sqlite3.IntegrityError as error:
                self._report.gaps.append(f"a row that its table does not take: {error}")
        self._new.execute("COMMIT")
        batch.clear()


def _shown(low: int, high: int) -> str:
    first = "the first" if low <= -_LARGEST_KEY else str(low)
    last = "the last" if high >= _LARGEST_KEY else str(high)
    return f"rows between {first} and {last}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
