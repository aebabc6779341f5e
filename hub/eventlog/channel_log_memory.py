"""The log of ``log`` channels in memory. Clients can recover from a lost connection, but the log does not outlive the process."""

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import NamedTuple

from hub.core.message import Topic
from hub.core.ports import Clock
from hub.eventlog.channel_log import PAGE_RECORDS, SCAN, Page, Record, Retention, Selection, Span
from hub.eventlog.interface import EventLogError

TRIM_PIECE = 500
"""Records that one step of a sweep deletes at most."""

_position = attrgetter("position")


class _Kept(NamedTuple):
    position: int
    topic: Topic
    idempotency_key: str
    record: Record

    @property
    def size(self) -> int:
        return len(self.record.data) + len(self.record.extra)


class _OfTopic:
    """Positions of one topic that has records in the log."""

    __slots__ = ("before", "last")

    def __init__(self, before: int, last: int) -> None:
        self.before = before
        """A position below the topic's oldest record; between the two the topic had no other record."""
        self.last = last


class _Log:
    """One tenant's records, oldest first."""

    __slots__ = ("floor", "kept", "names", "newest", "size", "topics")

    def __init__(self, floor: int) -> None:
        self.kept: list[_Kept] = []
        self.floor = floor
        self.newest = floor
        self.size = 0
        self.topics: dict[Topic, _OfTopic] = {}
        # the idempotency keys of the records, with their topics
        self.names: set[tuple[Topic, str]] = set()

    def after(self, position: int) -> int:
        """The index of the first record after a position."""
        return bisect_right(self.kept, position, key=_position)

    def append(self, kept: _Kept) -> int:
        """Add the newest record; returns a lower position, between which and the record its topic has no other."""
        self.kept.append(kept)
        self.size += kept.size
        self.newest = kept.position
        if kept.idempotency_key:
            self.names.add((kept.topic, kept.idempotency_key))
        known = self.topics.get(kept.topic)
        if known is None:
            self.topics[kept.topic] = _OfTopic(self.floor, kept.position)
            return self.floor
        previous, known.last = known.last, kept.position
        return previous

    def forget(self, until: int, retention: Retention) -> int:
        """Delete the oldest records, up to ``until`` or beyond the other limits, but ``TRIM_PIECE`` at most. Returns how many."""
        cut = 0
        surplus = len(self.kept) - retention.max_messages
        while cut < min(len(self.kept), TRIM_PIECE):
            kept = self.kept[cut]
            if kept.position > until and cut >= surplus and self.size <= retention.max_bytes:
                break
            self.size -= kept.size
            if kept.idempotency_key:
                self.names.remove((kept.topic, kept.idempotency_key))
            known = self.topics[kept.topic]
            if known.last == kept.position:
                del self.topics[kept.topic]
            else:
                known.before = kept.position
            cut += 1
        if cut:
            self.floor = self.kept[cut - 1].position
            del self.kept[:cut]
        return cut

    def erase(self, topic: Topic, picks: Callable[[bytes], bool]) -> int:
        """See :meth:`hub.eventlog.channel_log.ChannelLog.erase`. What is known of the topic's positions stays true."""
        gone = [kept for kept in self.kept if kept.topic == topic and picks(kept.record.data)]
        if gone:
            chosen = {kept.position for kept in gone}
            self.kept = [kept for kept in self.kept if kept.position not in chosen]
            self.size -= sum(kept.size for kept in gone)
            self.names -= {(topic, kept.idempotency_key) for kept in gone}
            known = self.topics.pop(topic)
            left = [kept.position for kept in self.kept if kept.topic == topic]
            if left:
                self.topics[topic] = _OfTopic(known.before, left[-1])
        return len(gone)


