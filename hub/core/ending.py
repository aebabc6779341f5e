"""Ends many sessions, in slices of time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hub.core.hub import Hub
from hub.core.principal import Principal
from hub.core.time_slice import TimeSlice


async def end_revoked(hub: Hub, gone: Callable[[Principal], bool]) -> None:
    """End the sessions whose principals ``gone`` returns True for: their credential was removed. A session that shows a newer credential
    before its turn stays.
    """
    await follow(hub, _end_each(hub, gone))


def _end_each(hub: Hub, gone: Callable[[Principal], bool]) -> Iterator[None]:
    for subscriber in list(hub.sessions.by_id.values()):
        if gone(subscriber.principal):
            subscriber.end_revoked()
        yield


async def follow(hub: Hub, steps: Iterator[None]) -> None:
    """Take the steps of some long work, in slices of time."""
    time_slice = TimeSlice(hub.clock, hub.loop)
    for _ in steps:
        await time_slice.checkpoint()
