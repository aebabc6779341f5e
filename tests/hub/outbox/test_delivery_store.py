"""Claims, outcomes and trimming, on both databases."""

from __future__ import annotations

import pytest

from hub.outbox import delivery_store, endpoint_store
from hub.outbox.delivery_store import Claim, Created, Work
from hub.outbox.models import NO_ENDPOINT, DeliveryState, OutboxEvent
from hub.storage.backends import backend_of
from hub.storage.database import Database
from hub.storage.transactions import Transactions
from tests.hub.outbox.support import Recording, endpoint, outcome
from tests.world import ManualClock

NOW = 1_000_000
ORDER_MS = 60_000


@pytest.fixture
def recording() -> Recording:
    return Recording(ManualClock())


class Deliveries:
    """The deliveries of one endpoint."""

    def __init__(self, transactions: Transactions, recording: Recording) -> None:
        self.transactions = transactions
        self.recording = recording

    async def add(self, key: str = "k1", at_ms: int = NOW) -> int:
        event = await self.transactions.write(self.recording.add(key))
        made = await self.transactions.write(lambda tx: delivery_store.create(tx, event, "ep_1", at_ms, "", 0))
        assert made is not None
        return made.delivery

    async def claim(self, now_ms: int = NOW, limit: int = 10, owner: str = "me", lease_ms: int = 1_000) -> Claim:
        return await self.transactions.write(
            lambda tx: delivery_store.claim(
                tx, "ep_1", owner=owner, now_ms=now_ms, lease_until_ms=now_ms + lease_ms, order_ms=ORDER_MS, limit=limit
            )
        )

    async def claimed(self, now_ms: int = NOW, limit: int = 10, owner: str = "me") -> list[int]:
        return [work.delivery for work in (await self.claim(now_ms, limit, owner)).work]

    async def record(self, work: Work, state: DeliveryState, next_ms: int = 0, owner: str = "me", status: int = 200) -> bool:
        return await self.transactions.write(
            lambda tx: delivery_store.record(tx, work, outcome(status), owner=owner, state=state, next_ms=next_ms, error="")
        )


@pytest.fixture
async def deliveries(transactions: Transactions, recording: Recording) -> Deliveries:
    await transactions.write(lambda tx: endpoint_store.save(tx, endpoint()))
    return Deliveries(transactions, recording)


async def claim_events(transactions: Transactions, now_ms: int, limit: int = 10, owner: str = "me") -> list[OutboxEvent]:
    return await transactions.write(lambda tx: delivery_store.claim_events(tx, owner, now_ms, 1_000, limit))


# -- events -----------------------------------------------------------------------------------------------------------


async def test_events_are_claimed_once_and_again_when_the_lease_is_over(transactions: Transactions, recording: Recording) -> None:
    made = [await transactions.write(recording.add(f"k{number}", body=bytes([number]))) for number in range(3)]
    assert await claim_events(transactions, NOW) == made
    assert await claim_events(transactions, NOW + 999) == []
    assert await claim_events(transactions, NOW + 1_000, owner="you") == made


async def test_the_oldest_events_come_first(transactions: Transactions, recording: Recording) -> None:
    made = [await transactions.write(recording.add(f"k{number}")) for number in range(5)]
    assert await claim_events(transactions, NOW, limit=2) == made[:2]
    assert await claim_events(transactions, NOW, limit=9) == made[2:]


async def test_an_event_waits_for_the_one_before_it_of_its_key(transactions: Transactions, recording: Recording) -> None:
    first = await transactions.write(recording.add("k1"))
    assert await claim_events(transactions, NOW) == [first]
    second = await transactions.write(recording.add("k1"))
    other_key = await transactions.write(recording.add("k2"))
    other_tenant = await transactions.write(recording.add("k1", tenant="other"))
    assert await claim_events(transactions, NOW) == [other_key, other_tenant]
    await transactions.write(lambda tx: delivery_store.dispatched(tx, [first]))
    assert await claim_events(transactions, NOW) == [second]


