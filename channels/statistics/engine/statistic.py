"""Statistics, and the boards that they look at: a board holds the accumulators of one object.

Opening a statistic costs the same whatever happened before, and statistics that are alike in what they count share its cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from channels.statistics.engine.accumulator import Accumulator
from channels.statistics.engine.definition import WITHOUT_WINDOW, Category, Definition, ObjectType
from channels.statistics.engine.profiles import DAILY, Calendar, TimeProfile
from channels.statistics.engine.tally import LOOK_AT_ONCE, Key, Source, Window
from channels.statistics.engine.values import Value, quotient, whole


class Board:
    """The accumulators of one object, the windows that are open on it, and the statistics that look at it."""

    __slots__ = ("accumulators", "calendar", "changed", "source", "state_statistics", "statistics", "windows")

    def __init__(self, calendar: Calendar, changed: dict[Statistic, None], source: Source) -> None:
        self.calendar = calendar
        self.changed = changed
        self.source = source
        self.accumulators: dict[Key, Accumulator[Statistic]] = {}
        self.windows = [Window(DAILY, calendar.daily, 0)]
        self.statistics: dict[Statistic, None] = {}
        """The open ones that are views of accumulators."""
        self.state_statistics: dict[Statistic, None] = {}
        """The open ones of category CurrentState."""

    def at(self, key: Key) -> Accumulator[Statistic]:
        """The accumulator of a key. It is made when the first span of the key begins here, so that nothing of it goes on yet."""
        found = self.accumulators.get(key)
        if found is None:
            found = self.accumulators[key] = Accumulator(key, self.windows, self.changed)
            for statistic in self.statistics:
                statistic.attach(found)
        return found

    def look(self, accumulators: Sequence[Accumulator[Statistic]]) -> Iterator[None]:
        """Note what goes on of the things that are watched from now on, in one walk, and in pieces, since a group may have thousands of
        members. What begins and ends between two pieces is noted when it does. Values can be read after the last piece.
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
        """Mark the CurrentState statistics of the object as changed."""
        self.changed.update(self.state_statistics)

    def open_window(self, profile: TimeProfile) -> Window:
        """Use the window of a profile. If none is open, one begins now."""
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


