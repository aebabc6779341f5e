"""When a statistic is told: pure, driven by the times that are handed in (milliseconds of a clock that never goes back).

- ``Immediate``: on a change, subject to insensitivity; at least ``gap_ms`` after the notification before, so a change within the gap waits
  and the last one is never lost (contract part 6). A statistic that runs (its value moves with time alone) is looked at once a second.
- ``Periodical``: every ``notificationFrequency`` seconds, at least one, counted from the opening; sent if the value changed by the
  insensitivity since it was last sent, where 0 means always (genesys.md 2.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush
from itertools import count

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

    __slots__ = (
        "beat_ms",
        "closed",
        "due_ms",
        "gap_ms",
        "head",
        "immediate",
        "insensitivity",
        "last",
        "name",
        "object_id",
        "object_type",
        "period_ms",
        "sent_ms",
        "statistic",
        "statistic_id",
        "target",
    )

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
        # what it is
        self.target = target
        """The login, or the values channel, that it is sent to."""
        self.statistic_id = statistic_id
        self.statistic = statistic
        self.name = name
        self.object_type = object_type
        self.object_id = object_id
        self.head = head
        """The JSON of its item up to the value."""
        # how it is told
        self.immediate = notification.mode is NotificationMode.IMMEDIATE
        self.insensitivity = notification.insensitivity
        self.period_ms = max(notification.frequency_s, 1) * 1000
        self.gap_ms = 0
        # where it stands
        self.last = value
        """What was sent last; at first, what its opener was told."""
        self.sent_ms = 0
        self.due_ms = _NEVER
        self.beat_ms = 0
        """Periodical: when the present period ends."""
        self.closed = False


class Notifier:
    """All open statistics of a tenant and when each is to be looked at next."""

    __slots__ = ("_group_gap_ms", "_heap", "_immediate", "_number", "_object_gap_ms", "_stale")

    def __init__(self, *, object_gap_ms: int, group_gap_ms: int) -> None:
        self._object_gap_ms = object_gap_ms
        self._group_gap_ms = group_gap_ms
        self._immediate: dict[Statistic, dict[OpenStatistic, None]] = {}
        # an entry counts while the statistic still has that due time; the number keeps the order of equal times
        self._heap: list[tuple[int, int, OpenStatistic]] = []
        self._number = count()
        self._stale = 0

    def add(self, opened: OpenStatistic, now_ms: int) -> None:
        """Begin to watch."""
        opened.gap_ms = self._group_gap_ms if opened.object_type in GROUPS else self._object_gap_ms
        opened.sent_ms = now_ms - opened.gap_ms  # the first change is told at once
        if opened.immediate:
            self._immediate.setdefault(opened.statistic, {})[opened] = None
            self._plan_look(opened, now_ms)
        else:
            opened.beat_ms = now_ms + opened.period_ms
            self._schedule(opened, opened.beat_ms)

    def remove(self, opened: OpenStatistic) -> None:
        """Cease to watch."""
        opened.closed = True
        if opened.due_ms != _NEVER:
            opened.due_ms = _NEVER
            self._outdate()
        if opened.immediate and (watching := self._immediate.get(opened.statistic)) is not None:
            watching.pop(opened, None)
            if not watching:
                del self._immediate[opened.statistic]

    def changed(self, statistics: Iterable[Statistic], now_ms: int) -> None:
        """Events or resets touched these statistics: look at the Immediate ones as soon as the gap allows."""
        for statistic in statistics:
            for opened in self._immediate.get(statistic, ()):
                at = max(now_ms, opened.sent_ms + opened.gap_ms)
                if at < opened.due_ms:
                    self._schedule(opened, at)

    def due(self, now_ms: int) -> Iterator[OpenStatistic]:
        """What is to be looked at now, earliest first. The caller hands each to :meth:`looked` before it lets others come
        and go.
        """
        while self._heap and self._heap[0][0] <= now_ms:
            at, _, opened = heappop(self._heap)
            if opened.due_ms == at:
                opened.due_ms = _NEVER
                yield opened
            else:
                self._stale -= 1

    def next_due(self) -> int | None:
        """When the next look may be due; None while nothing is open."""
        return self._heap[0][0] if self._heap else None

    def looked(self, opened: OpenStatistic, value: Value, now_ms: int) -> bool:
        """Whether ``value`` is to be sent, which then counts as sent; the next look is planned either way."""
        send = _is_news(opened, value)
        if send:
            opened.last = value
            opened.sent_ms = now_ms
        if opened.immediate:
            self._plan_look(opened, now_ms)
        else:
            self._plan_beat(opened, now_ms)
        return send

    def failed(self, opened: OpenStatistic, last: Value, now_ms: int) -> None:
        """What was due could not be told: ``last`` is still what was sent last, and it is looked at again, a second later if Immediate."""
        if opened.closed:
            return
        opened.last = last
        if not opened.immediate:
            if opened.due_ms == _NEVER:
                self._plan_beat(opened, now_ms)
        elif now_ms + RUNNING_LOOK_MS < opened.due_ms:
            self._schedule(opened, now_ms + RUNNING_LOOK_MS)

    def _plan_beat(self, opened: OpenStatistic, now_ms: int) -> None:
        """Plan the next look of a Periodical statistic."""
        # periods keep their rhythm; those that a stalled process missed are skipped, not made up for
        opened.beat_ms += max((now_ms - opened.beat_ms) // opened.period_ms + 1, 1) * opened.period_ms
        self._schedule(opened, opened.beat_ms)

    def _plan_look(self, opened: OpenStatistic, now_ms: int) -> None:
        """Plan the look of an Immediate statistic that no event asks for."""
        if opened.statistic.running:
            self._schedule(opened, max(now_ms + RUNNING_LOOK_MS, opened.sent_ms + opened.gap_ms))

    def _schedule(self, opened: OpenStatistic, at_ms: int) -> None:
        outdated = opened.due_ms != _NEVER
        opened.due_ms = at_ms
        heappush(self._heap, (at_ms, next(self._number), opened))
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


def _is_news(opened: OpenStatistic, value: Value) -> bool:
    if opened.insensitivity == 0:
        return not opened.immediate or value != opened.last
    return value.changed_from(opened.last, opened.insensitivity)
