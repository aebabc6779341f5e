"""Time profiles: when a growing window starts anew, in the tenant's time zone, also on the days on which the clocks change.

A profile's value is Stat Server's: ``00:00`` (every midnight), ``0:00 +0:15`` (every quarter of an hour), ``07:00,15:00,23:00`` (three
times a day), and both together: ``08:00 +0:30,18:00`` (every half hour from 08:00 on, and at 18:00).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Set
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

_ITEM = re.compile(r"(\d{1,2}):(\d{2})(?:\s*\+\s*(\d{1,2}):(\d{2}))?")
_DAY = 24 * 60
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FOREVER_MS = 253_402_300_799_000
"""The end of the year 9999: the calendar ends here."""

_LAST_RESET_MS = FOREVER_MS - 7 * 86_400_000
"""Nothing is reset after this: dates near the calendar's end cannot be reckoned with."""


@dataclass(frozen=True, slots=True)
class TimeProfile:
    """The moments of a day at which a window starts anew.

    ``times`` holds (minute of the day, whether it comes from a step such as ``+0:15``), sorted. Two texts that mean the same are equal.
    """

    times: tuple[tuple[int, bool], ...]

    @classmethod
    def parse(cls, text: str) -> TimeProfile:
        """Read a profile's value.

        Raises:
            ValueError: the text is not a profile; it says what was expected and what came.
        """
        starts: dict[int, int] = {}
        for part in text.split(","):
            match = _ITEM.fullmatch(part.strip())
            if match is None:
                raise ValueError(f"expected a time such as 00:00, 0:00 +0:15 or 07:00,15:00,23:00; got {text[:100]!r}")
            hour, minute, step_hours, step_minutes = (int(group or 0) for group in match.groups())
            step = step_hours * 60 + step_minutes
            if hour > 23 or minute > 59 or step_minutes > 59 or step > _DAY or (match[3] is not None and step == 0):
                raise ValueError(f"expected times from 00:00 to 23:59 and a step from +0:01 to +24:00; got {text[:100]!r}")
            starts[hour * 60 + minute] = step
        ordered = sorted(starts)
        times: dict[int, bool] = {}
        for start, end in zip(ordered, [*ordered[1:], ordered[0] + _DAY], strict=True):
            times[start] = 0 < starts[start] < _DAY
            if starts[start]:
                times.update((at % _DAY, True) for at in range(start + starts[start], end, starts[start]))
        return cls(tuple(sorted(times.items())))

    def _instants(self, day: date, zone: ZoneInfo) -> Iterator[int]:
        """The moments of one local day, in seconds since 1970.

        A time that the change to summer time skips is taken by the offset before the change. One that occurs twice in autumn resets a
        daily window once, at the first; steps go on through the hour that is repeated.
        """
        for minute, stepped in self.times:
            first = datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=zone)
            at = int((first - _EPOCH).total_seconds())
            yield at
            if stepped:
                second = int((first.replace(fold=1) - _EPOCH).total_seconds())
                if second > at:
                    yield second

    def around(self, at_ms: int, zone: ZoneInfo) -> tuple[int, int]:
        """(the last reset at or before a moment, the first one after it), in milliseconds since 1970."""
        if at_ms >= _LAST_RESET_MS:
            return _LAST_RESET_MS, FOREVER_MS
        today = (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(zone).date()
        instants = sorted({at * 1000 for n in (-1, 0, 1) for at in self._instants(today + timedelta(days=n), zone)})
        index = bisect_right(instants, at_ms)
        return instants[index - 1], instants[index]


DAILY = TimeProfile(((0, False),))
"""``00:00``, Stat Server's profile named Default. This window is kept for every accumulator, whether a statistic asks for it or not."""


_NO_PROFILES: frozenset[TimeProfile] = frozenset()


class Reset:
    """Where one profile stands: its last reset and its next one, in milliseconds since 1970, and how many boards follow it."""

    __slots__ = ("next_ms", "reset_ms", "users")

    def __init__(self, reset_ms: int, next_ms: int) -> None:
        self.reset_ms = reset_ms
        self.next_ms = next_ms
        self.users = 0


class Calendar:
    """Engine time and the profiles in use."""

    __slots__ = ("_next_ms", "_resets", "daily", "now_ms", "zone")

    def __init__(self, zone: ZoneInfo, now_ms: int) -> None:
        self.zone = zone
        self.now_ms = now_ms
        self._resets: dict[TimeProfile, Reset] = {}
        self._next_ms = FOREVER_MS
        self.daily = self.acquire(DAILY)

    def has_room(self, profile: TimeProfile, most: int) -> bool:
        """Whether a profile is followed already, or fewer than ``most`` are."""
        return profile in self._resets or len(self._resets) < most

    def acquire(self, profile: TimeProfile) -> Reset:
        """Follow a profile until it is released as often as it was acquired."""
        reset = self._resets.get(profile)
        if reset is None:
            reset = self._resets[profile] = Reset(*profile.around(self.now_ms, self.zone))
            self._next_ms = min(self._next_ms, reset.next_ms)
        reset.users += 1
        return reset

    def release(self, profile: TimeProfile) -> None:
        """Undo one :meth:`acquire`."""
        reset = self._resets[profile]
        reset.users -= 1
        if not reset.users:
            del self._resets[profile]

    def set_back(self, now_ms: int) -> None:
        """Time was ahead: it is ``now_ms``, and the resets are those around it."""
        self.now_ms = now_ms
        for profile, reset in self._resets.items():
            reset.reset_ms, reset.next_ms = profile.around(now_ms, self.zone)
        self._next_ms = min(reset.next_ms for reset in self._resets.values())

    def advance(self, now_ms: int) -> Set[TimeProfile]:
        """Let time pass, never back. Returns the profiles that were reset on the way."""
        if now_ms <= self.now_ms:
            return _NO_PROFILES
        self.now_ms = now_ms
        if now_ms < self._next_ms:
            return _NO_PROFILES
        passed = {profile for profile, reset in self._resets.items() if reset.next_ms <= now_ms}
        for profile in passed:
            reset = self._resets[profile]
            reset.reset_ms, reset.next_ms = profile.around(now_ms, self.zone)
        self._next_ms = min(reset.next_ms for reset in self._resets.values())
        return passed
