"""The time of day for jobs that delete or end what is old: a leap of the wall clock makes nothing old.

A clock is set by hand, by NTP after a start with a wrong time, or by a virtual machine that was asleep. What is an hour old then looks as
if it were a day old, and a chat in which somebody is typing would end for its silence. The monotonic clock tells how much time has passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import structlog

from hub.core.ports import Clock
from hub.ops.clock import ClockSettings

_US: Final = 1_000_000

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class ClockCounters:
    """What is counted of the time of day; each field becomes ``hub_clock_<field>_total``."""

    leaps: int = 0
    """Leaps ahead of the time of day by more than `clock.leap_s`: for `clock.hold_s` nothing is deleted or ended for its age by them."""


class SteadyClock:
    """A :class:`hub.core.ports.Clock` whose time of day goes no further than the monotonic clock, for a time. It may go back."""

    __slots__ = ("_ahead_us", "_at", "_clock", "_since", "_wall_us", "counters", "settings")

    def __init__(self, clock: Clock, settings: ClockSettings | None = None) -> None:
        """The time of day of ``clock`` is taken to be right now."""
        self.settings = ClockSettings() if settings is None else settings
        self.counters = ClockCounters()
        self._clock = clock
        self._at = clock.monotonic()
        """When both clocks were compared the last time before a leap, and below what the time of day was."""
        self._wall_us = clock.wall_us()
        self._since: float | None = None
        """When a leap was noticed that is not believed; None: the time of day is that of the clock."""
        self._ahead_us = 0

    @property
    def held_s(self) -> float:
        """Seconds by which the time of day is ahead and not believed, at the last look."""
        return self._ahead_us / _US

    def monotonic(self) -> float:
        """See :meth:`hub.core.ports.Clock.monotonic`."""
        return self._clock.monotonic()

    def wall_ms(self) -> int:
        """See :meth:`hub.core.ports.Clock.wall_ms`."""
        return self.wall_us() // 1000

    def wall_us(self) -> int:
        """See :meth:`hub.core.ports.Clock.wall_us`."""
        now, wall_us = self._clock.monotonic(), self._clock.wall_us()
        steady_us = self._wall_us + round((now - self._at) * _US)
        ahead_us = wall_us - steady_us
        if ahead_us > self.settings.leap_s * _US and self._is_held(now, ahead_us / _US):
            self._ahead_us = ahead_us
            return steady_us
        if self._since is not None:
            _log.warning("clock_believed", ahead_s=round(ahead_us / _US, 1), held_for_s=round(now - self._since, 1))
        self._since, self._ahead_us = None, 0
        self._at, self._wall_us = now, wall_us  # small differences are those of a clock that is corrected all the time
        return wall_us

    def _is_held(self, now: float, ahead_s: float) -> bool:
        """Whether a leap is not believed yet."""
        if self._since is None:
            self._since = now
            self.counters.leaps += 1
            _log.error("clock_leapt", ahead_s=round(ahead_s, 1), held_for_s=self.settings.hold_s, setting="clock.hold_s")
        return now - self._since < self.settings.hold_s
