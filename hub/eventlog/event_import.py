"""Brings the events of a hub that was alone, its ``events.db``, into the event log of several nodes
(docs/scaling.md#from-one-node-to-several).

Each tenant is imported once, under the lease of its owner, before its statistics are restored: the records and the snapshots, at their
positions. The positions of a tenant count as appended with the last step, so an import that was interrupted begins again. The file stays.

If another node owns the tenant and has no events of it, it is asked to hand the tenant over. If the log has events of it that are not those
of the file, nothing can be imported: the log and ``/readyz`` tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import structlog

from hub.background import BackgroundTask
from hub.eventlog.interface import EventLogError, LogInUseError
from hub.eventlog.postgresql import PostgresEventLog
from hub.eventlog.sqlite import FILE_NAME, SqliteEventLog
from hub.storage.lease import Fence

_log = structlog.get_logger(__name__)

_STREAMS: Final = "SELECT tenant, name, last FROM streams WHERE last > 0 ORDER BY tenant, name"

_SNAPSHOTS: Final = (
    "SELECT p.owner, p.position, p.state FROM snapshots p JOIN streams s ON p.stream = s.id WHERE s.tenant = ? AND s.name = ?"
)

ASK_S: Final = (0.5, 60.0)
"""Seconds until other owners are asked for the tenants to import: at first, doubled each time up to the second value."""


class EventImport:
    """A service, which finds what there is to import, and a :class:`hub.cluster.ownership.TenantWorker`, which imports it."""

    def __init__(
        self,
        data_dir: Path,
        log: PostgresEventLog,
        want: Callable[[str], object],
        ask_for: Callable[[str], Awaitable[object]],
        *,
        ask_s: tuple[float, float] = ASK_S,
    ) -> None:
        """``want`` is called with each tenant that has something to import: this process should own it. ``ask_for`` asks the owner of such
        a tenant, if it is another process, to hand it over to this one. ``ask_s``: see :data:`ASK_S`.
        """
        self._data_dir = data_dir
        self._log = log
        self._want = want
        self._ask_for = ask_for
        self._ask_s = ask_s
        self._source: SqliteEventLog | None = None
        self._pending: dict[str, list[tuple[str, int]]] = {}
        self._refused: set[str] = set()
        self._asking = BackgroundTask("hub.eventlog.import")

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
            if await self._can_import(tenant, stream, last):
                self._pending.setdefault(tenant, []).append((stream, last))
        if not self._pending:
            await self._close()
            return
        for tenant in self._pending:
            self._want(tenant)
        self._asking.start(self._ask())

    async def stop(self) -> None:
        """Close the file."""
        await self._asking.stop()
        await self._close()

    async def failing(self) -> str | None:
        """For ``/readyz``: why events of the file are missing in the statistics; None if none are."""
        if self._refused:  # anybody may ask: the log has the names
            return f"events of {len(self._refused)} tenants in {FILE_NAME} are not imported, since PostgreSQL has others of them"
        if self._pending:
            return f"events of {len(self._pending)} tenants in {FILE_NAME} wait until they are imported"
        return None

    @property
    def waiting(self) -> int:
        """Tenants that are still to be imported."""
        return len(self._pending)

    @property
    def refused(self) -> int:
        """Tenants that cannot be imported."""
        return len(self._refused)

    async def open_tenant(self, tenant: str, fence: Fence) -> None:
        """Import the tenant, if it is one to import and nobody has appended to its streams.

        Raises:
            FencedError: another process owns the tenant.
            EventLogError: a log failed. What was imported is imported again.
        """
        source = self._source
        for stream, last in self._pending.get(tenant, ()):
            if source is None or not await self._can_import(tenant, stream, last):
                continue
            records = 0
            async for chunk in source.read(tenant, stream):
                await self._log.import_records(tenant, stream, chunk, fence)
                records += len(chunk)
            snapshots = [(owner, position, state) for owner, position, state in await source.file.rows(_SNAPSHOTS, (tenant, stream))]
            await self._log.finish_import(tenant, stream, last, snapshots, fence)
            _log.info("events_imported", tenant=tenant, stream=stream, events=records, position=last, snapshots=len(snapshots))
        await self._settle(tenant)

    async def close_tenant(self, tenant: str) -> None:
        """Nothing: an import is done when the tenant is open."""

    def is_idle(self, tenant: str) -> bool:
        """See :meth:`hub.cluster.ownership.TenantWorker.is_idle`. It works for a tenant that is opened alone."""
        return True

    def drop_tenant(self, tenant: str) -> None:
        """Nothing: an import that did not end begins again with the next owner of the file."""

    async def _can_import(self, tenant: str, stream: str, last: int) -> bool:
        """Whether a stream of the file, which ends at ``last``, can still be imported; tells if it neither can nor was."""
        present = await self._log.last(tenant, stream)
        if not present:
            return True
        if await self._log.imported(tenant, stream) != last and tenant not in self._refused:
            self._refused.add(tenant)
            _log.error(
                "events_not_imported",
                tenant=tenant,
                stream=stream,
                events=last,
                reason=f"PostgreSQL has {present} events of the tenant that are not those of {FILE_NAME}",
            )
        return False

    async def _ask(self) -> None:
        """Ask other owners, until nothing waits any more."""
        pause, longest = self._ask_s
        while self._pending:
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)
            try:
                for tenant, streams in list(self._pending.items()):
                    states = [await self._can_import(tenant, stream, last) for stream, last in streams]
                    if any(states):
                        await self._ask_for(tenant)
                    else:
                        await self._settle(tenant)
            except EventLogError:
                _log.warning("import_waits", exc_info=True)

    async def _settle(self, tenant: str) -> None:
        """A tenant waits no more."""
        self._pending.pop(tenant, None)
        if not self._pending:
            await self._close()

    async def _close(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            await source.close()
