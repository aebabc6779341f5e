"""Tallies, windows and spans. A tally counts what is over of one thing within one growing window.

Durations follow Stat Server's rule: both timestamps are cut to whole seconds before they are subtracted (09:00:00.900 to 09:00:02.100 is
two seconds). Which window a moment belongs to is decided in milliseconds; a reset belongs to the window that it begins. The result does not
depend on the order in which events of different agents come in: an event that is a little older than the last is counted at its own time.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Protocol

from channels.statistics.engine.profiles import Reset, TimeProfile

Key = tuple[str, str, str]
"""(kind, name, media); media is empty where there is none: the status of an agent as a whole, and LoggedOut."""


class Span:
    """An action or a status that goes on, and since when."""

    __slots__ = ("key", "start_ms", "start_s")

    def __init__(self, key: Key, start_ms: int) -> None:
        self.key = key
        self.start_ms = start_ms
        self.start_s = start_ms // 1000

    @property
    def name(self) -> str:
        """Name of the action or status."""
        return self.key[1]


class Source(Protocol):
    """The owner of a board, which knows what goes on."""

    def going_on(self) -> Iterable[Sequence[tuple[Span, int]]]:
        """What goes on, each with the millisecond since which it counts here, in pieces. All of a piece goes on when the piece is yielded;
        between two pieces spans may begin and end.
        """
        ...


FOLD_AT = 256
"""Durations are kept in a list up to this many, which costs eight bytes each, then counted by their length."""

LOOK_AT_ONCE = 128
"""Actions and statuses that are looked at in one piece when somebody begins to watch: 0.1 ms or so."""


class Tally:
    """The counts and durations of what is over, as far as it belongs to one window."""

    __slots__ = ("_count", "_whole", "adjust", "counts", "going_s", "recent", "since_ms")

    def __init__(self, since_ms: int) -> None:
        self.since_ms = since_ms
        """The window's beginning, in milliseconds since 1970."""
        self._count = 0
        self._whole = 0
        self.counts: dict[int, int] = {}
        """How many there were of each duration in seconds, but for ``recent``."""
        self.recent = array("q")
        """Durations in seconds that are not in ``counts`` yet."""
        self.adjust = 0
        """What is to be added to the durations to get the time that lies within the window and the group, in seconds."""
        self.going_s = 0
        """While it is watched: the sum of the seconds since which everything that goes on counts in this window."""

    @property
    def count(self) -> int:
        """How many are over: actions that completed or occurred, statuses that ended."""
        return self._count + len(self.recent)

    @property
    def whole(self) -> int:
        """Their durations in seconds, each from its own start."""
        return self._whole + sum(self.recent)

    def restart(self, since_ms: int) -> None:
        """The window is reset."""
        self._count = self._whole = self.adjust = 0
        self.counts = {}
        self.recent = array("q")
        self.since_ms = since_ms  # last: a state that is saved meanwhile in a thread must not hold the new window with old figures

    def fold(self) -> None:
        """Count the durations of the list by their length."""
        counts, recent = self.counts, self.recent
        for seconds in recent:
            counts[seconds] = counts.get(seconds, 0) + 1
        self._count += len(recent)
        self._whole += sum(recent)
        self.recent = array("q")

    def load(self, counts: dict[int, int], recent: Iterable[int]) -> None:
        """Take over saved durations."""
        self.counts = counts
        self._count = sum(counts.values())
        self._whole = sum(seconds * count for seconds, count in counts.items())
        self.recent = array("q", recent)

    def end(self, span: Span, from_ms: int, at_ms: int, *, is_status: bool, counts: bool) -> None:
        """Count something that is over and counted here since ``from_ms``. If ``counts`` is false only its time is added."""
        if at_ms < self.since_ms or (is_status and at_ms == self.since_ms):
            return
        at_s = at_ms // 1000
        self.adjust += max(0, at_s - max(from_ms, self.since_ms) // 1000)
        if counts:
            self.add(at_s - span.start_s)
            self.adjust -= at_s - span.start_s

    def add(self, duration: int) -> None:
        """Add one duration in seconds."""
        self.recent.append(duration)
        if len(self.recent) >= FOLD_AT:
            self.fold()

    def between(self, low: int, high: int) -> int:
        """How many had a duration d with low <= d < high, in seconds."""
        found = sum(1 for seconds in self.recent if low <= seconds < high)
        if len(self.counts) < high - low:
            return found + sum(count for seconds, count in self.counts.items() if low <= seconds < high)
        return found + sum(self.counts.get(seconds, 0) for seconds in range(low, high))


class Window:
    """A growing window that is open on a board."""

    __slots__ = ("opened_ms", "profile", "reset", "users")

    def __init__(self, profile: TimeProfile, reset: Reset, opened_ms: int) -> None:
        self.profile = profile
        self.reset = reset
        self.opened_ms = opened_ms
        """A window shows nothing of the time before it was opened."""
        self.users = 0

    @property
    def since_ms(self) -> int:
        """When it began: at its last reset, or when it was opened if that is later."""
        return max(self.reset.reset_ms, self.opened_ms)
