"""The bodies of answers about messages. Those of messages themselves are in :mod:`.schemas`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from channels.messaging.models import Direction
from channels.messaging.schemas_channels import Sender
from channels.messaging.state_machine import State
from hub.http.schemas import Status


class ReasonEntry(BaseModel):
    """Why a receipt says that a message failed."""

    code: int = Field(examples=[350])
    message: str | None = None


class RecipientEntry(BaseModel):
    """The state of a message for one recipient."""

    id: str = Field(examples=["16504661149"])
    name: str | None = None
    state: State
    reasons: list[ReasonEntry] | None = None


class MessageEntry(BaseModel):
    """A message. Times in milliseconds since 1970."""

    id: str = Field(description="The hub's own id: unique and rising within the channel.", examples=["1613474523265-0"])
    channelId: str = Field(examples=["0123456789"])
    direction: Direction
    type: str = Field(examples=["Text"])
    state: State = Field(description="Of several recipients: failed when it failed for one, else the least of theirs.")
    sender: Sender = Field(alias="from")
    recipients: list[RecipientEntry]
    createdAt: int
    changedAt: int
    messageId: str | None = Field(default=None, description="Its sender's own id; of an outgoing one what the webhook has.")
    receiverMessageId: str | None = Field(default=None, description="What the third party's answer to the webhook called it.")
    error: str | None = Field(default=None, description="Why the webhook was given up.")
    message: dict[str, Any] | None = Field(default=None, description="The message as its sender wrote it.")


class MessageAnswer(BaseModel):
    """Envelope of a message."""

    status: Status
    data: MessageEntry


class MessageList(BaseModel):
    """A page of messages, the newest first."""

    messages: list[MessageEntry]
    cursor: str | None = Field(default=None, description="Where the next page begins; missing on the last one.")


class MessagesAnswer(BaseModel):
    """Envelope of a page of messages."""

    status: Status
    data: MessageList
