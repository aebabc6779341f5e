"""Writes what waits: failed sign-ins, and the numbers of what got no row of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

import structlog

from hub.audit.log import AuditLog
from hub.audit.models import HUB, HUB_WIDE, Actor, Entry, Event
from hub.audit.shares import Failure, Shares
from hub.background import BackgroundTask
from hub.security.queries import begin_change, known_tenants
from hub.storage.transactions import StorageError, Transaction, Transactions

EVERY_S: Final = 1.0

SLICE: Final = 100
"""Failures of one transaction, so that nobody else waits long for it."""

K = TypeVar("K")

_log = structlog.get_logger(__name__)


class AuditWriter:
    """A service that writes once a second what :class:`Shares` holds. A failed sign-in changes nothing, so its row need not be on disk
    before the answer; whoever tries many times does not make the database write as often.
    """

    __slots__ = ("_audit", "_failing", "_shares", "_task", "_transactions")

    def __init__(self, transactions: Transactions, audit: AuditLog, shares: Shares) -> None:
        self._audit = audit
        self._failing = False
        self._shares = shares
        self._task = BackgroundTask("hub.audit.writing")
        self._transactions = transactions

    async def start(self) -> None:
        """Begin to write."""
        self._task.start(self._run())

    async def stop(self) -> None:
        """Write everything that waits, and stop."""
        await self._task.stop()
        await self._try(now=True)

    async def write(self, *, now: bool = False) -> None:
        """Write what waits; ``now``: also numbers that have not been counted for a minute.

        Raises:
            StorageError: the database cannot be written; what is not written still waits. If the database works but refuses one row, that
                row is dropped and counted: it would be refused again, and everything behind it would wait for ever.
        """
        waiting = list(self._shares.waiting().items())
        for start in range(0, len(waiting), SLICE):
            await self._by_all_or_each(dict(waiting[start : start + SLICE]), self._write_failures, self._shares.written)
        if numbers := self._shares.due(now=now):
            await self._by_all_or_each(numbers, self._write_numbers, self._shares.told)

    async def _by_all_or_each(
        self,
        waiting: Mapping[K, int],
        write: Callable[[Mapping[K, int]], Awaitable[None]],
        forget: Callable[[Mapping[K, int]], None],
    ) -> None:
        try:
            await write(waiting)
        except StorageError:
            raise
        except Exception as error:
            # of some row, not of the database: nothing of this transaction was kept, and the others must not wait for that one
            if len(waiting) > 1:
                for key, number in waiting.items():
                    await self._by_all_or_each({key: number}, write, forget)
                return
            forget(waiting)
            self._audit.counters.dropped += len(waiting)
            _log.error("audit_row_dropped", exc_info=error)

    async def _write_numbers(self, numbers: Mapping[tuple[str, Event], int]) -> None:
        await self._write([(HUB, Entry(event, tenant, count=number)) for (tenant, event), number in numbers.items()])
        self._shares.told(numbers)
        self._audit.counters.coalesced += sum(numbers.values())

    async def _write_failures(self, failures: Mapping[Failure, int]) -> None:
        """Write failures, as far as the shares of their tenants go, and count the others."""
        tenants = {each.tenant for each in failures}
        known = await self._transactions.read(lambda tx: known_tenants(tx, tenants))
        rows: list[tuple[Actor, Entry]] = []
        beyond: list[Entry] = []
        left: dict[str, int] = {}
        for failure, number in failures.items():
            tenant = failure.tenant if failure.tenant in known else HUB_WIDE
            entry = Entry(failure.event, tenant, count=number)
            # of both kinds of failures together a tenant has one share
            left[tenant] = left.get(tenant, self._shares.room(tenant, Event.SIGN_IN_FAILED)) - 1
            if left[tenant] >= 0:
                rows.append((Actor(failure.who, failure.address, failure.client), entry))
            else:
                beyond.append(entry)
        await self._write(rows)
        for _, entry in rows:
            self._shares.take(entry.tenant, entry.event)
        for entry in beyond:
            self._shares.count(entry.tenant, entry.event, entry.count)
        self._shares.written(failures)

    async def _write(self, rows: Sequence[tuple[Actor, Entry]]) -> None:
        def write(tx: Transaction) -> None:
            begin_change(tx)
            for actor, entry in rows:
                self._audit.record(tx, actor, entry)

        if rows:
            await self._transactions.write(write)

    async def _try(self, *, now: bool = False) -> None:
        try:
            await self.write(now=now)
        except StorageError:
            self._audit.counters.unwritten += 1
            if not self._failing:
                _log.exception("audit_not_written", waiting=len(self._shares))
            self._failing = True
        else:
            self._failing = False

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            await self._try()
