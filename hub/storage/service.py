"""The database as one part of a running hub, or of a command: brought up to date, then open."""

from collections.abc import Sequence

import structlog

from hub.storage.backends import backend_of
from hub.storage.database import Database
from hub.storage.migrations import HUB, migrate, place_of
from hub.storage.transactions import Transactions

_log = structlog.get_logger(__name__)


class DatabaseService:
    """Owns the database. :attr:`transactions` may be handed out before :meth:`start`, but take nothing until then."""

    __slots__ = ("_exclusive", "_migrations", "database", "is_new", "transactions")

    def __init__(self, url: str, *, migrations: Sequence[str] = HUB, exclusive: bool = True) -> None:
        """``url`` is :attr:`hub.ops.settings.Settings.database`; ``migrations`` are the packages of all versions
        (:func:`hub.families.migrations_of`); ``exclusive`` as a hub has a SQLite file, else as a command has it beside a hub.

        Raises:
            InUseError: a SQLite file that another hub has.
            OSError: the file cannot be opened or made.
            StorageError: a SQLite database without a file.
        """
        self._exclusive = exclusive
        self._migrations = tuple(migrations)
        self.database = Database(url)
        try:
            self.transactions = Transactions(backend_of(self.database, exclusive=exclusive))
        except BaseException:
            self.database.close()
            raise
        self.is_new = False
        """Whether :meth:`start` made the tables, for there were none."""

    async def start(self) -> None:
        """Bring the database to the newest version and begin to take operations.

        Raises:
            NewerDatabaseError: it was written by a newer hub.
            StorageError: it cannot be used.
        """
        self.is_new = await migrate(self.database, self._migrations)
        if self.is_new and self._exclusive:  # a command says so itself
            _log.info("new_database", at=place_of(self.database))
        await self.transactions.start()

    async def stop(self) -> None:
        """Write what waits, and let the database go. Calling it twice does no harm."""
        await self.transactions.stop()
        self.database.close()
