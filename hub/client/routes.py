"""Finds the subscriptions that a message is for, except those that have received it already."""

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
        """While the server replays messages that another subscription hears directly: the id of the newest message that had been sent when
        the replay was requested. None when no such replay is under way.
        """

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
        """Every subscription once, even if it has several patterns."""
        return list(dict.fromkeys(s for sharing in self._by_pattern.values() for s in sharing))

    def patterns(self) -> list[tuple[str, int | None]]:
        """Every pattern with the position to resume from: the earliest position of the subscriptions that share the pattern, so that none
        misses a message. The pattern with the earliest position comes first.
        """
        found: list[tuple[str, int | None]] = []
        for pattern, sharing in self._by_pattern.items():
            positions = [since for s in sharing if (since := s.cursors[pattern].since) is not None]
            found.append((pattern, min(positions, default=None)))
        return sorted(found, key=lambda each: (each[1] is None, each[1] or 0))

    # messages

    def deliver(self, message: Message) -> list[Subscription]:
        """Give a message to each of its subscriptions once. A subscription that received it before a reconnect does not get it again.

        Returns:
            The subscriptions whose queue overflowed, which ended them.
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

    # positions of subscriptions

    def join(self, subscription: Subscription, sent: int) -> Joining | None:
        """Prepare the subscribe request of a subscription; ``sent`` is the id that the request will have. If it wants a replay of channels
        that another subscription hears directly, returns a :class:`Joining`, whose pattern the request has to contain, too.
        """
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
            # one pattern is enough; a single channel is best: to subscribe to it again brings the fewest snapshots
            subscription.joining = Joining(min(beside, key=is_wildcard))
        return subscription.joining

    def begin(self, reply: Reply, patterns: Iterable[str], subscriptions: Iterable[Subscription], sent: int) -> list[Subscription]:
        """The server has accepted a subscribe. Its reply may name the position from which each pattern begins.

        Args:
            reply: The server's reply.
            patterns: The patterns of the request.
            subscriptions: The subscriptions that the request was for.
            sent: The id of the newest message that was sent.

        Returns:
            The subscriptions whose queue overflowed, which ended them.
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
        """The server has answered with the position ``edge`` up to which it replays, or with none. Give the held messages that the replay
        does not contain to the subscription; without an edge, all of them. False if the queue overflowed.
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
        """Every log message up to ``position`` has come, of the patterns that the server had confirmed before the message with the id
        ``asked`` was sent. For patterns that were confirmed later, older messages may still come.
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
        """There is a new session, in which the server has confirmed no subscription yet."""
        self._replaying = None
        for subscription in self.all():
            subscription.joining = None
            for cursor in subscription.cursors.values():
                cursor.restart()
