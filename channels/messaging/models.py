"""Channels, messages, receipts and media, as the family keeps them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

from channels.messaging.state_machine import ACCEPTED, RecipientStatus, State

_ID: Final = re.compile(r"(0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,15})")


class Channel(NamedTuple):
    """A channel of a tenant. Its secrets and its webhook are those of the outbox endpoint that it owns."""

    number: int
    """Unique for ever: a channel that is created again under the same id has another number."""
    tenant: str
    id: str
    type: str
    """``email``, or ``sms`` and others that carry texts and media."""
    sender_id: str | None
    """The sender of outgoing messages that name none; None: the channel's id."""
    sender_name: str | None
    endpoint: str
    created_ms: int


class Direction(StrEnum):
    """The direction of a message, as seen from the contact centre."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class MessageId(NamedTuple):
    """The hub's own id of a message, unique and rising within a channel: ``1613473893265-0``."""

    ms: int
    n: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.n}"

    @classmethod
    def parse(cls, text: str) -> MessageId | None:
        """Parse an id; None if the text is not one."""
        found = _ID.fullmatch(text)
        return None if found is None else cls(int(found[1]), int(found[2]))


@dataclass(slots=True)
class Recipient:
    """The state of a message for one recipient."""

    id: str
    name: str | None = None
    status: RecipientStatus = ACCEPTED
    reasons: list[dict[str, Any]] = field(default_factory=list)
    """The reasons of a receipt that it failed: ``{"code", "message"?}``."""


@dataclass(slots=True)
class Message:
    """A message, in either direction."""

    channel: int
    id: MessageId
    direction: Direction
    type: str
    state: State
    own_id: str | None
    """The ``messageId`` that its sender gave it; None for none."""
    receiver_id: str | None
    """The ``messageId`` that the third party's answer to the webhook gave it."""
    conversation: str
    """The outbox key of its events."""
    event: int | None
    """The outbox event by which it goes out."""
    sender: dict[str, Any]
    """The sender: ``{"id", "name"?}``."""
    recipients: list[Recipient]
    error: str
    """Why the last attempt to call the webhook failed; empty for none."""
    body: bytes
    """The JSON text of the message, as its sender wrote it."""
    created_ms: int
    changed_ms: int

    @property
    def message_id(self) -> str:
        """The id by which the webhook named it to the third party."""
        return self.own_id or str(self.id)


class Receipt(NamedTuple):
    """A receipt of a message that is not known by this id yet."""

    status: str
    recipients: tuple[str, ...]
    reasons: list[dict[str, Any]]


class MediaResource(NamedTuple):
    """A media resource."""

    id: str
    channel: int
    filename: str
    mimetype: str
    length: int
    created_ms: int
