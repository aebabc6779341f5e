"""The place of the database of tenants, endpoints and messages: a SQLite file or a PostgreSQL server."""

from pathlib import Path

from hub.storage.identity import FileIdentity
from hub.storage.url import DatabaseUrl


class Database:
    """A database, named by its URL. It does not connect to a server. It keeps a SQLite file open, to notice if the file is replaced.

    Only its owner can read the file, because it contains hashes of secrets.
    """

    __slots__ = ("file", "url")

    def __init__(self, url: str) -> None:
        """``url`` is :attr:`hub.ops.settings.Settings.database`; a driver in it, such as ``aiosqlite``, is ignored.

        Raises:
            OSError: the SQLite file cannot be opened or made.
            ValueError: see :meth:`hub.storage.url.DatabaseUrl.parse`.
        """
        self.url = DatabaseUrl.parse(url)
        path = self.path
        self.file = None if path is None else FileIdentity(path)
        """Checks that the SQLite file is still the same; None if the database has no file."""

    @property
    def is_sqlite(self) -> bool:
        """Whether it is SQLite, else PostgreSQL."""
        return self.url.is_sqlite

    @property
    def path(self) -> Path | None:
        """The file of a SQLite database that has one."""
        return self.url.path

    def __str__(self) -> str:
        return str(self.url)

    def close(self) -> None:
        """Close the file. Call it after every connection to the file was closed; it may be called twice."""
        if self.file is not None:
            self.file.close()
