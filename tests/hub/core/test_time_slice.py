"""Work in slices: when others get the loop, and what becomes of work that is given up."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from hub.core.time_slice import SLICE_S, TimeSlice
from tests.hub.core.harness import ManualLoop
from tests.world import ManualClock


def parts(ended: list[bool], count: int = 4) -> Generator[None, None, int]:
    """Work of some parts, which says whether it came to its end."""
    done = 0
    try:
        for _ in range(count):
            done += 1
            yield
    finally:
        ended.append(done == count)
    return done


async def test_a_slice_that_is_not_used_up_does_not_give_way() -> None:
    clock, loop = ManualClock(), ManualLoop()
    time_slice = TimeSlice(clock, loop)
    assert not time_slice.used_up
    await time_slice.checkpoint()
    assert loop.breaths == 0


async def test_a_slice_that_is_used_up_gives_way_once_and_begins_anew() -> None:
    clock, loop = ManualClock(), ManualLoop()
    time_slice = TimeSlice(clock, loop)
    clock.advance(SLICE_S * 2)
    assert time_slice.used_up
    await time_slice.checkpoint()
    await time_slice.checkpoint()
    assert loop.breaths == 1
    assert not time_slice.used_up


async def test_work_in_parts_gives_way_between_them_and_returns_its_result() -> None:
    loop = ManualLoop()
    ended: list[bool] = []
    assert await TimeSlice(ManualClock(step=SLICE_S * 2), loop).run(parts(ended)) == 4
    assert (loop.breaths, ended) == (4, [True])


async def test_work_that_is_given_up_is_closed() -> None:
    class Ended(ManualLoop):
        async def breathe(self) -> None:
            raise TimeoutError

    ended: list[bool] = []
    with pytest.raises(TimeoutError):
        await TimeSlice(ManualClock(step=SLICE_S * 2), Ended()).run(parts(ended))
    assert ended == [False]
