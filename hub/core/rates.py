"""How often something may happen for each of many keys: so many times a second, and as many at once."""

from __future__ import annotations

from hub.core.ports import Clock

MOST_KEYS = 10_000
"""Keys that are remembered: they come from clients."""

FORGOTTEN_AT_ONCE = MOST_KEYS // 10
"""Room that is made when there is none: a walk over all keys is paid once for so many new ones."""


class RateLimit:
    """The generic cell rate algorithm: of each key only the time is kept at which all it did would have been done at the steady rate."""

    __slots__ = ("_clock", "_interval_s", "_until")

    def __init__(self, clock: Clock, per_second: int) -> None:
        """``per_second`` 0 allows everything."""
        self._clock = clock
        self._interval_s = 1.0 / per_second if per_second else 0.0
        self._until: dict[str, float] = {}

    def allows(self, key: str) -> bool:
        """Whether ``key`` may do it once more, now; if so it counts."""
        if not self._interval_s:
            return True
        now = self._clock.monotonic()
        until = max(now, self._until.get(key, now)) + self._interval_s
        if until - now > 1.0 + self._interval_s / 2:
            return False
        if key not in self._until and len(self._until) >= MOST_KEYS:
            self._forget(now)
        self._until[key] = until
        return True

    def _forget(self, now: float) -> None:
        """Forget keys of which nothing counts any more; where too many do, those that began first."""
        kept = [(key, until) for key, until in self._until.items() if until > now]
        self._until = dict(kept[max(0, len(kept) - (MOST_KEYS - FORGOTTEN_AT_ONCE)) :])
