"""Erases one person's files: the :class:`hub.erasure.Eraser` of the family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from channels.files import store_files
from channels.files.changes import FileChanges
from channels.files.counters import Counters
from channels.files.models import FileRecord, objects_of
from channels.files.participants.eraser import ChatEraser
from hub.erasure import Person
from hub.objects.store import ObjectStore
from hub.storage.transactions import Transaction, Transactions

BATCH: Final = 200


class FilesEraser:
    """Deletes what a user, an agent or a participant of a chat sent, rows and bytes: of whoever has exactly that id; and takes the person
    out of chats, with what they sent there. Addresses and telephone numbers stand in no row of a file, but may be names in a chat.
    """

    __slots__ = ("_changes", "_chats", "_counters", "_store", "_transactions")

    def __init__(self, transactions: Transactions, store: ObjectStore, changes: FileChanges, counters: Counters, chats: ChatEraser) -> None:
        self._transactions = transactions
        self._store = store
        self._changes = changes
        self._counters = counters
        self._chats = chats

    async def erase(self, person: Person) -> Mapping[str, int]:
        """See :class:`hub.erasure.Eraser`.

        Raises:
            StorageError: the database cannot be written.
            ObjectStoreError: the bytes of some files could not be removed; the sweep removes them.
        """
        files = participants = 0
        while True:
            erased, changed = await self._transactions.write(lambda tx: self._erase(tx, person))
            await self._store.delete([key for file in erased for key in objects_of(file)])
            self._counters.erased += len(erased)
            files, participants = files + len(erased), participants + changed
            if not erased and not changed:
                return {"files": files, "participants": participants}

    def _erase(self, tx: Transaction, person: Person) -> tuple[list[FileRecord], int]:
        """Returns the files, and how many participants were changed."""
        gone, others = self._chats.erase(tx, person)
        found = self._delete(tx, person.tenant, person.id) if person.id else []
        for participant in gone:
            while some := self._delete(tx, person.tenant, participant.id):
                found += some
        return found, len(gone) + others

    def _delete(self, tx: Transaction, tenant: str, creator: str) -> list[FileRecord]:
        found = store_files.created_by(tx, tenant, creator, BATCH)
        for file in found:
            self._changes.delete(tx, file, erased=True)
        return found
