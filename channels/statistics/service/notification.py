"""When the value of a statistic is sent. Pure: all times are handed in, as milliseconds of a monotonic clock.

- ``Immediate``: on a change, subject to insensitivity; at least ``gap_ms`` after the notification before, so a change within the gap waits
  and the last one is never lost (docs/protocol/statistics.md#pacing). A statistic that runs (its value moves with time alone) is looked at
  once a second.
- ``Periodical``: every ``notificationFrequency`` seconds, at least one, counted from the opening; sent if the value changed by the
  insensitivity since it was last sent, where 0 means always (docs/protocol/statistics.md#insensitivity).

A thousand logins may watch the same queue, and nearly all of them were sent the same value at the same time. These form one
:class:`NotificationGroup`: when the next look is due, and whether a value has to be sent, is worked out once for all of its members.
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

    __slots__ = ("closed", "group", "head", "name", "object_id", "object_type", "statistic", "statistic_id", "target")

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
        self.group = NotificationGroup(statistic, notification, value)
        self.closed = False

    @property
    def last(self) -> Value:
        """What was sent last; at first, what its opener was told."""
        return self.group.last


class RecipientGroup(NamedTuple):
    """Targets that get the same bytes of a statistic, sorted, and their open statistics in the same order."""

    head: bytes
    targets: tuple[str, ...]
    opened: tuple[OpenStatistic, ...]


class NotificationGroup:
    """The pacing of one open statistic, or of several with the same notification settings that were sent the same value at the same
    time.
    """

    __slots__ = (
        "_recipient_groups",
        "due_ms",
        "gap_ms",
        "immediate",
        "insensitivity",
        "last",
        "members",
        "period_end_ms",
        "period_ms",
        "sent_ms",
        "statistic",
    )

    def __init__(self, statistic: Statistic, notification: Notification, value: Value) -> None:
        self.statistic = statistic
        # how notifications are paced
        self.immediate = notification.mode is NotificationMode.IMMEDIATE
        self.insensitivity = notification.insensitivity
        self.period_ms = max(notification.frequency_s, 1) * 1000
        self.gap_ms = 0
        # what was sent, and when the next look is
        self.last = value
        self.sent_ms = 0
        self.due_ms = _NEVER
        self.period_end_ms = 0
        """Periodical: when the present period ends, in ms."""
        self.members: dict[OpenStatistic, None] = {}
        self._recipient_groups: tuple[RecipientGroup, ...] | None = None

    def recipient_groups(self) -> tuple[RecipientGroup, ...]:
        """The members, grouped by the bytes that they get."""
        if self._recipient_groups is None:
            alike: dict[bytes, list[OpenStatistic]] = {}
            for opened in self.members:
                alike.setdefault(opened.head, []).append(opened)
            for found in alike.values():
                found.sort(key=lambda opened: opened.target)
            self._recipient_groups = tuple(
                RecipientGroup(head, tuple([opened.target for opened in found]), tuple(found)) for head, found in alike.items()
            )
        return self._recipient_groups

    def add_members(self, members: Iterable[OpenStatistic]) -> None:
        """Add members; each belongs to this group from now on."""
        for opened in members:
            opened.group = self
            self.members[opened] = None
        self._recipient_groups = None

    def remove_member(self, opened: OpenStatistic) -> None:
        """Remove a member."""
        self.members.pop(opened, None)
        self._recipient_groups = None

    @property
    def merge_key(self) -> _MergeKey:
        """What must be equal in two groups before they are merged."""
        return self.statistic, self.immediate, self.insensitivity, self.period_ms, self.period_end_ms

    def split_off(self, opened: OpenStatistic) -> NotificationGroup:
        """Take one member out, and return a group of its own with the same pacing."""
        own = NotificationGroup.__new__(NotificationGroup)
        own.statistic, own.immediate, own.insensitivity = self.statistic, self.immediate, self.insensitivity
        own.period_ms, own.gap_ms, own.period_end_ms = self.period_ms, self.gap_ms, self.period_end_ms
        own.last, own.sent_ms, own.due_ms = self.last, self.sent_ms, _NEVER
        self.remove_member(opened)
        own.members = {}
        own.add_members([opened])
        return own


_MergeKey = tuple[Statistic, bool, int, int, int]


class Notifier:
    """All open statistics of a tenant and when each is to be looked at next."""

    __slots__ = ("_group_gap_ms", "_heap", "_immediate", "_newest", "_number", "_object_gap_ms", "_stale", "closed_count")

    def __init__(self, *, object_gap_ms: int, group_gap_ms: int) -> None:
        self._object_gap_ms = object_gap_ms
        self._group_gap_ms = group_gap_ms
        self._immediate: dict[Statistic, dict[NotificationGroup, None]] = {}
        # the group that was sent something last, for each key: others that are sent the same at the same time are merged into it
        self._newest: dict[_MergeKey, NotificationGroup] = {}
        # an entry is valid while the group still has that due time; the number keeps the order of equal times
        self._heap: list[tuple[int, int, NotificationGroup]] = []
        self._number = count()
        self._stale = 0
        self.closed_count = 0
        """How many open statistics were removed, in all. A round of notifications sees by it that some were removed meanwhile."""

    def add(self, opened: OpenStatistic, now_ms: int) -> None:
        """Begin to watch."""
        group = opened.group
        group.gap_ms = self._group_gap_ms if opened.object_type in GROUPS else self._object_gap_ms
        group.sent_ms = now_ms - group.gap_ms  # the first change is sent at once
        group.add_members([opened])
        if not group.immediate:
            group.period_end_ms = now_ms + group.period_ms
            self._schedule(group, group.period_end_ms)
            return
        newest = self._newest.get(group.merge_key)
        if newest is not None and newest.last == group.last and newest.sent_ms <= group.sent_ms:
            self._merge(group, newest)
            return
        self._register(group)
        self._plan_look(group, now_ms)

    def remove(self, opened: OpenStatistic) -> None:
        """Cease to watch."""
        opened.closed = True
        self.closed_count += 1
        group = opened.group
        group.remove_member(opened)
        if not group.members:
            self._remove_group(group)

    def changed(self, statistics: Iterable[Statistic], now_ms: int) -> None:
        """Events or resets touched these statistics: look at the Immediate ones as soon as the gap allows."""
        for statistic in statistics:
            for group in self._immediate.get(statistic, ()):
                at = max(now_ms, group.sent_ms + group.gap_ms)
                if at < group.due_ms:
                    self._schedule(group, at)

    def due(self, now_ms: int) -> Iterator[NotificationGroup]:
        """The groups that are due now, earliest first. The caller passes each to :meth:`evaluate` before it lets others be added; if some
        were removed meanwhile, it passes only a group that still has members.
        """
        while self._heap and self._heap[0][0] <= now_ms:
            at, _, group = heappop(self._heap)
            if group.due_ms == at:
                group.due_ms = _NEVER
                yield group
            else:
                self._stale -= 1

    def next_due(self) -> int | None:
        """When the next look may be due; None while nothing is open."""
        return self._heap[0][0] if self._heap else None

    def evaluate(self, group: NotificationGroup, value: Value, now_ms: int) -> Sequence[RecipientGroup]:
        """Decide whether ``value`` has to be sent, and plan the next look.

        Returns those to whom it has to be sent; it then counts as sent to them.
        """
        if not _has_changed(group, value):
            self._plan_next(group, now_ms)
            return ()
        recipients = group.recipient_groups()
        group.last = value
        group.sent_ms = now_ms
        if not group.immediate:
            self._forget_newest(group)  # the end of the period is a part of its key
            self._plan_period_end(group, now_ms)
        newest = self._newest.get(group.merge_key)
        if newest is not None and newest is not group and newest.sent_ms == now_ms and newest.last == value:
            self._merge(group, newest)
            return recipients
        self._newest[group.merge_key] = group
        if group.immediate:
            self._plan_look(group, now_ms)
        return recipients

    def value_failed(self, group: NotificationGroup, now_ms: int) -> None:
        """The value could not be computed: plan another look, a second later if Immediate."""
        if group.members:
            self._retry_later(group, now_ms)

    def send_failed(self, opened: OpenStatistic, last: Value, now_ms: int) -> None:
        """The value could not be sent: ``last`` is still what was sent last. Plan another look, a second later if Immediate."""
        if opened.closed:
            return
        group = opened.group
        if len(group.members) > 1:
            group = group.split_off(opened)
        else:
            self._forget_newest(group)
        group.last = last
        self._register(group)
        self._retry_later(group, now_ms)

    # -- which groups there are -------------------------------------------------------------------------------------

    def _register(self, group: NotificationGroup) -> None:
        """Keep a group of its own; others may be merged into it."""
        self._newest.setdefault(group.merge_key, group)
        if group.immediate:
            self._immediate.setdefault(group.statistic, {})[group] = None

    def _merge(self, group: NotificationGroup, other: NotificationGroup) -> None:
        """Move all members of ``group`` to ``other``."""
        other.add_members(group.members)
        group.members = {}
        self._remove_group(group)

    def _remove_group(self, group: NotificationGroup) -> None:
        """Drop a group that has no members."""
        if group.due_ms != _NEVER:
            group.due_ms = _NEVER
            self._count_stale()
        self._forget_newest(group)
        if group.immediate and (watching := self._immediate.get(group.statistic)) is not None:
            watching.pop(group, None)
            if not watching:
                del self._immediate[group.statistic]

    def _forget_newest(self, group: NotificationGroup) -> None:
        if self._newest.get(group.merge_key) is group:
            del self._newest[group.merge_key]

    # -- when the next look is --------------------------------------------------------------------------------------

    def _plan_next(self, group: NotificationGroup, now_ms: int) -> None:
        if group.immediate:
            self._plan_look(group, now_ms)
        else:
            self._forget_newest(group)
            self._plan_period_end(group, now_ms)

    def _retry_later(self, group: NotificationGroup, now_ms: int) -> None:
        if not group.immediate:
            if group.due_ms == _NEVER:
                if group.period_end_ms > now_ms:
                    self._schedule(group, group.period_end_ms)
                else:
                    self._forget_newest(group)
                    self._plan_period_end(group, now_ms)
        elif now_ms + RUNNING_LOOK_MS < group.due_ms:
            self._schedule(group, now_ms + RUNNING_LOOK_MS)

    def _plan_period_end(self, group: NotificationGroup, now_ms: int) -> None:
        """Plan the next look of a Periodical statistic."""
        # periods keep their rhythm; those that a stalled process missed are skipped
        group.period_end_ms += max((now_ms - group.period_end_ms) // group.period_ms + 1, 1) * group.period_ms
        self._schedule(group, group.period_end_ms)

    def _plan_look(self, group: NotificationGroup, now_ms: int) -> None:
        """Plan the next look of an Immediate statistic whose value changes with time alone."""
        if group.statistic.running:
            self._schedule(group, max(now_ms + RUNNING_LOOK_MS, group.sent_ms + group.gap_ms))

    def _schedule(self, group: NotificationGroup, at_ms: int) -> None:
        outdated = group.due_ms != _NEVER
        group.due_ms = at_ms
        heappush(self._heap, (at_ms, next(self._number), group))
        if outdated:
            self._count_stale()

    def _count_stale(self) -> None:
        """One entry of the heap is no longer valid. The heap is rebuilt before these outnumber the others: an entry of a closed statistic
        with a long period would otherwise stay for that period.
        """
        self._stale += 1
        if self._stale > _STALE_ENTRIES and self._stale * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].due_ms == entry[0]]
            heapify(self._heap)
            self._stale = 0

    def __len__(self) -> int:
        return len(self._heap)


def _has_changed(group: NotificationGroup, value: Value) -> bool:
    if group.insensitivity == 0:
        return not group.immediate or value != group.last
    return value.changed_from(group.last, group.insensitivity)
