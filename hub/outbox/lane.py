"""One endpoint's lane: what may be under way to it at once, and when. Pure: no clock, no I/O."""

from __future__ import annotations

from typing import Final

TRIPPED_FIRST_S: Final = 1.0
TRIPPED_LONGEST_S: Final = 60.0
"""Between two probes of an endpoint that does not answer: doubling from the first to the longest."""


class Lane:
    """What one process has under way to one endpoint. Every lane has its own bound, so that an endpoint that hangs on every request costs
    the others nothing. Times are seconds of a clock that never goes back.
    """

    __slots__ = ("_closed_until", "_failures", "_limit", "_trip_after", "blocked", "due", "failed", "keys", "looking", "turn")

    def __init__(self, limit: int, trip_after: int) -> None:
        self._limit = limit
        self._trip_after = trip_after
        self._failures = 0
        self._closed_until = 0.0
        self.keys: dict[str, int] = {}
        """Keys of what is under way, with how many of each."""
        self.due: float | None = 0.0
        """When the database may have something for it; None when it has nothing. At first nobody knows, so: now."""
        self.failed = False
        """Whether a failure was noted since the last success: what is known of the endpoint may have been read before that."""
        self.looking = False
        """Whether a look at the database is under way."""
        self.blocked = False
        """Whether what is due in the database waits for an older one of its key."""
        self.turn = 0
        """When it was looked at last, as a number that rises: who waited longest comes first."""

    @property
    def under_way(self) -> int:
        """Requests under way."""
        return sum(self.keys.values())

    @property
    def tripped(self) -> bool:
        """Whether it has not answered for so long that only one request at a time is made, as a probe."""
        return self._failures >= self._trip_after

    def resize(self, limit: int) -> None:
        """Another bound, from the next request on."""
        self._limit = limit

    def room(self, now: float) -> int:
        """How many requests may begin now."""
        if now < self._closed_until:
            return 0
        return max(0, (1 if self.tripped else self._limit) - self.under_way)

    def open_at(self, now: float) -> float:
        """When requests may begin again, as far as time alone decides."""
        return max(now, self._closed_until)

    def admits(self, key: str, now: float) -> bool:
        """Whether a new delivery may begin at once, without asking the database: nothing waits before it, nor is its key under way."""
        return self.due is None and not self.looking and key not in self.keys and self.room(now) > 0

    def begin(self, key: str) -> None:
        """A request begins."""
        self.keys[key] = self.keys.get(key, 0) + 1

    def end(self, key: str) -> None:
        """It ended, well or not."""
        left = self.keys[key] - 1
        if left:
            self.keys[key] = left
        else:
            del self.keys[key]

    def look_at(self, when: float) -> None:
        """The database may have something for it then."""
        if self.due is None or when < self.due:
            self.due = when

    def answered(self) -> None:
        """It answered, whatever it said: it is there."""
        self._failures = 0

    def silent(self, now: float) -> None:
        """It did not answer, or could not be reached."""
        self._failures += 1
        if self.tripped:
            pause = min(TRIPPED_LONGEST_S, TRIPPED_FIRST_S * 2 ** min(self._failures - self._trip_after, 10))
            self._closed_until = max(self._closed_until, now + pause)

    def close(self, until: float) -> None:
        """It asked to be left alone for a while, or is disabled."""
        self._closed_until = max(self._closed_until, until)
