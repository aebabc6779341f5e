"""Endpoints in both databases."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace

from hub.outbox import delivery_store, endpoint_store
from hub.outbox.models import EVERY_ENDPOINT, Endpoint, OutboxEvent, Policy, Secret, Success, Throttle
from hub.storage.backends import backend_of
from hub.storage.database import Database
from hub.storage.transactions import Transaction, Transactions
from tests.hub.outbox.support import Recording, endpoint
from tests.hub.storage.backends import Postgres, opened
from tests.world import ManualClock

FULL = Endpoint(
    id="ep_full",
    tenant="acme",
    url="https://receiver.example/hook?a=1%20%3F",
    secrets=(Secret("new"), Secret("old", 5_000)),
    types=("thing.*",),
    media=("chat", "email"),
    headers={"X-Own": "ü"},
    description="of the CRM",
    concurrency=3,
    enabled=False,
    disabled_reason="by hand",
    policy=Policy(Success.EXACTLY_200, 10_000, True, Throttle.ORDER),
    owner="messaging",
    created_ms=1,
    failing_since_ms=2,
    silent=7,
    closed_until_ms=8,
)


def event(type: str = "thing.started", tenant: str = "acme", media: str = "", to: str = EVERY_ENDPOINT) -> OutboxEvent:
    return OutboxEvent(1, tenant, type, "k", media, "op", "trace", to, b"{}", 0)


async def test_what_is_saved_is_found(transactions: Transactions) -> None:
    await transactions.write(lambda tx: endpoint_store.save(tx, FULL))
    assert await transactions.read(lambda tx: endpoint_store.find(tx, "acme", "ep_full")) == FULL
    assert await transactions.read(lambda tx: endpoint_store.find(tx, "other", "ep_full")) is None


async def test_a_policy_of_an_earlier_version_is_read(transactions: Transactions) -> None:
    await transactions.write(lambda tx: endpoint_store.save(tx, FULL))
    await transactions.write(lambda tx: tx.run("UPDATE endpoints SET policy = ?", ('["2xx", 10000, true]',)))
    found = await transactions.read(lambda tx: endpoint_store.find(tx, "acme", "ep_full"))
    assert found is not None
    assert found.policy == Policy(Success.ANY_2XX, 10_000, True, Throttle.ENDPOINT)


async def test_removing_gives_up_what_waits(transactions: Transactions) -> None:
    recording = Recording(ManualClock())
    await transactions.write(lambda tx: endpoint_store.save(tx, endpoint()))
    made = await transactions.write(recording.add())
    await transactions.write(lambda tx: delivery_store.create(tx, made, "ep_1", 5, "", 0))
    assert await transactions.write(lambda tx: endpoint_store.remove(tx, "ep_1", 9))
    assert await transactions.read(lambda tx: tx.rows("SELECT state, error, finished_ms FROM deliveries")) == [
        ("dead", endpoint_store.REMOVED, 9)
    ]
    assert not await transactions.write(lambda tx: endpoint_store.remove(tx, "ep_1", 9))


async def test_disabling_happens_once(transactions: Transactions) -> None:
    await transactions.write(lambda tx: endpoint_store.save(tx, endpoint()))
    assert await transactions.write(lambda tx: endpoint_store.disable(tx, "ep_1", "gone"))
    assert not await transactions.write(lambda tx: endpoint_store.disable(tx, "ep_1", "again"))
    found = await transactions.read(lambda tx: endpoint_store.find(tx, "acme", "ep_1"))
    assert found is not None
    assert (found.enabled, found.disabled_reason) == (False, "gone")


async def test_failing_since_is_the_first_failure(transactions: Transactions) -> None:
    await transactions.write(lambda tx: endpoint_store.save(tx, endpoint()))
    seen = []
    for since in (5, 9, None, 12):
        await transactions.write(lambda tx, since=since: endpoint_store.failing_since(tx, "ep_1", since))  # type: ignore[misc]
        found = await transactions.read(lambda tx: endpoint_store.find(tx, "acme", "ep_1"))
        assert found is not None
        seen.append(found.failing_since_ms)
    assert seen == [5, 5, None, 12]


async def test_a_removal_waits_for_the_deliveries_that_another_transaction_makes(postgres: Postgres) -> None:
    """On PostgreSQL, where two transactions run at the same time."""
    async with opened(postgres.url(await postgres.migrated())) as database:
        await removed_meanwhile(database)


async def removed_meanwhile(database: Database) -> None:
    maker, remover = Transactions(backend_of(database)), Transactions(backend_of(database))
    await maker.start()
    await remover.start()
    await maker.write(lambda tx: tx.run("INSERT INTO tenants (name, created_ms) VALUES ('acme', 0)"))
    await maker.write(lambda tx: endpoint_store.save(tx, endpoint()))
    found, removing = threading.Event(), threading.Event()

    def make(tx: Transaction) -> None:
        event = Recording(ManualClock()).add("k1")(tx)
        assert endpoint_store.kept(tx, {"ep_1", "ep_2"}) == {"ep_1"}
        found.set()
        removing.wait(0.2)  # where the other transaction can begin, it is at the endpoint by now, or comes there soon
        assert delivery_store.create(tx, event, "ep_1", 0, "", 0) is not None

    def remove(tx: Transaction) -> bool:
        removing.set()
        return endpoint_store.remove(tx, "ep_1", 1)

    making = asyncio.create_task(maker.write(make))
    await asyncio.to_thread(found.wait)
    assert await remover.write(remove)
    await making
    assert await remover.read(lambda tx: tx.rows("SELECT state, error FROM deliveries")) == [("dead", endpoint_store.REMOVED)]
    await maker.stop()
    await remover.stop()


async def test_a_change_does_not_bring_back_an_endpoint_that_is_removed_meanwhile(postgres: Postgres) -> None:
    """On PostgreSQL, where two transactions run at the same time."""
    async with opened(postgres.url(await postgres.migrated())) as database:
        changer, remover = Transactions(backend_of(database)), Transactions(backend_of(database))
        await changer.start()
        await remover.start()
        await changer.write(lambda tx: tx.run("INSERT INTO tenants (name, created_ms) VALUES ('again', 0)"))
        await changer.write(lambda tx: endpoint_store.save(tx, replace(endpoint(), id="ep_again", tenant="again")))
        removed, changing = threading.Event(), threading.Event()

        def remove(tx: Transaction) -> None:
            assert endpoint_store.remove(tx, "ep_again", 1)
            removed.set()
            changing.wait(5)
            time.sleep(0.2)  # the other transaction has read the endpoint by now, or waits for it

        def change(tx: Transaction) -> bool:
            changing.set()
            found = endpoint_store.find(tx, "again", "ep_again", to_change=True)
            if found is not None:
                endpoint_store.save(tx, replace(found, description="changed"))
            return found is not None

        removing = asyncio.create_task(remover.write(remove))
        await asyncio.to_thread(removed.wait)
        assert not await changer.write(change)
        await removing
        assert await changer.read(lambda tx: endpoint_store.find(tx, "again", "ep_again")) is None
        await changer.stop()
        await remover.stop()
