"""How many sessions subscribed to a channel, on all nodes: joins and leaves tell it (docs/presence.md#joins-and-leaves)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol


class Own(NamedTuple):
    """The number of this process's sessions that subscribed to exactly this channel or pattern."""

    pattern: str
    sessions: int


Left = Callable[[str, str, int], object]
"""``(tenant, pattern, sessions)``: so many sessions of a node that died had subscribed to it."""


class SessionCounts(Protocol):
    """The numbers of sessions of all nodes."""

    async def totals(self, tenant: str, own: Sequence[Own]) -> list[int]:
        """Note this process's numbers, and return those of all nodes."""
        ...

    def watch(self, left: Left) -> None:
        """Have ``left`` called for the sessions of each node that dies, on one of the other nodes."""
        ...


class LocalCounts:
    """The numbers of one process, which has no other nodes."""

    __slots__ = ()

    async def totals(self, tenant: str, own: Sequence[Own]) -> list[int]:
        """See :meth:`SessionCounts.totals`."""
        return [each.sessions for each in own]

    def watch(self, left: Left) -> None:
        """See :meth:`SessionCounts.watch`. There are no other nodes."""
