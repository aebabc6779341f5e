"""Connects administrative commands to the database: reads settings, runs migrations, and prints errors that say what to do."""

import asyncio
import os
import pwd
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import typer

from hub.audit.log import AuditLog, Recorder
from hub.families import access_of, migrations_of
from hub.ops.cli import errors, load_or_exit
from hub.ops.logging import set_up
from hub.ops.settings import Settings
from hub.ops.start_errors import explain
from hub.security.access import Access
from hub.security.access_keys import AccessKeySecrets
from hub.security.access_keys_store import AccessKeysStore
from hub.security.models import AdminError
from hub.security.passwords import hashes_of
from hub.security.secret import signing_secret
from hub.security.store import Store
from hub.storage.migrations import place_of
from hub.storage.service import DatabaseService
from hub.storage.transactions import StorageError, Transaction, Transactions
from hub.storage.url import DatabaseUrl

if TYPE_CHECKING:
    from hub.family import Family

REFUSED: Final = 1
"""Exit code if the database cannot be used, or the change is refused."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Admin:
    """Runs the work of administrative commands on the database."""

    families: Callable[[], Sequence["Family"]]

    @property
    def access(self) -> Access:
        """The operations, role grants and scopes of the hub."""
        return access_of(self.families())

    def run(self, work: Callable[[Store], Awaitable[T]], config: Any, data_dir: Any, database_url: Any, *, begins: bool = False) -> T:
        """Run ``work`` on the tenants and credentials in the database of the settings. An error ends the command with exit code 1."""

        def on_store(transactions: Transactions, settings: Settings) -> Awaitable[T]:
            return work(store_of(transactions, settings))

        return self.on_database(on_store, config, data_dir, database_url, begins=begins)

    def on_database(
        self,
        work: Callable[[Transactions, Settings], Awaitable[T]],
        config: Any,
        data_dir: Any,
        database_url: Any,
        *,
        begins: bool = False,
    ) -> T:
        """Run ``work`` on the database itself, while a hub is running or not. An error ends the command with exit code 1. Where there is no
        database file, only a command that ``begins`` one makes it: for any other the folder is the wrong one.
        """
        settings = load_or_exit(self.families(), config=config, flags={"data_dir": data_dir, "database_url": database_url})
        set_up("warning", "console")

        async def connected() -> T:
            path = DatabaseUrl.parse(settings.database).path
            if path is not None and not begins and not path.exists():
                raise AdminError(
                    f"there is no database at {path.absolute()}: name the folder of the hub with --data-dir or HUB_DATA_DIR,"
                    " or begin a new one with: hub tenant add NAME"
                )
            storage = DatabaseService(settings.database, migrations=migrations_of(self.families()), exclusive=False)
            try:
                await storage.start()
                if storage.is_new:
                    errors.print(f"made a new database: {place_of(storage.database)}", style="yellow", markup=False)
                return await work(storage.transactions, settings)
            finally:
                await storage.stop()

        try:
            return asyncio.run(connected())
        except AdminError as error:
            refuse(str(error))
        except (StorageError, OSError) as error:
            refuse(f"database: {explain(error, settings)}")

    def in_transaction(
        self, tenant: str | None, work: Callable[[Transaction, Settings, str], T], config: Any, data_dir: Any, database_url: Any
    ) -> T:
        """Run ``work`` in a transaction, for the tenant that :func:`only_tenant` finds. An error ends the command with exit code 1."""

        async def connected(transactions: Transactions, settings: Settings) -> T:
            store = store_of(transactions, settings)
            name = (await store.tenant(await only_tenant(store, tenant))).name
            return await transactions.write(lambda tx: work(tx, settings, name))

        return self.on_database(connected, config, data_dir, database_url)


def store_of(transactions: Transactions, settings: Settings) -> Store:
    """The tenants and credentials in a database."""
    return Store(transactions, now_ms, recorder_of(settings), hashes_of(settings.password_hashes))


def access_keys_of(transactions: Transactions, settings: Settings) -> AccessKeysStore:
    """The access keys in a database."""
    return AccessKeysStore(transactions, now_ms, recorder_of(settings), AccessKeySecrets(signing_secret(settings)))


def recorder_of(settings: Settings) -> Recorder:
    """Records what this command does, under the account that runs it.

    Raises:
        OSError: the data folder cannot be written.
    """
    audit = AuditLog(signing_secret(settings), now_ms)
    return audit.by(audit.operator(_account()))


def _account() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run as a number that has no name
        return str(os.getuid())


def now_ms() -> int:
    """The time of day, in milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


def refuse(message: str) -> NoReturn:
    """Print the reason and end the command with exit code 1."""
    errors.print(message, style="red", markup=False)
    raise typer.Exit(REFUSED)


async def only_tenant(store: Store, tenant: str | None) -> str:
    """The tenant that a command names, or the only one if it names none.

    Raises:
        AdminError: the command names no tenant, and there is not exactly one.
    """
    if tenant is not None:
        return tenant
    names = [each.name for each in await store.tenants()]
    if len(names) == 1:
        return names[0]
    there = f"there are: {', '.join(names)}" if names else "there is none; add one with: hub tenant add NAME"
    raise AdminError(f"--tenant: expected one, got none; {there}")
