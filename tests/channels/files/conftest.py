"""Real databases with the tables of files, and the family over each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from channels.files.family import family
from hub.families import migrations_of
from hub.storage.backends import backend_of
from hub.storage.database import Database
from hub.storage.transactions import Transactions
from tests.channels.files.support import NOW, TENANTS, World
from tests.hub.storage.backends import Sqlite, migrated_url, opened, postgres, sqlite
from tests.world import ManualClock

__all__ = ["postgres", "sqlite"]

PACKAGES = migrations_of([family])


async def _world(database: Database, folder: Path, settings: dict[str, object]) -> AsyncIterator[World]:
    transactions = Transactions(backend_of(database))
    await transactions.start()
    for tenant in TENANTS:
        await transactions.write(lambda tx, name=tenant: tx.run("INSERT INTO tenants (name, created_ms) VALUES (?, 0)", (name,)))  # type: ignore[misc]
    try:
        async with World(transactions, folder, ManualClock(wall=NOW), dict(settings)).running() as made:
            yield made
    finally:
        await transactions.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """On SQLite and on PostgreSQL."""
    async with opened(await migrated_url(request, PACKAGES)) as database:
        async for made in _world(database, tmp_path, {"objects": {"max_uploads_per_link": 4}}):
            yield made


@pytest.fixture
async def light(request: pytest.FixtureRequest, sqlite: Sqlite, tmp_path: Path) -> AsyncIterator[World]:
    """On SQLite alone: for what does not depend on the database. Settings may come as the parameter."""
    async with opened(await sqlite.migrated(PACKAGES)) as database:
        async for made in _world(database, tmp_path, getattr(request, "param", {})):
            yield made
