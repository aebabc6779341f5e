"""Removes the rows of the audit log whose time is over, the oldest first, and moves the beginning of the chain behind them."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from hub.audit import store
from hub.audit.log import AuditLog
from hub.audit.settings import AuditSettings
from hub.background import RetentionJob
from hub.core.ports import Clock
from hub.security.queries import begin_change
from hub.storage.transactions import Transaction, Transactions

EVERY_S: Final = 600.0
FIRST_AFTER_S: Final = 60.0

MAX_AT_ONCE: Final = 500
"""Rows that one transaction removes: others write between two of them."""

_DAY_MS: Final = 86_400_000


class AuditRetention(RetentionJob):
    """Removes old rows every ten minutes."""

    def __init__(self, transactions: Transactions, clock: Clock, settings: AuditSettings, audit: AuditLog) -> None:
        super().__init__("hub.audit.retention", period_s=EVERY_S, first_after_s=FIRST_AFTER_S, failed="audit_not_trimmed")
        self._transactions = transactions
        self._clock = clock
        self._settings = settings
        self._audit = audit

    async def trim(self) -> int:
        """Remove now the rows whose time is over. Returns how many they were.

        Raises:
            StorageError: the database cannot be written.
        """
        until_ms = self._clock.wall_ms() - self._settings.retention_days * _DAY_MS
        total = 0
        for tenant in await self._transactions.read(store.tenants):
            # asked first, without the lock that all changes take
            while await self._transactions.read(lambda tx, of=tenant: _is_due(tx, of, until_ms)):  # type: ignore[misc]
                removed = await self._transactions.write(lambda tx, of=tenant: self._trim(tx, of, until_ms))  # type: ignore[misc]
                if not removed:
                    break
                self._audit.counters.expired += removed
                total += removed
        return total

    def _trim(self, tx: Transaction, tenant: str, until_ms: int) -> int:
        begin_change(tx)
        found = self._audit.locked_ends(tx, tenant)
        if found is None:
            return 0
        ends, sealed = found
        old = None
        for row in store.from_number(tx, tenant, ends.first, MAX_AT_ONCE):
            if row.at_ms >= until_ms:
                break
            old = row
        if old is None:
            return 0
        self._audit.move_ends(tx, replace(ends, first=old.number + 1, anchor=old.hash), sealed=sealed)
        return store.remove_before(tx, tenant, old.number + 1)


def _is_due(tx: Transaction, tenant: str, until_ms: int) -> bool:
    """Whether the oldest row of a tenant has to go."""
    ends = store.ends_of(tx, tenant)
    return ends is not None and any(row.at_ms < until_ms for row in store.from_number(tx, tenant, ends.first, 1))
