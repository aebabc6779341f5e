"""Real databases with the tables of interactions, and a tenant in them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from channels.interactions.family import family
from hub.families import migrations_of
from hub.storage.backends import backend_of
from hub.storage.database import Database
from hub.storage.transactions import Transactions
from tests.channels.interactions.support import Reception
from tests.hub.storage.backends import Sqlite, migrated_url, opened, postgres, sqlite

__all__ = ["postgres", "sqlite"]

PACKAGES = migrations_of([family])


@pytest.fixture(params=["sqlite", "postgresql"])
async def transactions(request: pytest.FixtureRequest) -> AsyncIterator[Transactions]:
    """On SQLite and on PostgreSQL."""
    async with opened(await migrated_url(request, PACKAGES)) as database:
        async for made in _ready(database):
            yield made


async def _ready(database: Database) -> AsyncIterator[Transactions]:
    made = Transactions(backend_of(database))
    await made.start()
    for tenant in ("acme", "other"):
        await made.write(lambda tx, name=tenant: tx.run("INSERT INTO tenants (name, created_ms) VALUES (?, 0)", (name,)))  # type: ignore[misc]
    yield made
    await made.stop()


@pytest.fixture
async def reception(transactions: Transactions) -> Reception:
    """The calls over each database."""
    return Reception(transactions)


@pytest.fixture
async def light(sqlite: Sqlite) -> AsyncIterator[Reception]:
    """The calls over SQLite alone: for what does not depend on the database."""
    async with opened(await sqlite.migrated(PACKAGES)) as database:
        async for transactions in _ready(database):
            yield Reception(transactions)