async def test_an_event_that_stays_inside_the_hub_is_deleted_when_it_was_dispatched(
    transactions: Transactions, recording: Recording
) -> None:
    inside = await transactions.write(recording.add("k1", endpoint=NO_ENDPOINT))
    other = await transactions.write(recording.add("k2"))
    await transactions.write(lambda tx: delivery_store.dispatched(tx, [inside, other]))
    assert await transactions.read(lambda tx: tx.rows("SELECT id, dispatched FROM outbox_events")) == [(other.id, 1)]


async def test_bodies_of_events_that_wait_can_be_rewritten(transactions: Transactions, recording: Recording) -> None:
    ours = await transactions.write(recording.add("k1", body=b"mine"))
    await transactions.write(recording.add("k1", body=b"theirs"))
    await transactions.write(recording.add("k2", body=b"mine"))
    await transactions.write(recording.add("k1", body=b"mine", tenant="other"))
    gone = await transactions.write(recording.add("k1", body=b"mine"))
    await transactions.write(lambda tx: delivery_store.dispatched(tx, [gone]))

    def change(body: bytes) -> bytes | None:
        return b"" if body == b"mine" else None

    assert await transactions.write(recording.rewrite(ours, change)) == 1
    bodies = await transactions.read(lambda tx: tx.rows("SELECT body FROM outbox_events ORDER BY id"))
    assert [bytes(body) for (body,) in bodies] == [b"", b"theirs", b"mine", b"mine", b"mine"]


async def test_an_event_that_is_left_for_later_holds_up_its_key_alone(transactions: Transactions, recording: Recording) -> None:
    first = await transactions.write(recording.add("k1"))
    await claim_events(transactions, NOW)
    await transactions.write(lambda tx: delivery_store.release_events(tx, [first.id], NOW + 500))
    second = await transactions.write(recording.add("k1"))
    assert await claim_events(transactions, NOW + 499) == []
    assert await claim_events(transactions, NOW + 500) == [first, second]


async def test_a_number_is_never_given_twice(transactions: Transactions, recording: Recording) -> None:
    first = await transactions.write(recording.add())
    await transactions.write(lambda tx: tx.run("DELETE FROM outbox_events"))
    assert (await transactions.write(recording.add())).id > first.id


async def test_an_event_that_is_recorded_is_handed_over_when_it_is_on_disk(light_transactions: Transactions) -> None:
    recording = Recording(ManualClock(), leased=True)
    event = await light_transactions.write(recording.add())
    assert recording.handed == [(event, True)]
    assert await claim_events(light_transactions, event.at_ms) == []


# -- deliveries -------------------------------------------------------------------------------------------------------


async def test_one_delivery_for_each_event_and_endpoint(transactions: Transactions, recording: Recording) -> None:
    event = await transactions.write(recording.add())
    assert await transactions.write(lambda tx: delivery_store.create(tx, event, "ep_1", NOW, "", 0)) is not None
    assert await transactions.write(lambda tx: delivery_store.create(tx, event, "ep_1", NOW, "", 0)) is None
    assert await transactions.write(lambda tx: delivery_store.create(tx, event, "ep_2", NOW, "", 0)) is not None


async def test_a_claim_brings_the_event(deliveries: Deliveries) -> None:
    made = await deliveries.add("k1")
    claim = await deliveries.claim()
    (work,) = claim.work
    assert (work.delivery, work.endpoint, work.attempts, work.event.key, work.event.body) == (made, "ep_1", 0, "k1", b'{"a":1}')
    assert claim.due_ms is None


async def test_what_is_claimed_is_nobody_elses_until_the_lease_is_over(deliveries: Deliveries) -> None:
    made = await deliveries.add()
    assert await deliveries.claimed(owner="me") == [made]
    assert await deliveries.claim(NOW + 500, owner="you") == Claim([], NOW + 1_000)
    assert await deliveries.claimed(NOW + 1_000, owner="you") == [made]


async def test_no_more_than_asked_for_are_claimed(deliveries: Deliveries) -> None:
    made = [await deliveries.add(f"k{number}") for number in range(3)]
    claim = await deliveries.claim(limit=2)
    assert ([work.delivery for work in claim.work], claim.due_ms) == (made[:2], NOW)
    assert await deliveries.claimed(limit=2) == made[2:]


