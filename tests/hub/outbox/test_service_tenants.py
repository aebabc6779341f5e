"""One tenant's endpoints do not keep another's from theirs."""

from __future__ import annotations

import asyncio

from hub.outbox.models import OutboxEvent
from hub.outbox.outcome import Outcome
from hub.storage.transactions import Transactions
from tests.hub.outbox.conftest import TENANTS
from tests.hub.outbox.house import QUICK, House
from tests.hub.outbox.support import endpoint, outcome


async def test_a_tenant_whose_endpoints_hang_does_not_keep_the_others_from_theirs(light_transactions: Transactions) -> None:
    """Its events were recorded first, by a hub that then stopped: at the start everything of it is due."""
    settings = QUICK.model_copy(update={"in_flight": 8, "held": 40, "concurrency": 4, "retry_s": (0.01,) * 50})
    before = House(light_transactions, settings)
    gate = asyncio.Event()

    async def hang(event: OutboxEvent, attempt: int) -> Outcome:
        await gate.wait()
        return outcome(500)

    hanging = [endpoint(f"ep_{number:03}") for number in range(40)]
    good = [endpoint(f"good_{tenant}", tenant=tenant) for tenant in ("other", "third")]
    await before.save(*hanging, *good)
    async with before.running():
        before.receivers.answers = {each.id: hang for each in (*hanging, *good)}
        for number in range(3):
            await before.record(f"k{number}")
        await before.record("k", tenant="other")
        await before.record("k", tenant="third")
        await before.until(lambda: before.counters.deliveries == 122)
        gate.set()
    gate.clear()
    house = House(light_transactions, settings)
    house.receivers.answers = {each.id: hang for each in hanging}
    async with house.running():
        await house.until(lambda: bool(house.receivers.of("good_other")) and bool(house.receivers.of("good_third")))
        for tenant in ("other", "third"):
            for number in range(10):
                await house.record(f"n{number}", tenant=tenant)
        await house.until(lambda: house.counters.delivered == 22)
        assert house.outbox.worker.under_way <= 4, "a lone tenant leaves half of it free"
        assert house.outbox.worker.held <= 20
        gate.set()


async def test_no_more_than_its_share_while_others_wait(light_transactions: Transactions) -> None:
    house = House(light_transactions, QUICK.model_copy(update={"in_flight": 8, "concurrency": 8}))
    await house.save(*(endpoint(f"ep_{tenant}", tenant=tenant) for tenant in TENANTS))
    gate = asyncio.Event()

    async def hold(event: OutboxEvent, attempt: int) -> Outcome:
        await gate.wait()
        return outcome(200)

    for tenant in TENANTS:
        house.receivers.answers[f"ep_{tenant}"] = hold
    async with house.running():
        for tenant in TENANTS:
            for number in range(10):
                await house.record(f"k{number}", tenant=tenant)
        await house.until(lambda: house.counters.deliveries == 10 * len(TENANTS) and house.outbox.worker.under_way == 8)
        assert house.receivers.most == {"ep_acme": 4, "ep_other": 2, "ep_third": 2}, "the first found nobody who waited"
        gate.set()
        await house.until(lambda: house.counters.delivered == 10 * len(TENANTS))
