"""The interfaces of a database: transactions of plain SQL for its users, and the backends that implement them (docs/adr/one-writer.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

from hub.storage.reasons import Reason
from hub.storage.text import check_text

T = TypeVar("T")

Row = tuple[Any, ...]


def marks(values: Sequence[object]) -> str:
    """As many ``?`` as there are values, for ``IN (...)`` and ``VALUES (...)``."""
    return ", ".join("?" * len(values))


class StorageError(Exception):
    """The database cannot be read or written now. Nothing of the operation was kept, unless the connection broke while committing."""

    told: ClassVar[str] = "the database cannot be used now, and nothing was changed: try again"
    """What a client is told: it does not name the reason."""
    event: ClassVar[str] = "database_unavailable"
    """What the log calls it."""


class Patience(NamedTuple):
    """How long a statement may take on a database server, in seconds; 0: as long as it takes. A SQLite file has limits of its own."""

    lock_s: float = 0.0
    """For a lock that another session holds."""
    statement_s: float = 0.0
    """For a statement that writes, in all."""


class Connection(Protocol):
    """One connection to a database, used by one thread at a time. Parameters stand as ``?`` in the SQL, on both databases."""

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """Run one statement; returns a DB-API cursor."""
        ...

    def begin_writing(self) -> None:
        """Begin a transaction that writes."""
        ...

    def begin_reading(self) -> None:
        """Begin a transaction that reads one snapshot of the database."""
        ...

    def roll_back(self) -> None:
        """End the transaction, if there is one, and keep nothing of it."""
        ...

    def close(self) -> None:
        """Close the connection, whatever its state is."""
        ...


class Backend(Protocol):
    """A kind of database."""

    name: str
    """The name of the database in log events."""

    skip_locked: str
    """The end of a ``SELECT`` that claims rows; with it, processes skip rows that others have claimed, instead of waiting for them."""

    unanswered: Reason
    """The reason to report while a transaction does not begin, but no error has been raised yet."""

    def connect(self) -> Connection:
        """Make a new connection.

        Raises:
            StorageError: the database cannot be reached.
        """
        ...

    def lost(self, error: Exception) -> bool:
        """Whether the connection cannot be used any more after this error."""
        ...

    def broken(self, error: Exception) -> bool:
        """Whether an error is a fault of the database and not of the operation, so that all waiting operations would fail too."""
        ...

    def blocked(self, error: Exception) -> bool:
        """Whether a statement was given up because another session held a lock, or because it took too long (:class:`Patience`)."""
        ...

    def check(self) -> None:
        """Raise OSError if a commit would be lost now, because the database is no longer in its place."""
        ...

    def refresh(self) -> None:
        """Renew the mark by which :meth:`check` recognises the database. It is called from time to time, in any thread."""
        ...

    def try_writing(self, connection: Connection) -> None:
        """Write something that changes nothing, within a transaction. Raises the database's error if that fails."""
        ...

    def again(self, error: Exception) -> bool:
        """Whether the operation should be tried again, because the database rolled it back in favour of another process's."""
        ...

    def close(self) -> None:
        """Release what the backend took when it was made, such as a lock."""
        ...


class Transaction:
    """The transaction that an operation works on. Operations run in a thread of the database: they must not use objects of the event loop.
    On every database, each statement raises :class:`hub.storage.text.NulTextError` for text with a NUL.
    """

    __slots__ = ("_afterwards", "_connection", "skip_locked")

    def __init__(self, connection: Connection, skip_locked: str, afterwards: list[Callable[[], object]]) -> None:
        self._connection = connection
        self._afterwards = afterwards
        self.skip_locked = skip_locked

    @property
    def for_update(self) -> str:
        """What a ``SELECT`` ends with whose rows this transaction is about to write: no other transaction changes or removes them before it
        ends. Empty on a database with one writer at a time.
        """
        return " FOR UPDATE" if self.skip_locked else ""

    @property
    def key_share(self) -> str:
        """The end of a ``SELECT`` whose rows must not be removed before this transaction ends. It is empty for a database with one writer
        at a time.
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
        """Run ``call`` on the event loop as soon as this operation is on disk, before its caller gets the result. If the operation is not
        kept, ``call`` never runs.
        """
        self._afterwards.append(call)


Operation = Callable[[Transaction], T]
"""A piece of work on the database. It may run more than once (:data:`hub.storage.writer.RETRIES`), so it must change nothing but the
database.
"""
