"""Open statistics of one group are told as each would be by itself: the notifier against a model that knows nothing of groups."""

from __future__ import annotations

import random
from collections import Counter
from typing import cast

import pytest

from channels.statistics.engine.definition import Notification, NotificationMode, ObjectType
from channels.statistics.engine.statistic import Statistic
from channels.statistics.engine.values import Value, whole
from channels.statistics.service.notification import RUNNING_LOOK_MS, Notifier, OpenStatistic

GAP_MS = 200
IMMEDIATE, PERIODICAL = NotificationMode.IMMEDIATE, NotificationMode.PERIODICAL


class FakeStatistic:
    """A number that the test sets."""

    def __init__(self, *, running: bool) -> None:
        self.number = 0
        self.running = running


class Alone:
    """The model: one open statistic, by the words of ``notification``'s own text."""

    def __init__(self, statistic: FakeStatistic, notification: Notification, now_ms: int) -> None:
        self.statistic = statistic
        self.notification = notification
        self.last = statistic.number
        self.sent_ms = now_ms - GAP_MS
        self.look_ms: int | None = None
        self.period_ms = max(notification.frequency_s, 1) * 1000
        if notification.mode is PERIODICAL:
            self.look_ms = now_ms + self.period_ms
        elif statistic.running:
            self.look_ms = now_ms + RUNNING_LOOK_MS

    def changed(self, now_ms: int) -> None:
        if self.notification.mode is IMMEDIATE:
            at = max(now_ms, self.sent_ms + GAP_MS)
            self.look_ms = at if self.look_ms is None else min(at, self.look_ms)

    def tick(self, now_ms: int) -> bool:
        """Whether it is told its number now."""
        if self.look_ms is None or self.look_ms > now_ms:
            return False
        looked_at = self.look_ms
        self.look_ms = None
        insensitivity = self.notification.insensitivity
        immediate = self.notification.mode is IMMEDIATE
        if insensitivity:
            told = abs(self.statistic.number - self.last) >= insensitivity
        else:
            told = not immediate or self.statistic.number != self.last
        if told:
            self.last = self.statistic.number
            self.sent_ms = now_ms
        if not immediate:
            self.look_ms = looked_at + self.period_ms
        elif self.statistic.running:
            self.look_ms = max(now_ms + RUNNING_LOOK_MS, self.sent_ms + GAP_MS)
        return told


def opened(statistic: FakeStatistic, notification: Notification, target: str, head: bytes) -> OpenStatistic:
    return OpenStatistic(
        target=target,
        statistic_id="s",
        statistic=cast("Statistic", statistic),
        name=None,
        object_type=ObjectType.QUEUE,
        object_id="q",
        notification=notification,
        value=whole(statistic.number),
        head=head,
    )


class Watchers:
    """The notifier and, for each open statistic, its model."""

    def __init__(self) -> None:
        self.notifier = Notifier(object_gap_ms=GAP_MS, group_gap_ms=2000)
        self.models: dict[OpenStatistic, Alone] = {}
        self.now_ms = 1_000_000

    def add(self, statistic: FakeStatistic, notification: Notification, target: str, head: bytes = b"h") -> OpenStatistic:
        one = opened(statistic, notification, target, head)
        self.notifier.add(one, self.now_ms)
        self.models[one] = Alone(statistic, notification, self.now_ms)
        return one

    def remove(self, one: OpenStatistic) -> None:
        self.notifier.remove(one)
        del self.models[one]

    def change(self, statistic: FakeStatistic, number: int) -> None:
        statistic.number = number
        self.notifier.changed([cast("Statistic", statistic)], self.now_ms)
        for model in self.models.values():
            if model.statistic is statistic:
                model.changed(self.now_ms)

    def tick(self) -> tuple[Counter[str], Counter[str]]:
        """Who is told, and who is by the model."""
        told: Counter[str] = Counter()
        for group in self.notifier.due(self.now_ms):
            number = cast("FakeStatistic", group.statistic).number
            for recipients in self.notifier.evaluate(group, whole(number), self.now_ms):
                assert recipients.targets == tuple(sorted(recipients.targets))
                assert [one.target for one in recipients.opened] == list(recipients.targets)
                assert {one.head for one in recipients.opened} == {recipients.head}
                told.update(recipients.targets)
        expected = Counter(one.target for one, model in self.models.items() if model.tick(self.now_ms))
        return told, expected


