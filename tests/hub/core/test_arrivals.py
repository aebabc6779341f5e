"""What the arrival of sessions takes of a turn of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from hub.core.arrivals import AT_ONCE, Arrivals
from hub.core.counters import Counters
from hub.core.limits import Limits
from tests.hub.core.harness import ManualLoop, World
from tests.world import ManualClock, take_turns

ARRIVALS_S = 0.001


class Crowd:
    """Sessions that arrive; each piece of work takes the time that it is told to."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.loop = ManualLoop()
        self.counters = Counters()
        self.arrivals = Arrivals(self.loop, self.clock, self.counters, ARRIVALS_S)
        self.done: list[int] = []
        self.tasks: dict[int, asyncio.Task[None]] = {}

    async def _arrive(self, number: int, takes_s: float) -> None:
        await self.arrivals.turn()
        self.done.append(number)
        self.clock.advance(takes_s)

    async def arrive(self, *numbers: int, takes_s: float = ARRIVALS_S) -> None:
        for number in numbers:
            work: Coroutine[Any, Any, None] = self._arrive(number, takes_s)
            self.tasks[number] = asyncio.create_task(work)
        await take_turns()

    async def turn(self) -> list[int]:
        """One turn of the loop; returns who has begun in it."""
        before = len(self.done)
        self.loop.tick()
        await take_turns()
        return self.done[before:]


async def test_the_time_of_a_turn_is_a_setting() -> None:
    world = World(limits=Limits(arrivals_us=400))
    arrivals = world.hub.arrivals
    await arrivals.turn()
    world.clock.advance(0.0003)
    await arrivals.turn()
    world.clock.advance(0.0002)
    late = asyncio.create_task(arrivals.turn())
    await take_turns()
    assert len(arrivals) == 1
    late.cancel()


async def test_few_begin_at_once() -> None:
    crowd = Crowd()
    await crowd.arrive(1, 2, 3, takes_s=ARRIVALS_S / 10)
    assert crowd.done == [1, 2, 3]
    assert crowd.counters.arrivals_held == 0
    assert await crowd.turn() == []
    assert crowd.loop.callbacks == []  # nothing runs while nobody arrives


async def test_when_the_time_of_a_turn_is_used_up_the_others_wait_in_their_order() -> None:
    crowd = Crowd()
    await crowd.arrive(1, 2, 3, 4)
    assert crowd.done == [1]
    assert [await crowd.turn() for _ in range(3)] == [[2], [3], [4]]
    assert crowd.counters.arrivals_held == 3
    assert len(crowd.arrivals) == 0


async def test_who_comes_later_does_not_go_before_those_that_wait() -> None:
    crowd = Crowd()
    await crowd.arrive(1, 2, 3)
    await crowd.arrive(4, takes_s=0)
    assert len(crowd.arrivals) == 3
    assert [await crowd.turn() for _ in range(3)] == [[2], [3], [4]]


async def test_a_turn_wakes_a_few_of_many() -> None:
    crowd = Crowd()
    everybody = list(range(2 * AT_ONCE + 2))
    await crowd.arrive(0)
    await crowd.arrive(*everybody[1:], takes_s=0)
    assert [len(await crowd.turn()) for _ in range(3)] == [AT_ONCE, AT_ONCE, 1]
    assert crowd.done == everybody


async def test_who_was_woken_for_nothing_stays_before_all_others() -> None:
    """The first of those that are woken together uses up the whole time of the turn."""
    crowd = Crowd()
    await crowd.arrive(*range(AT_ONCE + 4))
    assert [await crowd.turn() for _ in range(AT_ONCE + 3)] == [[number] for number in range(1, AT_ONCE + 4)]


async def test_who_gives_up_takes_no_place() -> None:
    crowd = Crowd()
    await crowd.arrive(1, 2, 3, 4)
    for number in (2, 3):
        crowd.tasks[number].cancel()
    await take_turns()
    assert await crowd.turn() == [4]
    assert crowd.tasks[3].cancelled()
    assert await crowd.turn() == []
    assert crowd.loop.callbacks == []


async def test_work_that_is_begun_waits_in_one_line_with_the_others() -> None:
    crowd = Crowd()
    begun: list[str] = []

    def piece(name: str) -> None:
        begun.append(name)
        crowd.clock.advance(ARRIVALS_S)

    assert crowd.arrivals.begin(lambda: piece("a")) is None
    assert begun == ["a"]
    waiting = [crowd.arrivals.begin(lambda name=name: piece(name)) for name in "bcd"]  # type: ignore[misc]
    await crowd.arrive(1)
    last = crowd.arrivals.begin(lambda: piece("e"))
    assert len(crowd.arrivals) == 5
    gone = waiting[1]
    assert gone is not None
    gone.cancel()
    for expected, done in ((["a", "b"], []), (["a", "b", "d"], []), (["a", "b", "d"], [1]), (["a", "b", "d", "e"], [1])):
        await crowd.turn()
        assert (begun, crowd.done) == (expected, done)
    assert last is not None
    await crowd.turn()
    assert crowd.loop.callbacks == []
    assert crowd.counters.arrivals_held == 5


async def test_work_that_fails_keeps_nobody_waiting() -> None:
    crowd = Crowd()
    await crowd.arrive(1)

    def fail() -> None:
        raise KeyError("x")

    crowd.arrivals.begin(fail)
    await crowd.arrive(2)
    with pytest.raises(KeyError):
        await crowd.turn()
    await take_turns()
    assert await crowd.turn() == [2]
