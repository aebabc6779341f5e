"""Accumulators: the running totals that all statistics are views of.

One accumulator counts one thing of one object: (kind, name, media), for example the action ``CallInbound`` on voice. It holds one tally for
each growing window that is open, of what is over, and running sums of what goes on while somebody watches: a value costs the same however
much goes on. The daily window is always open, so that a statistic shows the whole day whenever it is opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Generic, Protocol, TypeVar

from channels.statistics.engine.definition import ACTION
from channels.statistics.engine.tally import LOOK_AT_ONCE, Key, Span, Tally, Window
from channels.statistics.engine.vocabulary import AGENT_STATE_ACTIONS

_STALE_AT = 256

_number = count()
"""Tells spans of the same second apart in a heap."""


class Watcher(Protocol):
    """What an accumulator has to know of a statistic that looks at it."""

    @property
    def wants_oldest(self) -> bool:
        """Whether the value is that of the oldest of what goes on."""
        ...


W = TypeVar("W", bound=Watcher)


class Accumulator(Tally, Generic[W]):
    """The totals of one thing of one object. It is the tally of the daily window itself, and has one more for each other window."""

    __slots__ = (
        *("_changed", "_oldest", "_oldest_users", "_windows", "extra", "hooked", "is_status", "keeps_zero", "key", "ongoing", "started_s"),
        "watchers",
    )

    def __init__(self, key: Key, windows: list[Window], changed: dict[W, None]) -> None:
        super().__init__(windows[0].since_ms)
        self.key = key
        self.is_status = key[0] != ACTION
        self.keeps_zero = not self.is_status and key[1] not in AGENT_STATE_ACTIONS
        self._windows = windows
        """The windows that are open on the board, the daily one first. The board owns the list."""
        self._changed = changed
        """The watchers of the whole centre whose values changed."""
        self.extra = [Tally(window.since_ms) for window in windows[1:]]
        """Tallies of the other windows, in their order on the board."""
        self.watchers: dict[W, None] = {}
        self.ongoing: dict[Span, int] = {}
        """While it is watched: what goes on, each with the millisecond since when it counts here."""
        self.started_s = 0
        """The sum of the seconds at which what goes on began."""
        self._oldest: list[tuple[int, int, Span]] | None = None
        """A heap by the second of the beginning, while some statistic asks for the oldest. What is over is taken out when it comes up."""
        self._oldest_users = 0
        self.hooked = bool(self.extra)
        """Whether more is to be done than to count for the day: somebody watches, or another window is open."""

    def watch(self, statistic: W) -> bool:
        """Add a statistic that looks at this. True if the board then has to say what goes on, because this is the first, or the first that
        asks for the oldest.
        """
        self.watchers[statistic] = None
        self.hooked = True
        if statistic.wants_oldest:
            self._oldest_users += 1
            if self._oldest is None:
                self._oldest = []
                return True
        return len(self.watchers) == 1

    def unwatch(self, statistic: W) -> None:
        """Remove a statistic that looked at this."""
        del self.watchers[statistic]
        self._oldest_users -= statistic.wants_oldest
        if not self._oldest_users:
            self._oldest = None
        if not self.watchers:
            self._clear_ongoing()
        self.hooked = bool(self.watchers or self.extra)

    # -- what goes on, while it is watched ----------------------------------------------------------------------------

    def see(self, span: Span, from_ms: int) -> None:
        """Note something that goes on, and counts here since ``from_ms``. It may be known already."""
        if span not in self.ongoing:
            self.ongoing[span] = from_ms
            self.started_s += span.start_s
            self.going_s += (from_ms if from_ms > self.since_ms else self.since_ms) // 1000
            for tally in self.extra:
                tally.going_s += max(from_ms, tally.since_ms) // 1000
        if self._oldest is not None:
            heappush(self._oldest, (span.start_s, next(_number), span))

    def _unsee(self, span: Span) -> None:
        """Forget something that went on."""
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
        """Add a tally for a window that was opened on the board."""
        tally = Tally(window.since_ms)
        tally.going_s = self._going_since(tally.since_ms)
        self.extra.append(tally)
        self.hooked = True

    def remove_window(self, index: int) -> None:
        """Remove the tally of a window that was closed; it is not the daily one."""
        del self.extra[index - 1]
        self.hooked = bool(self.watchers or self.extra)

    def refresh(self) -> None:
        """Restart the tallies of the windows that were reset."""
        windows = self._windows
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
        index = self._windows.index(window)
        return self.extra[index - 1] if index else self

    # -- what begins and ends -----------------------------------------------------------------------------------------

    def began(self, span: Span, from_ms: int) -> None:
        """Note that something began, and counts here since ``from_ms``. It is needed only where ``hooked`` is true."""
        if self.watchers:
            self.see(span, from_ms)
            self._changed.update(self.watchers)

    def ended(self, span: Span, from_ms: int, at_ms: int, *, completed: bool) -> None:
        """Count something that counted since ``from_ms`` and is over. If ``completed`` is false it goes on, but its object left the group.

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
        """Count something that is over in the windows other than the daily one, and mark the watchers as changed."""
        if self.extra:
            self.refresh()
            for tally in self.extra:
                tally.end(span, from_ms, at_ms, is_status=self.is_status, counts=counts)
        if self.watchers:
            self._unsee(span)
            self._changed.update(self.watchers)

    def occurred(self, at_ms: int, duration: int) -> None:
        """Count an instantaneous action. A retrospective one has a duration, in seconds."""
        self.refresh()
        if at_ms >= self.since_ms:
            self.add(duration)
        if self.hooked:
            self.tell_occurrence(at_ms, duration)

    def completed(self, from_ms: int, at_ms: int) -> None:
        """Count an instantaneous action for something that lasted since ``from_ms``: each window counts the seconds that lie in it."""
        self.refresh()
        for tally in (self, *self.extra):
            if at_ms >= tally.since_ms:
                tally.add(at_ms // 1000 - max(from_ms, tally.since_ms) // 1000)
        self.touch()

    def followed(self, of_ms: int, at_ms: int, duration: int) -> None:
        """Count an instantaneous action of ``duration`` seconds in the windows that contain ``of_ms``, the end of what it follows."""
        self.refresh()
        for tally in (self, *self.extra):
            if at_ms >= of_ms >= tally.since_ms:
                tally.add(duration)
        self.touch()

    def tell_occurrence(self, at_ms: int, duration: int) -> None:
        """Count an instantaneous action in the windows other than the daily one, and mark the watchers as changed."""
        if self.extra:
            self.refresh()
            for tally in self.extra:
                if at_ms >= tally.since_ms:
                    tally.add(duration)
        if self.watchers:
            self._changed.update(self.watchers)

    def touch(self) -> None:
        """Mark the watchers as changed."""
        self._changed.update(self.watchers)
