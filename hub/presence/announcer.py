"""Publishes joins and leaves of the channels of ``presence.channels`` as events on ``/hub/presence/...``.

They are published below ``/hub``, where only the server may publish, so that clients can trust them. Below another root, clients could
publish on the same channels themselves (docs/protocol/channels.md#free-channels).
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

from hub.core.channels import InvalidChannelError, check_channel, is_wildcard, lies_within
from hub.core.delivery import ChannelDeclaration, DeliveryClass
from hub.core.hub import Hub
from hub.core.metric import CounterFamily
from hub.core.subscriber import Subscriber
from hub.core.time_slice import TimeSlice
from hub.core.timers import Timer
from hub.presence.counts import LocalCounts, Own, SessionCounts
from hub.presence.roster import Roster

ROOT: Final = "/hub/presence"
"""The root of presence channels: joins and leaves of ``/a/b`` are published on ``/hub/presence/a/b``."""

_OWN: Final = "/hub/"
"""The root of the server's own channels. Their joins are not published: otherwise each presence channel would need another one."""

_SUM_UP_AFTER_S: Final = 1.0

_TOGETHER: Final = 64
"""Events whose numbers of sessions are asked for at once."""


@dataclass(slots=True)
class PresenceCounters:
    """What presence counts; ``/metrics`` reads them."""

    METRICS: ClassVar = (
        CounterFamily(
            "changes",
            "Joins and leaves, by how they were told: an event each, summed up as numbers, or not, because the channel's name is too long.",
            "outcome",
            {"told": "told", "summed_up": "summed_up", "too_long": "too_long"},
        ),
    )

    told: int = 0
    """Joins and leaves that got an event each."""
    summed_up: int = 0
    """Joins and leaves that were published as numbers, because there were too many within one second."""
    too_long: int = 0
    """Joins and leaves of channels whose name is too long, or too deep, to have ``/hub/presence`` in front."""


@dataclass(slots=True)
class _Second:
    """The joins and leaves of one channel within a second."""

    told: int = 0
    joined: int = 0
    left: int = 0
    """Joins and leaves beyond those that got an event each."""


class _Waiting(NamedTuple):
    """An event that waits to be sent."""

    tenant: str
    channel: str
    own: Own
    """The number of sessions of this process after it."""
    event: dict[str, Any]


def presence_channel(pattern: str) -> str | None:
    """The channel on which joins and leaves of a channel are published; for a pattern, that of the part before the ``*``. None if the name
    would be too long.
    """
    base = pattern.rpartition("/")[0] if is_wildcard(pattern) else pattern
    try:
        return check_channel(ROOT + base)
    except InvalidChannelError:
        return None


class Announcer:
    """Publishes joins and leaves: a limited number of events a second for each channel, and the sum of the others after the second."""

    __slots__ = ("_counts", "_hub", "_max_per_second", "_outbox", "_patterns", "_roster", "_seconds", "_sending", "_timer", "counters")

    def __init__(
        self, hub: Hub, roster: Roster, patterns: Sequence[str], *, events_per_second: int, counts: SessionCounts | None = None
    ) -> None:
        """``patterns``: joins and leaves are published for subscriptions that lie within one of them. ``counts`` has the numbers of
        sessions of all nodes; by default there are no other nodes.

        The roster gives the number of sessions after each change. It must be made before the announcer, so that it is updated first.
        """
        self._counts = LocalCounts() if counts is None else counts
        self._counts.watch(self._left_with_node)
        self.counters = PresenceCounters()
        self._hub = hub
        self._roster = roster
        self._patterns = tuple(patterns)
        self._max_per_second = events_per_second
        self._seconds: dict[tuple[str, str], _Second] = {}
        self._timer: Timer | None = None
        self._outbox: deque[_Waiting] = deque()
        self._sending = False
        for pattern in (ROOT, f"{ROOT}/**"):
            hub.registry.declare(ChannelDeclaration(pattern, DeliveryClass.EVENT, "joins and leaves, by the setting presence.channels"))
        hub.subscriptions.on_subscribed.append(self._joined)
        hub.subscriptions.on_unsubscribed.append(self._left)

    def _joined(self, session: Subscriber, pattern: str) -> None:
        self._note(session, pattern, joined=True)

    def _left(self, session: Subscriber, pattern: str) -> None:
        self._note(session, pattern, joined=False)

    def _note(self, session: Subscriber, pattern: str, *, joined: bool) -> None:
        if pattern.startswith(_OWN) or not any(lies_within(pattern, watched) for watched in self._patterns):
            return
        tenant = session.principal.tenant
        second = self._seconds.get((tenant, pattern))
        if second is None:
            second = self._seconds[tenant, pattern] = _Second()
            if self._timer is None:
                self._timer = self._hub.timers.after(_SUM_UP_AFTER_S, self._end_second)
        if second.told < self._max_per_second:
            second.told += 1
            change = {
                "type": "join" if joined else "leave",
                "channel": pattern,
                "subject": session.principal.subject,
                "session": session.public_id,
            }
            if self._post(tenant, pattern, change):
                self.counters.told += 1
            else:
                self.counters.too_long += 1
        elif joined:
            second.joined += 1
        else:
            second.left += 1

    def _end_second(self) -> None:
        self._timer = None
        ended, self._seconds = self._seconds, {}
        self._hub.loop.spawn(self._sum_up(ended))

    async def _sum_up(self, ended: dict[tuple[str, str], _Second]) -> None:
        time_slice = TimeSlice(self._hub.clock, self._hub.loop)
        while ended:
            (tenant, pattern), second = ended.popitem()
            if changes := second.joined + second.left:
                sums = {
                    "type": "changes",
                    "channel": pattern,
                    "joined": second.joined,
                    "left": second.left,
                }
                if self._post(tenant, pattern, sums):
                    self.counters.summed_up += changes
                else:
                    self.counters.too_long += changes
            await time_slice.checkpoint()

    def _left_with_node(self, tenant: str, pattern: str, sessions: int) -> None:
        """A node has died, and with it sessions that had subscribed to a pattern. They are told as one sum."""
        self._post(tenant, pattern, {"type": "changes", "channel": pattern, "joined": 0, "left": sessions})
        self.counters.summed_up += sessions

    def _post(self, tenant: str, pattern: str, event: dict[str, Any]) -> bool:
        """Put an event behind those that wait to be sent; False if its channel's name would be too long. The number of sessions is added
        when it is sent.
        """
        channel = presence_channel(pattern)
        if channel is None:
            return False
        self._outbox.append(_Waiting(tenant, channel, Own(pattern, self._roster.count(tenant, pattern)), event))
        if not self._sending:
            self._sending = True
            self._hub.loop.spawn(self._send())
        return True

    async def _send(self) -> None:
        time_slice = TimeSlice(self._hub.clock, self._hub.loop)
        try:
            while self._outbox:
                some = self._take_some()
                totals = await self._counts.totals(some[0].tenant, [each.own for each in some])
                for each, sessions in zip(some, totals, strict=True):
                    event = json.dumps({**each.event, "sessions": sessions}, separators=(",", ":")).encode("ascii")
                    await self._hub.publisher.emit(each.tenant, each.channel, event)
                    await time_slice.checkpoint()
        finally:
            self._sending = False

    def _take_some(self) -> list[_Waiting]:
        """The next events of one tenant, a few at most. Their numbers are asked for together."""
        some = [self._outbox.popleft()]
        while self._outbox and len(some) < _TOGETHER and self._outbox[0].tenant == some[0].tenant:
            some.append(self._outbox.popleft())
        return some
