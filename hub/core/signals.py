"""Short words between the nodes of a hub, over the bus: that something has changed which each of them looks up by itself.

They belong to no tenant. A word may be lost, so whoever listens looks by itself, too, from time to time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hub.bus.interface import Bus, Envelope
from hub.core.delivery import DeliveryClass
from hub.core.message import Topic

HUB: Final = "~"
"""Stands for the hub itself where the bus expects a tenant. No tenant's name begins so (:func:`hub.security.models.is_tenant_name`)."""


@dataclass(slots=True)
class SignalCounters:
    """What is counted of the words between nodes; ``/metrics`` reads them."""

    said: int = 0
    """Words that this node said to the others: that credentials or settings of log channels have changed."""
    heard: int = 0
    """Words of other nodes that this node listens to."""


class Signals:
    """What this node says to the others, and hears from them once :meth:`subscribe` has returned."""

    __slots__ = ("_bus", "_listeners", "counters")

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._listeners: dict[str, Callable[[], object]] = {}
        self.counters = SignalCounters()

    def listen(self, channel: str, listener: Callable[[], object]) -> None:
        """Have ``listener`` called when another node says the word ``channel``, such as ``/hub/revoked``. To be called before
        :meth:`subscribe`.
        """
        self._listeners[channel] = listener

    def say(self, channel: str) -> None:
        """Say a word to the other nodes."""
        self.counters.said += 1
        self._bus.publish(Envelope(Topic(HUB, "", channel), DeliveryClass.EVENT, b"{}"))

    def received(self, channel: str) -> None:
        """The bus has brought the word of another node."""
        listener = self._listeners.get(channel)
        if listener is not None:
            self.counters.heard += 1
            listener()

    async def subscribe(self) -> None:
        """Begin to hear. Nothing has begun when it raises.

        Raises:
            BusError: the bus cannot confirm it now.
        """
        topics = [Topic(HUB, "", channel) for channel in self._listeners]
        if not topics:
            return
        try:
            await self._bus.subscribe(topics, positions=False)
        except BaseException:
            self._bus.unsubscribe(topics)
            raise
