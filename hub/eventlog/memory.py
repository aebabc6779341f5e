"""The event log in memory: for tests, and for hubs that may lose their events. Nothing outlives the process."""

from collections import deque
from collections.abc import AsyncIterator, Sequence
from itertools import islice

from hub.eventlog.interface import EventLogError
from hub.storage.lease import Fence

CHUNK = 1000
"""Records that one step of ``read`` yields at most."""


class _Stream:
    """The records of one stream; the oldest one has position ``last - len(records) + 1``."""

    __slots__ = ("last", "records", "snapshots")

    def __init__(self) -> None:
        self.records: deque[bytes] = deque()
        self.last = 0
        self.snapshots: dict[str, tuple[int, bytes]] = {}

    @property
    def trimmed(self) -> int:
        return self.last - len(self.records)


class MemoryEventLog:
    """It gives the same positions, order and errors as the other backends (:class:`hub.eventlog.interface.EventLog`)."""

    __slots__ = ("_closed", "_streams")

    def __init__(self) -> None:
        self._streams: dict[tuple[str, str], _Stream] = {}
        self._closed = False

    def _stream(self, tenant: str, stream: str) -> _Stream:
        self._check_open()
        return self._streams.setdefault((tenant, stream), _Stream())

    def _check_open(self) -> None:
        if self._closed:
            raise EventLogError("the event log is closed")

    async def tenants(self, stream: str) -> list[str]:
        """See :meth:`EventLog.tenants`."""
        self._check_open()
        return sorted(tenant for (tenant, name), kept in self._streams.items() if name == stream and kept.last)

    async def append(self, tenant: str, stream: str, records: Sequence[bytes], fence: Fence | None = None) -> int:
        """See :meth:`EventLog.append`."""
        kept = self._stream(tenant, stream)
        kept.records.extend(records)
        kept.last += len(records)
        return kept.last

    async def read(self, tenant: str, stream: str, after: int = 0) -> AsyncIterator[Sequence[tuple[int, bytes]]]:
        """See :meth:`EventLog.read`."""
        position = after
        while True:
            kept = self._stream(tenant, stream)
            start = max(position, kept.trimmed)
            chunk = list(enumerate(islice(kept.records, start - kept.trimmed, start - kept.trimmed + CHUNK), start + 1))
            if not chunk:
                return
            yield chunk
            position = chunk[-1][0]

    async def last(self, tenant: str, stream: str) -> int:
        """See :meth:`EventLog.last`."""
        return self._stream(tenant, stream).last

    async def trim(self, tenant: str, stream: str, up_to: int, fence: Fence | None = None) -> None:
        """See :meth:`EventLog.trim`."""
        kept = self._stream(tenant, stream)
        while kept.records and kept.trimmed < up_to:
            kept.records.popleft()

    async def save_snapshot(self, tenant: str, stream: str, owner: str, position: int, state: bytes, fence: Fence | None = None) -> None:
        """See :meth:`EventLog.save_snapshot`."""
        self._stream(tenant, stream).snapshots[owner] = (position, state)

    async def load_snapshot(self, tenant: str, stream: str, owner: str) -> tuple[int, bytes] | None:
        """See :meth:`EventLog.load_snapshot`."""
        return self._stream(tenant, stream).snapshots.get(owner)

    async def close(self) -> None:
        """See :meth:`EventLog.close`."""
        self._closed = True
