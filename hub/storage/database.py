"""Where the database of tenants, endpoints and messages is: a SQLite file or a PostgreSQL server."""

from pathlib import Path
from typing import Final

from sqlalchemy import URL, make_url

from hub.storage.identity import FileIdentity

_DRIVERS: Final = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}


class Database:
    """A database by its URL. It opens nothing of a server; of SQLite it holds the file, so that a replaced one is noticed.

    The file is readable by its owner alone, for it holds hashes of secrets.
    """

    __slots__ = ("file", "url")

    def __init__(self, url: str | URL) -> None:
        """``url`` is :attr:`hub.ops.settings.Settings.database`; a driver that it names, such as ``aiosqlite``, changes nothing.

        Raises:
            OSError: the SQLite file cannot be opened or made.
        """
        given = make_url(url)
        self.url = given.set(drivername=_DRIVERS[given.get_backend_name()])
        path = self.path
        self.file = None if path is None else FileIdentity(path)
        """The file of a SQLite database that has one, and whether it is still the same."""

    @property
    def is_sqlite(self) -> bool:
        """Whether it is SQLite, else PostgreSQL."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def path(self) -> Path | None:
        """The file of a SQLite database that has one."""
        name = self.url.database
        return Path(name) if self.is_sqlite and name and name != ":memory:" else None

    def __str__(self) -> str:
        return self.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Let go of the file, after every connection to it was closed. Calling it twice does no harm."""
        if self.file is not None:
            self.file.close()
