"""Tells the audit log of sign-ins."""

from __future__ import annotations

from hub.audit.log import AuditLog
from hub.audit.models import Entry, Event
from hub.security.queries import begin_change
from hub.storage.transactions import Transaction, Transactions


class SignInLog:
    """What signing in tells the audit log."""

    __slots__ = ("_audit", "_transactions")

    def __init__(self, transactions: Transactions, audit: AuditLog) -> None:
        self._audit = audit
        self._transactions = transactions

    async def succeeded(self, tenant: str, name: str, address: str, client: str = "") -> None:
        """Tell that a user has shown the right password. It is on disk before the user is let in.

        Raises:
            StorageError: the database cannot be written: nobody is let in of whom nothing would be known later.
        """
        by = self._audit.caller(tenant, name, address, client)

        def write(tx: Transaction) -> None:
            begin_change(tx)
            self._audit.record_within_share(tx, by, Entry(Event.SIGN_IN, tenant))

        await self._transactions.write(write)

    def failed(self, tenant: str, name: str, address: str, client: str = "") -> None:
        """Note that tenant, name or password was wrong."""
        self._audit.note_failure(Event.SIGN_IN_FAILED, tenant, name, address, client)

    def braked(self, tenant: str, name: str, address: str, client: str = "") -> None:
        """Note a try that was not looked at."""
        self._audit.note_failure(Event.SIGN_IN_BRAKED, tenant, name, address, client)
