"""Mails, attachments, mailboxes, and drafts of mails that somebody sends."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

RECEIVED: Final = "securemail.received"
"""Type of the outbox event of an inbound mail: its interaction starts."""

CLOSED: Final = "securemail.closed"
"""Type of the outbox event of an inbound mail that was read, deleted or purged: its interaction is over."""

MEDIA: Final = "email"
SUBTYPE: Final = "InboundNew"
"""Medium and subtype of the interaction of an inbound mail (docs/protocol/secure-email.md#interactions)."""

SECUREBOX: Final = re.compile(r"[A-Za-z0-9]{3,16}")
DEFAULT_BOX: Final = ""
"""The mailbox of a contact that has no name."""

ADDRESS: Final = re.compile(
    r"[^\s\x00-\x20\x7f@<>()\[\]\\,;:\"]{1,64}@"
    r"(?!-)[^\s\x00-\x2c\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]+"
)
"""An e-mail address as people have them, without quoted local parts and address literals."""
MAX_ADDRESS: Final = 254


class Direction(StrEnum):
    """The direction of a mail."""

    INBOUND = "inbound"
    """From the consumer to the contact centre."""
    OUTBOUND = "outbound"
    """From the contact centre to the consumer."""


class MailStatus(StrEnum):
    """Whether its receiver has read a mail."""

    UNREAD = "unread"
    READ = "read"


class Attachment(NamedTuple):
    """A file of a mail. ``content`` is None unless it was asked for; where the bytes are an object, it is read from the store."""

    number: int
    """Within its mail, from 1."""
    filename: str
    content_type: str
    size: int
    object: str | None = None
    """The id of its object (:class:`hub.objects.folder.ObjectFolder`); None: its bytes are in the database."""
    content: bytes | None = None


class Unmoved(NamedTuple):
    """An attachment whose bytes are in the database: the number of its mail's row, and its own within the mail."""

    mail: int
    number: int


class SecureMail(NamedTuple):
    """A mail as it is kept. Times in ms since 1970; texts that it does not have are None."""

    id: str
    direction: str
    address: str
    """The consumer's, in lower case: with the securebox it names the mailbox."""
    securebox: str
    status: str
    sender: str | None
    sender_name: str | None
    recipient: str | None
    recipient_name: str | None
    subject: str
    in_reply_to: str | None
    interaction_id: str | None
    created_ms: int
    read_ms: int | None
    deleted_ms: int | None
    text: str | None = None
    html: str | None = None


class MailWithAttachments(NamedTuple):
    """A mail with its attachments."""

    mail: SecureMail
    attachments: tuple[Attachment, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """A mail that somebody sends."""

    sender: str | None = None
    sender_name: str | None = None
    recipient: str | None = None
    recipient_name: str | None = None
    subject: str | None = None
    text: str | None = None
    html: str | None = None
    user_data: str = "{}"
    """JSON text of an object, the sender's own numbers and all."""
    in_reply_to: str | None = None
    attachments: tuple[Attachment, ...] = ()


class Mailbox(NamedTuple):
    """A mailbox: of one consumer, for one securebox, in one tenant."""

    tenant: str
    address: str
    securebox: str


class MailFilter(NamedTuple):
    """Which mails of a mailbox; None for all."""

    status: MailStatus | None = None
    direction: Direction | None = None


def is_address(text: str) -> bool:
    """Whether this is an e-mail address."""
    return len(text) <= MAX_ADDRESS and ADDRESS.fullmatch(text) is not None


def mailbox_address(text: str) -> str:
    """An e-mail address as the key of a mailbox: upper and lower case are the same contact."""
    return text.lower()
