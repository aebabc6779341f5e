"""What a session is sent of state channels when it subscribes, or when what waited for it was given up: their present values."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

from hub.core.channels import overlaps
from hub.core.delivery import ChannelDeclaration, ChannelRegistry
from hub.core.message import Message
from hub.core.router import WHOLE
from hub.core.subscriber import Subscriber
from hub.core.time_slice import TimeSlice


async def offer_present(subscriber: Subscriber, pattern: str, registry: ChannelRegistry, time_slice: TimeSlice) -> None:
    """Offer the present values of the state channels that a pattern stands for. What is handed out in one piece is offered in one: what is
    published from then on comes behind it.
    """
    tenant = subscriber.principal.tenant
    excluded = subscriber.narrowed.get(pattern, WHOLE)
    for declaration in registry.overlapping(pattern):
        if declaration.snapshot is None and declaration.snapshot_pieces is None:  # of nearly all channels
            continue
        if declaration.pattern in excluded or not overlaps(pattern, declaration.pattern):
            continue
        for audience in subscriber.principal.audiences if declaration.personal else ("",):
            if declaration.snapshot_pieces is not None:
                async with aclosing(declaration.snapshot_pieces(tenant, audience, pattern)) as pieces:
                    async for piece in pieces:
                        if not _offer(subscriber, pattern, declaration, piece):
                            break
                        await time_slice.checkpoint()
            elif declaration.snapshot is not None:
                _offer(subscriber, pattern, declaration, await declaration.snapshot(tenant, audience, pattern))


def _offer(subscriber: Subscriber, pattern: str, declaration: ChannelDeclaration, present: Sequence[tuple[str, bytes]]) -> bool:
    """False when nobody wants it any more."""
    if pattern not in subscriber.subscriptions:
        return False
    subscriber.offer_all_anyway([Message(channel, data, declaration.delivery) for channel, data in present])
    return subscriber.attached
