"""Real databases with the tables of messaging, and the family over each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from channels.messaging.family import family
from hub.families import migrations_of
from hub.outbox.settings import OutboxSettings
from hub.storage.backends import backend_of
from hub.storage.database import Database
from hub.storage.transactions import Transactions
from tests.channels.messaging.support import TENANTS, Exchange, Receiver
from tests.hub.storage.backends import Sqlite, migrated_url, opened, postgres, sqlite

__all__ = ["postgres", "sqlite"]

PACKAGES = migrations_of([family])

QUICK: dict[str, Any] = {
    "shutdown_grace_s": 0.2,
    "retry_s": (0.05, 0.05),
    "jitter": 0,
    "throttle_s": 0.05,
    "allowed_networks": ["127.0.0.0/8"],
}


async def _exchange(database: Database, settings: dict[str, Any]) -> AsyncIterator[Exchange]:
    transactions = Transactions(backend_of(database))
    await transactions.start()
    for tenant in TENANTS:
        await transactions.write(lambda tx, name=tenant: tx.run("INSERT INTO tenants (name, created_ms) VALUES (?, 0)", (name,)))  # type: ignore[misc]
    try:
        async with Exchange(transactions, Receiver(), outbox=OutboxSettings(**QUICK), settings=settings).running() as made:
            yield made
    finally:
        await transactions.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
async def exchange(request: pytest.FixtureRequest) -> AsyncIterator[Exchange]:
    """On SQLite and on PostgreSQL."""
    async with opened(await migrated_url(request, PACKAGES)) as database:
        async for made in _exchange(database, {}):
            yield made


@pytest.fixture
async def light(request: pytest.FixtureRequest, sqlite: Sqlite) -> AsyncIterator[Exchange]:
    """On SQLite alone: for what does not depend on the database. Settings may come as the parameter."""
    async with opened(await sqlite.migrated(PACKAGES)) as database:
        async for made in _exchange(database, getattr(request, "param", {})):
            yield made
