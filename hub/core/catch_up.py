"""Replay: a session reads from the log what was published before it came, and goes over to what is published now, without a gap, a repeat
or a message out of order.

While a session catches up on some patterns, what is published on their channels is not offered to it: it is in the log, and comes from
there. When a page has nothing more and nothing came in the meantime, the session hears the channels directly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.core.channels import matches
from hub.core.delivery import DeliveryClass
from hub.core.message import Message
from hub.eventlog.channel_log import Selection
from hub.eventlog.interface import EventLogError

if TYPE_CHECKING:
    from hub.core.hub import Hub
    from hub.core.subscriber import Subscriber

PAGE_BYTES = 128 * 1024
"""What one page reads at most, however large the queue may be."""


class _Lag:
    """Patterns that are behind, all at one position."""

    __slots__ = ("cursor", "missed", "patterns")

    def __init__(self, patterns: dict[str, None], cursor: int) -> None:
        self.patterns = patterns
        self.cursor = cursor
        self.missed = 0
        """The newest position that was not offered: the log must be read at least that far."""


class CatchUp:
    """What one session has still to read from the log. It exists only while there is something.

    It reads ahead by half a queue at most: the session asks for more, by :meth:`resume`, each time that its queue was emptied.
    """

    __slots__ = ("_hub", "_lags", "_loading", "_subscriber")

    def __init__(self, hub: Hub, subscriber: Subscriber) -> None:
        self._hub = hub
        self._subscriber = subscriber
        self._lags: list[_Lag] = []
        self._loading = False

    def add(self, patterns: list[str], cursor: int) -> None:
        """These patterns are behind from a position on; nothing is read before :meth:`resume`."""
        self._lags.append(_Lag(dict.fromkeys(patterns), cursor))

    def drop(self, pattern: str) -> None:
        """The session is no longer subscribed to a pattern."""
        for lag in self._lags:
            lag.patterns.pop(pattern, None)

    def takes(self, message: Message) -> bool:
        """Whether a message that has just been published comes from the log instead, in its turn."""
        assert message.position is not None
        taken = False
        for lag in self._lags:
            if any(matches(pattern, message.channel) for pattern in lag.patterns):
                lag.missed = max(lag.missed, message.position)
                taken = True
        return taken

    def resume(self) -> None:
        """Read on, if nobody does already and there is room in the queue."""
        if not self._loading and self._room():
            self._loading = True
            self._hub.loop.spawn(self._load())

    def _room(self) -> bool:
        return self._subscriber.queued_bytes * 2 <= self._hub.limits.max_queue_bytes

    async def _load(self) -> None:
        try:
            while self._lags and self._room() and self._subscriber.id in self._hub.subscribers:
                lag = self._lags[0]
                if not lag.patterns or await self._page(lag):
                    self._lags.remove(lag)
        finally:
            self._loading = False
        if not self._lags and self._subscriber.catch_up is self:
            self._subscriber.catch_up = None
            self._subscriber.caught_up()

    async def _page(self, lag: _Lag) -> bool:
        """Offer one page; True when there is nothing more. From the answer of the log on nothing is awaited."""
        principal = self._subscriber.principal
        selection = Selection(principal.tenant, ("", *principal.audiences), tuple(lag.patterns))
        try:
            page = await self._hub.read_log(selection, lag.cursor, min(PAGE_BYTES, self._hub.limits.max_queue_bytes // 2))
        except EventLogError:
            page = None
        if self._subscriber.id not in self._hub.subscribers:
            return True
        # the log cannot be read, or what was still to be read is gone: the client must come back and hear of it, not miss it
        if page is None or page.floor > lag.cursor:
            self._hub.counters.replays_broken += 1
            self._subscriber.end_too_slow()
            return True
        for record in page.records:
            if any(matches(pattern, record.channel) for pattern in lag.patterns):  # it may have unsubscribed meanwhile
                message = Message(record.channel, record.data, DeliveryClass.LOG, extra=record.extra, position=record.position)
                self._subscriber.offer_anyway(message)
                self._hub.counters.replayed += 1
        lag.cursor = max(lag.cursor, page.upto)
        return not page.more and lag.missed <= lag.cursor