class Statistic:
    """One open statistic. Identical ones are one object, which the engine counts the users of."""

    __slots__ = ("_board", "_main", "_rel", "_window", "definition", "object_id", "object_type", "users", "wants_oldest")

    def __init__(self, definition: Definition, object_type: ObjectType, object_id: str, board: Board) -> None:
        self.definition = definition
        self.object_type = object_type
        self.object_id = object_id
        self.users = 0
        self.wants_oldest = definition.category is Category.CURRENT_MAX_TIME
        """Whether the value is that of the oldest of what goes on."""
        self._board = board
        self._window = board.open_window(definition.profile)
        self._main: list[Accumulator[Statistic]] = []
        self._rel: list[Accumulator[Statistic]] = []
        if definition.category is Category.CURRENT_STATE:
            board.state_statistics[self] = None
        else:
            board.statistics[self] = None

    def look(self) -> Iterator[None]:
        """Begin to watch, in pieces: see :meth:`Board.look`. There is a value after the last."""
        if self.definition.category is not Category.CURRENT_STATE:
            return self._board.look([accumulator for accumulator in self._board.accumulators.values() if self.attach(accumulator)])
        return iter(())

    def attach(self, accumulator: Accumulator[Statistic]) -> bool:
        """Look at an accumulator if a mask selects it. True when nobody looked at it before."""
        definition = self.definition
        main = selects(definition, definition.main_mask, accumulator.key)
        rel = definition.rel_mask is not None and selects(definition, definition.rel_mask, accumulator.key)
        if main:
            self._main.append(accumulator)
        if rel:
            self._rel.append(accumulator)
        return (main or rel) and accumulator.watch(self)

    def detach(self) -> None:
        """Undo everything that opening did."""
        if self.definition.category is Category.CURRENT_STATE:
            del self._board.state_statistics[self]
        else:
            del self._board.statistics[self]
        for accumulator in dict.fromkeys((*self._main, *self._rel)):
            accumulator.unwatch(self)
        self._board.close_window(self._window)

    @property
    def takes_pieces(self) -> bool:
        """Whether the value is as large as its object has members: the state of a group."""
        return self.definition.category is Category.CURRENT_STATE and self.object_type is not ObjectType.AGENT

    @property
    def has_window(self) -> bool:
        """Whether a reset of its time profile changes the value."""
        return self.definition.category not in WITHOUT_WINDOW

    @property
    def running(self) -> bool:
        """Whether the value changes as time passes without events."""
        category = self.definition.category
        if category in (Category.CURRENT_TIME, Category.CURRENT_MAX_TIME, Category.TOTAL_ADJUSTED_TIME):
            return any(a.ongoing for a in self._main)
        if category in (Category.TOTAL_TIME, Category.AVERAGE_TIME):
            return any(a.ongoing and a.is_status for a in self._main)
        return False

    def compute(self, now_ms: int) -> Value:
        """The value at a moment, for every category but CurrentState."""
        now_s = now_ms // 1000
        match self.definition.category:
            case Category.CURRENT_NUMBER:
                return whole(sum(len(a.ongoing) for a in self._main))
            case Category.CURRENT_TIME:
                return whole(sum(len(a.ongoing) * now_s - a.started_s for a in self._main))
            case Category.CURRENT_MAX_TIME:
                return whole(now_s - min((oldest_s for a in self._main if (oldest_s := a.oldest_s()) is not None), default=now_s))
            case Category.TOTAL_NUMBER:
                return whole(self._number(self._main))
            case Category.TOTAL_TIME:
                return whole(self._time(now_s))
            case Category.TOTAL_ADJUSTED_TIME:
                return whole(self._adjusted(now_s))
            case Category.AVERAGE_TIME:
                return quotient(self._time(now_s), self._number(self._rel if self.definition.rel_mask is not None else self._main))
            case Category.TOTAL_NUMBER_IN_TIME_RANGE:
                return whole(self._in_range())
            case Category.RELATIVE_NUMBER_PERCENTAGE:
                return quotient(100 * self._in_range(), self._number(self._rel))
            case Category.CURRENT_STATE:
                raise ValueError("the state of an object is not a view of accumulators")

    def _number(self, accumulators: list[Accumulator[Statistic]]) -> int:
        """TotalNumber: actions that completed or occurred in the window; statuses that were in progress in it."""
        return sum(a.tally(self._window).count + (len(a.ongoing) if a.is_status else 0) for a in accumulators)

    def _time(self, now_s: int) -> int:
        """TotalTime in seconds: of statuses, what lies in the window; of actions, the whole of those that completed in it."""
        return sum(self._within(a, now_s) if a.is_status else a.tally(self._window).whole for a in self._main)

    def _adjusted(self, now_s: int) -> int:
        """TotalAdjustedTime in seconds: what lies in the window, of actions too."""
        return sum(self._within(a, now_s) for a in self._main)

    def _within(self, accumulator: Accumulator[Statistic], now_s: int) -> int:
        """The seconds that lie in the window, of what is over and of what goes on."""
        tally = accumulator.tally(self._window)
        return tally.whole + tally.adjust + len(accumulator.ongoing) * now_s - tally.going_s

    def _in_range(self) -> int:
        """How many that completed in the window lasted as long as the time range says."""
        assert self.definition.time_range is not None
        low, high = self.definition.time_range
        return sum(a.tally(self._window).between(low, high) for a in self._main)


def selects(definition: Definition, mask: frozenset[str], key: Key) -> bool:
    """Whether a mask of a definition selects an accumulator."""
    kind, name, media = key
    return kind == definition.kind and name in mask and (definition.media is None or media in definition.media)
