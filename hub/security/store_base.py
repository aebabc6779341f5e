"""What the administrator's views of the database share: the transactions, the audit log, and the lists by page."""

from collections.abc import Callable

from hub.audit.log import Recorder
from hub.security import queries
from hub.security.changes import Kind
from hub.security.delegation import Supervision, Unsupervised
from hub.storage.transactions import Row, Transaction, Transactions


class StoreBase:
    """A part of the administrator's view of the database."""

    __slots__ = ("_audit", "_now_ms", "_supervision", "_transactions")

    def __init__(
        self, transactions: Transactions, now_ms: Callable[[], int], audit: Recorder, supervision: Supervision | None = None
    ) -> None:
        """``now_ms`` returns the time of day, in milliseconds since 1970 UTC; ``audit`` records who changes what. ``supervision`` says what
        the administrator may change, by raising :class:`hub.security.delegation.BeyondError` or
        :class:`hub.security.delegation.TooManyError`; by default everything.
        """
        self._supervision: Supervision = supervision or Unsupervised()
        self._transactions = transactions
        self._now_ms = now_ms
        self._audit = audit

    def _note(self, tx: Transaction, kind: Kind, ref: str = "") -> None:
        queries.note_change(tx, kind, ref, self._now_ms())

    async def _page(self, query: str, key: str, tenant: str, after: str | None, limit: int) -> list[Row]:
        return await self._transactions.read(lambda tx: queries.page(tx, query, key, tenant, after, limit))

    async def _all(self, query: str, order: str, tenant: str | None) -> list[Row]:
        return await self._transactions.read(lambda tx: queries.select(tx, query, order, tenant))
