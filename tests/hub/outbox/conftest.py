"""Real databases with the outbox's tables, and a tenant in them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hub.storage.backends import backend_of
from hub.storage.database import Database
from hub.storage.transactions import Transactions
from tests.hub.storage.backends import database, light_database, postgres, sqlite

__all__ = ["database", "light_database", "postgres", "sqlite"]

TENANTS = ("acme", "other", "third")


async def _opened(database: Database) -> AsyncIterator[Transactions]:
    made = Transactions(backend_of(database))
    await made.start()
    for tenant in TENANTS:
        await made.write(lambda tx, name=tenant: tx.run("INSERT INTO tenants (name, created_ms) VALUES (?, 0)", (name,)))  # type: ignore[misc]
    yield made
    await made.stop()


@pytest.fixture
async def transactions(database: Database) -> AsyncIterator[Transactions]:
    """On SQLite and on PostgreSQL."""
    async for made in _opened(database):
        yield made


@pytest.fixture
async def light_transactions(light_database: Database) -> AsyncIterator[Transactions]:
    """On SQLite alone: for what does not depend on the database."""
    async for made in _opened(light_database):
        yield made
