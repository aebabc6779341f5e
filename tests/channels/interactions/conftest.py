"""Real databases with the tables of interactions, and a tenant in them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hub.storage.backends import backend_of
from hub.storage.database import Database
from hub.storage.migrations import HUB, migrate
from hub.storage.transactions import Transactions
from tests.channels.interactions.support import Reception
from tests.hub.storage.backends import empty_url, opened, postgres, sqlite

__all__ = ["empty_url", "postgres", "sqlite"]


@pytest.fixture
async def transactions(empty_url: str) -> AsyncIterator[Transactions]:
    """On SQLite and on PostgreSQL."""
    async with opened(empty_url) as database:
        async for made in _ready(database):
            yield made


async def _ready(database: Database) -> AsyncIterator[Transactions]:
    await migrate(database, (*HUB, "channels.interactions.migrations"))
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
