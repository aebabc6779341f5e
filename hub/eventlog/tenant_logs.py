"""Has a tenant hear nothing of an earlier one of its name.

The log of channels is kept by the name of the tenant, and stays for a day when the tenant is removed. Whoever is in a later tenant of that
name could have it all replayed, transcripts of chats too.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from hub.background import BackgroundTask
from hub.core.ports import Clock
from hub.eventlog.channel_log import ChannelLog
from hub.eventlog.interface import EventLogError
from hub.storage.transactions import StorageError, Transactions

EVERY_S: Final = 60.0
"""Seconds between two looks at the tenants, at most. A change of credentials has it look at once."""

_log = structlog.get_logger(__name__)


class TenantLogs:
    """Follows which tenants there are; start and stop it as any :class:`hub.family.Service`."""

    __slots__ = ("_clock", "_known", "_log", "_soon", "_task", "_transactions", "forgotten")

    def __init__(self, log: ChannelLog, transactions: Transactions, clock: Clock) -> None:
        self._log = log
        self._transactions = transactions
        self._clock = clock
        self._known: dict[str, int] = {}
        """When each tenant was made, at the last look."""
        self._soon = asyncio.Event()
        self._task = BackgroundTask("hub.eventlog.tenant-logs")
        self.forgotten = 0
        """Records of tenants that were removed, deleted since the start."""

    async def start(self) -> None:
        """Look at the tenants before anybody is served, and go on."""
        await self._look_or_log()
        self._task.start(self._run())

    async def stop(self) -> None:
        """Stop looking."""
        await self._task.stop()

    def changed(self, _gone: object = None) -> None:
        """Look soon: credentials have ended, and perhaps their tenant has."""
        self._soon.set()

    async def look(self) -> None:
        """Delete what the logs have of tenants that were removed since the last look, and of those before the present ones.

        Raises:
            StorageError: the database cannot be read.
            EventLogError: a log cannot be written; the next look goes on.
        """
        tenants = {
            name: int(made) for name, made in await self._transactions.read(lambda tx: tx.rows("SELECT name, created_ms FROM tenants"))
        }
        for gone in self._known.keys() - tenants.keys():
            self._note(gone, await self._log.forget(gone, None))
            del self._known[gone]
        for name, made_ms in tenants.items():
            if self._known.get(name) != made_ms:
                self._note(name, await self._log.forget(name, (self._clock.wall_ms() - made_ms) / 1000))
                self._known[name] = made_ms

    def _note(self, tenant: str, records: int) -> None:
        if records:
            self.forgotten += records
            _log.info("log_of_removed_tenant_deleted", tenant=tenant, records=records)

    async def _look_or_log(self) -> None:
        try:
            await self.look()
        except (StorageError, EventLogError) as error:
            _log.warning("tenants_not_looked_at", error=str(error))

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(EVERY_S):
                    await self._soon.wait()
            except TimeoutError:
                pass
            self._soon.clear()
            await self._look_or_log()
