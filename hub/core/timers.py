"""Timers without a loop: one sweep serves every session, so that an idle one has no task and no timer of its own."""

from collections.abc import Callable

from hub.core.ports import Clock

RESOLUTION_S = 0.05
"""Seconds between two sweeps; a timer fires up to this much late, never early."""


class Timer:
    """One deadline; cancel it with :meth:`Timers.cancel`."""

    __slots__ = ("bucket", "callback")

    def __init__(self, bucket: int, callback: Callable[[], object]) -> None:
        self.bucket = bucket
        self.callback = callback


class Timers:
    """A wheel of buckets: setting and cancelling cost one dictionary operation each."""

    __slots__ = ("_buckets", "_clock", "_swept")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[int, dict[Timer, None]] = {}
        self._swept = int(clock.monotonic() / RESOLUTION_S)

    def after(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call ``callback`` in the first sweep that comes ``seconds`` or more from now."""
        bucket = max(int((self._clock.monotonic() + seconds) / RESOLUTION_S) + 1, self._swept + 1)
        timer = Timer(bucket, callback)
        self._buckets.setdefault(bucket, {})[timer] = None
        return timer

    def cancel(self, timer: Timer) -> None:
        """Take a timer back; one that fired or was cancelled before is left alone."""
        if bucket := self._buckets.get(timer.bucket):
            bucket.pop(timer, None)
            if not bucket:
                del self._buckets[timer.bucket]

    def sweep(self, until: float | None = None) -> int:
        """Fire what is due, in the order of the deadlines; returns how many fired. With ``until``, a moment of the monotonic clock, one at
        least and then as many as there is time for: while :attr:`overdue` sweep again.
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
        """Whether something is due that the last sweep did not get to."""
        return any(bucket <= self._swept for bucket in self._buckets)

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self._buckets.values())
