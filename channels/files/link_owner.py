"""What the links to files lead to: the :class:`hub.objects.transfer.LinkOwner` of the family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from channels.files import store_files
from channels.files.changes import FileChanges
from channels.files.models import GRACE_MS, FileRecord
from channels.files.service_files import new_key
from channels.files.state_machine import Action, State
from hub.core.ports import Clock
from hub.objects.links import FileLink, Purpose
from hub.objects.store import Stored
from hub.objects.transfer import Coming, Download, LinkUsedError, Outcome, Upload
from hub.storage.transactions import Transaction, Transactions

FOR_SCANNER: Final = "~scan"
"""Ends the id in a link by which the scanner reads a file that nobody else may read yet."""


class FileLinkOwner:
    """Takes an upload once, the same bytes again as long as the file has them, and gives out approved files."""

    purpose = Purpose.FILE

    __slots__ = ("_changes", "_clock", "_longest_s", "_transactions")

    def __init__(self, transactions: Transactions, changes: FileChanges, clock: Clock, longest_s: Callable[[int], float]) -> None:
        """``longest_s`` tells how many seconds an upload of so many bytes may last."""
        self._transactions = transactions
        self._changes = changes
        self._clock = clock
        self._longest_s = longest_s

    async def begin(self, link: FileLink, coming: Coming) -> Upload | None:
        """See :class:`hub.objects.transfer.LinkOwner`. What is coming was announced, and counted, before there was a link."""
        file = await self._transactions.read(lambda tx: store_files.find(tx, link.tenant, link.id))
        if file is None:
            return None
        if file.state is State.STARTED:
            ends_ms = self._clock.wall_ms() + round(self._longest_s(file.size) * 1000)
            if ends_ms > file.link_ends_ms + GRACE_MS:  # else there is time enough without another transaction
                await self._transactions.write(lambda tx: _wait(tx, link, ends_ms))
            return Upload(new_key(file.id))
        stored = _stored(file)
        if file.key is None or stored is None:
            raise LinkUsedError(f"the file is {file.state.status} and takes no bytes any more")
        return Upload(file.key, stored)

    async def finish(self, link: FileLink, upload: Upload, stored: Stored) -> Outcome:
        """See :class:`hub.objects.transfer.LinkOwner`."""
        now_ms = self._clock.wall_ms()

        def write(tx: Transaction) -> Outcome:
            file = store_files.lock(tx, link.tenant, link.id)
            if file is None:
                return Outcome.GONE
            if file.state is not State.STARTED:
                return Outcome.SAME if _stored(file) == stored else Outcome.OTHER
            self._changes.move(tx, file, Action.UPLOAD, now_ms, uploaded_ms=now_ms, key=upload.key, md5=stored.md5, sha256=stored.sha256)
            return Outcome.KEPT

        return await self._transactions.write(write)

    async def find(self, link: FileLink) -> Download | None:
        """See :class:`hub.objects.transfer.LinkOwner`."""
        identifier = link.id.removesuffix(FOR_SCANNER)
        wanted = State.APPROVED if identifier == link.id else State.SCANNING
        file = await self._transactions.read(lambda tx: store_files.find(tx, link.tenant, identifier))
        if file is None or file.state is not wanted or file.key is None:
            return None
        etag = file.md5 or file.id.replace("-", "")  # what lies at a key never changes
        return Download(file.key, file.size, etag, file.name, file.content_type, file.uploaded_ms or file.created_ms)


def _wait(tx: Transaction, link: FileLink, ends_ms: int) -> None:
    """Have a file whose bytes are coming not fail before its upload has ended, as the end of a link does."""
    file = store_files.lock(tx, link.tenant, link.id)
    if file is not None and file.state is State.STARTED and file.link_ends_ms < ends_ms:
        store_files.save(tx, replace(file, link_ends_ms=ends_ms))


def _stored(file: FileRecord) -> Stored | None:
    return None if file.md5 is None or file.sha256 is None else Stored(file.size, file.md5, file.sha256)
