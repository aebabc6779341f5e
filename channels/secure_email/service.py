"""Takes, finds, changes and removes secure e-mails. Each change is written in one transaction with the outbox event that follows."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Final

import msgspec
import structlog

from channels.secure_email import store
from channels.secure_email.attachment_store import AttachmentStore, objects_of
from channels.secure_email.counters import Counters
from channels.secure_email.errors import UnknownAttachmentError, UnknownMailError
from channels.secure_email.models import (
    CLOSED,
    MEDIA,
    RECEIVED,
    Attachment,
    Direction,
    Draft,
    Mailbox,
    MailFilter,
    MailWithAttachments,
    mailbox_address,
)
from hub.core.field_error import FieldError
from hub.core.ports import Clock
from hub.objects.store import ObjectNotFoundError
from hub.outbox.models import NO_ENDPOINT, Recorder
from hub.storage.transactions import Operation, T, Transaction, Transactions

_log = structlog.get_logger(__name__)


class Removal(StrEnum):
    """What to do with a mail."""

    READ = "read"
    DELETE = "delete"
    PURGE = "purge"


class MailEvent(msgspec.Struct, rename="camel"):
    """The body of the outbox events."""

    interaction_id: str
    secure_mail_id: str
    reason: str | None = None
    address: str = ""
    """The consumer's, of a mail that was received; versions before 0.2 recorded neither this nor the subject."""
    subject: str = ""


