"""Which backend of :mod:`hub.storage.transactions` a database has."""

from hub.storage.database import Database
from hub.storage.transactions import Backend, StorageError
from hub.storage.transactions_sqlite import SqliteBackend


def backend_of(database: Database, *, exclusive: bool = True) -> Backend:
    """The backend of a database; ``exclusive`` as a hub has it, else as an administrator's command has it beside a hub.

    Raises:
        InUseError: a SQLite file that another hub has.
        StorageError: a SQLite database without a file.
    """
    if not database.is_sqlite:
        # its driver takes 0.2 s to load, for which SQLite's users need not wait
        from hub.storage.transactions_postgresql import PostgresBackend

        return PostgresBackend(database.url)
    if database.file is None:
        raise StorageError("a SQLite database of a hub needs a file: one in memory would forget what was accepted")
    return SqliteBackend(database.file, exclusive=exclusive)
