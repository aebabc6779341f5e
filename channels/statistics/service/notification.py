"""When a statistic is told: pure, driven by the times that are handed in (milliseconds of a clock that never goes back).

- ``Immediate``: on a change, subject to insensitivity; at least ``gap_ms`` after the notification before, so a change within the gap waits
  and the last one is never lost (docs/protocol/statistics.md#pacing). A statistic that runs (its value moves with time alone) is looked at
  once a second.
- ``Periodical``: every ``notificationFrequency`` seconds, at least one, counted from the opening; sent if the value changed by the
  insensitivity since it was last sent, where 0 means always (docs/protocol/statistics.md#insensitivity).

A thousand logins watch the same queue, and nearly all of them have seen the same of it at the same time. Those stand together
(:class:`Standing`): when they are due, and whether a value is news to them, is found out once for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from itertools import count
from typing import NamedTuple

from channels.statistics.engine.definition import Notification, NotificationMode, ObjectType
from channels.statistics.engine.statistic import Statistic
from channels.statistics.engine.values import Value

RUNNING_LOOK_MS = 1000
"""How often an Immediate statistic that runs is looked at: its figures are whole seconds."""

GROUPS = frozenset({ObjectType.GROUP_AGENTS, ObjectType.GROUP_QUEUES})

_NEVER = 1 << 62

_STALE_ENTRIES = 256


class OpenStatistic:
    """One statistic as one subscription, or one values channel, sees it."""

    __slots__ = ("closed", "head", "name", "object_id", "object_type", "standing", "statistic", "statistic_id", "target")

    def __init__(
        self,
        *,
        target: str,
        statistic_id: str,
        statistic: Statistic,
        name: str | None,
        object_type: ObjectType,
        object_id: str,
        notification: Notification,
        value: Value,
        head: bytes,
    ) -> None:
        self.target = target
        """The login, or the values channel, that it is sent to."""
        self.statistic_id = statistic_id
        self.statistic = statistic
        self.name = name
        self.object_type = object_type
        self.object_id = object_id
        self.head = head
        """The JSON of its item up to the value."""
        self.standing = Standing(statistic, notification, value)
        self.closed = False

    @property
    def last(self) -> Value:
        """What was sent last; at first, what its opener was told."""
        return self.standing.last


class Crowd(NamedTuple):
    """Targets that get the very same item of a statistic, sorted; and their open statistics in the same order."""

    head: bytes
    targets: tuple[str, ...]
    opened: tuple[OpenStatistic, ...]


class Standing:
    """Where one open statistic stands, or several that are watched alike and have been sent the same at the same time."""

    __slots__ = (
        "_crowds",
        "beat_ms",
        "due_ms",
        "gap_ms",
        "immediate",
        "insensitivity",
        "last",
        "members",
        "period_ms",
        "sent_ms",
        "statistic",
    )

    def __init__(self, statistic: Statistic, notification: Notification, value: Value) -> None:
        self.statistic = statistic
        # how it is told
        self.immediate = notification.mode is NotificationMode.IMMEDIATE
        self.insensitivity = notification.insensitivity
        self.period_ms = max(notification.frequency_s, 1) * 1000
        self.gap_ms = 0
        # where it stands
        self.last = value
        self.sent_ms = 0
        self.due_ms = _NEVER
        self.beat_ms = 0
        """Periodical: when the present period ends."""
        self.members: dict[OpenStatistic, None] = {}
        self._crowds: tuple[Crowd, ...] | None = None

    def crowds(self) -> tuple[Crowd, ...]:
        """The members, those together that get the same bytes."""
        if self._crowds is None:
            alike: dict[bytes, list[OpenStatistic]] = {}
            for opened in self.members:
                alike.setdefault(opened.head, []).append(opened)
            for found in alike.values():
                found.sort(key=lambda opened: opened.target)
            self._crowds = tuple(Crowd(head, tuple([opened.target for opened in found]), tuple(found)) for head, found in alike.items())
        return self._crowds

    def take_in(self, members: Iterable[OpenStatistic]) -> None:
        """These stand here from now on."""
        for opened in members:
            opened.standing = self
            self.members[opened] = None
        self._crowds = None

    def let_go(self, opened: OpenStatistic) -> None:
        """This one stands here no more."""
        self.members.pop(opened, None)
        self._crowds = None

    @property
    def manner(self) -> _Manner:
        """What must be the same for two to become one."""
        return self.statistic, self.immediate, self.insensitivity, self.period_ms, self.beat_ms

    def alone(self, opened: OpenStatistic) -> Standing:
        """A copy for one of the members, which leaves."""
        own = Standing.__new__(Standing)
        own.statistic, own.immediate, own.insensitivity = self.statistic, self.immediate, self.insensitivity
        own.period_ms, own.gap_ms, own.beat_ms = self.period_ms, self.gap_ms, self.beat_ms
        own.last, own.sent_ms, own.due_ms = self.last, self.sent_ms, _NEVER
        self.let_go(opened)
        own.members = {}
        own.take_in([opened])
        return own


_Manner = tuple[Statistic, bool, int, int, int]


class Notifier:
    """All open statistics of a tenant and when each is to be looked at next."""

    __slots__ = ("_group_gap_ms", "_heap", "_immediate", "_newest", "_number", "_object_gap_ms", "_stale", "closings")

    def __init__(self, *, object_gap_ms: int, group_gap_ms: int) -> None:
        self._object_gap_ms = object_gap_ms
        self._group_gap_ms = group_gap_ms
        self._immediate: dict[Statistic, dict[Standing, None]] = {}
        # who was sent something last, of each manner: others that are sent the same at the same time join them
        self._newest: dict[_Manner, Standing] = {}
        # an entry counts while the standing still has that due time; the number keeps the order of equal times
        self._heap: list[tuple[int, int, Standing]] = []
        self._number = count()
        self._stale = 0
        self.closings = 0
        """How many have ceased to be watched."""

    def add(self, opened: OpenStatistic, now_ms: int) -> None:
        """Begin to watch."""
        standing = opened.standing
        standing.gap_ms = self._group_gap_ms if opened.object_type in GROUPS else self._object_gap_ms
        standing.sent_ms = now_ms - standing.gap_ms  # the first change is told at once
        standing.take_in([opened])
        if not standing.immediate:
            standing.beat_ms = now_ms + standing.period_ms
            self._schedule(standing, standing.beat_ms)
            return
        newest = self._newest.get(standing.manner)
        if newest is not None and newest.last == standing.last and newest.sent_ms <= standing.sent_ms:
            self._join(standing, newest)
            return
        self._settle(standing)
        self._plan_look(standing, now_ms)

    def remove(self, opened: OpenStatistic) -> None:
        """Cease to watch."""
        opened.closed = True
        self.closings += 1
        standing = opened.standing
        standing.let_go(opened)
        if not standing.members:
            self._dissolve(standing)

    def changed(self, statistics: Iterable[Statistic], now_ms: int) -> None:
        """Events or resets touched these statistics: look at the Immediate ones as soon as the gap allows."""
        for statistic in statistics:
            for standing in self._immediate.get(statistic, ()):
                at = max(now_ms, standing.sent_ms + standing.gap_ms)
                if at < standing.due_ms:
                    self._schedule(standing, at)

    def due(self, now_ms: int) -> Iterator[Standing]:
        """What is to be looked at now, earliest first. The caller hands each to :meth:`looked` before it lets others come; if some went
        meanwhile, only one that has members still.
        """
        while self._heap and self._heap[0][0] <= now_ms:
            at, _, standing = heappop(self._heap)
            if standing.due_ms == at:
                standing.due_ms = _NEVER
                yield standing
            else:
                self._stale -= 1

    def next_due(self) -> int | None:
        """When the next look may be due; None while nothing is open."""
        return self._heap[0][0] if self._heap else None

    def looked(self, standing: Standing, value: Value, now_ms: int) -> Sequence[Crowd]:
        """To whom ``value`` is to be sent, which then counts as sent; the next look is planned either way."""
        if not _is_news(standing, value):
            self._plan(standing, now_ms)
            return ()
        told = standing.crowds()
        standing.last = value
        standing.sent_ms = now_ms
        if not standing.immediate:
            self._newest_no_more(standing)  # the beat is a part of its manner
            self._plan_beat(standing, now_ms)
        newest = self._newest.get(standing.manner)
        if newest is not None and newest is not standing and newest.sent_ms == now_ms and newest.last == value:
            self._join(standing, newest)
            return told
        self._newest[standing.manner] = standing
        if standing.immediate:
            self._plan_look(standing, now_ms)
        return told

    def unseen(self, standing: Standing, now_ms: int) -> None:
        """What was due could not be computed: it is looked at again, a second later if Immediate."""
        if standing.members:
            self._again(standing, now_ms)

    def failed(self, opened: OpenStatistic, last: Value, now_ms: int) -> None:
        """What was due could not be told: ``last`` is still what was sent last, and it is looked at again, a second later if Immediate."""
        if opened.closed:
            return
        standing = opened.standing
        if len(standing.members) > 1:
            standing = standing.alone(opened)
        else:
            self._newest_no_more(standing)
        standing.last = last
        self._settle(standing)
        self._again(standing, now_ms)

    # -- who stands together ----------------------------------------------------------------------------------------

    def _settle(self, standing: Standing) -> None:
        """It stands by itself, and others may join it."""
        self._newest.setdefault(standing.manner, standing)
        if standing.immediate:
            self._immediate.setdefault(standing.statistic, {})[standing] = None

    def _join(self, standing: Standing, other: Standing) -> None:
        """All of one stand with the other from now on."""
        other.take_in(standing.members)
        standing.members = {}
        self._dissolve(standing)

    def _dissolve(self, standing: Standing) -> None:
        """Nobody is left in it."""
        if standing.due_ms != _NEVER:
            standing.due_ms = _NEVER
            self._outdate()
        self._newest_no_more(standing)
        if standing.immediate and (watching := self._immediate.get(standing.statistic)) is not None:
            watching.pop(standing, None)
            if not watching:
                del self._immediate[standing.statistic]

    def _newest_no_more(self, standing: Standing) -> None:
        if self._newest.get(standing.manner) is standing:
            del self._newest[standing.manner]

    # -- when it is looked at ---------------------------------------------------------------------------------------

    def _plan(self, standing: Standing, now_ms: int) -> None:
        if standing.immediate:
            self._plan_look(standing, now_ms)
        else:
            self._newest_no_more(standing)
            self._plan_beat(standing, now_ms)

    def _again(self, standing: Standing, now_ms: int) -> None:
        if not standing.immediate:
            if standing.due_ms == _NEVER:
                if standing.beat_ms > now_ms:
                    self._schedule(standing, standing.beat_ms)
                else:
                    self._newest_no_more(standing)
                    self._plan_beat(standing, now_ms)
        elif now_ms + RUNNING_LOOK_MS < standing.due_ms:
            self._schedule(standing, now_ms + RUNNING_LOOK_MS)

    def _plan_beat(self, standing: Standing, now_ms: int) -> None:
        """Plan the next look of a Periodical statistic."""
        # periods keep their rhythm; those that a stalled process missed are skipped, not made up for
        standing.beat_ms += max((now_ms - standing.beat_ms) // standing.period_ms + 1, 1) * standing.period_ms
        self._schedule(standing, standing.beat_ms)

    def _plan_look(self, standing: Standing, now_ms: int) -> None:
        """Plan the look of an Immediate statistic that no event asks for."""
        if standing.statistic.running:
            self._schedule(standing, max(now_ms + RUNNING_LOOK_MS, standing.sent_ms + standing.gap_ms))

    def _schedule(self, standing: Standing, at_ms: int) -> None:
        outdated = standing.due_ms != _NEVER
        standing.due_ms = at_ms
        heappush(self._heap, (at_ms, next(self._number), standing))
        if outdated:
            self._outdate()

    def _outdate(self) -> None:
        """One entry of the heap no longer counts. Rebuild before they outnumber the others: an entry of a closed statistic with a long
        period would otherwise stay for that period."""
        self._stale += 1
        if self._stale > _STALE_ENTRIES and self._stale * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].due_ms == entry[0]]
            heapify(self._heap)
            self._stale = 0

    def __len__(self) -> int:
        return len(self._heap)


def _is_news(standing: Standing, value: Value) -> bool:
    if standing.insensitivity == 0:
        return not standing.immediate or value != standing.last
    return value.changed_from(standing.last, standing.insensitivity)