async def test_a_retry_is_due_when_it_is_due(deliveries: Deliveries) -> None:
    await deliveries.add()
    (work,) = (await deliveries.claim()).work
    assert await deliveries.record(work, DeliveryState.PENDING, next_ms=NOW + 5_000, status=500)
    assert await deliveries.claim(NOW + 4_999) == Claim([], NOW + 5_000)
    (again,) = (await deliveries.claim(NOW + 5_000)).work
    assert again.attempts == 1


async def test_a_delivery_waits_for_the_one_before_it_of_its_key(deliveries: Deliveries) -> None:
    first, second, other = await deliveries.add("k1"), await deliveries.add("k1"), await deliveries.add("k2")
    claim = await deliveries.claim()
    assert [work.delivery for work in claim.work] == [first, other]
    assert claim.due_ms == NOW
    await deliveries.record(claim.work[0], DeliveryState.DELIVERED)
    assert await deliveries.claimed() == [second]


@pytest.mark.parametrize("state", [DeliveryState.DELIVERED, DeliveryState.DEAD])
async def test_the_end_of_a_delivery_lets_the_next_one_go(deliveries: Deliveries, state: DeliveryState) -> None:
    await deliveries.add("k1")
    second = await deliveries.add("k1")
    (work,) = (await deliveries.claim()).work
    await deliveries.record(work, state)
    assert await deliveries.claimed() == [second]


async def test_a_delivery_waits_no_longer_than_the_bound(deliveries: Deliveries) -> None:
    first = await deliveries.add("k1")
    (work,) = (await deliveries.claim()).work
    await deliveries.record(work, DeliveryState.PENDING, next_ms=NOW + 10 * ORDER_MS)
    second = await deliveries.add("k1")
    assert await deliveries.claimed(NOW + ORDER_MS - 1) == []
    assert await deliveries.claimed(NOW + ORDER_MS) == [second]
    assert await deliveries.claimed(NOW + 10 * ORDER_MS) == [first, second]


async def test_an_outcome_after_the_lease_is_nobodys(deliveries: Deliveries) -> None:
    await deliveries.add()
    (mine,) = (await deliveries.claim(owner="me")).work
    (yours,) = (await deliveries.claim(NOW + 2_000, owner="you")).work
    assert not await deliveries.record(mine, DeliveryState.DEAD, owner="me")
    assert await deliveries.record(yours, DeliveryState.DELIVERED, owner="you")


async def test_each_attempt_is_kept(deliveries: Deliveries) -> None:
    await deliveries.add()
    for status, state in ((500, DeliveryState.PENDING), (200, DeliveryState.DELIVERED)):
        (work,) = (await deliveries.claim()).work
        await deliveries.record(work, state, status=status)
    kept = await deliveries.transactions.read(lambda tx: tx.rows("SELECT number, status, duration_ms FROM attempts ORDER BY number"))
    assert kept == [(1, 500, 5), (2, 200, 5)]


async def test_what_is_given_back_can_be_claimed_at_once(deliveries: Deliveries) -> None:
    made = await deliveries.add()
    await deliveries.claim(owner="me")
    await deliveries.transactions.write(lambda tx: delivery_store.give_back(tx, [made], "you", 0))
    assert await deliveries.claimed() == []
    await deliveries.transactions.write(lambda tx: delivery_store.give_back(tx, [made], "me", 0))
    assert await deliveries.claimed() == [made]


async def test_what_is_given_back_for_later_is_claimed_later(deliveries: Deliveries) -> None:
    made = await deliveries.add()
    await deliveries.claim(owner="me")
    await deliveries.transactions.write(lambda tx: delivery_store.give_back(tx, [made], "me", NOW + 5_000))
    assert await deliveries.claimed(NOW + 4_999) == []
    assert await deliveries.claimed(NOW + 5_000) == [made]


