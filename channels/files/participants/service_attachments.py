"""The files of chats: what a participant attaches is announced, uploaded by a link, completed, and then told of as one item of the
transcript, which says whether it may be read (docs/protocol/participants.md#attachments).
"""

from __future__ import annotations

from typing import Final

from channels.files import store_files
from channels.files.arns import Arns
from channels.files.errors import FileNotFound
from channels.files.models import Call, FileRecord, NewFile, UploadLink
from channels.files.participants import store_chats, store_items
from channels.files.participants.counters import ChatCounters
from channels.files.participants.errors import AccessDeniedError
from channels.files.participants.journal import Journal
from channels.files.participants.models import ATTACHMENT, AttachmentStatus, Kind, NewItem, Participant, Role
from channels.files.participants.serializers import attachment_entry
from channels.files.publisher import FileChange
from channels.files.service_files import FileService
from hub.objects.links import Disposition
from hub.storage.transactions import Transaction, Transactions

UPLOAD_S: Final = 300
"""Seconds that the link for an upload lives."""

_TOLD: Final = {
    "SCANNING": AttachmentStatus.IN_PROGRESS,
    "APPROVED": AttachmentStatus.APPROVED,
    "REJECTED": AttachmentStatus.REJECTED,
    "FAILED": AttachmentStatus.REJECTED,
    "DELETED": AttachmentStatus.REJECTED,
}
"""What the participants of a chat are told when something becomes of a file; of other changes nothing."""


class AttachmentService:
    """What participants attach. It is a :class:`channels.files.publisher.FileListener`."""

    __slots__ = ("_arns", "_counters", "_files", "_journal", "_transactions")

    def __init__(self, files: FileService, transactions: Transactions, journal: Journal, arns: Arns, counters: ChatCounters) -> None:
        self._files = files
        self._transactions = transactions
        self._journal = journal
        self._arns = arns
        self._counters = counters

    def _resource(self, participant: Participant) -> str:
        return self._arns.contact(participant.tenant, participant.contact)

    async def start(
        self, participant: Participant, name: str, size: int, content_type: str, client_token: str, base_url: str
    ) -> tuple[FileRecord, UploadLink]:
        """Announce a file. Returns it and the link for its bytes.

        Raises:
            InvalidFile, QuotaExceeded, TokenReused: see :meth:`channels.files.service_files.FileService.start`.
            StorageError: the database cannot be written.
        """
        new = NewFile(
            tenant=participant.tenant,
            call=Call.PARTICIPANT,
            resource=self._resource(participant),
            interaction_id=participant.contact,
            name=name,
            size=size,
            content_type=content_type,
            created_by=participant.id,
            tags={},
            client_token=client_token,
            url_expiry_s=UPLOAD_S,
        )
        return await self._files.start(new, base_url)

    async def complete(self, participant: Participant, identifier: str, client_token: str) -> None:
        """Complete a file whose bytes have come. Its item follows when the change of the file is told.

        Raises:
            AccessDeniedError: another participant has announced it.
            FileNotFound, NotUploaded, BeingCompleted, UploadEnded, ObjectStoreError: see
                :meth:`channels.files.service_files.FileService.complete`.
            StorageError: the database cannot be written.
        """
        resource = self._resource(participant)
        found = await self._files.get(participant.tenant, identifier, resource=resource)
        if found.participant_id != participant.id:
            raise AccessDeniedError("the attachment was announced by another participant")
        await self._files.complete(participant.tenant, identifier, call=Call.PARTICIPANT, resource=resource, client_token=client_token)

    async def link(
        self, participant: Participant, identifier: str, base_url: str, *, expiry_s: int, disposition: Disposition
    ) -> tuple[FileRecord, str, int]:
        """A file of the chat that may be read, the link to it, and when that ends, in milliseconds since 1970 UTC.

        Raises:
            AccessDeniedError: the participant is a bot, and the file a customer's.
            FileNotFound, NotApproved: the chat has no such file, or it may not be read.
            StorageError: the database cannot be read.
        """
        try:
            file = await self._files.get(participant.tenant, identifier, resource=self._resource(participant))
        except FileNotFound:
            if await self._transactions.read(
                lambda tx: store_items.has_attachment(tx, participant.tenant, participant.contact, identifier)
            ):
                raise FileNotFound(f"the attachment {identifier} was deleted") from None
            raise
        if participant.role is Role.CUSTOM_BOT and await self._is_of_customer(file):
            raise AccessDeniedError("a CUSTOM_BOT may not fetch what customers have attached")
        url, ends_ms = await self._files.download_link(file, base_url, expiry_s=expiry_s, disposition=disposition)
        return file, url, ends_ms

    async def _is_of_customer(self, file: FileRecord) -> bool:
        sender = file.participant_id
        if sender is None:
            return False
        found = await self._transactions.read(lambda tx: store_chats.participant(tx, file.tenant, sender))
        return found is None or found.role is Role.CUSTOMER

    async def file_changed(self, change: FileChange) -> None:
        """See :class:`channels.files.publisher.FileListener`: tell the chat, with one item for each file.

        Raises:
            StorageError: the database cannot be written.
        """
        status = _TOLD.get(change.event)
        if change.participant_id is not None and change.interaction_id is not None and status is not None:
            await self._transactions.write(lambda tx: self._tell(tx, change, status))

    def _tell(self, tx: Transaction, change: FileChange, status: AttachmentStatus) -> None:
        assert change.interaction_id is not None
        assert change.participant_id is not None
        chat = store_chats.lock(tx, change.tenant, change.interaction_id)
        sender = store_chats.participant(tx, change.tenant, change.participant_id)
        if chat is None or sender is None:
            return  # the chat was deleted for its age
        if not sender.display_name:
            return  # who sent it was erased meanwhile, and the item, if there is one, with it
        if change.event != "DELETED" and store_files.find(tx, change.tenant, change.file_id) is None:
            return  # it was deleted meanwhile, which is told next
        detail = attachment_entry(change.file_id, change.name, change.content_type, status)
        known = store_items.about(tx, chat.tenant, chat.contact, Kind.ATTACHMENT, sender.id, change.file_id)
        if known is None:
            if chat.ended_ms is None and change.event not in ("FAILED", "DELETED"):  # never completed, or gone before: never told of
                self._journal.add(tx, chat, NewItem(Kind.ATTACHMENT, ATTACHMENT, sender, subject=change.file_id, detail=detail))
                tx.after_commit(self._count)
            return
        undecided = known.detail is not None and known.detail["Status"] == AttachmentStatus.IN_PROGRESS
        readable = known.detail is not None and known.detail["Status"] == AttachmentStatus.APPROVED
        if (undecided and status is not AttachmentStatus.IN_PROGRESS) or (readable and change.event == "DELETED"):
            self._journal.change(tx, chat, known, detail)

    def _count(self) -> None:
        self._counters.attachments += 1
