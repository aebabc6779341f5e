"""A database of an earlier version is brought up to date, with its files, on both kinds."""

from __future__ import annotations

import pytest

from channels.media_storage import store
from channels.media_storage.family import family
from hub.families import migrations_of
from hub.storage.migrations import migrate
from hub.storage.transactions import Transaction
from tests.hub.storage.backends import migrated_url, opened, postgres, running_at, sqlite

__all__ = ["postgres", "sqlite"]

PACKAGES = migrations_of([family])


def undo(tx: Transaction) -> None:
    """Make the tables of media_storage_0002 of the newest ones, with a file."""
    tx.run("ALTER TABLE media_objects ADD COLUMN link_ms BIGINT")
    assert tx.run("UPDATE alembic_version SET version_num = 'media_storage_0002' WHERE version_num LIKE 'media_storage_%'") == 1
    tx.run("INSERT INTO tenants (name, created_ms) VALUES ('acme', 0)")
    tx.run(
        "INSERT INTO media_objects (tenant, folder, top, path, object, size, md5, sha256, modified_ms, link_ms)"
        " VALUES ('acme', 'imports', 'imports', 'imports/a.txt', 'o', 5, 'm', 's', 7, 9)"
    )


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(request: pytest.FixtureRequest) -> str:
    """Of a database with every table, on SQLite and on PostgreSQL."""
    return await migrated_url(request, PACKAGES)


async def test_the_end_of_links_is_forgotten_and_files_stay(url: str) -> None:
    async with running_at(url) as transactions:
        await transactions.write(undo)
    async with opened(url) as database:
        await migrate(database, PACKAGES)
    async with running_at(url) as transactions:
        found = await transactions.read(lambda tx: store.find(tx, "acme", "imports/a.txt"))
        columns = await transactions.read(lambda tx: tx.row("SELECT * FROM media_objects"))
    assert found == ("imports/a.txt", "o", 5, "m", "s", 7)
    assert columns is not None
    assert 9 not in columns
