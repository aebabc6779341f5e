"""Topic to subscribers: exact names by one look-up, wildcards by a few more, however many patterns exist."""

from collections.abc import Iterable
from typing import Generic, TypeVar

from hub.core.channels import candidates
from hub.core.message import Topic

S = TypeVar("S")


class Router(Generic[S]):
    """One table of topics. The channel of a subscribed topic may be a pattern; that of a published one never is."""

    __slots__ = ("_subscribers",)

    def __init__(self) -> None:
        self._subscribers: dict[Topic, dict[S, None]] = {}

    def add(self, topic: Topic, subscriber: S) -> bool:
        """Add a subscriber; True when it is the topic's first."""
        subscribers = self._subscribers.get(topic)
        if subscribers is None:
            self._subscribers[topic] = {subscriber: None}
            return True
        subscribers[subscriber] = None
        return False

    def remove(self, topic: Topic, subscriber: S) -> bool:
        """Remove a subscriber; True when it was the topic's last."""
        subscribers = self._subscribers.get(topic)
        if subscribers is None or subscriber not in subscribers:
            return False
        del subscribers[subscriber]
        if subscribers:
            return False
        del self._subscribers[topic]
        return True

    def match(self, topic: Topic) -> Iterable[S]:
        """Each subscriber of a topic once, whether it asked by name, by pattern or by several of them."""
        tenant, audience, channel = topic
        found = [
            subscribers
            for candidate in candidates(channel)
            if (subscribers := self._subscribers.get(Topic(tenant, audience, candidate))) is not None
        ]
        if len(found) < 2:
            return tuple(found[0]) if found else ()
        merged: dict[S, None] = {}
        for subscribers in found:
            merged.update(subscribers)
        return merged

    def count(self, topic: Topic) -> int:
        """Subscribers of exactly this topic."""
        return len(self._subscribers.get(topic, ()))

    def topics(self) -> Iterable[Topic]:
        """Every topic with a subscriber."""
        return self._subscribers.keys()

    def __len__(self) -> int:
        return len(self._subscribers)
