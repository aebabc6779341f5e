"""The bus of a single process: nobody else is there, so only the log has something to do."""

from collections.abc import Callable
from dataclasses import replace

from hub.bus.interface import Envelope
from hub.core.message import Topic
from hub.core.ports import Clock


class MemoryBus:
    """Positions and order as every other backend has them; no other node."""

    __slots__ = ("_clock", "_last_of_channel", "_last_of_tenant", "_receive", "_topics", "node")

    def __init__(self, clock: Clock, node: str = "local") -> None:
        self._clock = clock
        self.node = node
        self._receive: Callable[[Envelope], None] | None = None
        self._topics: set[Topic] = set()
        self._last_of_tenant: dict[str, int] = {}
        self._last_of_channel: dict[Topic, int] = {}

    def on_envelope(self, receive: Callable[[Envelope], None]) -> None:
        self._receive = receive

    async def subscribe(self, topic: Topic) -> None:
        self._topics.add(topic)

    def unsubscribe(self, topic: Topic) -> None:
        self._topics.discard(topic)

    def publish(self, envelope: Envelope) -> None:
        """Nothing to do: local subscribers have it already, and there are no others."""

    async def append(self, envelope: Envelope) -> int:
        topic = envelope.topic
        # the microsecond keeps old positions from looking valid after a restart (design part 6)
        position = max(self._last_of_tenant.get(topic.tenant, 0) + 1, self._clock.wall_us())
        previous = self._last_of_channel.get(topic)
        self._last_of_tenant[topic.tenant] = position
        self._last_of_channel[topic] = position
        if self._receive is not None:
            self._receive(replace(envelope, position=position, previous=previous, origin=self.node))
        return position

    async def close(self) -> None:
        self._topics.clear()
