"""What is known of endpoints that do not answer, or asked to be left alone, outlives the process."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hub.outbox import endpoint_store
from hub.outbox.models import Endpoint
from hub.outbox.outcome import Failure
from hub.outbox.settings import OutboxSettings
from hub.storage.transactions import Transactions
from tests.hub.outbox.house import QUICK, SOON, House, always
from tests.hub.outbox.support import endpoint

HOUR = OutboxSettings(retry_s=(0.01,) * 50, jitter=0, throttle_s=3600, trip_after=3, concurrency=4)


AN_HOUR = replace(SOON, first_probe_s=3600.0, max_probe_s=3600.0)
"""An endpoint that does not answer is left alone for an hour at once."""


async def stored(house: House) -> Endpoint:
    found = await house.transactions.read(lambda tx: endpoint_store.find(tx, "acme", "ep_1"))
    assert found is not None
    return found


async def circuit_open(transactions: Transactions, status: int, failure: Failure) -> House:
    """A hub that stopped after its endpoint ``ep_1`` had failed so."""
    house = House(transactions, HOUR, timing=AN_HOUR)
    house.receivers.answers["ep_1"] = always(status, failure)
    await house.save(endpoint(), endpoint("ep_2"))
    async with house.running():
        for number in range(3):
            await house.record(f"k{number}")
        await house.until(lambda: house.counters.retried >= (1 if failure is Failure.NONE else 3) and house.counters.delivered == 3)
    return house


@pytest.mark.parametrize(("status", "failure"), [(0, Failure.TIMEOUT), (0, Failure.CONNECT), (429, Failure.NONE), (502, Failure.NONE)])
async def test_who_is_left_alone_is_left_alone_after_a_restart(transactions: Transactions, status: int, failure: Failure) -> None:
    before = await circuit_open(transactions, status, failure)
    kept = await stored(before)
    assert (kept.silent >= 3) == (failure is not Failure.NONE)
    house = House(transactions, HOUR, timing=AN_HOUR)
    async with house.running():
        assert house.outbox.worker.circuits_open == (failure is not Failure.NONE)
        await house.record("new")
        await house.until(lambda: house.counters.delivered == 1)
        assert house.receivers.of("ep_1") == [], "for an hour"


@pytest.mark.parametrize("change", [{"url": "https://elsewhere.example/"}, {"enabled": True}])
async def test_another_url_or_enabling_it_begins_anew(light_transactions: Transactions, change: dict[str, object]) -> None:
    await circuit_open(light_transactions, 0, Failure.CONNECT)
    house = House(light_transactions, HOUR, timing=AN_HOUR)
    async with house.running():
        if "enabled" in change:
            await house.save(replace(await stored(house), enabled=False))
        await house.save(replace(await stored(house), silent=0, closed_until_ms=0, **change))  # type: ignore[arg-type]
        await house.until(lambda: house.counters.delivered == 3)
    assert len(house.receivers.of("ep_1")) == 3


async def test_an_answer_is_remembered_too(light_transactions: Transactions) -> None:
    house = House(light_transactions, QUICK.model_copy(update={"retry_s": (0.01,) * 50, "trip_after": 1}))
    house.receivers.answers["ep_1"] = always(0, Failure.CONNECT)
    await house.save(endpoint())
    async with house.running():
        await house.record()
        await house.until(lambda: house.counters.retried == 1)
        assert (await stored(house)).silent == 1
        house.receivers.answers["ep_1"] = always(200)
        await house.until(lambda: house.counters.delivered == 1)
    assert ((await stored(house)).silent, (await stored(house)).closed_until_ms) == (0, 0)


async def test_a_clock_that_was_set_back_does_not_close_an_endpoint_for_ever(light_transactions: Transactions) -> None:
    house = House(light_transactions, QUICK, timing=AN_HOUR)
    await house.save(endpoint(silent=9, closed_until_ms=1 << 50))
    async with house.running():
        await house.until(lambda: house.outbox.worker.circuits_open == 1)
        queue = house.outbox.worker._queues["ep_1"]
        now = house.outbox._clock.monotonic()
        assert queue.open_at(now) - now <= 3600
