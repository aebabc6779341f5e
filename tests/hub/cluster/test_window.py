"""How much may be sent that nobody has read: who waits, in which order, and what is given back."""

from __future__ import annotations

import asyncio

import pytest

from hub.cluster.link.window import Window
from hub.cluster.ports import UnreachableError


async def settle(*tasks: asyncio.Task[None]) -> list[bool]:
    """Which of them are done, when all that can go on has."""
    for _ in range(10):
        await asyncio.sleep(0)
    return [task.done() for task in tasks]


def taking(window: Window, cost: int) -> asyncio.Task[None]:
    return asyncio.create_task(window.take(cost))


async def test_who_comes_later_waits_behind_who_came_first() -> None:
    window = Window(100)
    assert window.try_take(90)
    first, second = taking(window, 40), taking(window, 5)
    assert await settle(first, second) == [False, False]
    assert not window.try_take(1)  # not past those who wait
    window.give(30)
    assert await settle(first, second) == [True, False]
    window.give(10)
    assert await settle(second) == [True]
    assert window.used == 95


async def test_more_than_there_ever_is_waits_for_half() -> None:
    window = Window(100)
    assert window.try_take(60)
    large = taking(window, 1000)
    assert await settle(large) == [False]
    window.give(10)
    assert await settle(large) == [True]
    assert window.used == 1050
    assert not window.try_take(1)


async def test_who_gives_up_lets_the_next_one_go_and_takes_nothing() -> None:
    window = Window(100)
    assert window.try_take(80)
    first, second = taking(window, 50), taking(window, 10)
    await settle(first, second)
    first.cancel()
    assert await settle(first, second) == [True, True]
    assert window.used == 90


async def test_what_was_given_to_one_who_gives_up_goes_to_the_next() -> None:
    window = Window(100)
    assert window.try_take(100)
    first, second = taking(window, 50), taking(window, 50)
    await settle(first, second)
    window.give(50)
    first.cancel()  # in the same moment
    assert await settle(first, second) == [True, True]
    assert window.used == 100


async def test_when_it_closes_all_fail_each_with_an_error_of_its_own() -> None:
    window = Window(100)
    assert window.try_take(100)
    tasks = [taking(window, 50) for _ in range(3)]
    await settle(*tasks)
    tasks[1].cancel()
    window.close(UnreachableError("the link broke"))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [UnreachableError, asyncio.CancelledError, UnreachableError]
    assert results[0] is not results[2]
    with pytest.raises(UnreachableError, match="the link broke"):
        await window.take(1)
