"""The whole machine on real databases, with receivers that behave as the test says."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from hub.outbox import delivery_store, endpoint_store
from hub.outbox.endpoint_queue import EndpointQueue
from hub.outbox.models import DeliveryState, Endpoint, OutboxEvent, Policy, Throttle
from hub.outbox.outcome import Failure, Outcome
from hub.outbox.settings import OutboxSettings
from hub.storage.transactions import Transactions
from tests.hub.outbox.house import QUICK, SOON, House, always, well
from tests.hub.outbox.support import a_slice, endpoint, outcome


@pytest.fixture
async def house(transactions: Transactions) -> AsyncIterator[House]:
    """On both databases, with one endpoint."""
    made = House(transactions)
    async with made.running():
        await made.save(endpoint())
        yield made


@pytest.fixture
async def light(light_transactions: Transactions) -> AsyncIterator[House]:
    """On SQLite alone, with one endpoint."""
    made = House(light_transactions)
    async with made.running():
        await made.save(endpoint())
        yield made


async def test_an_event_is_delivered_once(house: House) -> None:
    event = await house.record()
    await house.until(lambda: house.counters.delivered == 1)
    assert house.receivers.got == [("ep_1", event, 1)]
    assert await house.states() == {"delivered": 1}
    assert house.family.ends == [("thing.started", DeliveryState.DELIVERED, 200)]
    assert await house.transactions.read(lambda tx: tx.row("SELECT media FROM outbox_events")) == ("settled",)


async def test_a_failure_is_tried_again_until_it_works(house: House) -> None:
    async def third(event: OutboxEvent, attempt: int) -> Outcome:
        return outcome(200 if attempt == 3 else 500)

    house.receivers.answers["ep_1"] = third
    await house.record()
    await house.until(lambda: house.counters.delivered == 1)
    assert house.receivers.of("ep_1") == [("thing.started", 1), ("thing.started", 2), ("thing.started", 3)]
    assert (house.counters.attempts, house.counters.retried) == (3, 2)
    assert house.outbox.worker.latency.count == 1
    assert house.outbox.worker.latency.sum >= 0.1, "two retries of 50 ms are part of it"
    assert await house.transactions.read(lambda tx: tx.rows("SELECT number, status FROM attempts ORDER BY number")) == [
        (1, 500), (2, 500), (3, 200),
    ]  # fmt: skip


async def test_after_the_last_attempt_it_is_dead_and_administrators_hear_of_it(house: House) -> None:
    house.receivers.answers["ep_1"] = always(500)
    await house.record()
    await house.until(lambda: bool(house.heard.events))
    assert await house.states() == {"dead": 1}
    assert house.counters.attempts == len(QUICK.retry_s) + 1
    assert house.family.ends == [("thing.started", DeliveryState.DEAD, 500)]
    ((tenant, channel, data),) = house.heard.events
    assert (tenant, channel, data["type"], data["endpoint"], data["attempts"]) == (
        "acme",
        "/hub/operations",
        "hub.delivery.dead",
        "ep_1",
        4,
    )


async def test_finished_never_overtakes_started(house: House) -> None:
    async def slow_start(event: OutboxEvent, attempt: int) -> Outcome:
        if event.type == "thing.started":
            await asyncio.sleep(0.1)
            return outcome(200 if attempt == 2 else 500)
        return outcome(200)

    house.receivers.answers["ep_1"] = slow_start
    for key in ("a", "b"):
        await house.record(key, "thing.started")
        await house.record(key, "thing.finished")
    await house.until(lambda: house.counters.delivered == 4)
    for key in ("a", "b"):
        got = [(event.type, attempt) for _, event, attempt in house.receivers.got if event.key == key]
        assert got == [("thing.started", 1), ("thing.started", 2), ("thing.finished", 1)]


async def test_finished_waits_for_started_no_longer_than_the_bound(transactions: Transactions) -> None:
    made = House(transactions, QUICK.model_copy(update={"order_s": 0.2, "retry_s": (60.0,)}))
    async with made.running():
        await made.save(endpoint())
        made.receivers.answers["ep_1"] = always(500)
        await made.record("a", "thing.started")
        await made.until(lambda: made.counters.retried == 1)
        made.receivers.answers["ep_1"] = well
        await made.record("a", "thing.finished")
        await made.until(lambda: made.counters.delivered == 1)
    assert made.receivers.of("ep_1") == [("thing.started", 1), ("thing.finished", 1)]


async def test_no_more_at_once_than_an_endpoint_may_have(light: House) -> None:
    gate = asyncio.Event()

    async def hold(event: OutboxEvent, attempt: int) -> Outcome:
        await gate.wait()
        return outcome(200)

    light.receivers.answers["ep_1"] = hold
    for number in range(20):
        await light.record(f"k{number}")
    await light.until(lambda: light.receivers.under_way.get("ep_1") == QUICK.concurrency)
    gate.set()
    await light.until(lambda: light.counters.delivered == 20)
    assert light.receivers.most["ep_1"] == QUICK.concurrency


async def test_an_endpoint_that_hangs_costs_the_others_nothing(light: House) -> None:
    never = asyncio.Event()

    async def hang(event: OutboxEvent, attempt: int) -> Outcome:
        await never.wait()
        return outcome(0, Failure.TIMEOUT)

    await light.save(endpoint("ep_2"))
    light.receivers.answers["ep_1"] = hang
    for number in range(50):
        await light.record(f"k{number}")
    await light.until(lambda: light.counters.delivered == 50)
    assert len(light.receivers.of("ep_2")) == 50
    assert len(light.receivers.of("ep_1")) == QUICK.concurrency
    never.set()


async def test_who_does_not_answer_is_probed_and_nothing_is_lost(light: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EndpointQueue, "silent", lambda queue, now: setattr(queue, "_failures", queue._failures + 1))
    light.receivers.answers["ep_1"] = always(0, Failure.CONNECT)
    for number in range(12):
        await light.record(f"k{number}")
    await light.until(lambda: light.outbox.worker.circuits_open == 1)
    light.receivers.answers["ep_1"] = well
    await light.until(lambda: light.counters.delivered + light.counters.dead == 12)
    assert light.outbox.worker.circuits_open == 0
    assert light.counters.dead == 0


@pytest.mark.parametrize("throttle", list(Throttle))
async def test_a_429_holds_back_its_own_order_or_all(light_transactions: Transactions, throttle: Throttle) -> None:
    house = House(light_transactions, OutboxSettings(retry_s=(0.05, 0.05, 0.05), jitter=0, throttle_s=3600))
    await house.save(endpoint(policy=Policy(throttle=throttle)))

    async def answer(event: OutboxEvent, attempt: int) -> Outcome:
        return outcome(429, retry_after_s=0.05) if event.body == b"1" and attempt < 3 else outcome(200)

    house.receivers.answers["ep_1"] = answer
    async with house.running():
        await house.record("busy", body=b"1")
        await house.until(lambda: house.counters.retried > 0)
        await house.record("busy", "thing.finished", body=b"2")
        await house.record("other", body=b"3")
        if throttle is Throttle.ORDER:
            await house.until(lambda: house.counters.delivered == 3)
        else:
            await house.until(lambda: house.counters.deliveries == 3)
    got = [(event.body, attempt) for _, event, attempt in house.receivers.got]
    if throttle is Throttle.ORDER:
        assert [each for each in got if each[0] != b"3"] == [(b"1", 1), (b"1", 2), (b"1", 3), (b"2", 1)]
    else:
        assert got == [(b"1", 1)], "nothing else is sent for an hour"


async def test_an_endpoint_that_is_gone_is_disabled_and_says_why(house: House) -> None:
    house.receivers.answers["ep_1"] = always(410)
    await house.record()
    await house.until(lambda: house.counters.disabled == 1)
    found = await house.transactions.read(lambda tx: endpoint_store.find(tx, "acme", "ep_1"))
    assert found is not None
    assert not found.enabled
    assert "410" in found.disabled_reason
    await house.record("later")
    await house.until(lambda: house.counters.dispatched == 4)  # the two, and the two that administrators hear
    assert house.receivers.of("ep_1") == [("thing.started", 1)]


async def test_an_endpoint_that_was_read_again_during_the_request_is_disabled_too(light_transactions: Transactions) -> None:
    """Else the next delivery goes to an endpoint that is gone, until this process looks for changes once more."""
    made = House(light_transactions, timing=replace(SOON, follow_s=3600))

    async def gone(event: OutboxEvent, attempt: int) -> Outcome:
        changed = endpoint(description="changed by another process")
        await made.transactions.write(lambda tx: endpoint_store.save(tx, changed))
        assert await made.outbox.cache.refresh(a_slice())
        return outcome(410)

    async with made.running():
        await made.save(endpoint())
        made.receivers.answers["ep_1"] = gone
        await made.record()
        await made.until(lambda: made.counters.disabled == 1)
        await made.record("later")
        await made.until(lambda: made.counters.dispatched == 4)
    assert made.receivers.of("ep_1") == [("thing.started", 1)]


async def test_nothing_but_failures_for_long_enough_disables(light_transactions: Transactions) -> None:
    made = House(light_transactions)
    async with made.running():
        await made.save(endpoint(failing_since_ms=1))
        made.receivers.answers["ep_1"] = always(500)
        await made.record()
        await made.until(lambda: made.counters.disabled == 1)
        found = await made.transactions.read(lambda tx: endpoint_store.find(tx, "acme", "ep_1"))
    assert found is not None
    assert found.disabled_reason.startswith("nothing but failures for ")


async def test_a_success_ends_the_time_of_failures(house: House) -> None:
    """Also where what is known of the endpoint was read before its first failure was written."""
    stale = house.outbox.cache.get("ep_1")
    assert stale is not None
    stale = dataclasses.replace(stale)
    read_again = asyncio.Event()

    async def second(event: OutboxEvent, attempt: int) -> Outcome:
        if attempt == 1:
            return outcome(500)
        await read_again.wait()
        return outcome(200)

    house.receivers.answers["ep_1"] = second
    await house.record()
    await house.until(lambda: house.counters.retried == 1)
    found = await house.transactions.read(lambda tx: endpoint_store.find(tx, "acme", "ep_1"))
    assert found is not None
    assert found.failing_since_ms is not None
    house.outbox.cache.put("ep_1", stale)
    read_again.set()
    await house.until(lambda: house.counters.delivered == 1)
    after = await house.transactions.read(lambda tx: endpoint_store.find(tx, "acme", "ep_1"))
    assert after is not None
    assert after.failing_since_ms is None


async def test_what_waits_for_a_disabled_endpoint_goes_on_when_it_is_enabled(house: House) -> None:
    house.receivers.answers["ep_1"] = always(500)
    await house.record()
    await house.until(lambda: house.counters.retried >= 1)
    await house.save(endpoint(enabled=False))
    house.receivers.answers["ep_1"] = well
    await house.record("passes by")
    await house.until(lambda: house.counters.dispatched == 2)
    await house.save(endpoint())
    await house.until(lambda: house.counters.delivered + house.counters.dead == 1)
    assert {event.key for _, event, _ in house.receivers.got} == {"k"}


async def test_an_endpoint_that_another_process_added_is_followed(house: House) -> None:
    await house.transactions.write(lambda tx: endpoint_store.save(tx, endpoint("ep_other")))
    await house.until(lambda: house.outbox.cache.get("ep_other") is not None)
    await house.record()
    await house.until(lambda: house.counters.delivered == 2)
    assert house.receivers.of("ep_other") == [("thing.started", 1)]


async def test_a_refusal_is_final_where_the_endpoint_says_so(light: House) -> None:
    await light.save(endpoint("ep_own", owner="messaging", policy=Policy(refusal_is_final=True)))
    light.receivers.answers["ep_own"] = always(404)
    await light.record(endpoint="ep_own")
    await light.until(lambda: light.counters.dead == 1)
    assert light.receivers.got[0][0] == "ep_own"
    assert light.counters.attempts == 1


async def test_removing_an_endpoint_gives_up_what_waits(house: House) -> None:
    house.receivers.answers["ep_1"] = always(500)
    await house.record()
    await house.until(lambda: house.counters.attempts >= 1)
    await house.transactions.write(lambda tx: house.outbox.remove_endpoint(tx, "ep_1"))
    await house.until(lambda: house.outbox.worker.under_way == 0)
    assert set(await house.states()) == {"dead"}


async def test_a_hub_that_starts_delivers_what_the_last_one_left(transactions: Transactions) -> None:
    first = House(transactions)
    first.receivers.answers["ep_1"] = always(500)
    async with first.running():
        await first.save(endpoint())
        await first.record("a")
        await first.until(lambda: first.counters.retried >= 1)
    second = House(transactions)
    async with second.running():
        await second.until(lambda: second.counters.delivered == 1)
    assert second.receivers.got[0][2] > 1


async def test_a_hub_that_stops_lets_requests_end_or_gives_them_back(light_transactions: Transactions) -> None:
    never = asyncio.Event()

    async def answer(event: OutboxEvent, attempt: int) -> Outcome:
        await (asyncio.sleep(0.1) if event.key == "ends" else never.wait())
        return outcome(200)

    made = House(light_transactions)
    made.receivers.answers["ep_1"] = answer
    async with made.running():
        await made.save(endpoint())
        await made.record("ends")
        await made.record("hangs")
        await made.until(lambda: made.receivers.under_way.get("ep_1") == 2)
    assert await made.states() == {"delivered": 1, "pending": 1}
    rows = await made.transactions.read(lambda tx: tx.rows("SELECT lease_until_ms, attempts FROM deliveries WHERE state = 'pending'"))
    assert rows == [(0, 0)]


async def test_two_processes_share_the_work_and_deliver_each_once(transactions: Transactions) -> None:
    """Both on one writer here: the rules of claims are the database's (test_delivery_store.py has two connections)."""
    first = House(transactions)
    second = House(transactions, receivers=first.receivers)
    async with first.running(), second.running():
        await first.save(endpoint())
        await second.until(lambda: len(second.outbox.cache) == 1)
        for number in range(40):
            await (first if number % 2 else second).record(f"k{number % 5}")
        await first.until(lambda: first.counters.delivered + second.counters.delivered == 40)
    ids = [event.id for _, event, _ in first.receivers.got]
    assert len(ids) == len(set(ids)) == 40