class MemoryChannelLog:
    """It gives the same positions, order and results as the other backends (:class:`hub.eventlog.channel_log.ChannelLog`)."""

    __slots__ = ("_clock", "_closed", "_logs", "_retention", "_steady")

    def __init__(self, clock: Clock, retention: Retention | None = None, *, steady: Clock | None = None) -> None:
        self._clock = clock
        self._steady = clock if steady is None else steady
        """Tells what is old."""
        self._retention = retention or Retention()
        self._logs: dict[str, _Log] = {}
        self._closed = False

    def _check_open(self) -> None:
        if self._closed:
            raise EventLogError("the channel log is closed")

    def _log(self, tenant: str) -> _Log:
        self._check_open()
        log = self._logs.get(tenant)
        if log is None:
            log = self._logs[tenant] = _Log(self._clock.wall_us() - 1)
        return log

    async def append(self, topic: Topic, data: bytes, extra: bytes, idempotency_key: str = "") -> tuple[int, int] | None:
        """See :meth:`ChannelLog.append`."""
        log = self._log(topic.tenant)
        if idempotency_key and (topic, idempotency_key) in log.names:
            return None
        position = max(log.newest + 1, self._clock.wall_us())
        previous = log.append(_Kept(position, topic, idempotency_key, Record(position, topic.channel, data, extra)))
        retention = self._retention
        # between two sweeps, too, the log uses no more memory than a multiple of the limits
        if len(log.kept) >= 2 * retention.max_messages or log.size >= 2 * retention.max_bytes:
            log.forget(0, retention)
        return position, previous

    async def read(self, selection: Selection, after: int, max_bytes: int) -> Page:
        """See :meth:`ChannelLog.read`."""
        log = self._log(selection.tenant)
        found: list[Record] = []
        size = 0
        begin = log.after(after)
        end = min(begin + SCAN, len(log.kept))
        for index in range(begin, end):
            kept = log.kept[index]
            record = kept.record
            if kept.topic.audience not in selection.audiences or not selection.wants(record.channel):
                continue
            if found and (len(found) == PAGE_RECORDS or size + record.size > max_bytes):
                return Page(found, found[-1].position, log.floor, more=True)
            found.append(record)
            size += record.size
        more = end < len(log.kept)
        return Page(found, log.kept[end - 1].position if more else max(log.newest, after), log.floor, more)

    async def span(self, tenant: str) -> Span:
        """See :meth:`ChannelLog.span`."""
        log = self._log(tenant)
        return Span(log.floor, log.newest)

    async def complete_since(self, topics: Sequence[Topic], after: int) -> bool:
        """See :meth:`ChannelLog.complete_since`."""
        return all(self._complete(topic, after) for topic in topics)

    def _complete(self, topic: Topic, after: int) -> bool:
        log = self._log(topic.tenant)
        if after >= log.floor:
            return True
        known = log.topics.get(topic)  # a topic without a record may have had some that were deleted
        return known is not None and known.before <= after

    async def erase(self, topic: Topic, picks: Callable[[bytes], bool]) -> int:
        """See :meth:`ChannelLog.erase`."""
        return self._log(topic.tenant).erase(topic, picks)

    async def forget(self, tenant: str, older_than_s: float | None) -> int:
        """See :meth:`ChannelLog.forget`."""
        self._check_open()
        log = self._logs.get(tenant)
        if log is None:
            return 0
        until = log.newest if older_than_s is None else self._clock.wall_us() - round(older_than_s * 1_000_000)
        forgotten = 0
        while cut := log.forget(until, self._retention):
            forgotten += cut
            await asyncio.sleep(0)
        return forgotten

    async def trim(self) -> int:
        """See :meth:`ChannelLog.trim`."""
        self._check_open()
        forgotten = 0
        for log in list(self._logs.values()):
            until = self._steady.wall_us() - self._retention.max_age_s * 1_000_000
            while cut := log.forget(until, self._retention):
                forgotten += cut
                await asyncio.sleep(0)
        return forgotten

    async def close(self) -> None:
        """See :meth:`ChannelLog.close`."""
        self._closed = True
