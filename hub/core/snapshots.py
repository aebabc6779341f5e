"""The present values of state channels. A session is sent them when it subscribes, and when its queue had no room for changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import aclosing

from hub.core.channels import overlaps
from hub.core.delivery import ChannelDeclaration, ChannelRegistry
from hub.core.limits import Limits
from hub.core.message import Message
from hub.core.ports import Clock, Loop
from hub.core.router import WHOLE
from hub.core.subscriber import Subscriber
from hub.core.time_slice import TimeSlice


class Snapshots:
    """Asks the families for present values, and offers them to one session."""

    __slots__ = ("_clock", "_limits", "_loop", "_registry")

    def __init__(self, registry: ChannelRegistry, limits: Limits, loop: Loop, clock: Clock) -> None:
        self._registry = registry
        self._limits = limits
        self._loop = loop
        self._clock = clock

    async def send(self, subscriber: Subscriber, patterns: Iterable[str]) -> None:
        """Offer the present values of the state channels that ``patterns`` stand for, to this subscriber alone. When its queue is full, it
        is sent them as soon as its client has read what waits.
        """
        time_slice = TimeSlice(self._clock, self._loop)
        for pattern in patterns:
            if subscriber.queued_bytes > self._limits.max_queue_bytes:
                subscriber.resync_due = True
                return
            await self._offer(subscriber, pattern)
            await time_slice.checkpoint()

    def resync(self, subscriber: Subscriber) -> None:
        """Begin to send the present values of everything that the session is subscribed to: changes of them were dropped."""
        self._loop.spawn(self.send_all(subscriber))

    async def send_all(self, subscriber: Subscriber) -> None:
        """Offer the present values of everything that the session is subscribed to, whatever waits in its queue."""
        time_slice = TimeSlice(self._clock, self._loop)
        for pattern in list(subscriber.subscriptions):
            await self._offer(subscriber, pattern)
            await time_slice.checkpoint()

    async def _offer(self, subscriber: Subscriber, pattern: str) -> None:
        """Offer the present values of the state channels that a pattern stands for. The values of one piece are offered together: what is
        published from then on comes behind them.
        """
        time_slice = TimeSlice(self._clock, self._loop)
        tenant = subscriber.principal.tenant
        excluded = subscriber.narrowed.get(pattern, WHOLE)
        for declaration in self._registry.overlapping(pattern):
            if declaration.snapshot is None and declaration.snapshot_pieces is None:  # nearly every channel
                continue
            if declaration.pattern in excluded or not overlaps(pattern, declaration.pattern):
                continue
            for audience in subscriber.principal.audiences if declaration.personal else ("",):
                if declaration.snapshot_pieces is not None:
                    async with aclosing(declaration.snapshot_pieces(tenant, audience, pattern)) as pieces:
                        async for piece in pieces:
                            if not _offer_piece(subscriber, pattern, declaration, piece):
                                break
                            await time_slice.checkpoint()
                elif declaration.snapshot is not None:
                    _offer_piece(subscriber, pattern, declaration, await declaration.snapshot(tenant, audience, pattern))


def _offer_piece(subscriber: Subscriber, pattern: str, declaration: ChannelDeclaration, present: Sequence[tuple[str, bytes]]) -> bool:
    """Offer some values; False when the session does not want more of them, because it has unsubscribed or ended."""
    if pattern not in subscriber.subscriptions:
        return False
    subscriber.offer_all_anyway([Message(channel, data, declaration.delivery) for channel, data in present])
    return subscriber.attached