async def test_old_deliveries_are_forgotten(light: House) -> None:
    await light.record()
    await light.until(lambda: light.counters.delivered == 1)
    light.outbox.settings = light.outbox.settings.model_copy(update={"keep_delivered_h": 1e-9})
    await asyncio.sleep(0.01)
    assert await light.outbox.trim() == 2
    assert light.counters.trimmed == 2
    assert await light.states() == {}


async def test_a_secret_that_changes_is_used_at_once(light: House) -> None:
    seen: list[str] = []
    real = light.receivers.send

    async def send(endpoint: Endpoint, event: OutboxEvent, attempt: int, timeout_s: float) -> Outcome:
        seen.append(endpoint.secrets[0].text)
        return await real(endpoint, event, attempt, timeout_s)

    light.receivers.send = send  # type: ignore[method-assign]
    await light.record()
    await light.until(lambda: light.counters.delivered == 1)
    changed = endpoint()
    await light.save(replace(changed, secrets=(changed.secrets[0]._replace(text="other"),)))
    await light.record()
    await light.until(lambda: light.counters.delivered == 2)
    assert seen == ["s3cret", "other"]


async def test_everything_waits_while_too_much_is_under_way(light_transactions: Transactions) -> None:
    made = House(light_transactions, QUICK.model_copy(update={"in_flight": 3}))
    gate = asyncio.Event()

    async def hold(event: OutboxEvent, attempt: int) -> Outcome:
        await gate.wait()
        return outcome(200)

    async with made.running():
        for number in range(4):
            await made.save(endpoint(f"ep_{number}"))
            made.receivers.answers[f"ep_{number}"] = hold
        for number in range(10):
            await made.record(f"k{number}")
        await made.until(lambda: made.outbox.worker.under_way == 3)
        gate.set()
        await made.until(lambda: made.counters.delivered == 40)
        assert sum(made.receivers.most.values()) <= 3 * 4
        assert await made.transactions.read(delivery_store.waiting) == (0, 0)


