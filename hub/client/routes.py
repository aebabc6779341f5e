"""Finds the subscriptions that a message is for, without those that have had it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hub.client.conversation import NEW, Message, Reply
from hub.client.replay_cursor import Joining, ReplayCursor
from hub.client.subscription import Subscription
from hub.core.channels import candidates, is_wildcard, overlaps


class Routes:
    """The open subscriptions of a client, by pattern."""

    __slots__ = ("_by_pattern", "_replaying")

    def __init__(self) -> None:
        self._by_pattern: dict[str, list[Subscription]] = {}
        self._replaying: int | None = None
        """The newest message that had been sent when a replay was asked for beside what is heard directly; None when that is over."""

    def add(self, subscription: Subscription) -> None:
        """Add a subscription."""
        for pattern in subscription.cursors:
            self._by_pattern.setdefault(pattern, []).append(subscription)

    def remove(self, subscription: Subscription) -> list[str]:
        """Remove a subscription. Returns its patterns that no other subscription has."""
        free = []
        for pattern in subscription.cursors:
            sharing = self._by_pattern.get(pattern, [])
            if subscription in sharing:
                sharing.remove(subscription)
                if not sharing:
                    del self._by_pattern[pattern]
                    free.append(pattern)
        return free

    def has(self, pattern: str) -> bool:
        """Whether a subscription has this pattern."""
        return pattern in self._by_pattern

    def of(self, pattern: str) -> Sequence[Subscription]:
        """The subscriptions with a pattern."""
        return tuple(self._by_pattern.get(pattern, ()))

    def all(self) -> list[Subscription]:
        """Every subscription, once."""
        return list(dict.fromkeys(s for sharing in self._by_pattern.values() for s in sharing))

    def patterns(self) -> list[tuple[str, int | None]]:
        """Every pattern with the position to resume from: the earliest of those that share it, so that none misses anything. The one that
        is furthest behind comes first.
        """
        found: list[tuple[str, int | None]] = []
        for pattern, sharing in self._by_pattern.items():
            positions = [since for s in sharing if (since := s.cursors[pattern].since) is not None]
            found.append((pattern, min(positions, default=None)))
        return sorted(found, key=lambda each: (each[1] is None, each[1] or 0))

    # messages

    def deliver(self, message: Message) -> list[Subscription]:
        """Give a message to each of its subscriptions once. One that had it before a reconnect does not get it again.

        Returns:
            Those that ran over, and ended by it.
        """
        matched: dict[Subscription, list[ReplayCursor]] = {}
        for pattern in candidates(message.channel):
            for subscription in self._by_pattern.get(pattern, ()):
                matched.setdefault(subscription, []).append(subscription.cursors[pattern])
        position = message.position
        if position is None:
            return [subscription for subscription in matched if not subscription.put(message)]
        return self._deliver_of_log(message, position, matched)

    def _deliver_of_log(self, message: Message, position: int, matched: dict[Subscription, list[ReplayCursor]]) -> list[Subscription]:
        heard_directly = False
        in_order = self._replaying is not None
        overflowed = []
        joining = []
        for subscription, cursors in matched.items():
            if subscription.joining is not None:
                joining.append((subscription, subscription.joining, cursors))
            elif not any(cursor.has_had(position, in_order=in_order) for cursor in cursors):
                heard_directly = heard_directly or any(cursor.logged for cursor in cursors)
                if not subscription.put(message, cursors):
                    overflowed.append(subscription)
        for subscription, join, cursors in joining:
            if any(cursor.has_had(position, in_order=True) for cursor in cursors):
                continue
            taken = True
            if heard_directly and join.edge is None:
                taken = subscription.hold(message, join)
            elif not heard_directly or (join.edge is not None and position > join.edge):
                taken = subscription.put(message, cursors)
            if not taken:
                overflowed.append(subscription)
        return overflowed

    # how far subscriptions have come

    def join(self, subscription: Subscription, sent: int) -> Joining | None:
        """A subscription is about to be asked for. Returns what to ask for beside it, when it wants a replay of what is heard directly."""
        subscription.joining = None
        wanting = [pattern for pattern, cursor in subscription.cursors.items() if cursor.since is not None and cursor.since != NEW]
        beside = [
            pattern
            for pattern, sharing in self._by_pattern.items()
            if any(overlaps(pattern, wanted) for wanted in wanting)
            and any(s is not subscription and s.cursors[pattern].logged and s.cursors[pattern].begun is not None for s in sharing)
        ]
        if beside:
            self._replaying = sent
            # one will do, and best a single channel: it has least to say when it is subscribed to again
            subscription.joining = Joining(min(beside, key=is_wildcard))
        return subscription.joining

    def begin(self, reply: Reply, patterns: Iterable[str], subscriptions: Iterable[Subscription], sent: int) -> list[Subscription]:
        """The server has taken a subscribe, and may have said where it begins.

        Args:
            reply: Its words.
            patterns: What was asked for.
            subscriptions: For whom.
            sent: The newest message that was sent.

        Returns:
            Those that ran over, and ended by it.
        """
        listed = reply.ext.get("replay")
        begins: dict[str, int] = {k: v for k, v in listed.items() if isinstance(v, int)} if isinstance(listed, dict) else {}
        wanted = set(patterns)
        overflowed = []
        for subscription in subscriptions:
            for pattern, cursor in subscription.cursors.items():
                if pattern in wanted:
                    cursor.begin(sent, begins.get(pattern), listed=isinstance(listed, dict))
            join = subscription.joining
            if join is not None:
                self._replaying = sent
                if not self._begin_joining(subscription, join, begins.get(join.beside)):
                    overflowed.append(subscription)
        return overflowed

    def _begin_joining(self, subscription: Subscription, join: Joining, edge: int | None) -> bool:
        """It is known where the replay begins: what was held back and is not in it is due, all of it when nothing is known. False when the
        queue ran over.
        """
        held, join.held = join.held, []
        if edge is None:
            subscription.joining = None
        else:
            join.edge = edge
        for message in held:
            position = message.position
            assert position is not None, "only what has a position is held"
            if (edge is None or position > edge) and not subscription.put(message, self._cursors(subscription, message.channel)):
                return False
        return True

    def _cursors(self, subscription: Subscription, channel: str) -> list[ReplayCursor]:
        return [cursor for pattern in candidates(channel) if (cursor := subscription.cursors.get(pattern)) is not None]

    def reached(self, position: int, asked: int) -> None:
        """All has come up to a position of the log, of what had begun when the message ``asked`` was sent: what has begun since may have
        older messages to come.
        """
        for subscription in self.all():
            cursors = [cursor for cursor in subscription.cursors.values() if cursor.begun is not None and cursor.begun < asked]
            for cursor in cursors:
                cursor.reach(position)
            if len(cursors) == len(subscription.cursors):
                subscription.joining = None
        if self._replaying is not None and self._replaying < asked:
            self._replaying = None

    def restart(self) -> None:
        """There is a new session: no subscription has begun in it."""
        self._replaying = None
        for subscription in self.all():
            subscription.joining = None
            for cursor in subscription.cursors.values():
                cursor.restart()
