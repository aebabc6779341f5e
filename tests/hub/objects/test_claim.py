"""A store belongs to one database: another one removes nothing from it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from obstore.store import MemoryStore
from structlog.testing import capture_logs

from hub.families import migrations_of
from hub.objects.claim import CLAIM_KEY, StoreClaim, claimed_by, database_ids
from hub.objects.local import LocalStore
from hub.objects.remote import RemoteStore
from hub.objects.sends import Sends
from hub.objects.spool import Spool
from hub.objects.store import ObjectStore, StoreUnavailableError
from hub.storage.backends import backend_of
from hub.storage.transactions import Transactions
from tests.hub.objects.test_store import put
from tests.hub.storage.backends import Sqlite, migrated_url, opened, postgres, sqlite

__all__ = ["postgres", "sqlite"]

PACKAGES = migrations_of([])


@asynccontextmanager
async def database(url: str) -> AsyncIterator[Transactions]:
    """A database with the hub's own tables."""
    async with opened(url) as found:
        transactions = Transactions(backend_of(found))
        await transactions.start()
        # the tests' databases are copies of one
        await transactions.write(lambda tx: tx.run("UPDATE hub_identity SET id = ?", (secrets.token_hex(8),)))
        try:
            yield transactions
        finally:
            await transactions.stop()


@pytest.fixture(params=["folder", "cloud"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return (
        LocalStore(tmp_path / "objects") if request.param == "folder" else RemoteStore(MemoryStore(), Spool(tmp_path / "uploads", Sends(4)))
    )


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_the_first_database_has_it(request: pytest.FixtureRequest, sqlite: Sqlite, tmp_path: Path, kind: str) -> None:
    store = LocalStore(tmp_path / "objects")
    request.param = kind
    async with database(await migrated_url(request, PACKAGES)) as ours, database(await sqlite.migrated(PACKAGES)) as another:
        assert await StoreClaim(store, ours).holds()
        (own,) = await ours.read(database_ids)
        assert await claimed_by(store) == own
        assert await StoreClaim(store, ours).holds()  # after a restart, too
        with capture_logs() as logs:
            assert not await StoreClaim(store, another).holds()
        assert [each["event"] for each in logs] == ["object_store_of_another_database"]
        assert await claimed_by(store) == own
        await store.delete([CLAIM_KEY])  # as the guide says, where the old database is lost
        assert await StoreClaim(store, another).holds()
        assert not await StoreClaim(store, ours).holds()


async def test_of_two_nodes_that_start_at_once_both_have_it(store: ObjectStore, sqlite: Sqlite) -> None:
    async with database(await sqlite.migrated(PACKAGES)) as ours:
        claims = [StoreClaim(store, ours) for _ in range(8)]
        assert all(await asyncio.gather(*(each.holds() for each in claims)))


async def test_of_two_databases_that_start_at_once_one_has_it(store: ObjectStore, sqlite: Sqlite) -> None:
    async with database(await sqlite.migrated(PACKAGES)) as one, database(await sqlite.migrated(PACKAGES)) as other:
        held = await asyncio.gather(*(StoreClaim(store, each).holds() for each in (one, other)))
        assert sorted(held) == [False, True]


async def test_a_database_that_was_copied_keeps_the_store(store: ObjectStore, sqlite: Sqlite) -> None:
    async with database(await sqlite.migrated(PACKAGES)) as ours, database(await sqlite.migrated(PACKAGES)) as copy:
        assert await StoreClaim(store, ours).holds()
        (own,) = await ours.read(database_ids)
        await copy.write(lambda tx: tx.run("INSERT INTO hub_identity (id) VALUES (?)", (own,)))  # `hub migrate` copies the table
        assert await StoreClaim(store, copy).holds()


async def test_what_is_no_id_belongs_to_nobody(store: ObjectStore, sqlite: Sqlite) -> None:
    await put(store, CLAIM_KEY, b"\xff" * 100_000)
    async with database(await sqlite.migrated(PACKAGES)) as ours:
        assert not await StoreClaim(store, ours).holds()


async def test_a_store_that_does_not_answer_says_so(store: ObjectStore, sqlite: Sqlite, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise StoreUnavailableError("it is away")

    monkeypatch.setattr(type(store), "get", fail)
    async with database(await sqlite.migrated(PACKAGES)) as ours:
        with pytest.raises(StoreUnavailableError):
            await StoreClaim(store, ours).holds()


async def test_a_store_is_held_before_from_the_second_time_on(store: ObjectStore, sqlite: Sqlite) -> None:
    """Only then is it swept at a start: what a first start with wrong settings finds can be seen before it goes."""
    async with database(await sqlite.migrated(PACKAGES)) as ours, database(await sqlite.migrated(PACKAGES)) as another:
        claim = StoreClaim(store, ours)
        assert not await claim.held_before()
        assert await claim.held_before()
        assert await claim.holds()
        assert not await StoreClaim(store, another).held_before()
