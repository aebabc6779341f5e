"""The event log as its users see it."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol

from hub.storage.lease import Fence


class EventLogError(Exception):
    """The log could not be read or written; of a refused write nothing was recorded. ``path`` is its file, where it has one."""

    def __init__(self, message: str, path: Path | None = None) -> None:
        super().__init__(message)
        self.path = path


class NewerFileError(EventLogError):
    """The file was made by a later version of the hub."""


class LogInUseError(EventLogError):
    """Another process has the log open: two writers would give one position to two records."""


class FencedError(EventLogError):
    """A lease was shown that another process has taken since: nothing was written, and this process is no longer the owner."""


class EventLog(Protocol):
    """Streams of records, each with a position that rises by one, and one snapshot a stream and owner.

    A stream is named by tenant and name. What ``append`` returned for is on disk (docs/architecture.md#durability). Every
    method raises :class:`EventLogError` when the backend fails or the log is closed. A log is used from one event loop.

    Where several processes write to one log, each shows the ``fence`` of its lease (:mod:`hub.storage.lease`): it is compared in the
    statement that writes, and :class:`FencedError` raised where the lease has another owner by then. A log that one process has alone
    ignores it.
    """

    async def tenants(self, stream: str) -> list[str]:
        """The tenants that ever appended to a stream of this name, sorted."""
        ...

    async def append(self, tenant: str, stream: str, records: Sequence[bytes], fence: Fence | None = None) -> int:
        """Append records in order, all or none; returns the position of the last one. Positions start at 1."""
        ...

    def read(self, tenant: str, stream: str, after: int = 0) -> AsyncIterator[Sequence[tuple[int, bytes]]]:
        """Records after a position, oldest first, in chunks of up to 1,000."""
        ...

    async def last(self, tenant: str, stream: str) -> int:
        """The position of the newest record ever appended, 0 when there was none."""
        ...

    async def trim(self, tenant: str, stream: str, up_to: int, fence: Fence | None = None) -> None:
        """Forget records up to and with a position."""
        ...

    async def save_snapshot(self, tenant: str, stream: str, owner: str, position: int, state: bytes, fence: Fence | None = None) -> None:
        """Keep ``owner``'s state as of ``position``; it replaces the one before."""
        ...

    async def load_snapshot(self, tenant: str, stream: str, owner: str) -> tuple[int, bytes] | None:
        """The snapshot that ``owner`` kept last: (position, state), or None."""
        ...

    async def close(self) -> None:
        """Write what waits and close the files."""
        ...
