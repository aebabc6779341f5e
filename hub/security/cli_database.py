"""Connects administrative commands to the database: reads settings, runs migrations, and prints errors that say what to do."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import typer

from hub.families import access_of, migrations_of
from hub.ops.cli import errors, load_or_exit
from hub.ops.logging import set_up
from hub.ops.settings import Settings
from hub.ops.start_errors import explain
from hub.security.access import Access
from hub.security.models import AdminError
from hub.security.store import Store
from hub.storage.migrations import place_of
from hub.storage.service import DatabaseService
from hub.storage.transactions import StorageError, Transaction, Transactions

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

    def run(self, work: Callable[[Store], Awaitable[T]], config: Any, data_dir: Any, database_url: Any) -> T:
        """Run ``work`` on the tenants and credentials in the database of the settings. An error ends the command with exit code 1."""
        return self.on_database(lambda transactions, _: work(store_of(transactions)), config, data_dir, database_url)

    def on_database(self, work: Callable[[Transactions, Settings], Awaitable[T]], config: Any, data_dir: Any, database_url: Any) -> T:
        """Run ``work`` on the database itself, while a hub is running or not. An error ends the command with exit code 1."""
        settings = load_or_exit(self.families(), config=config, flags={"data_dir": data_dir, "database_url": database_url})
        set_up("warning", "console")

        async def connected() -> T:
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
            store = store_of(transactions)
            name = (await store.tenant(await only_tenant(store, tenant))).name
            return await transactions.write(lambda tx: work(tx, settings, name))

        return self.on_database(connected, config, data_dir, database_url)


def store_of(transactions: Transactions) -> Store:
    """The tenants and credentials in a database."""
    return Store(transactions, now_ms)


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
