"""Brings the events of a hub that was alone, its ``events.db``, into the event log of several nodes
(docs/scaling.md#from-one-node-to-several).

Each tenant is imported once, under the lease of its owner, before its statistics are restored: the records and the snapshots, at their
positions. The positions of a tenant count as appended with the last step, so an import that was interrupted begins again. The file stays.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from hub.eventlog.interface import LogInUseError
from hub.eventlog.postgresql import PostgresEventLog
from hub.eventlog.sqlite import FILE_NAME, SqliteEventLog
from hub.storage.lease import Fence

_log = structlog.get_logger(__name__)

_STREAMS: Final = "SELECT tenant, name, last FROM streams WHERE last > 0 ORDER BY tenant, name"

_SNAPSHOTS: Final = (
    "SELECT p.owner, p.position, p.state FROM snapshots p JOIN streams s ON p.stream = s.id WHERE s.tenant = ? AND s.name = ?"
)


class EventImport:
    """A service, which finds what there is to import, and a :class:`hub.cluster.ownership.TenantWorker`, which imports it."""

    def __init__(self, data_dir: Path, log: PostgresEventLog, want: Callable[[str], object]) -> None:
        """``want`` is called with each tenant that has something to import: this process should own it."""
        self._data_dir = data_dir
        self._log = log
        self._want = want
        self._source: SqliteEventLog | None = None
        self._pending: dict[str, list[tuple[str, int]]] = {}

    async def start(self) -> None:
        """Look into the file of the data folder, if there is one.

        Raises:
            EventLogError: the file, or the log of several nodes, cannot be read.
        """
        if not (self._data_dir / FILE_NAME).exists():
            return
        try:
            self._source = source = SqliteEventLog(self._data_dir)
        except LogInUseError:
            _log.info("events_imported_by_another_process", file=FILE_NAME)
            return
        for tenant, stream, last in await source.file.rows(_STREAMS, ()):
            present = await self._log.last(tenant, stream)
            if not present:
                self._pending.setdefault(tenant, []).append((stream, last))
            elif present < last:
                _log.warning("events_not_imported", tenant=tenant, stream=stream, events=last, reason="PostgreSQL has events of the tenant")
        if not self._pending:
            await self._close()
        for tenant in self._pending:
            self._want(tenant)

    async def stop(self) -> None:
        """Close the file."""
        await self._close()

    async def open_tenant(self, tenant: str, fence: Fence) -> None:
        """Import the tenant, if it is one to import and nobody has appended to its streams.

        Raises:
            FencedError: another process owns the tenant.
            EventLogError: a log failed. What was imported is imported again.
        """
        source = self._source
        for stream, last in self._pending.get(tenant, ()):
            if source is None or await self._log.last(tenant, stream):
                continue
            records = 0
            async for chunk in source.read(tenant, stream):
                await self._log.import_records(tenant, stream, chunk, fence)
                records += len(chunk)
            snapshots = [(owner, position, state) for owner, position, state in await source.file.rows(_SNAPSHOTS, (tenant, stream))]
            await self._log.finish_import(tenant, stream, last, snapshots, fence)
            _log.info("events_imported", tenant=tenant, stream=stream, events=records, position=last, snapshots=len(snapshots))
        self._pending.pop(tenant, None)
        if not self._pending:
            await self._close()

    async def close_tenant(self, tenant: str) -> None:
        """Nothing: an import is done when the tenant is open."""

    def drop_tenant(self, tenant: str) -> None:
        """Nothing: an import that did not end begins again with the next owner of the file."""

    async def _close(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            await source.close()
