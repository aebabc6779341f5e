"""Limits how often something may happen for each of many keys: so many times a second, and as many at once."""

from __future__ import annotations

from hub.core.ports import Clock

MAX_KEYS = 10_000
"""Keys that are remembered. They come from clients, so their number has to be bounded."""

FORGOTTEN_AT_ONCE = MAX_KEYS // 10
"""Keys that are forgotten when there is no room, so that one walk over all keys makes room for many new ones."""


class RateLimit:
    """The generic cell rate algorithm. It keeps one time for each key: when its actions would be over if they were done at the steady
    rate.
    """

    __slots__ = ("_burst_s", "_clock", "_interval_s", "_per_second", "_until")

    def __init__(self, clock: Clock, per_second: int) -> None:
        """``per_second`` is the rate, and the burst; 0 allows everything."""
        self._clock = clock
        self._per_second = per_second
        self._until: dict[str, float] = {}
        self.divide(1)

    def divide(self, among: int) -> None:
        """Allow only a part of the rate, because ``among`` processes share it; each allows one action at once at least."""
        self._interval_s = among / self._per_second if self._per_second else 0.0
        self._burst_s = max(1.0, self._interval_s)

    def allows(self, key: str) -> bool:
        """Whether ``key`` may act once more now. If so, the action is counted."""
        if not self._interval_s:
            return True
        now = self._clock.monotonic()
        until = max(now, self._until.get(key, now)) + self._interval_s
        if until - now > self._burst_s + self._interval_s / 2:
            return False
        if key not in self._until and len(self._until) >= MAX_KEYS:
            self._forget(now)
        self._until[key] = until
        return True

    def _forget(self, now: float) -> None:
        """Forget keys whose times are over, and where too many are left, those that came first."""
        kept = [(key, until) for key, until in self._until.items() if until > now]
        self._until = dict(kept[max(0, len(kept) - (MAX_KEYS - FORGOTTEN_AT_ONCE)) :])
