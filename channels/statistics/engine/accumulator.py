"""Accumulators: the running totals that all statistics are views of, and the boards that hold those of one object.

One accumulator counts one thing of one object: (kind, name, media), for example the action ``CallInbound`` on voice. It holds one tally for
each growing window that is open, of what is over, and running sums of what goes on while somebody watches: a value costs the same however
much goes on. The daily window is always open, so that a statistic shows the whole day whenever it is opened.

Durations follow Stat Server's rule: both timestamps are cut to whole seconds before they are subtracted (09:00:00.900 to 09:00:02.100 is
two seconds). Which window a moment belongs to is decided in milliseconds; a reset belongs to the window that it begins. Nothing depends on
the order in which things of different agents come in: one that is a little older than the last is counted at its own time.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Protocol

from channels.statistics.engine.definition import ACTION, Definition
from channels.statistics.engine.profiles import DAILY, Calendar, Reset, TimeProfile
from channels.statistics.engine.vocabulary import AGENT_STATE_ACTIONS

if TYPE_CHECKING:
    from channels.statistics.engine.statistic import Statistic

Key = tuple[str, str, str]
"""(kind, name, media); media is empty where there is none: the status of an agent as a whole, and LoggedOut."""


class Span:
    """Something that goes on: an action or a status, since when."""

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
    """Whose board it is: knows what goes on."""

    def going_on(self) -> Iterable[Sequence[tuple[Span, int]]]:
        """What goes on, each with the millisecond since when it counts here, in pieces. What a piece holds goes on when it is handed out;
        between two pieces things may begin and end.
        """
        ...


FOLD_AT = 256
"""Durations are kept in a list up to this many, which costs eight bytes each, then counted by their length."""

LOOK_AT_ONCE = 128
"""Actions and statuses that are looked at in one piece when somebody begins to watch: 0.1 ms or so."""

_STALE_AT = 256

_number = count()
"""Tells spans of the same second apart in a heap."""


class Tally:
    """What is over, as far as it belongs to a window."""

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
        """Something is over that counted here since ``from_ms``; ``counts`` is false for what adds its time only."""
        if at_ms < self.since_ms or (is_status and at_ms == self.since_ms):
            return
        at_s = at_ms // 1000
        self.adjust += max(0, at_s - max(from_ms, self.since_ms) // 1000)
        if counts:
            self.add(at_s - span.start_s)
            self.adjust -= at_s - span.start_s

    def add(self, duration: int) -> None:
        """Count one that is over, with its duration in seconds."""
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


class Accumulator(Tally):
    """The totals of one thing of one object. It is the tally of the daily window itself, and has one more for each other window."""

    __slots__ = (
        *("_board", "_oldest", "_oldest_users", "extra", "hooked", "is_status", "keeps_zero", "key", "ongoing", "started_s"),
        "watchers",
    )

    def __init__(self, key: Key, board: Board) -> None:
        super().__init__(board.windows[0].since_ms)
        self.key = key
        self.is_status = key[0] != ACTION
        self.keeps_zero = not self.is_status and key[1] not in AGENT_STATE_ACTIONS
        self._board = board
        self.extra = [Tally(window.since_ms) for window in board.windows[1:]]
        """Tallies of the other windows, in their order on the board."""
        self.watchers: dict[Statistic, None] = {}
        self.ongoing: dict[Span, int] = {}
        """While it is watched: what goes on, each with the millisecond since when it counts here."""
        self.started_s = 0
        """The sum of the seconds at which what goes on began."""
        self._oldest: list[tuple[int, int, Span]] | None = None
        """A heap by the second of the beginning, while some statistic asks for the oldest. What is over is taken out when it comes up."""
        self._oldest_users = 0
        self.hooked = bool(self.extra)
        """Whether more is to be done than to count for the day: somebody watches, or another window is open."""

    def watch(self, statistic: Statistic) -> bool:
        """A statistic looks at this from now on. True when :meth:`Board.look` then has to say what goes on: it is the first, or the first
        that asks for the oldest.
        """
        self.watchers[statistic] = None
        self.hooked = True
        if statistic.wants_oldest:
            self._oldest_users += 1
            if self._oldest is None:
                self._oldest = []
                return True
        return len(self.watchers) == 1

    def unwatch(self, statistic: Statistic) -> None:
        """A statistic looks at this no more."""
        del self.watchers[statistic]
        self._oldest_users -= statistic.wants_oldest
        if not self._oldest_users:
            self._oldest = None
        if not self.watchers:
            self._clear_ongoing()
        self.hooked = bool(self.watchers or self.extra)

    # -- what goes on, while it is watched ----------------------------------------------------------------------------

    def see(self, span: Span, from_ms: int) -> None:
        """Something goes on, and counts here since a moment; it may be known already."""
        if span not in self.ongoing:
            self.ongoing[span] = from_ms
            self.started_s += span.start_s
            self.going_s += (from_ms if from_ms > self.since_ms else self.since_ms) // 1000
            for tally in self.extra:
                tally.going_s += max(from_ms, tally.since_ms) // 1000
        if self._oldest is not None:
            heappush(self._oldest, (span.start_s, next(_number), span))

    def _unsee(self, span: Span) -> None:
        """It goes on no more."""
        from_ms = self.ongoing.pop(span, None)
        if from_ms is None:
            return
        self.started_s -= span.start_s
        self.going_s -= (from_ms if from_ms > self.since_ms else self.since_ms) // 1000
        for tally in self.extra:
            tally.going_s -= max(from_ms, tally.since_ms) // 1000

    def oldest_s(self) -> int | None:
        """The second at which the oldest of what goes on began; None when nothing does. Only while a statistic that wants it watches."""
        heap = self._oldest
        assert heap is not None, "a statistic that wants the oldest says so when it begins to watch"
        while heap and heap[0][2] not in self.ongoing:
            heappop(heap)
        if len(heap) > 2 * len(self.ongoing) + _STALE_AT:
            heap[:] = [(span.start_s, next(_number), span) for span in self.ongoing]
            heapify(heap)
        return heap[0][0] if heap else None

    def set_back(self, now_ms: int) -> Iterator[None]:
        """Time was set back to ``now_ms``, and so were the spans: nothing counts from a later moment. In pieces; nothing may begin or end
        before the last.
        """
        spans = list(self.ongoing.items())
        self._clear_ongoing()
        for number, (span, from_ms) in enumerate(spans, 1):
            self.see(span, min(from_ms, now_ms))
            if number % LOOK_AT_ONCE == 0:
                yield

    def _clear_ongoing(self) -> None:
        self.ongoing = {}
        self.started_s = 0
        for tally in (self, *self.extra):
            tally.going_s = 0
        if self._oldest is not None:
            self._oldest = []

    def _going_since(self, since_ms: int) -> int:
        """What :attr:`Tally.going_s` is in a window that begins at a moment: as a rule everything began before it."""
        if not self.ongoing:
            return 0
        if max(self.ongoing.values()) <= since_ms:
            return len(self.ongoing) * (since_ms // 1000)
        return sum(max(from_ms, since_ms) // 1000 for from_ms in self.ongoing.values())

    # -- windows ------------------------------------------------------------------------------------------------------

    def add_window(self, window: Window) -> None:
        """One more window is open on the board."""
        tally = Tally(window.since_ms)
        tally.going_s = self._going_since(tally.since_ms)
        self.extra.append(tally)
        self.hooked = True

    def remove_window(self, index: int) -> None:
        """A window other than the daily one is closed."""
        del self.extra[index - 1]
        self.hooked = bool(self.watchers or self.extra)

    def refresh(self) -> None:
        """Restart the tallies of the windows that were reset."""
        windows = self._board.windows
        reset_ms = windows[0].reset.reset_ms
        if self.since_ms < reset_ms:
            self.restart(reset_ms)
            self.going_s = self._going_since(reset_ms)
        for index, tally in enumerate(self.extra, 1):
            reset_ms = windows[index].reset.reset_ms
            if tally.since_ms < reset_ms:
                tally.restart(reset_ms)
                tally.going_s = self._going_since(reset_ms)

    def tally(self, window: Window) -> Tally:
        """The tally of a window that is open on the board, up to date."""
        self.refresh()
        index = self._board.windows.index(window)
        return self.extra[index - 1] if index else self

    # -- what begins and ends -----------------------------------------------------------------------------------------

    def began(self, span: Span, from_ms: int) -> None:
        """Something goes on, and counts here since a moment. Needed only where ``hooked``."""
        if self.watchers:
            self.see(span, from_ms)
            self.touch()

    def ended(self, span: Span, from_ms: int, at_ms: int, *, completed: bool) -> None:
        """Something that counted since ``from_ms`` is over, or (``completed`` false) whose it is left the group.

        A status, or an action that belongs to no interaction, that lasted no time leaves no trace.
        """
        self.refresh()
        if at_ms > from_ms:
            counts = completed or self.is_status
        else:
            counts = completed and self.keeps_zero and at_ms == from_ms
        self.end(span, from_ms, at_ms, is_status=self.is_status, counts=counts)
        if self.hooked:
            self.tell_end(span, from_ms, at_ms, counts=counts)

    def tell_end(self, span: Span, from_ms: int, at_ms: int, *, counts: bool) -> None:
        """What is to be done for other windows than the daily one, and for those who watch, when something is over."""
        if self.extra:
            self.refresh()
            for tally in self.extra:
                tally.end(span, from_ms, at_ms, is_status=self.is_status, counts=counts)
        if self.watchers:
            self._unsee(span)
            self.touch()

    def occurred(self, at_ms: int, duration: int) -> None:
        """An instantaneous action occurred; a retrospective one tells a duration in seconds."""
        self.refresh()
        if at_ms >= self.since_ms:
            self.add(duration)
        if self.hooked:
            self.tell_occurrence(at_ms, duration)

    def completed(self, from_ms: int, at_ms: int) -> None:
        """An instantaneous action tells of something that lasted since ``from_ms``: each window counts the seconds that lie in it."""
        self.refresh()
        for tally in (self, *self.extra):
            if at_ms >= tally.since_ms:
                tally.add(at_ms // 1000 - max(from_ms, tally.since_ms) // 1000)
        self.touch()

    def followed(self, of_ms: int, at_ms: int, duration: int) -> None:
        """An instantaneous action of ``duration`` seconds belongs to the windows in which lies ``of_ms``, the end of what it follows."""
        self.refresh()
        for tally in (self, *self.extra):
            if at_ms >= of_ms >= tally.since_ms:
                tally.add(duration)
        self.touch()

    def tell_occurrence(self, at_ms: int, duration: int) -> None:
        """What is to be done for other windows than the daily one, and for those who watch, when something occurs."""
        if self.extra:
            self.refresh()
            for tally in self.extra:
                if at_ms >= tally.since_ms:
                    tally.add(duration)
        if self.watchers:
            self.touch()

    def touch(self) -> None:
        """Tell those who watch."""
        for statistic in self.watchers:
            self._board.changed[statistic] = None


class Board:
    """The accumulators of one object, the windows that are open on it, and the statistics that look at it."""

    __slots__ = ("accumulators", "calendar", "changed", "source", "state_statistics", "statistics", "windows")

    def __init__(self, calendar: Calendar, changed: dict[Statistic, None], source: Source) -> None:
        self.calendar = calendar
        self.changed = changed
        self.source = source
        self.accumulators: dict[Key, Accumulator] = {}
        self.windows = [Window(DAILY, calendar.daily, 0)]
        self.statistics: dict[Statistic, None] = {}
        """The open ones that are views of accumulators."""
        self.state_statistics: dict[Statistic, None] = {}
        """The open ones of category CurrentState."""

    def at(self, key: Key) -> Accumulator:
        """The accumulator of a thing; it is made when the thing first happens here, so nothing of it goes on yet."""
        found = self.accumulators.get(key)
        if found is None:
            found = self.accumulators[key] = Accumulator(key, self)
            for statistic in self.statistics:
                statistic.attach(found)
        return found

    def look(self, accumulators: Sequence[Accumulator]) -> Iterator[None]:
        """Find out what goes on of the things that are watched from now on: in one walk, and in pieces, for a group may have thousands of
        members. What begins and ends between two pieces is seen as it does; values can be read after the last.
        """
        if not accumulators:
            return
        wanted = {accumulator.key: accumulator for accumulator in accumulators}
        looked_at = 0
        for piece in self.source.going_on():
            for span, since_ms in piece:
                accumulator = wanted.get(span.key)
                if accumulator is not None and accumulator.watchers:
                    accumulator.see(span, since_ms)
            looked_at += len(piece)
            if looked_at >= LOOK_AT_ONCE:
                looked_at = 0
                yield

    def touch(self) -> None:
        """The state of the object changed."""
        for statistic in self.state_statistics:
            self.changed[statistic] = None

    def open_window(self, profile: TimeProfile) -> Window:
        """Share a window; one that is not open yet begins now."""
        window = next((window for window in self.windows if window.profile == profile), None)
        if window is None:
            window = Window(profile, self.calendar.acquire(profile), self.calendar.now_ms)
            self.windows.append(window)
            for accumulator in self.accumulators.values():
                accumulator.add_window(window)
        window.users += 1
        return window

    def close_window(self, window: Window) -> None:
        """Undo one :meth:`open_window`. The daily window stays, whoever uses it."""
        window.users -= 1
        index = self.windows.index(window)
        if window.users or not index:
            return
        del self.windows[index]
        for accumulator in self.accumulators.values():
            accumulator.remove_window(index)
        self.calendar.release(window.profile)


def selects(definition: Definition, mask: frozenset[str], key: Key) -> bool:
    """Whether a mask of a definition selects an accumulator."""
    kind, name, media = key
    return kind == definition.kind and name in mask and (definition.media is None or media in definition.media)
