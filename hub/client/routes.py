"""Which subscriptions a message is for."""

from __future__ import annotations

from collections.abc import Sequence

from hub.client.conversation import NEW, Message
from hub.client.subscription import Subscription
from hub.core.channels import candidates


class Routes:
    """The open subscriptions of a client, by pattern."""

    __slots__ = ("_by_pattern",)

    def __init__(self) -> None:
        self._by_pattern: dict[str, list[Subscription]] = {}

    def add(self, subscription: Subscription) -> None:
        """Route to a subscription from now on."""
        for pattern in subscription.patterns:
            self._by_pattern.setdefault(pattern, []).append(subscription)

    def remove(self, subscription: Subscription) -> list[str]:
        """Route to it no more. Returns its patterns that no other subscription has."""
        free = []
        for pattern in subscription.patterns:
            sharing = self._by_pattern.get(pattern, [])
            if subscription in sharing:
                sharing.remove(subscription)
                if not sharing:
                    del self._by_pattern[pattern]
                    free.append(pattern)
        return free

    def has(self, pattern: str) -> bool:
        """Whether something is subscribed to a pattern."""
        return pattern in self._by_pattern

    def of(self, pattern: str) -> Sequence[Subscription]:
        """The subscriptions with a pattern."""
        return tuple(self._by_pattern.get(pattern, ()))

    def all(self) -> list[Subscription]:
        """Every subscription, once."""
        return list(dict.fromkeys(s for sharing in self._by_pattern.values() for s in sharing))

    def patterns(self) -> list[tuple[str, int | None]]:
        """Every pattern with the position to resume from: the earliest of those that share it, so that none misses anything."""
        found: list[tuple[str, int | None]] = []
        for pattern, sharing in self._by_pattern.items():
            positions = [position for s in sharing if (position := s.positions[pattern]) is not None]
            found.append((pattern, min(positions, default=None)))
        return found

    def deliver(self, message: Message) -> list[Subscription]:
        """Hand a message to all that it is for, once each: what a subscription had before a reconnect, it does not get again.

        Returns:
            Those that ran over, and ended by it.
        """
        matched: dict[Subscription, list[str]] = {}
        for pattern in candidates(message.channel):
            for subscription in self._by_pattern.get(pattern, ()):
                matched.setdefault(subscription, []).append(pattern)
        position = message.position
        overflowed = []
        for subscription, patterns in matched.items():
            if position is not None:
                if any((subscription.positions[pattern] or NEW) >= position for pattern in patterns):
                    continue
                subscription.positions |= dict.fromkeys(patterns, position)
            if not subscription.put(message):
                overflowed.append(subscription)
        return overflowed

    def reached(self, position: int, asked: int) -> None:
        """All has come up to a position of the log, of what had begun when the message ``asked`` was sent: what has begun since may have
        older messages to come.
        """
        for pattern, sharing in self._by_pattern.items():
            for subscription in sharing:
                if subscription.begun is not None and subscription.begun < asked and position > (subscription.positions[pattern] or NEW):
                    subscription.positions[pattern] = position

    def restart(self) -> None:
        """There is a new session, in which nothing has begun."""
        for subscription in self.all():
            subscription.begun = None
