"""Uploads are passed on a few at a time, and no tenant has all places."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from hub.objects.sends import Sends

TURNS = 20


class Uploads:
    """Uploads that are passed on until the test says so."""

    def __init__(self, at_once: int) -> None:
        self.sends = Sends(at_once)
        self.begun: list[str] = []
        self.ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, *names: str) -> None:
        """Have uploads come, named by tenant and number."""
        for name in names:
            self.ends[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._pass_on(name))
        await self.settle()

    async def end(self, *names: str) -> None:
        """Have uploads be passed on."""
        for name in names:
            self.ends[name].set()
            await self.settle()

    async def settle(self) -> None:
        for _ in range(TURNS):
            await asyncio.sleep(0)

    async def _pass_on(self, name: str) -> None:
        async with self.sends.turn(name[0]):
            self.begun.append(name)
            await self.ends[name].wait()


@asynccontextmanager
async def uploads(at_once: int) -> AsyncIterator[Uploads]:
    made = Uploads(at_once)
    try:
        yield made
    finally:
        for task in made.tasks.values():
            task.cancel()
        await asyncio.gather(*made.tasks.values(), return_exceptions=True)
        assert (made.sends.running, made.sends.waiting) == (0, 0)


@pytest.mark.parametrize(("at_once", "share"), [(1, 1), (2, 1), (3, 2), (4, 3), (8, 6)])
async def test_one_tenant_has_three_quarters_at_most(at_once: int, share: int) -> None:
    async with uploads(at_once) as made:
        await made.come(*(f"a{number}" for number in range(10)))
        assert len(made.begun) == share
        await made.come("b0")
        assert ("b0" in made.begun) == (at_once > 1)
        assert (made.sends.running, made.sends.waiting) == (len(made.begun), 11 - len(made.begun))


async def test_a_free_place_goes_to_the_tenant_with_the_fewest() -> None:
    async with uploads(4) as made:
        await made.come("a0", "a1", "a2", "b0", "a3", "c0", "b1", "c1")
        assert made.begun == ["a0", "a1", "a2", "b0"]
        await made.end("a0")
        assert made.begun[4:] == ["c0"]
        await made.end("b0")
        assert made.begun[5:] == ["b1"]
        await made.end("a1")
        assert made.begun[6:] in (["c1"], ["a3"]), "both have one"
        await made.end("a2", "c0", "b1", "c1", "a3")
        assert sorted(made.begun) == ["a0", "a1", "a2", "a3", "b0", "b1", "c0", "c1"]


async def test_who_goes_away_takes_no_place() -> None:
    async with uploads(1) as made:
        await made.come("a0", "a1", "b0", "b1")
        made.tasks["a1"].cancel()
        made.tasks["b0"].cancel()
        await made.settle()
        assert made.sends.waiting == 1
        await made.end("a0")
        assert made.begun == ["a0", "b1"]


async def test_a_place_that_was_given_to_one_who_goes_away_is_given_on() -> None:
    async with uploads(1) as made:
        await made.come("a0", "a1", "b0")
        made.ends["a0"].set()
        await asyncio.sleep(0)  # a0 has left, and who is next does not know it yet
        assert (made.begun, made.sends.running, made.sends.waiting) == (["a0"], 1, 1)
        made.tasks["a1"].cancel()
        await made.settle()
        assert made.begun == ["a0", "b0"]
