"""The log of ``log`` channels in memory: what survives a lost connection, not what survives the process."""

from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from hub.core.channels import matches
from hub.core.message import Topic
from hub.core.ports import Clock
from hub.eventlog.channel_log import PAGE_RECORDS, Page, Record, Retention, Selection, Span
from hub.eventlog.interface import EventLogError

SCAN = 2000
"""Records that one page looks at, so that a page holds up the loop for less than 2 ms."""

_position = attrgetter("position")


class _Kept(NamedTuple):
    position: int
    previous: int
    audience: str
    record: Record


class _Log:
    """One tenant's records, oldest first."""

    __slots__ = ("floor", "kept", "last", "size", "top")

    def __init__(self, floor: int) -> None:
        self.kept: list[_Kept] = []
        self.floor = floor
        self.top = floor
        self.size = 0
        # the last position of each topic that is kept
        self.last: dict[Topic, int] = {}

    def after(self, position: int) -> int:
        """The index of the first record after a position."""
        return bisect_right(self.kept, position, key=_position)


class MemoryChannelLog:
    """Same positions, order and answers as the other backends (:class:`hub.eventlog.channel_log.ChannelLog`)."""

    __slots__ = ("_clock", "_closed", "_logs", "_retention")

    def __init__(self, clock: Clock, retention: Retention | None = None) -> None:
        self._clock = clock
        self._retention = retention or Retention()
        self._logs: dict[str, _Log] = {}
        self._closed = False

    def _log(self, tenant: str) -> _Log:
        if self._closed:
            raise EventLogError("the channel log is closed")
        log = self._logs.get(tenant)
        if log is None:
            log = self._logs[tenant] = _Log(self._clock.wall_us() - 1)
        return log

    async def append(self, topic: Topic, data: bytes, extra: bytes) -> tuple[int, int]:
        """See :meth:`ChannelLog.append`."""
        log = self._log(topic.tenant)
        position = max(log.top + 1, self._clock.wall_us())
        previous = log.last.get(topic, log.floor)
        log.kept.append(_Kept(position, previous, topic.audience, Record(position, topic.channel, data, extra)))
        log.size += len(data) + len(extra)
        log.top = position
        log.last[topic] = position
        if len(log.kept) >= 2 * self._retention.max_messages:  # between two sweeps too, memory stays within a multiple of the bound
            self._trim(topic.tenant, log)
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
            if kept.audience not in selection.audiences or not any(matches(p, record.channel) for p in selection.patterns):
                continue
            if found and (len(found) == PAGE_RECORDS or size + record.size > max_bytes):
                return Page(found, found[-1].position, log.floor, more=True)
            found.append(record)
            size += record.size
        more = end < len(log.kept)
        return Page(found, log.kept[end - 1].position if more else max(log.top, after), log.floor, more)

    async def span(self, tenant: str) -> Span:
        """See :meth:`ChannelLog.span`."""
        log = self._log(tenant)
        return Span(log.floor, log.top)

    async def complete_since(self, topics: Sequence[Topic], after: int) -> bool:
        """See :meth:`ChannelLog.complete_since`."""
        return all(self._complete(topic, after) for topic in topics)

    def _complete(self, topic: Topic, after: int) -> bool:
        log = self._log(topic.tenant)
        if after >= log.floor:
            return True
        if topic not in log.last:
            return False  # it may have had records that are gone
        first = next(k for k in log.kept[log.after(after) :] if k.audience == topic.audience and k.record.channel == topic.channel)
        return first.previous <= after

    async def trim(self) -> int:
        """See :meth:`ChannelLog.trim`."""
        return sum(self._trim(tenant, self._log(tenant)) for tenant in list(self._logs))

    def _trim(self, tenant: str, log: _Log) -> int:
        retention = self._retention
        cut = max(log.after(self._clock.wall_us() - retention.max_age_s * 1_000_000), len(log.kept) - retention.max_messages, 0)
        size = log.size - sum(len(k.record.data) + len(k.record.extra) for k in log.kept[:cut])
        while size > retention.max_bytes:
            record = log.kept[cut].record
            size -= len(record.data) + len(record.extra)
            cut += 1
        if not cut:
            return 0
        for kept in log.kept[:cut]:
            topic = Topic(tenant, kept.audience, kept.record.channel)
            if log.last.get(topic) == kept.position:
                del log.last[topic]
        log.floor = log.kept[cut - 1].position
        log.size = size
        del log.kept[:cut]
        return cut

    async def close(self) -> None:
        """See :meth:`ChannelLog.close`."""
        self._closed = True
