"""The loop, the clocks and the timers as asyncio gives them."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator

import pytest
import uvloop
from structlog.testing import capture_logs

from hub.core.timers import Timers
from hub.transports.runtime import SWEEP_S, AsyncioLoop, SystemClock, TimerDriver, run, tuned_collector


def test_the_clocks_agree_with_the_system() -> None:
    clock = SystemClock()
    before = time.time()
    assert before - 1 < clock.wall_ms() / 1e3 < before + 60
    assert before - 1 < clock.wall_us() / 1e6 < before + 60
    assert clock.monotonic() <= time.monotonic()


async def test_spawned_work_survives_a_collection_and_its_fault_is_logged() -> None:
    loop = AsyncioLoop()
    done: list[int] = []

    async def work() -> None:
        await asyncio.sleep(0)
        done.append(1)

    async def fail() -> None:
        raise KeyError("x")

    with capture_logs() as logs:
        loop.spawn(work())
        loop.spawn(fail())
        loop.call_soon(lambda: done.append(0))
        gc.collect()
        await asyncio.sleep(0.01)
    assert sorted(done) == [0, 1]
    assert [(line["event"], line["work"].rsplit(".")[-1]) for line in logs] == [("background_work_failed", "fail")]
    assert isinstance(logs[0]["exc_info"], KeyError)


async def test_a_breath_lets_run_what_is_ready() -> None:
    loop = AsyncioLoop()
    done: list[int] = []
    loop.call_soon(lambda: done.append(1))
    await loop.breathe()
    assert done == [1]


async def test_closing_the_loop_ends_what_runs_and_logs_nothing() -> None:
    loop = AsyncioLoop()
    ended: list[bool] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    with capture_logs() as logs:
        loop.spawn(work())
        await asyncio.sleep(0)
        await loop.close()
        await loop.close()
    assert ended == [True]
    assert logs == []


async def test_timers_fire_and_the_fault_of_one_does_not_keep_the_others() -> None:
    timers = Timers(SystemClock())
    fired = asyncio.Event()

    def fail() -> None:
        raise KeyError("x")

    timers.after(0, fail)
    timers.after(0, fired.set)
    driver = TimerDriver(timers)
    await driver.stop()
    with capture_logs() as logs:
        await driver.start()
        await asyncio.wait_for(fired.wait(), 5)
        await driver.stop()
    assert [line["event"] for line in logs] == ["timer_failed"]
    timers.after(0, fired.clear)
    await asyncio.sleep(0.12)
    assert fired.is_set()


async def test_what_others_do_goes_between_slices_of_long_work() -> None:
    timers = Timers(SystemClock())
    done: list[str] = []
    fired = asyncio.Event()

    def slow() -> None:
        done.append("timer")
        time.sleep(2 * SWEEP_S)

    for _ in range(10):
        timers.after(0, slow)
    timers.after(0, fired.set)
    looks = 0

    def beside() -> bool:
        nonlocal looks
        looks += 1
        done.append("beside")
        return looks % 3 != 0

    async def other() -> None:
        while not fired.is_set():
            done.append("other")
            await asyncio.sleep(0)

    driver = TimerDriver(timers, beside)
    await driver.start()
    async with asyncio.timeout(30):
        while not done:
            await asyncio.sleep(0.001)
        await other()
        await fired.wait()
    await driver.stop()
    sweeps = [what for what in done if what != "beside"]
    assert "".join(what[0] for what in sweeps).count("tt") <= 1  # no two timers fired in one turn of the loop
    assert done.count("timer") == 10
    assert looks >= 3  # each time that it asked for, at once


@pytest.fixture
def nothing_frozen() -> Iterator[None]:
    """Objects that the test process keeps out of garbage collection are in it for this test."""
    frozen = gc.get_freeze_count() > 0
    gc.unfreeze()
    yield
    gc.collect()
    if frozen:
        gc.freeze()


def test_the_collector_is_put_back(nothing_frozen: None) -> None:
    before = gc.get_threshold()
    with tuned_collector():
        assert gc.get_threshold() != before
        assert gc.get_freeze_count() > 0
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


def test_what_a_process_has_frozen_before_stays_frozen() -> None:
    kept: list[object] = [object]
    gc.freeze()
    own: list[object] = [object]

    def collected(which: list[object]) -> bool:
        return any(each is which for each in gc.get_objects())

    with tuned_collector():
        assert (collected(kept), collected(own)) == (False, True)
    assert (collected(kept), collected(own)) == (False, True)


def test_run_runs_on_uvloop() -> None:
    async def which() -> type:
        return type(asyncio.get_running_loop())

    assert run(which()) is uvloop.Loop
