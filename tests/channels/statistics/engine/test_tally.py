"""Durations and tallies."""

from __future__ import annotations

import pytest

from channels.statistics.engine.tally import FOLD_AT, Span, Tally

KEY = ("action", "CallInbound", "voice")


def test_durations_are_counted_by_their_length() -> None:
    tally = Tally(0)
    for duration in (5, 19, 20, 21):
        tally.add(duration)
    assert (tally.count, tally.whole, tally.between(0, 20), tally.between(20, 22)) == (4, 65, 2, 2)


@pytest.mark.parametrize(("low", "high"), [(0, 20), (5, 6), (0, 100_000), (2000, 3000)])
def test_many_durations_are_counted_as_few_are(low: int, high: int) -> None:
    tally = Tally(0)
    durations = [number % 40 for number in range(FOLD_AT * 3 + 7)]
    for duration in durations:
        tally.add(duration)
    assert tally.between(low, high) == sum(low <= duration < high for duration in durations)
    assert (tally.count, tally.whole) == (len(durations), sum(durations))


def test_a_restart_forgets() -> None:
    tally = Tally(0)
    for _ in range(FOLD_AT + 1):
        tally.add(3)
    tally.restart(1000)
    assert (tally.count, tally.whole, tally.between(0, 9), tally.since_ms) == (0, 0, 0, 1000)


@pytest.mark.parametrize(
    ("start", "end", "count", "whole", "time"),
    [
        (50_000, 70_900, 1, 20, 20),  # inside
        (5_000, 30_000, 1, 25, 20),  # across the beginning: all of it by its duration, what lies inside by its time
        (5_000, 9_999, 0, 0, 0),  # before
        (5_000, 10_000, 1, 5, 0),  # an action that completes at the very reset belongs to the new window
    ],
)
def test_a_window_of_actions_counts_what_ends_in_it(start: int, end: int, count: int, whole: int, time: int) -> None:
    tally = Tally(10_000)
    tally.end(Span(KEY, start), start, end, is_status=False, counts=True)
    assert (tally.count, tally.whole, tally.whole + tally.adjust) == (count, whole, time)


def test_a_status_that_ends_at_the_reset_belongs_to_the_window_before() -> None:
    tally = Tally(10_000)
    tally.end(Span(KEY, 5_000), 5_000, 10_000, is_status=True, counts=True)
    assert tally.count == 0


def test_what_is_left_behind_adds_its_time_only() -> None:
    tally = Tally(0)
    tally.end(Span(KEY, 5_000), 7_000, 9_000, is_status=False, counts=False)
    assert (tally.count, tally.whole + tally.adjust) == (0, 2)
