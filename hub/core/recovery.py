"""Replay: a session reads from the log what was published before it came, and goes over to what is published now, without a gap, a repeat
or a message out of order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from hub.core.channels import candidates
from hub.core.counters import Counters
from hub.core.delivery import ChannelRegistry, DeliveryClass
from hub.core.limits import Limits
from hub.core.message import Message
from hub.core.ports import Clock, Loop
from hub.core.positions import Positions
from hub.core.principal import Principal, subject_audience
from hub.core.router import Excluded
from hub.core.time_slice import TimeSlice
from hub.eventlog.channel_log import ChannelLog, Page, Selection
from hub.eventlog.interface import EventLogError

PAGE_BYTES = 128 * 1024
"""What one page reads at most, however large the queue may be."""


class Reader(Protocol):
    """A session that reads from the log: see :class:`hub.core.subscriber.Subscriber`."""

    recovery: Recovery | None

    @property
    def principal(self) -> Principal: ...

    @property
    def narrowed(self) -> Mapping[str, Excluded]: ...

    @property
    def queued_bytes(self) -> int: ...

    def flush_pending(self) -> bool: ...

    def offer_anyway(self, message: Message) -> None: ...

    def end_too_slow(self) -> None: ...


class Source(Protocol):
    """What a recovery needs: see :class:`hub.core.subscriptions.Subscriptions`."""

    @property
    def clock(self) -> Clock: ...

    @property
    def loop(self) -> Loop: ...

    @property
    def limits(self) -> Limits: ...

    @property
    def counters(self) -> Counters: ...

    @property
    def registry(self) -> ChannelRegistry: ...

    @property
    def positions(self) -> Positions: ...

    @property
    def log(self) -> ChannelLog: ...


class _Progress:
    """How far one pattern has come: what it stands for and lies after ``since`` was offered up to ``position``, ``since <= position``."""

    __slots__ = ("position", "since")

    def __init__(self, position: int) -> None:
        self.since = position
        self.position = position


class Recovery:
    """What one session has still to read from the log: one reader for all of its patterns. It exists only while there is something.

    While it does,

    - the session is offered messages with positions by this reader alone (:meth:`Subscriber.offer` passes them over, for they are in the
      log): its log channels come in the order of positions, also those that it heard directly before and will again;
    - every subscription of the session that stands for log channels has its progress here, what was heard directly from the position on at
      which the reading began: so whichever subscription ends meanwhile, the others miss nothing;
    - the reader goes on from the lowest progress. A record is offered when it lies beyond the progress of some pattern that it matches,
      unless another such pattern has brought it already: once, however many match;
    - nothing is offered beyond the position up to which the bus has handed over (:class:`hub.core.positions.Positions`): a record that
      is in the log while its append is under way still will be handed over, and must not come twice.

    It ends when each pattern has come to that position; then the session hears its channels directly. It reads ahead by half a queue at
    most, and goes on, by :meth:`resume`, each time that the queue was emptied.
    """

    __slots__ = ("_loading", "_patterns", "_source", "_subscriber")

    def __init__(self, source: Source, subscriber: Reader, heard: Iterable[str]) -> None:
        """``heard``: the patterns whose channels the session hears directly until now."""
        self._source = source
        self._subscriber = subscriber
        self._loading = False
        newest = self._newest()
        self._patterns = {pattern: _Progress(newest) for pattern in heard}

    def want(self, pattern: str, position: int) -> None:
        """All that a pattern stands for and lies after a position is to be offered; nothing is read before :meth:`resume`.

        Asked again for a pattern, what was not offered yet is still offered once, from the lower position on. What was offered already and
        lies after the new position is offered once more: the client says that it does not have it.
        """
        progress = self._patterns.get(pattern)
        if progress is not None:
            if position >= progress.position:
                return
            if progress.position > progress.since:
                for other in self._patterns.values():  # what those brought is wanted again as far as it matches this pattern
                    other.since = other.position
        self._patterns[pattern] = _Progress(position)

    def drop(self, pattern: str) -> None:
        """The session is no longer subscribed to a pattern."""
        self._patterns.pop(pattern, None)

    def resume(self) -> None:
        """Read on, if nobody does already and there is room in the queue."""
        if self._subscriber.recovery is self and not self._loading and self._room():
            self._loading = True
            self._source.loop.spawn(self._load())

    def _newest(self) -> int:
        """Up to where the hub has received."""
        newest = self._source.positions.newest(self._subscriber.principal.tenant)
        assert newest is not None  # whoever asks for what is past has been told the present position
        return newest

    def _position(self) -> int:
        """Up to here there is nothing left to offer."""
        return min((progress.position for progress in self._patterns.values()), default=self._newest())

    def _room(self) -> bool:
        return self._subscriber.queued_bytes * 2 <= self._source.limits.max_queue_bytes

    async def _load(self) -> None:
        time_slice = TimeSlice(self._source.clock, self._source.loop)
        try:
            while self._subscriber.recovery is self and self._room() and (position := self._position()) < self._newest():
                await self._page(position)
                await time_slice.checkpoint()
        finally:
            self._loading = False
        # nothing was awaited since the last look: what is published from here on is offered directly
        if self._subscriber.recovery is self and self._position() >= self._newest():
            self._subscriber.flush_pending()  # what is under way has been read
            ahead = max((progress.position for progress in self._patterns.values()), default=0)
            if ahead > self._newest():  # the client knows what this node has not received yet: it must not come a second time
                self._source.positions.when_reached(self._subscriber.principal.tenant, self._newest() + 1, self.resume)
            else:
                self._subscriber.recovery = None

    async def _page(self, after: int) -> None:
        """Offer one page. From the answer of the log on nothing is awaited."""
        principal = self._subscriber.principal
        reading = dict(self._patterns)
        selection = Selection(principal.tenant, ("", *principal.audiences, subject_audience(principal.subject)), frozenset(reading))
        try:
            page = await self._source.log.read(selection, after, min(PAGE_BYTES, self._source.limits.max_queue_bytes // 2))
        except EventLogError:
            page = None
        if self._subscriber.recovery is not self:  # it ended meanwhile
            return
        # the log cannot be read, or what was still to be read is gone: the client must come back and hear of it, not miss it
        if page is None or page.floor > after:
            self._source.counters.replays_broken += 1
            self._subscriber.recovery = None
            self._subscriber.end_too_slow()
            return
        # what was asked for meanwhile is not in the page, and what was dropped is not wanted any more
        self._offer(page, {pattern: p for pattern, p in self._patterns.items() if reading.get(pattern) is p})

    def _offer(self, page: Page, read: Mapping[str, _Progress]) -> None:
        newest = self._newest()
        for record in page.records:
            if record.position > newest:
                break
            if self._due(record.channel, record.position, read):
                message = Message(record.channel, record.data, DeliveryClass.LOG, extra=record.extra, position=record.position)
                self._subscriber.offer_anyway(message)
                self._source.counters.replayed += 1
        end_position = min(page.end_position, newest)
        for progress in read.values():
            progress.position = max(progress.position, end_position)

    def _due(self, channel: str, position: int, read: Mapping[str, _Progress]) -> bool:
        due = False
        narrowed = self._subscriber.narrowed
        for pattern in candidates(channel):
            progress = self._patterns.get(pattern)
            if progress is None or (pattern in narrowed and self._source.registry.covering(channel) in narrowed[pattern]):
                continue
            if progress.since < position <= progress.position:
                return False
            due = due or (position > progress.position and pattern in read)
        return due
