"""A time of day that leaps ahead makes nothing old."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from hub.ops.clock import ClockSettings
from hub.steady_clock import SteadyClock
from tests.world import ManualClock

START_MS = 1_795_956_000_000
DAY_MS = 86_400_000


@pytest.fixture
def clock() -> ManualClock:
    """Of the operating system."""
    return ManualClock(wall=START_MS)


def leap(clock: ManualClock, by_ms: int) -> None:
    """Move the time of day alone."""
    assert clock.wall is not None
    clock.wall += by_ms


def test_it_is_the_time_of_day_while_both_clocks_agree(clock: ManualClock) -> None:
    steady = SteadyClock(clock)
    for seconds in (0, 1, 86_400, 1_000_000):
        clock.advance(seconds)
        assert (steady.wall_ms(), steady.wall_us(), steady.monotonic()) == (clock.wall_ms(), clock.wall_us(), clock.monotonic())
    assert (steady.counters.leaps, steady.held_s) == (0, 0)


def test_a_leap_ahead_is_not_believed_at_once_and_told_once(clock: ManualClock) -> None:
    steady = SteadyClock(clock)
    clock.advance(60)
    leap(clock, DAY_MS)
    with capture_logs() as logs:
        assert steady.wall_ms() == START_MS + 60_000
        clock.advance(60)
        assert steady.wall_ms() == START_MS + 120_000
    assert [(line["event"], line["ahead_s"]) for line in logs] == [("clock_leapt", 86_400)]
    assert (steady.counters.leaps, steady.held_s) == (1, 86_400)


def test_after_the_hold_it_is_the_time_of_day_again(clock: ManualClock) -> None:
    steady = SteadyClock(clock, ClockSettings(hold_s=3600))
    leap(clock, DAY_MS)
    assert steady.wall_ms() == START_MS
    clock.advance(3599)
    assert steady.wall_ms() == START_MS + 3_599_000
    clock.advance(1)
    with capture_logs() as logs:
        assert steady.wall_ms() == clock.wall_ms()
    assert [line["event"] for line in logs] == ["clock_believed"]
    clock.advance(60)
    assert (steady.wall_ms(), steady.counters.leaps, steady.held_s) == (clock.wall_ms(), 1, 0)


def test_a_clock_that_comes_back_is_believed(clock: ManualClock) -> None:
    steady = SteadyClock(clock)
    leap(clock, DAY_MS)
    assert steady.wall_ms() == START_MS
    leap(clock, -DAY_MS)
    clock.advance(5)
    assert (steady.wall_ms(), steady.held_s) == (START_MS + 5000, 0)
    leap(clock, 2 * DAY_MS)
    assert (steady.wall_ms(), steady.counters.leaps) == (START_MS + 5000, 2)


def test_a_clock_that_is_set_back_is_believed_at_once(clock: ManualClock) -> None:
    steady = SteadyClock(clock)
    leap(clock, -DAY_MS)
    assert (steady.wall_ms(), steady.counters.leaps) == (START_MS - DAY_MS, 0)


def test_a_clock_that_is_corrected_all_the_time_has_not_leapt(clock: ManualClock) -> None:
    steady = SteadyClock(clock, ClockSettings(leap_s=1))
    for _ in range(100):
        clock.advance(60)
        leap(clock, 1000)
        assert steady.wall_ms() == clock.wall_ms()
    leap(clock, 1001)
    assert steady.wall_ms() == clock.wall_ms() - 1001


def test_without_a_hold_every_time_is_believed(clock: ManualClock) -> None:
    steady = SteadyClock(clock, ClockSettings(hold_s=0))
    leap(clock, DAY_MS)
    assert (steady.wall_ms(), steady.counters.leaps) == (clock.wall_ms(), 1)
