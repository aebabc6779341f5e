"""Real databases with the tables of secure e-mail, and the calls over each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from channels.secure_email.family import family
from hub.families import migrations_of
from hub.objects.local import LocalStore
from hub.storage.backends import backend_of
from hub.storage.database import Database
from hub.storage.transactions import Transactions
from tests.channels.secure_email.support import Office
from tests.hub.storage.backends import Sqlite, migrated_url, opened, postgres, sqlite

__all__ = ["postgres", "sqlite"]

PACKAGES = migrations_of([family])


async def _office(database: Database, folder: Path, **settings: Any) -> AsyncIterator[Office]:
    transactions = Transactions(backend_of(database))
    await transactions.start()
    for tenant in ("acme", "other"):
        await transactions.write(lambda tx, name=tenant: tx.run("INSERT INTO tenants (name, created_ms) VALUES (?, 0)", (name,)))  # type: ignore[misc]
    yield Office(transactions, database, LocalStore(folder), **settings)
    await transactions.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
async def office(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Office]:
    """On SQLite and on PostgreSQL."""
    async with opened(await migrated_url(request, PACKAGES)) as database:
        async for made in _office(database, tmp_path / "objects"):
            yield made


@pytest.fixture
async def light(request: pytest.FixtureRequest, sqlite: Sqlite, tmp_path: Path) -> AsyncIterator[Office]:
    """On SQLite alone: for what does not depend on the database. Settings may come as the parameter."""
    async with opened(await sqlite.migrated(PACKAGES)) as database:
        async for made in _office(database, tmp_path / "objects", **getattr(request, "param", {})):
            yield made
