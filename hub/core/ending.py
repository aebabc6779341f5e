"""Ends many sessions, in slices of time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hub.core.hub import Hub
from hub.core.principal import Principal
from hub.core.subscriber import Subscriber
from hub.core.time_slice import SLICE_S, TimeSlice


async def end_revoked(hub: Hub, gone: Callable[[Principal], bool]) -> None:
    """End the sessions whose principals ``gone`` returns True for: their credential was removed. A session that shows a newer credential
    before its turn stays.
    """
    await follow(hub, _end_each(hub, gone, lambda session: session.end_revoked()))


async def end_unverified(hub: Hub, unverified: Callable[[Principal], bool]) -> None:
    """End the sessions of credentials of which nobody knows any more whether they are good."""
    await follow(hub, _end_each(hub, unverified, lambda session: session.end_unverified()))


def _end_each(hub: Hub, concerned: Callable[[Principal], bool], end: Callable[[Subscriber], object]) -> Iterator[None]:
    for subscriber in list(hub.sessions.by_id.values()):
        if concerned(subscriber.principal):
            end(subscriber)
        yield


async def follow(hub: Hub, steps: Iterator[None]) -> None:
    """Take the steps of some long work, in slices of time."""
    time_slice = TimeSlice(hub.clock, hub.loop, SLICE_S / 2)
    for _ in steps:
        await time_slice.checkpoint()
