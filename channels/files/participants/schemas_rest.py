"""The bodies of the hub's own calls for chats, as ``/openapi.json`` has them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from channels.files.participants.models import TEXT_TYPES
from channels.files.participants.service_items import MAX_CONTENT_BYTES
from hub.http.schemas import Status

NO_CONTROLS = r"^[^\x00-\x1f\x7f]+$"

InteractionId = Annotated[str, Field(min_length=1, max_length=200, pattern=NO_CONTROLS)]


class NewParticipantBody(BaseModel):
    """Somebody who is to be let into a chat."""

    model_config = ConfigDict(extra="forbid", strict=True)

    interactionId: InteractionId | None = Field(default=None, description="The chat; without it a new one begins.")
    role: Literal["CUSTOMER", "AGENT", "SUPERVISOR", "CUSTOM_BOT"] = Field(description="What they are in the chat.")
    displayName: str = Field(min_length=1, max_length=256, pattern=NO_CONTROLS, description="What the others see.", examples=["Ana"])
    clientToken: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="The same once more means the same participant: a call can be made again.",
    )


class ParticipantEntry(BaseModel):
    """A participant."""

    participantId: str
    interactionId: str
    role: str
    displayName: str


class LetIn(ParticipantEntry):
    """A participant who was let in."""

    participantToken: str = Field(
        description="What `POST /participant/connection` carries as `X-Amz-Bearer`, good while the participant is there."
    )


class LetInAnswer(BaseModel):
    """Envelope of a participant who was let in."""

    status: Status
    data: LetIn


class ParticipantAnswer(BaseModel):
    """Envelope of a participant."""

    status: Status
    data: ParticipantEntry


class MessageBody(BaseModel):
    """A message of an agent."""

    model_config = ConfigDict(extra="forbid", strict=True)

    content: str = Field(min_length=1, max_length=MAX_CONTENT_BYTES)
    contentType: Literal[TEXT_TYPES] = "text/plain"  # type: ignore[valid-type]
    clientToken: str | None = Field(default=None, min_length=1, max_length=500, description="The same once more sends nothing again.")


class SentEntry(BaseModel):
    """A message that was sent."""

    id: str
    sentAt: int = Field(description="In milliseconds since 1970.")


class SentMessageAnswer(BaseModel):
    """Envelope of a message that was sent."""

    status: Status
    data: SentEntry


class TranscriptData(BaseModel):
    """A part of a transcript."""

    items: list[dict[str, Any]] = Field(description="As Amazon's API has them, the older first.")
    cursor: str | None = Field(default=None, description="Where to go on; missing at the end.")


class TranscriptAnswer(BaseModel):
    """Envelope of a part of a transcript."""

    status: Status
    data: TranscriptData