@pytest.mark.parametrize("seed", range(4))
async def test_no_event_of_a_key_is_first_sent_before_an_older_one_is_over(transactions: Transactions, seed: int) -> None:
    """Receivers fail by chance; events of few keys come all the time; the endpoint is switched off and on: the order holds throughout."""
    chance = random.Random(seed)
    house = House(
        transactions, QUICK.model_copy(update={"concurrency": 4, "retry_s": (0.02,) * 40, "throttle_s": 0.02, "trip_after": 1000})
    )
    over: dict[str, list[int]] = {}
    broken: list[str] = []
    sent: dict[str, list[int]] = {}

    async def answer(event: OutboxEvent, attempt: int) -> Outcome:
        before = sent.setdefault(event.key, [])
        if event.id not in before:
            before.append(event.id)
            waiting = [other for other in before[:-1] if other not in over.get(event.key, [])]
            if waiting or before != sorted(before):
                broken.append(f"{event.key}: {event.id} was sent while {waiting} were not over")
        await asyncio.sleep(chance.random() * 0.01)
        if chance.random() < 0.3:
            return outcome(0, Failure.CONNECT) if chance.random() < 0.3 else outcome(chance.choice([500, 429]))
        over.setdefault(event.key, []).append(event.id)
        return outcome(200)

    house.receivers.answers["ep_1"] = answer
    await house.save(endpoint())
    async with house.running():
        for number in range(120):
            await house.record(f"k{chance.randrange(5)}")
            if number % 40 == 20:
                await house.until(lambda: house.counters.dispatched == house.counters.recorded)  # who is disabled gets nothing new
                await house.save(endpoint(enabled=False))
                await asyncio.sleep(0.02)
                await house.save(endpoint())
        await house.until(lambda: house.counters.delivered == 120)
    assert broken == []
    assert sorted(identifier for ids in over.values() for identifier in ids) == sorted({event.id for _, event, _ in house.receivers.got})


async def test_what_waits_in_memory_goes_back_to_the_database_when_its_lease_would_not_last(light_transactions: Transactions) -> None:
    house = House(light_transactions, QUICK.model_copy(update={"concurrency": 1, "lease_s": 0.05, "timeout_s": 0.05}))

    async def slow(event: OutboxEvent, attempt: int) -> Outcome:
        await asyncio.sleep(0.03)
        return outcome(200)

    house.receivers.answers["ep_1"] = slow
    await house.save(endpoint())
    async with house.running():
        for number in range(12):
            await house.record(f"k{number}")
        await house.until(lambda: house.counters.delivered == 12)
    assert len(house.receivers.got) == 12, "each once"


async def test_endpoints_that_are_put_off_by_the_bound_of_all_have_their_turn(light_transactions: Transactions) -> None:
    house = House(light_transactions, QUICK.model_copy(update={"in_flight": 2}))
    await house.save(*(endpoint(f"ep_{number}") for number in range(5)))
    async with house.running():
        for number in range(20):
            await house.record(f"k{number}")
        await house.until(lambda: house.counters.delivered == 100)
    assert {len(house.receivers.of(f"ep_{number}")) for number in range(5)} == {20}
