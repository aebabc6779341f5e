"""Real databases with the tables of media storage, and the folders of two tenants over each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from channels.media_storage.family import family
from hub.families import migrations_of
from hub.storage.backends import backend_of
from hub.storage.database import Database
from hub.storage.transactions import Transactions
from tests.channels.media_storage.support import TENANTS, Cabinet
from tests.hub.storage.backends import Sqlite, migrated_url, opened, postgres, sqlite

__all__ = ["postgres", "sqlite"]

PACKAGES = migrations_of([family])


async def _cabinet(database: Database, folder: Path, settings: dict[str, Any]) -> AsyncIterator[Cabinet]:
    transactions = Transactions(backend_of(database))
    await transactions.start()
    for tenant in TENANTS:
        await transactions.write(lambda tx, name=tenant: tx.run("INSERT INTO tenants (name, created_ms) VALUES (?, 0)", (name,)))  # type: ignore[misc]
    try:
        yield Cabinet(transactions, folder / "objects", **settings)
    finally:
        await transactions.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
async def cabinet(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cabinet]:
    """On SQLite and on PostgreSQL."""
    async with opened(await migrated_url(request, PACKAGES)) as database:
        async for made in _cabinet(database, tmp_path, {}):
            yield made


@pytest.fixture
async def light(request: pytest.FixtureRequest, sqlite: Sqlite, tmp_path: Path) -> AsyncIterator[Cabinet]:
    """On SQLite alone: for what does not depend on the database. Settings may come as the parameter."""
    async with opened(await sqlite.migrated(PACKAGES)) as database:
        async for made in _cabinet(database, tmp_path, getattr(request, "param", {})):
            yield made
