"""The interface of the event log."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol

from hub.storage.lease import Fence


class EventLogError(Exception):
    """The log could not be read or written. If a write failed, nothing of it was recorded. ``path`` is the log's file, if it has one."""

    def __init__(self, message: str, path: Path | None = None) -> None:
        super().__init__(message)
        self.path = path


class NewerFileError(EventLogError):
    """The file was made by a later version of the hub."""


class LogInUseError(EventLogError):
    """Another process has the log open: two writers would give one position to two records."""


class FencedError(EventLogError):
    """Another process has taken the lease whose fence was shown. Nothing was written; this process is no longer the owner."""


class EventLog(Protocol):
    """Streams of records, whose positions rise by one, and one snapshot for each stream and owner.

    A stream is identified by a tenant and a name. When ``append`` returns, its records are on disk (docs/architecture.md#durability). Every
    method raises :class:`EventLogError` if the backend fails or the log is closed. A log is used from one event loop.

    If several processes write to one log, each shows the ``fence`` of its lease (:mod:`hub.storage.lease`). The statement that writes
    compares it, and :class:`FencedError` is raised if the lease has another owner by then. A log that only one process uses ignores it.
    """

    async def tenants(self, stream: str) -> list[str]:
        """The tenants that ever appended to a stream of this name, sorted."""
        ...

    async def append(self, tenant: str, stream: str, records: Sequence[bytes], fence: Fence | None = None) -> int:
        """Append records in order, all or none; returns the position of the last one. Positions start at 1."""
        ...

    def read(self, tenant: str, stream: str, after: int = 0) -> AsyncIterator[Sequence[tuple[int, bytes]]]:
        """Read the records after a position, oldest first, in chunks of up to 1,000."""
        ...

    async def last(self, tenant: str, stream: str) -> int:
        """The position of the newest record that was ever appended; 0 if there was none."""
        ...

    async def trim(self, tenant: str, stream: str, up_to: int, fence: Fence | None = None) -> None:
        """Delete the records up to a position, including the one at it."""
        ...

    async def save_snapshot(self, tenant: str, stream: str, owner: str, position: int, state: bytes, fence: Fence | None = None) -> None:
        """Store ``owner``'s state as of ``position``. It replaces the snapshot before."""
        ...

    async def load_snapshot(self, tenant: str, stream: str, owner: str) -> tuple[int, bytes] | None:
        """The last snapshot of ``owner``: (position, state), or None."""
        ...

    async def close(self) -> None:
        """Write the waiting records and close the files."""
        ...
