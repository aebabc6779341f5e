"""Whose a store is. Families remove what their database does not know from the store: with another hub's store, or a database that is not
the one that belongs to it, that would be every file. So the store has the id of the database that it belongs to, in an object of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

import structlog

from hub.objects.store import ObjectExistsError, ObjectNotFoundError, ObjectStore
from hub.storage.interface import Transaction
from hub.storage.transactions import Transactions

CLAIM_KEY: Final = ".hub-database"
"""The object that has the id. Whoever knows that the store is this hub's removes it (docs/files.md#whose-a-store-is)."""

SWEEP_EVERY: Final = 60
"""Rounds of a retention job to one sweep; with a round a minute that is an hour."""

FIRST_SWEEP: Final = 10
"""The round in which a retention job that has a round a minute first sweeps a store that belonged to no database before: ten minutes in
which an operator can see that the settings name a wrong one.
"""

_MAX_BYTES: Final = 200

_log = structlog.get_logger(__name__)


class StoreClaim:
    """Finds out whether a store belongs to a database."""

    __slots__ = ("_store", "_transactions")

    def __init__(self, store: ObjectStore, transactions: Transactions) -> None:
        self._store = store
        self._transactions = transactions

    async def holds(self) -> bool:
        """Whether the store belongs to this database; one that belongs to none does from now on. If it belongs to another, that is logged,
        and nothing may be removed because this database does not know it.

        Raises:
            StorageError: the database cannot be read.
            StoreUnavailableError: the store does not answer.
        """
        return await self._holds(new=True)

    async def held_before(self) -> bool:
        """As :meth:`holds`, but of a store that belongs to this database only from now on False is returned.

        Raises:
            StorageError: the database cannot be read.
            StoreUnavailableError: the store does not answer.
        """
        return await self._holds(new=False)

    async def sweep_is_due(self, number: int) -> bool:
        """Whether a retention job that has a round a minute sweeps in the round of this number, which begins with 0: each hour, and at the
        start a store that belonged to this database before.

        Raises:
            StorageError: the database cannot be read.
            StoreUnavailableError: the store does not answer.
        """
        return number % SWEEP_EVERY == FIRST_SWEEP or (number == 0 and await self.held_before())

    async def held_at(self, moment_ms: int) -> bool:
        """Whether the store belonged to this database already at a moment, in milliseconds since 1970 UTC: what was written to it since,
        and is not there, is gone. A folder that is not mounted has no claim, or one that was made when somebody wrote to what lay below.

        Raises:
            StorageError: the database cannot be read.
            StoreUnavailableError: the store does not answer.
        """
        try:
            made = await self._store.head(CLAIM_KEY)
        except ObjectNotFoundError:
            return False
        return made.modified_ms <= moment_ms and await claimed_by(self._store) in await self._transactions.read(database_ids)

    async def _holds(self, *, new: bool) -> bool:
        ids = await self._transactions.read(database_ids)
        found = await claimed_by(self._store)
        if found is None:
            content = f"{ids[0]}\n".encode()
            try:
                await self._store.put(CLAIM_KEY, _whole(content), len(content), create_only=True)
                return new
            except ObjectExistsError:  # another node was first
                found = await claimed_by(self._store)
        if found in ids:
            return True
        _log.error(
            "object_store_of_another_database",
            advice=f"check objects.url and database_url; only if this store is this hub's, remove its object {CLAIM_KEY}",
            kept="everything that this database does not know",
        )
        return False


def database_ids(transaction: Transaction) -> Sequence[str]:
    """The ids of the database: its own, and that of the database from which it was copied."""
    return [str(row[0]) for row in transaction.rows("SELECT id FROM hub_identity ORDER BY id")]


async def claimed_by(store: ObjectStore) -> str | None:
    """The id of the database that a store belongs to; None: it belongs to none yet.

    Raises:
        StoreUnavailableError: the store does not answer.
    """
    try:
        pieces = await store.get(CLAIM_KEY)
    except ObjectNotFoundError:
        return None
    content = b"".join([piece async for piece in pieces])
    return content[:_MAX_BYTES].decode("utf-8", "replace").strip()


async def _whole(content: bytes) -> AsyncIterator[bytes]:
    yield content