@pytest.mark.parametrize("seed", range(20))
def test_it_makes_no_difference_to_anybody(seed: int) -> None:
    """Statistics that do not run: what runs may be looked at a little earlier with the others, never later (below)."""
    rng = random.Random(seed)
    watchers = Watchers()
    statistics = [FakeStatistic(running=False) for _ in range(3)]
    manners = [Notification(IMMEDIATE, 10, 0), Notification(IMMEDIATE, 10, 1), Notification(IMMEDIATE, 10, 3)]
    manners += [Notification(PERIODICAL, 1, 1), Notification(PERIODICAL, 2, 0)]
    present: list[OpenStatistic] = []
    together = 0
    for number in range(600):
        action = rng.random()
        if action < 0.3 or not present:
            target = f"t{number}"
            present.append(watchers.add(rng.choice(statistics), rng.choice(manners), target, rng.choice([b"a", b"b"])))
        elif action < 0.4:
            watchers.remove(present.pop(rng.randrange(len(present))))
        elif action < 0.8:
            statistic = rng.choice(statistics)
            watchers.change(statistic, statistic.number + rng.choice([-1, 0, 1, 1, 2]))
        watchers.now_ms += rng.choice([0, 0, 20, 50, 200, 400])
        told, expected = watchers.tick()
        assert told == expected, f"step {number}"
        for one in present:
            assert one.last == whole(watchers.models[one].last)
        together = max(together, max((len(one.group.members) for one in present), default=0))
    assert together > 3
    for one in present:
        watchers.remove(one)
    assert watchers.notifier._immediate == {}
    assert watchers.notifier._newest == {}
    watchers.now_ms += 100_000
    assert list(watchers.notifier.due(watchers.now_ms)) == []


def test_what_runs_is_looked_at_no_later_than_alone() -> None:
    watchers = Watchers()
    statistic = FakeStatistic(running=True)
    watchers.add(statistic, Notification(IMMEDIATE, 10, 1), "first")
    watchers.now_ms += 400
    watchers.add(statistic, Notification(IMMEDIATE, 10, 1), "second")  # has seen the same: it stands with the first
    seen: Counter[str] = Counter()
    for _ in range(100):
        watchers.now_ms += 50
        statistic.number += 1  # as time does it: nobody says so
        seen += watchers.tick()[0]
    assert seen["first"] == seen["second"] == 5


def test_those_that_stand_together_are_looked_at_once() -> None:
    watchers = Watchers()
    statistic = FakeStatistic(running=False)
    ones = [watchers.add(statistic, Notification(IMMEDIATE, 10, 1), f"t{number:03}") for number in range(500)]
    assert len({one.group for one in ones}) == 1
    watchers.change(statistic, 1)
    due = list(watchers.notifier.due(watchers.now_ms))
    assert len(due) == 1
    (recipients,) = watchers.notifier.evaluate(due[0], whole(1), watchers.now_ms)
    assert len(recipients.targets) == 500
    assert watchers.notifier.evaluate(due[0], whole(1), watchers.now_ms) == ()


def test_who_has_seen_another_value_stands_apart_until_both_are_told_the_same() -> None:
    watchers = Watchers()
    statistic = FakeStatistic(running=False)
    merge_key = Notification(IMMEDIATE, 10, 5)
    early = watchers.add(statistic, merge_key, "early")
    watchers.change(statistic, 3)  # not enough to be news
    assert watchers.tick() == (Counter(), Counter())
    late = watchers.add(statistic, merge_key, "late")
    assert early.group is not late.group
    watchers.change(statistic, 20)
    assert watchers.tick()[0] == Counter(early=1, late=1)
    assert early.group is late.group


@pytest.mark.parametrize("mode", [IMMEDIATE, PERIODICAL])
def test_one_that_could_not_be_told_leaves_the_others_and_is_tried_again(mode: NotificationMode) -> None:
    watchers = Watchers()
    statistic = FakeStatistic(running=False)
    merge_key = Notification(mode, 1, 1)
    first, second, gone = (watchers.add(statistic, merge_key, name) for name in ("first", "second", "gone"))
    watchers.now_ms += 1000
    watchers.change(statistic, 7)
    assert watchers.tick()[0] == Counter(first=1, second=1, gone=1)
    watchers.remove(gone)
    for one in (first, gone):
        watchers.notifier.send_failed(one, whole(0), watchers.now_ms)
    assert (first.last, second.last) == (whole(0), whole(7))
    watchers.now_ms += 999
    assert list(watchers.notifier.due(watchers.now_ms)) == []
    watchers.now_ms += 1
    told: list[str] = []
    for group in watchers.notifier.due(watchers.now_ms):
        told += [target for recipients in watchers.notifier.evaluate(group, whole(7), watchers.now_ms) for target in recipients.targets]
    assert told == ["first"]
    assert first.last == Value(7, "7")
