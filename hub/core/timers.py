"""Timers of all sessions in one wheel, so that an idle session has no task and no timer of the event loop."""

from collections.abc import Callable

from hub.core.ports import Clock

RESOLUTION_S = 0.05
"""Seconds between two sweeps. A timer fires up to so much late, never early."""


class Timer:
    """One deadline; cancel it with :meth:`Timers.cancel`."""

    __slots__ = ("bucket", "callback")

    def __init__(self, bucket: int, callback: Callable[[], object]) -> None:
        self.bucket = bucket
        self.callback = callback


class Timers:
    """A wheel of buckets of timers. To set or cancel one costs one dictionary operation."""

    __slots__ = ("_buckets", "_clock", "_swept")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[int, dict[Timer, None]] = {}
        self._swept = int(clock.monotonic() / RESOLUTION_S)

    def after(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call ``callback`` in the first sweep that comes ``seconds`` or more from now; returns the timer."""
        bucket = max(int((self._clock.monotonic() + seconds) / RESOLUTION_S) + 1, self._swept + 1)
        timer = Timer(bucket, callback)
        self._buckets.setdefault(bucket, {})[timer] = None
        return timer

    def cancel(self, timer: Timer) -> None:
        """Cancel a timer. One that has fired or was cancelled before is ignored."""
        if bucket := self._buckets.get(timer.bucket):
            bucket.pop(timer, None)
            if not bucket:
                del self._buckets[timer.bucket]

    def sweep(self, until: float | None = None) -> int:
        """Fire the timers that are due, in the order of their deadlines; returns how many fired. ``until`` is a moment of the monotonic
        clock, in seconds, at which the sweep stops; at least one timer fires. The caller sweeps again while :attr:`overdue`.
        """
        now = int(self._clock.monotonic() / RESOLUTION_S)
        fired = 0
        due = sorted(bucket for bucket in self._buckets if bucket <= now)
        self._swept = max(self._swept, now)
        for number in due:
            bucket = self._buckets.get(number)
            while bucket:
                timer = next(iter(bucket))
                del bucket[timer]
                timer.callback()
                fired += 1
                if until is not None and self._clock.monotonic() > until:
                    if not bucket:
                        self._buckets.pop(number, None)
                    return fired
            self._buckets.pop(number, None)
        return fired

    @property
    def overdue(self) -> bool:
        """Whether timers are due that the last sweep did not reach."""
        return any(bucket <= self._swept for bucket in self._buckets)

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self._buckets.values())
