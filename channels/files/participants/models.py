"""Chats, their participants, and the items of their transcripts, as the family keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

MEDIUM: Final = "chat"
"""The medium of the interactions that chats are."""

TEXT_TYPES: Final = (
    "text/plain",
    "text/markdown",
    "application/json",
    "application/vnd.amazonaws.connect.message.interactive",
    "application/vnd.amazonaws.connect.message.interactive.response",
)
"""Content types of messages."""

EVENT: Final = "application/vnd.amazonaws.connect.event."
TYPING: Final = f"{EVENT}typing"
DELIVERED: Final = f"{EVENT}message.delivered"
READ: Final = f"{EVENT}message.read"
ACKNOWLEDGED: Final = f"{EVENT}connection.acknowledged"
JOINED: Final = f"{EVENT}participant.joined"
LEFT: Final = f"{EVENT}participant.left"
ENDED: Final = f"{EVENT}chat.ended"
METADATA: Final = f"{EVENT}message.metadata"
ATTACHMENT: Final = "application/vnd.amazonaws.connect.message.attachment"

EVENTS: Final = (TYPING, DELIVERED, READ, ACKNOWLEDGED)
"""Content types of the events that participants send."""


class Role(StrEnum):
    """What a participant is in a chat."""

    CUSTOMER = "CUSTOMER"
    AGENT = "AGENT"
    SUPERVISOR = "SUPERVISOR"
    CUSTOM_BOT = "CUSTOM_BOT"


SYSTEM: Final = "SYSTEM"
"""The role in items that no participant sent."""


class Kind(StrEnum):
    """What an item of a transcript is."""

    MESSAGE = "MESSAGE"
    EVENT = "EVENT"
    ATTACHMENT = "ATTACHMENT"
    RECEIPT = "MESSAGEMETADATA"
    """That a participant has got, or has read, a message."""


class AttachmentStatus(StrEnum):
    """What the participants are told of a file."""

    IN_PROGRESS = "IN_PROGRESS"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"


@dataclass(frozen=True, slots=True)
class Participant:
    """Somebody in a chat. Times are milliseconds since 1970 UTC."""

    tenant: str
    id: str
    contact: str
    """The id of the interaction that the chat is."""
    role: Role
    display_name: str
    created_by: str
    """The subject of the credential that let them in."""
    created_ms: int
    joined_ms: int | None
    """When they connected first."""
    left_ms: int | None
    """When they left, or were removed; their tokens end then."""
    left_token: str | None
    """The digest of the token by which they left, so that the same call once more is answered alike."""
    credential: str = ""
    """See :meth:`channels.files.participants.admitters.Admitters.mark`."""
    admission: str = ""
    """Which of several credentials ``credential`` is, by its digest; empty: the one that let them in first."""
    fields: str = ""
    """The digest of what must be the same where the token of the call that let them in is; empty: role, name and chat must be."""


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat."""

    tenant: str
    contact: str
    started_ms: int
    last_ms: int
    """When its newest item was sent."""
    items: int
    """Items of its transcript; the newest has this number."""
    ended_ms: int | None
    begun: bool
    """Whether the interaction began with the chat, and so finishes with it; else the chat was opened within an interaction."""
    ends_ms: int | None = None
    """When it ends, whatever is said; None: when nothing is said for long."""
    content_types: tuple[str, ...] = TEXT_TYPES
    """Content types that its messages may have."""


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item to be added to a transcript."""

    kind: Kind
    content_type: str
    participant: Participant | None
    """Who sends it; None: the hub itself."""
    content: str | None = None
    subject: str | None = None
    """What it is about, of which its participant has one item of this kind: the id of a file, or of a message."""
    detail: Mapping[str, Any] | None = None
    """What it says beside its content: a file, or receipts."""
    client_token: str | None = None
    """The digest of the token of the call; the same means the same item."""
    fields: str | None = None
    """The digest of what must be the same where the token is."""


class Item(NamedTuple):
    """An item of a transcript."""

    seq: int
    """Its number within the transcript, from 1 on, without gaps."""
    id: str
    kind: Kind
    content_type: str
    content: str | None
    at_ms: int
    """When it was sent, in milliseconds since 1970 UTC; of two items the later one's is not less."""
    participant: str | None
    role: str
    """A :class:`Role`, or :data:`SYSTEM`."""
    display_name: str
    detail: Mapping[str, Any] | None