async def test_a_process_that_is_alone_takes_over_what_the_last_one_had(deliveries: Deliveries) -> None:
    made = await deliveries.add()
    await deliveries.claim(owner="last")
    event = await deliveries.transactions.write(deliveries.recording.add("k9"))
    await claim_events(deliveries.transactions, NOW, owner="last")
    await deliveries.transactions.write(delivery_store.free_own)
    assert await deliveries.claimed() == [made]
    assert event in await claim_events(deliveries.transactions, NOW)


async def test_two_processes_never_claim_the_same(deliveries: Deliveries, database: Database) -> None:
    """PostgreSQL: ``SKIP LOCKED``. SQLite has one process, whose claims come one after another."""
    made = [await deliveries.add(f"k{number}") for number in range(40)]
    other = Transactions(backend_of(database)) if not database.is_sqlite else deliveries.transactions
    if other is not deliveries.transactions:
        await other.start()
    theirs = Deliveries(other, deliveries.recording)
    found: list[int] = []
    for _ in range(5):
        found += await deliveries.claimed(limit=4, owner="me") + await theirs.claimed(limit=4, owner="you")
    assert sorted(found) == made
    if other is not deliveries.transactions:
        await other.stop()


async def test_how_much_waits(deliveries: Deliveries) -> None:
    await deliveries.add("k1")
    await deliveries.add("k2")
    assert await deliveries.transactions.read(delivery_store.waiting) == (2, 2)


async def test_what_is_over_is_forgotten_in_pieces(deliveries: Deliveries) -> None:
    for number in range(5):
        await deliveries.add(f"k{number}")
    works = (await deliveries.claim()).work
    for work, state in zip(works, [DeliveryState.DELIVERED] * 3 + [DeliveryState.DEAD] * 1, strict=False):
        await deliveries.record(work, state)
    await deliveries.transactions.write(lambda tx: delivery_store.dispatched(tx, [work.event for work in works]))
    over_ms = NOW + 10  # outcomes end at NOW + 5
    later_ms = NOW * 2

    async def trim(delivered_before_ms: int, dead_before_ms: int) -> int:
        return await deliveries.transactions.write(
            lambda tx: delivery_store.trim(tx, delivered_before_ms=delivered_before_ms, dead_before_ms=dead_before_ms, limit=2)
        )

    assert await trim(NOW, NOW) == 0
    assert await trim(over_ms, 0) == 2 + 2
    assert await trim(over_ms, 0) == 1 + 1
    assert await trim(over_ms, 0) == 0
    assert await trim(over_ms, later_ms) == 1 + 1
    states = await deliveries.transactions.read(lambda tx: tx.rows("SELECT state FROM deliveries"))
    assert states == [("pending",)]
    assert await deliveries.transactions.read(lambda tx: tx.row("SELECT count(*) FROM outbox_events")) == (1,)
    assert await deliveries.transactions.read(lambda tx: tx.row("SELECT count(*) FROM attempts")) == (0,)


async def created(deliveries: Deliveries, key: str, owner: str) -> Created:
    event = await deliveries.transactions.write(deliveries.recording.add(key))
    made = await deliveries.transactions.write(lambda tx: delivery_store.create(tx, event, "ep_1", NOW, owner, NOW + 1_000))
    assert made is not None
    return made


async def test_a_new_delivery_is_leased_behind_those_that_its_owner_has_alone(deliveries: Deliveries) -> None:
    assert (await created(deliveries, "k1", "me")).leased
    assert (await created(deliveries, "k1", "me")).leased
    assert not (await created(deliveries, "k1", "you")).leased, "another process has the older ones"
    assert not (await created(deliveries, "k1", "me")).leased, "nobody has the one before it"
    assert (await created(deliveries, "k2", "me")).leased
    assert (await created(deliveries, "k2", "me")).leased


async def test_a_delivery_that_is_tried_again_later_keeps_new_ones_of_its_key_behind_it(deliveries: Deliveries) -> None:
    await deliveries.add("k1")
    (work,) = (await deliveries.claim()).work
    assert await deliveries.record(work, DeliveryState.PENDING, next_ms=NOW + 60_000)
    assert not (await created(deliveries, "k1", "me")).leased
