"""Replay: reads from the log what was published before a session subscribed, then lets the session go over to what is published now,
without a gap, a repeat or a message out of order.
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
"""Bytes that one page reads at most, however large the queue may be."""


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
    """Reads from the log for one session: one reader for all of its patterns. It exists only while there is something to read.

    While it exists,

    - the session gets messages with positions from this reader alone (:meth:`Subscriber.offer` ignores them, since they are in the log).
      So its log channels come in the order of positions, also those that it heard directly before;
    - every subscription of the session that stands for log channels has a progress here. One that was heard directly starts at the
      position at which the reading began. So whichever subscription ends meanwhile, the others miss nothing;
    - the reader goes on from the lowest progress. It offers a record that lies beyond the progress of a pattern that matches it, unless
      another pattern that matches has brought it already: each record once, however many patterns match;
    - nothing is offered beyond the position up to which the bus has handed over (:class:`hub.core.positions.Positions`). The log may have
      a record whose append is not finished: the bus will hand it over, and it must not come twice.

    The recovery ends when each pattern has come to that position; then the session hears its channels directly. It reads ahead by half a
    queue at most, and goes on (:meth:`resume`) each time that the queue was emptied.
    """

    __slots__ = ("_loading", "_patterns", "_source", "_subscriber")

    def __init__(self, source: Source, subscriber: Reader, heard: Iterable[str]) -> None:
        """``heard`` are the patterns whose channels the session has heard directly until now."""
        self._source = source
        self._subscriber = subscriber
        self._loading = False
        newest = self._newest()
        self._patterns = {pattern: _Progress(newest) for pattern in heard}

    def want(self, pattern: str, position: int) -> None:
        """Ask for all that a pattern stands for after a position. Nothing is read before :meth:`resume`.

        When a pattern is asked for again, what was not offered yet is still offered once, from the lower position on. What was offered
        already and lies after the new position is offered once more, since the client says that it does not have it.
        """
        progress = self._patterns.get(pattern)
        if progress is not None:
            if position >= progress.position:
                return
            if progress.position > progress.since:
                for other in self._patterns.values():  # what other patterns brought is wanted again as far as it matches this one
                    other.since = other.position
        self._patterns[pattern] = _Progress(position)

    def drop(self, pattern: str) -> None:
        """Forget a pattern that the session is no longer subscribed to."""
        self._patterns.pop(pattern, None)

    def resume(self) -> None:
        """Read on, unless that is under way already, or there is no room in the queue."""
        if self._subscriber.recovery is self and not self._loading and self._room():
            self._loading = True
            self._source.loop.spawn(self._load())

    def _newest(self) -> int:
        """The position up to which the bus has handed over."""
        newest = self._source.positions.newest(self._subscriber.principal.tenant)
        assert newest is not None  # the bus told it when it confirmed the topics
        return newest

    def _position(self) -> int:
        """The position up to which nothing is left to offer."""
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
            self._subscriber.flush_pending()  # what fan-outs have for it has been read
            ahead = max((progress.position for progress in self._patterns.values()), default=0)
            if ahead > self._newest():  # another node has sent the client what this node has not received yet: it must not come twice
                self._source.positions.when_reached(self._subscriber.principal.tenant, self._newest() + 1, self.resume)
            else:
                self._subscriber.recovery = None

    async def _page(self, after: int) -> None:
        """Read one page and offer it. After the log has answered nothing is awaited."""
        principal = self._subscriber.principal
        reading = dict(self._patterns)
        selection = Selection(principal.tenant, ("", *principal.audiences, subject_audience(principal.subject)), frozenset(reading))
        try:
            page = await self._source.log.read(selection, after, min(PAGE_BYTES, self._source.limits.max_queue_bytes // 2))
        except EventLogError:
            page = None
        if self._subscriber.recovery is not self:  # it ended meanwhile
            return
        # the log cannot be read, or what was still to be read is gone: the client must come back and learn of it
        if page is None or page.floor > after:
            self._source.counters.replays_broken += 1
            self._subscriber.recovery = None
            self._subscriber.end_too_slow()
            return
        # patterns that were added meanwhile are not in the page, and those that were dropped are not wanted any more
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
