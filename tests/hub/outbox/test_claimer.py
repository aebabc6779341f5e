"""Whose deliveries are claimed next, of very many endpoints: one walk over all of them serves many transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from hub.outbox.claimer import QUEUES_AT_ONCE, ROUND, Claimer
from hub.outbox.delivery_store import Claim
from hub.outbox.endpoint_queue import EndpointQueue
from hub.outbox.models import Endpoint
from hub.outbox.shares import Pool
from hub.outbox.timing import DEFAULT
from hub.storage.transactions import StorageError
from tests.world import ManualClock


class Queues(dict[str, EndpointQueue]):
    """Counts how often all are looked at."""

    walks = 0

    def items(self) -> Any:
        self.walks += 1
        return super().items()


class Endpoints(dict[str, Endpoint]):
    """A cache of endpoints."""


class Database:
    """Has nothing for anybody; it notes who was asked for."""

    def __init__(self) -> None:
        self.fails = False
        self.claims = 0

    async def write(self, operation: Callable[[Any], Any]) -> list[Claim]:
        await asyncio.sleep(0)
        self.claims += 1
        if self.fails:
            raise StorageError("away")
        return list(operation(Empty()))


class Empty:
    """A transaction on tables without rows."""

    skip_locked = ""

    def rows(self, *_: object) -> list[tuple[object, ...]]:
        return []

    def row(self, *_: object) -> None:
        return None


class House:
    def __init__(self, count: int, tenants: int = 2) -> None:
        self.clock = ManualClock()
        self.database = Database()
        self.endpoints = Endpoints()
        self.queues = Queues()
        self.asked: list[str] = []
        pool = Pool(1_000_000, 1.0)
        for number in range(count):
            tenant = f"t{number % tenants}"
            identifier = f"ep_{number}"
            self.endpoints[identifier] = Endpoint(identifier, tenant, "https://x.example/", ())
            self.queues[identifier] = EndpointQueue(4, 3, pool.of(tenant))
        self.claimer = Claimer(
            owner="me",
            transactions=self.database,  # type: ignore[arg-type]
            cache=self.endpoints,  # type: ignore[arg-type]
            clock=self.clock,
            loop=None,  # type: ignore[arg-type]  # the clock stands still, and every slice lasts
            held=pool,
            order_s=1,
            timing=DEFAULT,
            lease_until_ms=lambda _: 0,
        )

    async def claim(self) -> float:
        return await self.claimer.claim(self.queues, lambda identifier, _: self.asked.append(identifier))

    async def claim_all(self) -> None:
        while await self.claim() == 0:
            pass


def _strictly(house: House) -> None:
    """Each endpoint was asked for once."""
    assert sorted(house.asked) == sorted(house.queues)


async def test_one_walk_serves_many_transactions() -> None:
    house = House(10 * QUEUES_AT_ONCE)
    await house.claim_all()
    _strictly(house)
    assert house.database.claims == 10
    assert house.queues.walks == 2  # the second finds that nobody needs anything
    assert house.asked[:4] == ["ep_0", "ep_1", "ep_2", "ep_3"]  # tenants in turn


async def test_more_than_a_walk_finds_are_found_by_the_next() -> None:
    house = House(ROUND + QUEUES_AT_ONCE)
    await house.claim_all()
    _strictly(house)
    assert house.queues.walks == 3


async def test_what_changed_since_the_walk_is_left_out() -> None:
    house = House(3 * QUEUES_AT_ONCE, tenants=1)
    await house.claim()
    waiting = [identifier for identifier in house.queues if identifier not in house.asked]
    removed, disabled, full, pending = waiting[:4]
    del house.queues[removed]
    house.endpoints[disabled] = replace(house.endpoints[disabled], enabled=False)
    house.queues[full].held = 4 * 16
    house.queues[pending].due = house.clock.monotonic() + 60
    await house.claim_all()
    assert set(waiting) - set(house.asked) == {removed, disabled, full, pending}


async def test_after_an_error_the_others_are_asked_for_all_the_same() -> None:
    house = House(2 * QUEUES_AT_ONCE)
    house.database.fails = True
    with pytest.raises(StorageError):
        await house.claim()
    house.database.fails = False
    await house.claim_all()
    assert len(house.asked) == QUEUES_AT_ONCE
    house.clock.advance(DEFAULT.look_s)
    await house.claim_all()
    _strictly(house)
