"""Finds the subscribers of a topic: one look-up for the exact name, and one for each pattern that can match it, however many there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import Final, Generic, TypeVar

from hub.core.channels import candidates, is_wildcard
from hub.core.message import Topic

S = TypeVar("S")

MAX_KEPT: Final = 50_000
"""Subscribers in all answers that are kept. A new subscription discards all answers: with so few that takes less than a millisecond."""


class Members(Generic[S]):
    """The subscribers of a topic, in the order in which they came. ``version`` rises with each change."""

    __slots__ = ("subscribers", "version")

    def __init__(self) -> None:
        self.subscribers: dict[S, None] = {}
        self.version = 0


Excluded = frozenset[str]
"""Patterns of channel declarations whose messages a subscriber to a wildcard does not get."""

WHOLE: Final[Excluded] = frozenset()
"""Nothing is excluded."""


class Router(Generic[S]):
    """The table of subscribed topics. The channel of a subscribed topic may be a pattern; that of a published topic never is.

    A subscriber to a wildcard may get a part of what the wildcard stands for: all but the channels that fall under some declarations. The
    subscribers of a channel are found once and kept, so that this costs nothing for each message.
    """

    __slots__ = ("_covering", "_kept", "_max_kept", "_members", "_merged", "_narrowed", "_patterns", "_reached")

    def __init__(self, covering: Callable[[str], str] = lambda channel: "", *, max_kept: int = MAX_KEPT) -> None:
        """``covering`` gives the pattern of the declaration that a channel falls under. ``max_kept`` is :data:`MAX_KEPT`."""
        self._covering = covering
        self._max_kept = max_kept
        self._members: dict[Topic, Members[S]] = {}
        # subscribers to a part of a wildcard, by what is excluded; none of them is in _members
        self._narrowed: dict[Topic, dict[Excluded, Members[S]]] = {}
        # how many patterns each (tenant, audience) has: where there is none, only the exact name is looked for
        self._patterns: Counter[tuple[str, str]] = Counter()
        # answers: the subscribers of a topic by several patterns, and those of several logins; discarded with each change of the table
        self._merged: dict[Topic, Members[S]] = {}
        self._reached: dict[tuple[str, str, tuple[str, ...]], Members[S]] = {}
        self._kept = 0

    def add(self, topic: Topic, subscriber: S, excluded: Excluded = WHOLE) -> bool:
        """Add a subscriber; returns True when it is the topic's first. ``excluded`` must stay the same for as long as it is there."""
        first = not self.count(topic)
        if first and is_wildcard(topic.channel):
            self._patterns[topic.tenant, topic.audience] += 1
        if excluded:
            members = self._narrowed.setdefault(topic, {}).setdefault(excluded, Members())
        else:
            members = self._members.setdefault(topic, Members())
        members.subscribers[subscriber] = None
        members.version += 1
        self._forget()
        return first

    def remove(self, topic: Topic, subscriber: S, excluded: Excluded = WHOLE) -> bool:
        """Remove a subscriber that was added with the same ``excluded``; returns True when it was the topic's last."""
        groups = self._narrowed.get(topic, {}) if excluded else {WHOLE: self._members[topic]} if topic in self._members else {}
        members = groups.get(excluded)
        if members is None or subscriber not in members.subscribers:
            return False
        del members.subscribers[subscriber]
        members.version += 1
        self._forget()
        if members.subscribers:
            return False
        del groups[excluded]
        if not excluded:
            del self._members[topic]
        elif not groups:
            del self._narrowed[topic]
        if self.count(topic):
            return False
        if is_wildcard(topic.channel):
            owner = (topic.tenant, topic.audience)
            self._patterns[owner] -= 1
            if not self._patterns[owner]:
                del self._patterns[owner]
        return True

    def match(self, topic: Topic) -> Members[S] | None:
        """Each subscriber of a topic once, whether it subscribed by name, by pattern or by several of them; None when there is none. Until
        the subscribers change the answer is the same object.
        """
        tenant, audience, channel = topic
        if (tenant, audience) not in self._patterns:
            return self._members.get(topic)
        merged = self._merged.get(topic)
        if merged is not None:
            return merged
        patterns = candidates(channel)
        found = [members for pattern in patterns if (members := self._members.get(Topic(tenant, audience, pattern))) is not None]
        if self._narrowed:
            covering = self._covering(channel)
            for pattern in patterns:
                for excluded, members in self._narrowed.get(Topic(tenant, audience, pattern), {}).items():
                    if covering not in excluded:
                        found.append(members)
        if len(found) < 2:
            return found[0] if found else None
        merged = Members()
        for members in found:
            merged.subscribers.update(members.subscribers)
        if self._may_keep(merged):
            self._merged[topic] = merged
        return merged

    def _may_keep(self, answer: Members[S]) -> bool:
        size = 1 + len(answer.subscribers)
        if size > self._max_kept:
            return False
        if self._kept + size > self._max_kept:
            self._forget()
        self._kept += size
        return True

    def _forget(self) -> None:
        if self._kept:
            self._merged.clear()
            self._reached.clear()
            self._kept = 0

    def match_logins(self, tenant: str, channel: str, logins: tuple[str, ...]) -> Members[S]:
        """The subscribers of several logins, each once, as :meth:`match`. The same logins are often asked for many times: the answer is
        kept, and is the same object until the subscribers change.
        """
        key = tenant, channel, logins
        reached = self._reached.get(key)
        if reached is None:
            reached = Members()
            for login in logins:
                if (members := self.match(Topic(tenant, login, channel))) is not None:
                    reached.subscribers |= members.subscribers
            if self._may_keep(reached):
                self._reached[key] = reached
        return reached

    def count(self, topic: Topic) -> int:
        """Subscribers of exactly this topic."""
        members = self._members.get(topic)
        whole = 0 if members is None else len(members.subscribers)
        if topic not in self._narrowed:
            return whole
        return whole + sum(len(group.subscribers) for group in self._narrowed[topic].values())

    def topics(self) -> Collection[Topic]:
        """Every topic with a subscriber."""
        return self._members.keys() | self._narrowed.keys()

    def __len__(self) -> int:
        return len(self.topics()) if self._narrowed else len(self._members)
