"""What a database is to those who use it: operations of plain SQL, and the kinds of databases below them (docs/adr/one-writer.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from hub.storage.reasons import Reason
from hub.storage.text import check_text

T = TypeVar("T")

Row = tuple[Any, ...]


class StorageError(Exception):
    """The database cannot be read or written now. Nothing of the operation was kept, unless the connection broke while committing."""


class Connection(Protocol):
    """One connection to a database, used by one thread at a time. Parameters stand as ``?`` in the SQL, on both databases."""

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """Run one statement; returns a DB-API cursor."""
        ...

    def begin_writing(self) -> None:
        """Begin a transaction that writes."""
        ...

    def begin_reading(self) -> None:
        """Begin a transaction that sees one moment of the database."""
        ...

    def roll_back(self) -> None:
        """End the transaction, if there still is one, and keep nothing of it."""
        ...

    def close(self) -> None:
        """Let it go, whatever state it is in."""
        ...


class Backend(Protocol):
    """A kind of database."""

    name: str
    """What the log calls the database."""

    skip_locked: str
    """What a ``SELECT`` of rows to be claimed ends with, so that two processes never wait for one another."""

    unanswered: Reason
    """What is wrong while a transaction does not begin, and no error was raised yet."""

    def connect(self) -> Connection:
        """A new connection.

        Raises:
            StorageError: the database cannot be reached.
        """
        ...

    def lost(self, error: Exception) -> bool:
        """Whether the connection is of no use after this error."""
        ...

    def broken(self, error: Exception) -> bool:
        """Whether an error is the database's, and not of what was asked of it: all that waits for it will fail likewise."""
        ...

    def check(self) -> None:
        """Raise OSError if what is committed now would be lost, for the database is not where it was."""
        ...

    def refresh(self) -> None:
        """Called from time to time, in any thread: renew that by which :meth:`check` knows the database."""
        ...

    def try_writing(self, connection: Connection) -> None:
        """Within a transaction, have the database write something that changes nothing; raises what it says when it cannot."""
        ...

    def again(self, error: Exception) -> bool:
        """Whether the operation should be tried again: another process's was preferred to it."""
        ...

    def close(self) -> None:
        """Let go of what was taken when it was made."""
        ...


class Transaction:
    """What an operation works on. It runs in a thread of its own: it must not touch anything of the event loop's. Every statement raises
    :class:`hub.storage.text.NulTextError` for text with a NUL, on every database.
    """

    __slots__ = ("_afterwards", "_connection", "skip_locked")

    def __init__(self, connection: Connection, skip_locked: str, afterwards: list[Callable[[], object]]) -> None:
        self._connection = connection
        self._afterwards = afterwards
        self.skip_locked = skip_locked

    @property
    def key_share(self) -> str:
        """What a ``SELECT`` of rows ends with that must not be removed before this transaction ends. A database with one writer at a time
        needs nothing.
        """
        return " FOR KEY SHARE" if self.skip_locked else ""

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query, or of a statement with ``RETURNING``."""
        check_text(parameters)
        return self._connection.execute(sql, parameters).fetchall()  # type: ignore[no-any-return]

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        """The first row, or None."""
        check_text(parameters)
        return self._connection.execute(sql, parameters).fetchone()  # type: ignore[no-any-return]

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run a statement; returns how many rows it changed."""
        check_text(parameters)
        return self._connection.execute(sql, parameters).rowcount  # type: ignore[no-any-return]

    def after_commit(self, call: Callable[[], object]) -> None:
        """Have ``call`` run on the event loop as soon as this operation is on disk, before its caller goes on; never if it is not kept."""
        self._afterwards.append(call)


Operation = Callable[[Transaction], T]
"""A piece of work on the database. It may run more than once (:data:`hub.storage.writer.RETRIES`): what it does lies in the database
alone.
"""
