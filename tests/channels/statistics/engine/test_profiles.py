"""Time profiles: when windows are reset, also where clocks change."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from channels.statistics.engine.profiles import DAILY, FOREVER_MS, Calendar, TimeProfile
from tests.channels.statistics.engine.scene import UTC, moment

BERLIN, NEW_YORK, SYDNEY = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York"), ZoneInfo("Australia/Sydney")
HOUR_MS = 3_600_000


def times(text: str) -> list[str]:
    return [f"{minute // 60:02}:{minute % 60:02}" for minute, _ in TimeProfile.parse(text).times]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("00:00", ["00:00"]),
        ("0:00 +8:00", ["00:00", "08:00", "16:00"]),
        ("07:00,15:00,23:00", ["07:00", "15:00", "23:00"]),
        ("23:00, 7:00", ["07:00", "23:00"]),
        ("22:00+3:00", ["01:00", "04:00", "07:00", "10:00", "13:00", "16:00", "19:00", "22:00"]),
        ("08:00 +4:00, 18:00", ["08:00", "12:00", "16:00", "18:00"]),
        ("12:00 +24:00", ["12:00"]),
    ],
)
def test_a_profile_lists_the_times_of_a_day(text: str, expected: list[str]) -> None:
    assert times(text) == expected


def test_a_quarter_hourly_profile_has_96_times() -> None:
    assert len(TimeProfile.parse("0:00 +0:15").times) == 96


@pytest.mark.parametrize("text", ["", "midnight", "24:00", "12:60", "0:00 +0:00", "0:00 +25:00", "0:00 +0:75", "3600,30", "07:00,", "7"])
def test_what_is_no_profile_is_refused_with_what_came(text: str) -> None:
    with pytest.raises(ValueError, match="expected") as refusal:
        TimeProfile.parse(text)
    assert repr(text) in str(refusal.value)


@pytest.mark.parametrize(
    ("profile", "zone", "at", "last", "following"),
    [
        ("00:00", UTC, "2026-03-10 09:00", "2026-03-10 00:00", "2026-03-11 00:00"),
        ("00:00", UTC, "2026-03-10 00:00", "2026-03-10 00:00", "2026-03-11 00:00"),
        ("00:00", NEW_YORK, "2026-03-10 23:59:59.999", "2026-03-10 00:00", "2026-03-11 00:00"),
        ("07:00,23:00", SYDNEY, "2026-03-10 06:59", "2026-03-09 23:00", "2026-03-10 07:00"),
        ("0:00 +0:15", UTC, "2026-03-10 09:14:59.999", "2026-03-10 09:00", "2026-03-10 09:15"),
        ("00:00", UTC, "1970-01-01 00:00", "1970-01-01 00:00", "1970-01-02 00:00"),
    ],
)
def test_the_last_and_the_next_reset(profile: str, zone: ZoneInfo, at: str, last: str, following: str) -> None:
    assert TimeProfile.parse(profile).around(moment(at, zone), zone) == (moment(last, zone), moment(following, zone))


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)])
def test_a_day_is_as_long_as_the_clocks_make_it(day: str, hours: int) -> None:
    last, following = DAILY.around(moment(f"{day} 12:00", BERLIN), BERLIN)
    assert following - last == hours * HOUR_MS


def test_a_reset_in_the_hour_that_spring_skips_comes_when_that_hour_would_have() -> None:
    last, _ = TimeProfile.parse("02:30").around(moment("2026-03-29 12:00", BERLIN), BERLIN)
    assert last == moment("2026-03-29 03:30", BERLIN)


def test_a_daily_reset_in_the_hour_that_autumn_repeats_comes_once() -> None:
    first = moment("2026-10-25 02:30", BERLIN)
    last, following = TimeProfile.parse("02:30").around(first + HOUR_MS, BERLIN)
    assert (last, following) == (first, moment("2026-10-26 02:30", BERLIN))


def test_quarters_go_on_through_the_hour_that_autumn_repeats() -> None:
    first = moment("2026-10-25 02:30", BERLIN)
    last, following = TimeProfile.parse("0:00 +0:15").around(first + HOUR_MS + 1, BERLIN)
    assert (last, following) == (first + HOUR_MS, first + HOUR_MS + 15 * 60_000)


def test_the_calendar_ends_with_the_year_9999() -> None:
    last, following = DAILY.around(FOREVER_MS, UTC)
    assert last < FOREVER_MS == following


def test_time_never_goes_back() -> None:
    calendar = Calendar(UTC, 1000)
    calendar.advance(500)
    assert calendar.now_ms == 1000


def test_a_calendar_tells_which_profiles_were_reset() -> None:
    calendar = Calendar(UTC, moment("2026-03-10 23:50"))
    quarters = TimeProfile.parse("0:05 +0:15")
    calendar.acquire(quarters)
    assert calendar.advance(moment("2026-03-11 00:01")) == {DAILY}
    assert calendar.advance(moment("2026-03-11 00:05")) == {quarters}
    assert calendar.advance(moment("2026-03-11 00:06")) == set()


def test_a_profile_is_followed_as_long_as_somebody_uses_it() -> None:
    calendar = Calendar(UTC, moment("2026-03-10 09:00"))
    hourly = TimeProfile.parse("0:00 +1:00")
    first, second = calendar.acquire(hourly), calendar.acquire(hourly)
    calendar.release(hourly)
    assert calendar.advance(moment("2026-03-10 10:00")) == {hourly}
    calendar.release(hourly)
    assert calendar.advance(moment("2026-03-10 11:00")) == set()
    assert first is second
