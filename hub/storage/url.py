"""The URL of a database, from the setting ``database_url``.

It has the form that SQLAlchemy reads, which earlier versions of the hub used: ``sqlite:///relative/path``, ``sqlite:////absolute/path``, or
``postgresql://user:password@host:port/database?option=value``, with the options of libpq
(https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS). Several hosts are ``?host=a:5432&host=b:5432`` or
``?host=a,b&port=5432,5433``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode

_URL: Final = re.compile(
    r"""
    (?P<scheme>[\w+]+)://
    (?:(?P<user>[^:/]*)(?::(?P<password>[^@]*))?@)?
    (?:\[(?P<ipv6>[^/?]+)\]|(?P<host>[^/:?]+))?
    (?::(?P<port>[^/?]*))?
    (?:/(?P<database>[^?]*))?
    (?:\?(?P<query>.*))?
    """,
    re.VERBOSE,
)

MAX_PORT: Final = 65_535

_HIDDEN: Final = "***"

_SAFE: Final = "/ :@+,;=&!$'()*~"
"""Characters of a path that need no escape in a URL of SQLite, so that people can read the path more easily."""


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """The parts of a database URL. ``str()`` gives the URL without the password."""

    is_sqlite: bool
    database: str | None
    """For SQLite the path of the file, None for a database in memory; for PostgreSQL the name of the database, None for the user's own."""
    user: str | None = None
    password: str | None = None
    host: str | None = None
    port: int | None = None
    query: tuple[tuple[str, str], ...] = ()
    """Options and their values in the order of the URL; an option may occur several times."""

    @classmethod
    def parse(cls, text: str) -> DatabaseUrl:
        """Parse a URL. A driver after the scheme (``sqlite+aiosqlite``, ``postgresql+psycopg``) is ignored.

        Raises:
            ValueError: it is no URL of SQLite or PostgreSQL. The text says what was expected, and does not contain the password.
        """
        found = _URL.fullmatch(text)
        kind = "" if found is None else found["scheme"].partition("+")[0]
        if found is None or kind not in {"sqlite", "postgres", "postgresql"}:
            raise ValueError("expected a URL such as postgresql://user:password@host/database or sqlite:///hub.db")
        port = found["port"] or None
        if port is not None and not (port.isascii() and port.isdigit()):
            # the value is not shown: if the @ is missing, it is the password
            raise ValueError(f"expected a number as the port, got {len(port)} characters of which some are no digits")
        if port is not None and not 1 <= int(port) <= MAX_PORT:
            raise ValueError(f"expected a port from 1 to {MAX_PORT}, got {port}")
        return cls(
            kind == "sqlite",
            None if found["database"] in {"", ":memory:"} else _unquoted(found["database"]),
            _unquoted(found["user"]),
            _unquoted(found["password"]) or None,
            found["ipv6"] or found["host"],
            None if port is None else int(port),
            tuple(parse_qsl(found["query"] or "", keep_blank_values=False)),
        )

    @property
    def path(self) -> Path | None:
        """The file of a SQLite database that has one."""
        return Path(self.database) if self.is_sqlite and self.database is not None else None

    def arguments(self) -> Mapping[str, str | int]:
        """The arguments with which libpq connects to PostgreSQL.

        Raises:
            ValueError: hosts are given in both forms at once.
        """
        parts = (("host", self.host), ("port", self.port), ("dbname", self.database), ("user", self.user), ("password", self.password))
        found: dict[str, str | int] = {name: value for name, value in parts if value is not None}
        found |= {name: value for name, value in self.query if name != "host"}
        hosts = [value for name, value in self.query if name == "host"]
        with_ports = [_split_port(host) for host in hosts]
        if len(hosts) > 1 or any(port for _, port in with_ports):
            if "port" in dict(self.query):
                raise ValueError("expected hosts as host=a:5432&host=b:5432 or as host=a,b&port=5432,5433, got both")
            found["host"] = ",".join(host for host, _ in with_ports)
            if any(port for _, port in with_ports):
                found["port"] = ",".join(port for _, port in with_ports)
        elif hosts:
            found["host"] = hosts[0]
        return found

    def __str__(self) -> str:
        if self.is_sqlite:
            return "sqlite://" if self.database is None else sqlite_url(self.database)
        user = "" if self.user is None else quote(self.user, safe=" +")
        secret = "" if self.password is None else f":{_HIDDEN}"
        host = "" if self.host is None else f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        database = "" if self.database is None else f"/{quote(self.database)}"
        shown = [(name, _HIDDEN if name == "password" else value) for name, value in self.query]
        query = f"?{urlencode(shown, safe='/,:*')}" if shown else ""
        return f"postgresql://{user}{secret}{'@' if user or secret else ''}{host}{port}{database}{query}"


def sqlite_url(path: str | Path) -> str:
    """The URL of a SQLite file; its path may have any characters."""
    return f"sqlite:///{quote(str(path), safe=_SAFE)}"


def _split_port(host: str) -> tuple[str, str]:
    """Split a host and its port; the port may be empty. The path of a socket has no port, nor has an IPv6 address without brackets."""
    if host.count(":") != 1 or host.startswith("/") or "," in host:
        return host, ""
    name, _, port = host.partition(":")
    return name, port


def _unquoted(text: str | None) -> str | None:
    return None if text is None else unquote(text)