class MailService:
    """The mailboxes of all tenants."""

    __slots__ = ("_attachments", "_clock", "_outbox", "_transactions", "counters")

    def __init__(self, *, transactions: Transactions, attachments: AttachmentStore, outbox: Recorder, clock: Clock) -> None:
        self.counters = Counters()
        self._attachments = attachments
        self._transactions = transactions
        self._outbox = outbox
        self._clock = clock

    # -- sending ----------------------------------------------------------------------------------------------------------

    async def receive(self, tenant: str, securebox: str, draft: Draft) -> str:
        """Take an inbound mail: it is unread, and its interaction starts. Returns its id when it is on disk.

        Raises:
            FieldError: ``draft.in_reply_to`` is no mail of this mailbox.
            StorageError: the database cannot be written.
            StoreUnavailableError: the object store does not take its attachments.
        """
        assert draft.sender is not None
        box = Mailbox(tenant, mailbox_address(draft.sender), securebox)
        identifier, interaction = str(uuid.uuid4()), str(uuid.uuid4())
        subject = draft.subject or ""
        body = msgspec.json.encode(MailEvent(interaction, identifier, address=box.address, subject=subject))
        kept = await self._attachments.keep(draft)

        def write(tx: Transaction) -> None:
            if draft.in_reply_to is not None:
                _answered(tx, box.tenant, draft.in_reply_to, box)
            store.insert(
                tx,
                box,
                identifier,
                kept,
                direction=Direction.INBOUND,
                subject=subject,
                recipient=draft.recipient,
                interaction_id=interaction,
                now_ms=self._clock.wall_ms(),
            )
            self._outbox.add(tx, tenant=tenant, type=RECEIVED, key=interaction, body=body, media=MEDIA, endpoint=NO_ENDPOINT)

        await self._insert(write, kept)
        self.counters.received += 1
        self.counters.attachments += len(draft.attachments)
        return identifier

    async def send(self, tenant: str, securebox: str | None, draft: Draft) -> str:
        """Put an outbound mail into the consumer's mailbox. An answer (``draft.in_reply_to``) goes to the mailbox of the answered mail, and
        has its subject unless the draft has one. ``securebox`` None: that of the answered mail, else the mailbox without a name.

        Raises:
            FieldError: the mail that is answered is none of this tenant, or of another mailbox than the caller said.
            StorageError: the database cannot be written.
            StoreUnavailableError: the object store does not take its attachments.
        """
        identifier = str(uuid.uuid4())
        kept = await self._attachments.keep(draft)

        def write(tx: Transaction) -> None:
            subject, recipient = draft.subject, draft.recipient
            if draft.in_reply_to is not None:
                answered = _answered(tx, tenant, draft.in_reply_to, None).mail
                if recipient is None:
                    recipient = answered.sender if answered.direction == Direction.INBOUND else answered.recipient
                assert recipient is not None
                box = Mailbox(tenant, mailbox_address(recipient), answered.securebox if securebox is None else securebox)
                _answered(tx, tenant, draft.in_reply_to, box)
                if subject is None:
                    subject = answered.subject if answered.subject[:3].lower() == "re:" else f"Re: {answered.subject}"
            else:
                assert recipient is not None
                box = Mailbox(tenant, mailbox_address(recipient), securebox or "")
            store.insert(
                tx,
                box,
                identifier,
                kept,
                direction=Direction.OUTBOUND,
                subject=subject or "",
                recipient=recipient,
                interaction_id=None,
                now_ms=self._clock.wall_ms(),
            )

        await self._insert(write, kept)
        self.counters.sent += 1
        self.counters.attachments += len(draft.attachments)
        return identifier

    async def _insert(self, write: Operation[None], kept: Draft) -> None:
        """Write the row of a mail whose attachments are objects."""
        try:
            await self._transactions.write(write)
        except FieldError:
            await self._attachments.remove(objects_of(kept.attachments))
            raise
        # after a StorageError nobody knows whether the row is there, if the connection broke while committing: the sweep finds out

    # -- finding ----------------------------------------------------------------------------------------------------------

    async def page(self, box: Mailbox, wanted: MailFilter, *, index: int, count: int) -> list[MailWithAttachments]:
        """Mails of a box, the newest first, without texts and contents; deleted ones are left out.

        Raises:
            StorageError: the database cannot be read.
        """
        return await self._transactions.read(lambda tx: store.page(tx, box, wanted, index=index, count=count))

    async def count(self, box: Mailbox, wanted: MailFilter) -> int:
        """How many mails :meth:`page` has in all.

        Raises:
            StorageError: the database cannot be read.
        """
        return await self._transactions.read(lambda tx: store.count(tx, box, wanted))

    async def find(self, tenant: str, identifier: str, *, contents: bool) -> MailWithAttachments:
        """A mail as it is.

        Raises:
            UnknownMailError: the tenant has no such mail.
            StorageError: the database cannot be read.
            StoreUnavailableError: the object store does not answer.
        """

        def find(tx: Transaction) -> MailWithAttachments | None:
            return store.find(tx, tenant, store.named(tx, tenant, identifier), contents=contents)

        found = _there(await self._transactions.read(find), identifier)
        return await self._attachments.contents(found) if contents else found

    async def user_data(self, tenant: str, identifier: str) -> str:
        """The userdata of a mail as JSON text, internal keys and all.

        Raises:
            UnknownMailError: the tenant has no such mail.
            StorageError: the database cannot be read.
        """

        def find(tx: Transaction) -> str | None:
            return store.user_data(tx, tenant, store.named(tx, tenant, identifier))

        return _there(await self._transactions.read(find), identifier)

    async def attachment(self, tenant: str, identifier: str, number: int) -> tuple[Attachment, AsyncIterator[bytes]]:
        """One attachment, and its bytes in pieces.

        Raises:
            UnknownAttachmentError: the tenant has no such mail, or the mail no such attachment.
            StorageError: the database cannot be read.
            StoreUnavailableError: the object store does not answer.
        """

        def find(tx: Transaction) -> Attachment | None:
            return store.attachment(tx, tenant, store.named(tx, tenant, identifier), number)

        found = await self._transactions.read(find)
        if found is None:
            raise UnknownAttachmentError(identifier, number)
        try:
            return found, await self._attachments.open(found)
        except ObjectNotFoundError:
            # the mail was purged in this moment, or somebody has removed the object behind the hub's back
            _log.error("attachment_lost", mail=identifier, number=number)
            raise UnknownAttachmentError(identifier, number) from None

    # -- changing ---------------------------------------------------------------------------------------------------------

    async def read(self, tenant: str, identifier: str, *, contents: bool) -> MailWithAttachments:
        """Mark a mail as read, and stop the interaction of an inbound one; returns the mail. A second time changes nothing.

        Raises:
            UnknownMailError: the tenant has no such mail.
            StorageError: the database cannot be written.
            StoreUnavailableError: the object store does not answer; the mail is marked as read.
        """
        found = await self._change(tenant, identifier, Removal.READ)
        # outside the transaction of the change: reading large files would hold up other writers
        return await self.find(tenant, identifier, contents=True) if contents and found.attachments else found

    async def remove(self, tenant: str, identifier: str, removal: Removal) -> MailWithAttachments:
        """Mark a mail as read or as deleted, or purge it; each stops the interaction of an inbound one. Returns the mail, as it was before
        where it is purged, without the contents of its attachments.

        Raises:
            UnknownMailError: the tenant has no such mail.
            StorageError: the database cannot be written.
        """
        return await self._change(tenant, identifier, removal)

    async def _change(self, tenant: str, identifier: str, removal: Removal) -> MailWithAttachments:
        counters = self.counters

        def write(tx: Transaction) -> tuple[MailWithAttachments | None, bool, bool, list[str]]:
            now_ms = self._clock.wall_ms()
            changed = False
            objects: list[str] = []
            mail = store.named(tx, tenant, identifier)
            if removal is Removal.READ:
                changed = store.mark_read(tx, tenant, mail, now_ms)
            elif removal is Removal.DELETE:
                changed = store.mark_deleted(tx, tenant, mail, now_ms)
            closed = self._close(tx, tenant, mail, removal, now_ms)
            found = store.find(tx, tenant, mail, contents=False)
            if removal is Removal.PURGE and (purged := store.purge(tx, tenant, mail)) is not None:
                changed, objects = True, purged
            return found, changed, closed, objects

        found, changed, closed, objects = await self._transactions.write(write)
        await self._attachments.remove(objects)
        counters.closed += closed
        if removal is Removal.READ:
            counters.read += changed
        elif removal is Removal.DELETE:
            counters.deleted += changed
        else:
            counters.purged += changed
        return _there(found, identifier)

    def _close(self, tx: Transaction, tenant: str, identifier: str, removal: Removal, now_ms: int) -> bool:
        """Stop the interaction of a mail, if it has one that is not over."""
        interaction = store.close(tx, tenant, identifier, now_ms)
        if interaction is None:
            return False
        body = msgspec.json.encode(MailEvent(interaction, identifier, _REASONS[removal]))
        self._outbox.add(tx, tenant=tenant, type=CLOSED, key=interaction, body=body, media=MEDIA, endpoint=NO_ENDPOINT)
        return True


_REASONS: Final = {Removal.READ: "read", Removal.DELETE: "deleted", Removal.PURGE: "purged"}


def _answered(tx: Transaction, tenant: str, identifier: str, box: Mailbox | None) -> MailWithAttachments:
    """Find the mail that another one answers. If ``box`` is given, it must be of that mailbox."""
    found = store.find(tx, tenant, identifier, contents=False)
    if found is None or (box is not None and (found.mail.address, found.mail.securebox) != (box.address, box.securebox)):
        raise FieldError.of_value("data.inReplyTo", "a secure e-mail of this mailbox", identifier)
    return found


def _there(found: T | None, identifier: str) -> T:
    if found is None:
        raise UnknownMailError(identifier)
    return found
