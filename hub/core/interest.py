"""What this node is subscribed to itself, because a session is: topics of the bus, and values that families keep up to date."""

from __future__ import annotations

from collections.abc import Iterable

from hub.bus.interface import Bus, BusError
from hub.core.channels import is_wildcard
from hub.core.delivery import ChannelRegistry
from hub.core.errors import RefusedError, WireError
from hub.core.message import Topic
from hub.core.positions import Positions


class Interest:
    """Counts the subscriptions of each topic and of each watched channel. The first subscription subscribes at the bus, or opens the value;
    the last one ends that.

    Whoever subscribes calls :meth:`acquire` for each pattern, then :meth:`confirm` once; and :meth:`release` for each pattern when that
    failed, or when its subscription ends.
    """

    __slots__ = ("_bus", "_in_force", "_positions", "_registry", "topics", "watched")

    def __init__(self, bus: Bus, registry: ChannelRegistry, positions: Positions) -> None:
        self._bus = bus
        self._registry = registry
        self._positions = positions
        self.topics: dict[Topic, int] = {}
        """How many subscriptions each topic has, with those that the bus has not confirmed yet."""
        # the topics that the bus has confirmed, and the position from which each is in force: None where nobody needs one
        self._in_force: dict[Topic, int | None] = {}
        self.watched: dict[tuple[str, str], int] = {}
        """How many subscribers each watched channel of a tenant has, over all audiences."""

    async def acquire(self, tenant: str, pattern: str, topics: tuple[Topic, ...]) -> None:
        """Count one more subscription. Nothing is counted when this raises.

        Raises:
            RefusedError: the family that keeps the channel's value refuses it.
        """
        declaration = self._registry.of(pattern)
        if declaration.watch is not None and not is_wildcard(pattern):
            # asked for every subscriber: the first one's request may not be answered yet, and may fail
            await declaration.watch(tenant, pattern)
            key = (tenant, pattern)
            self.watched[key] = self.watched.get(key, 0) + 1
        for topic in topics:
            self.topics[topic] = self.topics.get(topic, 0) + 1

    async def confirm(self, topics: Iterable[Topic], *, positions: bool) -> bool:
        """Wait until the bus has all of ``topics`` in force. They are acquired, and of one tenant. ``positions`` says that log channels are
        among them. Returns whether the bus was asked.

        Raises:
            RefusedError: UNAVAILABLE, the bus cannot confirm them, or the log cannot say how far it reaches.
        """
        lacking = [topic for topic in topics if topic not in self._in_force]
        if not lacking:
            return False
        try:
            confirmed = await self._bus.subscribe(lacking, positions=positions)
        except BusError as error:
            raise RefusedError(WireError.UNAVAILABLE, channel=lacking[0].channel) from error
        for topic in lacking:
            self._in_force.setdefault(topic, confirmed.get(topic))
        if confirmed:
            self._positions.advance(lacking[0].tenant, max(confirmed.values()))
        return True

    def position_in_force(self, topics: Iterable[Topic]) -> int | None:
        """The position from which all of ``topics`` are in force; None where none of them has one."""
        return max((position for topic in topics if (position := self._in_force.get(topic)) is not None), default=None)

    def release(self, tenant: str, pattern: str, topics: tuple[Topic, ...]) -> None:
        """Undo one :meth:`acquire`."""
        ended = []
        for topic in topics:
            left = self.topics[topic] - 1
            if left:
                self.topics[topic] = left
            else:
                del self.topics[topic]
                self._in_force.pop(topic, None)
                ended.append(topic)
        if ended:
            self._bus.unsubscribe(ended)
        self._unwatch(tenant, pattern)

    def _unwatch(self, tenant: str, pattern: str) -> None:
        key = (tenant, pattern)
        left = self.watched.get(key)
        if left is None:
            return
        if left > 1:
            self.watched[key] = left - 1
            return
        del self.watched[key]
        if (unwatch := self._registry.of(pattern).unwatch) is not None:
            unwatch(tenant, pattern)
