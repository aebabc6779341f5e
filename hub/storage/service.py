"""The database as a part of a running hub or of a command: it brings the tables up to date and then opens the database."""

from collections.abc import Sequence

import structlog

from hub.storage.backends import backend_of
from hub.storage.database import Database
from hub.storage.interface import Patience
from hub.storage.migrations import HUB, migrate, place_of
from hub.storage.transactions import Transactions

_log = structlog.get_logger(__name__)


class DatabaseService:
    """Owns the database. :attr:`transactions` may be passed on before :meth:`start`, but take no operations until then."""

    __slots__ = ("_exclusive", "_migrations", "database", "is_new", "transactions")

    def __init__(self, url: str, *, migrations: Sequence[str] = HUB, exclusive: bool = True, patience: Patience | None = None) -> None:
        """``url`` is :attr:`hub.ops.settings.Settings.database`; ``migrations`` are the packages of all versions
        (:func:`hub.families.migrations_of`). With ``exclusive`` a SQLite file is taken for this hub alone; commands, which may run beside a
        hub, do not do that. ``patience`` is that of statements on PostgreSQL, but not of changes of tables.

        Raises:
            InUseError: another hub has the SQLite file open.
            OSError: the file cannot be opened or made.
            StorageError: the database is SQLite's and has no file.
        """
        self._exclusive = exclusive
        self._migrations = tuple(migrations)
        self.database = Database(url)
        try:
            self.transactions = Transactions(backend_of(self.database, exclusive=exclusive, patience=patience))
        except BaseException:
            self.database.close()
            raise
        self.is_new = False
        """Whether :meth:`start` found no tables and made them."""

    async def start(self) -> None:
        """Bring the database to the newest version and begin to take operations.

        Raises:
            NewerDatabaseError: a newer hub wrote the database.
            StorageError: the database cannot be used.
        """
        self.is_new = await migrate(self.database, self._migrations)
        if self.is_new and self._exclusive:  # commands print this themselves
            _log.info("new_database", at=place_of(self.database))
        await self.transactions.start()

    async def stop(self) -> None:
        """Run the waiting operations, and close the database. It may be called twice."""
        await self.transactions.stop()
        self.database.close()
