"""The statistics engine of one tenant: events in, values out. Pure: it does no I/O and reads no clock; its callers pass the time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Set
from itertools import islice
from typing import TypeVar
from zoneinfo import ZoneInfo

from channels.events import Event, GroupChanged
from channels.statistics.engine import snapshot, state
from channels.statistics.engine.bounds import DEFAULT_BOUNDS, DEFAULT_LIFETIMES, Bounds, Lifetimes
from channels.statistics.engine.centre import Centre
from channels.statistics.engine.definition import Category, Definition, ObjectType
from channels.statistics.engine.machine import Machine
from channels.statistics.engine.profiles import Calendar, TimeProfile
from channels.statistics.engine.retention import end_lost_logins, forget_unheard
from channels.statistics.engine.set_back import set_back
from channels.statistics.engine.state import UserDataLimit
from channels.statistics.engine.statistic import Board, Statistic
from channels.statistics.engine.values import Value

T = TypeVar("T")


class Engine:
    """The state of a contact centre, its totals, and the statistics that are open on it.

    Times are milliseconds since 1970 UTC; days and resets are those of ``zone``. Engine time is the latest of the times of all events and
    of all calls of :meth:`advance`; it never goes back.
    """

    __slots__ = ("_calendar", "_centre", "_lifetimes", "_machine", "_open", "_resetting", "_user_data")

    def __init__(self, *, zone: ZoneInfo, now_ms: int, lifetimes: Lifetimes = DEFAULT_LIFETIMES, bounds: Bounds = DEFAULT_BOUNDS) -> None:
        self._calendar = Calendar(zone, now_ms)
        self._centre = Centre(self._calendar)
        self._lifetimes = lifetimes
        self._machine = Machine(self._centre, lifetimes, bounds)
        self._user_data = UserDataLimit(bounds.state_user_data_bytes)
        self._open: dict[tuple[Definition, ObjectType, str], Statistic] = {}
        self._resetting: deque[tuple[Set[TimeProfile], Iterator[Statistic]]] = deque()

    @property
    def now_ms(self) -> int:
        """Engine time."""
        return self._calendar.now_ms

    def check(self, event: Event, present_ms: int | None = None) -> None:
        """See whether an event comes in order. An event without a time of its own, or one that ends something, can always be taken: it
        counts at the time of the newest event of its object. So can every event of an object whose last event lies after ``present_ms``.

        Raises:
            channels.events.LateEventError: it is older than the last event of what it is about: of its agents, or, for what happens to an
                interaction as such (queued, distributed, abandoned in a queue, started, finished), of the interaction; of the group for
                ``cx.group.changed``. Events of the same time are taken in the order in which they come.
        """
        self._machine.check(event, present_ms)

    def admit(self, event: Event) -> None:
        """See whether there is room for what an event would add. If there is, it counts as added from now on, until the event is passed to
        :meth:`apply` or :meth:`skip`.

        Raises:
            channels.events.RefusedEventError: one of :class:`Bounds` would be passed; the text names the field and the bound.
        """
        self._machine.admit(event)

    def skip(self, event: Event) -> None:
        """Say that an event that was admitted will not be applied."""
        self._machine.settle(event)

    def apply(self, event: Event) -> None:
        """Apply an event that passed :meth:`check`. It counts at its own time, which may lie before engine time. One that is never late
        counts at the time of the newest event of its object, if that is later.
        """
        self.advance(event.time_ms)
        self._machine.take(event)
        self._machine.settle(event)

    def steps(self, event: Event) -> Iterator[None]:
        """:meth:`apply` in pieces, for an event that lists thousands of members. Between them values can be read, but no other event be
        applied.
        """
        self.advance(event.time_ms)
        if isinstance(event.data, GroupChanged):
            yield from self._machine.take_list(event, event.data)
        else:
            self._machine.take(event)
        self._machine.settle(event)

    def clear(self, interaction_id: str) -> bool:
        """End an interaction now, whatever goes on in it. False if nothing goes on in an interaction of this id."""
        interaction = self._centre.live.get(interaction_id)
        if interaction is None:
            return False
        self._machine.end(interaction, self._calendar.now_ms)
        return True

    def forget_unheard(self) -> Iterator[int]:
        """Forget the objects that no event named within their lifetime and on which nothing is open, in pieces. Each yields how many."""
        return forget_unheard(self._centre, self._calendar.now_ms - self._lifetimes.object_ms)

    def end_lost_logins(self) -> Iterator[int]:
        """Log out the agents whom no event named within the lifetime of a login, in pieces. Each yields how many."""
        return end_lost_logins(self._centre, self._machine.agents, self._lifetimes.login_ms)

    @property
    def user_data_bytes(self) -> int:
        """Bytes of the JSON of the user data that is kept of all interactions."""
        return self._centre.user_data_bytes

    @property
    def states_cut(self) -> int:
        """How many values of CurrentState lacked user data, since it was too much."""
        return self._user_data.cut

    @property
    def interaction_count(self) -> int:
        """In how many interactions something goes on."""
        return len(self._centre.live)

    @property
    def object_count(self) -> int:
        """How many agents, queues, groups and staging areas were named by events."""
        return self._centre.heard

    def advance(self, now_ms: int) -> None:
        """Let time pass. Statistics whose windows are reset on the way are among the changed ones."""
        passed = self._calendar.advance(now_ms)
        if passed:
            self._resetting.append((passed, iter(list(self._open.values()))))
        self._machine.forget()

    def set_back(self, now_ms: int, order_ms: int) -> Iterator[None]:
        """Set time back after a clock was ahead, in pieces; nothing else may be called before the last. Objects whose last event lies ahead
        of ``now_ms`` take events from ``order_ms`` on. See :mod:`channels.statistics.engine.set_back`.
        """
        yield from set_back(self._centre, now_ms, order_ms)
        self._machine.look_again()

    def has_room(self, definition: Definition, most: int) -> bool:
        """Whether a statistic can be opened without exceeding ``most`` different time profiles. Each profile adds a tally to all that its
        object counts, which every event has to update.
        """
        return self._calendar.has_room(definition.profile, most)

    def open(self, definition: Definition, object_type: ObjectType, object_id: str) -> Statistic:
        """Open a statistic, or share the one that is open.

        It has a value at once: the daily window holds the whole day whenever the statistic is opened; other windows begin now.
        An object that no event spoke of is accepted: an agent is logged out, counts are 0.
        """
        return _at_once(self.opening(definition, object_type, object_id))

    def opening(self, definition: Definition, object_type: ObjectType, object_id: str) -> Generator[None, None, Statistic]:
        """:meth:`open` in pieces: whoever looks at a large group first has to find out what goes on there. Events may be applied between
        them, and statistics closed, but none opened and no value read. Nothing is open when the generator is closed before its end.
        """
        key = (definition, object_type, object_id)
        statistic = self._open.get(key)
        if statistic is not None:
            statistic.users += 1
            return statistic
        statistic = self._open[key] = Statistic(definition, object_type, object_id, self._board(object_type, object_id))
        statistic.users += 1
        try:
            yield from statistic.look()
        except BaseException:
            self.close(statistic)
            raise
        return statistic

    def close(self, statistic: Statistic) -> None:
        """Undo one :meth:`open`.

        Raises:
            ValueError: the statistic is not open.
        """
        key = (statistic.definition, statistic.object_type, statistic.object_id)
        if self._open.get(key) is not statistic:
            raise ValueError(
                f"the statistic {statistic.definition.category.value} of {statistic.object_type.value} {statistic.object_id} is not open"
            )
        statistic.users -= 1
        if statistic.users == 0:
            del self._open[key]
            statistic.detach()
            self._centre.changed.pop(statistic, None)
            self._centre.drop_unheard(statistic.object_type, statistic.object_id)

    def value(self, statistic: Statistic) -> Value:
        """The value of an open statistic at engine time."""
        if statistic.takes_pieces:
            return _at_once(self.valuing(statistic))
        definition = statistic.definition
        if definition.category is not Category.CURRENT_STATE:
            return statistic.compute(self._calendar.now_ms)
        return state.agent_value(self._centre.any_agent(statistic.object_id), definition.media, self._user_data)

    def valuing(self, statistic: Statistic) -> Generator[None, None, Value]:
        """:meth:`value` in pieces, which the state of a group takes. What changes between two of them is among the changed statistics
        afterwards.
        """
        if statistic.takes_pieces:
            group = self._centre.any_group("agents", statistic.object_id)
            return (yield from state.group_value(group, statistic.definition.media, self._user_data))
        return self.value(statistic)

    def take_changed(self, most: int | None = None) -> list[Statistic]:
        """The open statistics that events or resets touched since the last call, each once, the one touched first first; ``most`` of them,
        and the rest at the next calls.
        """
        changed = self._centre.changed
        while self._resetting:
            passed, statistics = self._resetting[0]
            some = list(islice(statistics, most))
            for statistic in some:
                if statistic.users and statistic.has_window and statistic.definition.profile in passed:
                    changed[statistic] = None
            if most is not None and len(some) == most:
                break
            self._resetting.popleft()
        if most is None or len(changed) <= most:
            taken = list(changed)
            changed.clear()
            return taken
        taken = list(islice(changed, most))
        for statistic in taken:
            del changed[statistic]
        return taken

    def objects(self, object_type: ObjectType) -> list[str]:
        """Ids of the objects that events spoke of, sorted. Groups include ``All``."""
        return sorted(self.heard(object_type))

    def heard(self, object_type: ObjectType) -> Iterator[str]:
        """Ids of the objects that events spoke of up to now, one by one; more may come meanwhile."""
        known = self._centre.of(object_type)
        return (identifier for identifier in list(known) if (found := known.get(identifier)) is not None and found.heard)

    def save(self) -> bytes:
        """Everything that is needed to go on exactly, but for the open statistics: they are opened again by whoever opened them."""
        return snapshot.save(self._centre)

    @classmethod
    def restore(cls, state: bytes, *, zone: ZoneInfo, lifetimes: Lifetimes = DEFAULT_LIFETIMES, bounds: Bounds = DEFAULT_BOUNDS) -> Engine:
        """The engine that was saved. With another zone than before, windows that are open go on to the zone's next reset.

        Raises:
            snapshot.SnapshotError: the bytes are not a state of a version that can be read.
        """
        engine = cls.__new__(cls)
        engine._centre = snapshot.restore(state, zone)
        engine._lifetimes = lifetimes
        engine._machine = Machine(engine._centre, lifetimes, bounds)
        engine._user_data = UserDataLimit(bounds.state_user_data_bytes)
        engine._calendar = engine._centre.calendar
        engine._open = {}
        engine._resetting = deque()
        return engine

    def _board(self, object_type: ObjectType, object_id: str) -> Board:
        finders: dict[ObjectType, Callable[[], Board]] = {
            ObjectType.AGENT: lambda: self._centre.any_agent(object_id).board,
            ObjectType.QUEUE: lambda: self._centre.any_queue(object_id).board,
            ObjectType.ROUTE_POINT: lambda: self._centre.any_queue(object_id).board,
            ObjectType.GROUP_AGENTS: lambda: self._centre.any_group("agents", object_id).board,
            ObjectType.GROUP_QUEUES: lambda: self._centre.any_group("queues", object_id).board,
            ObjectType.STAGING_AREA: lambda: self._centre.any_area(object_id).board,
        }
        return finders[object_type]()


def _at_once(steps: Generator[None, None, T]) -> T:
    """Do all pieces, one after the other, and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            found: T = done.value
            return found
