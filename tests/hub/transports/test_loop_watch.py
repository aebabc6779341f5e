"""The lag of the event loop, and what holds it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from structlog.testing import capture_logs

from hub.transports.loop_watch import LoopWatch
from hub.transports.runtime import run


def hold_the_loop(until: Any) -> None:
    """What a test has on the loop until something was seen of it."""
    while not until():
        time.sleep(0.001)


def test_the_lag_is_counted_on_uvloop() -> None:
    async def measure() -> LoopWatch:
        watch = LoopWatch()
        await watch.start()
        while watch.lag.count < 2:
            await asyncio.sleep(0.01)
        until = time.monotonic() + 0.4
        hold_the_loop(lambda: time.monotonic() > until)
        seen = watch.lag.count
        while watch.lag.count == seen:
            await asyncio.sleep(0.01)
        await watch.stop()
        stopped = watch.lag.count
        await asyncio.sleep(0.15)
        assert watch.lag.count == stopped
        return watch

    watch = run(measure())
    assert sum(watch.lag.counts[watch.lag.bounds.index(0.25) + 1 :]) >= 1


@pytest.mark.parametrize("runner", [run, asyncio.run], ids=["uvloop", "asyncio"])
def test_what_holds_the_loop_is_logged_with_its_place(runner: Any) -> None:
    async def hold() -> None:
        watch = LoopWatch(slow_ms=50)
        await watch.start()
        await asyncio.sleep(0.02)
        hold_the_loop(lambda: watch._held_at)
        while watch._held_at:
            await asyncio.sleep(0.001)
        await watch.stop()

    with capture_logs() as logs:
        runner(hold())
    (told,) = [entry for entry in logs if any("hold_the_loop" in place for place in entry.get("place", ()))]
    assert told["event"] == "the event loop was held"
    assert told["milliseconds"] >= 50
    assert any(place.startswith("hub/transports/test_loop_watch.py:") and place.endswith(" hold_the_loop") for place in told["place"])


def test_without_the_debug_mode_there_is_no_thread() -> None:
    async def measure() -> None:
        watch = LoopWatch()
        await watch.start()
        assert watch._thread is None
        await watch.stop()
        await watch.stop()

    run(measure())
