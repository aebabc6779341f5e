"""The body and the answer of ``StartChatContact``, with the names and bounds of Amazon's API
(docs/protocol/participants.md#starting-a-chat). Members that are not known are not looked at: newer clients send more.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from channels.files.participants.models import TEXT_TYPES
from channels.files.participants.schemas import Credentials, WebsocketDetails
from channels.files.participants.service_items import MAX_CONTENT_BYTES

MAX_BODY_BYTES: Final = 384 * 1024
"""Attributes of 32,768 bytes and a message of 16,384 characters, each of them escaped."""

MAX_USER_DATA_BYTES: Final = 32_768
"""Bytes of what goes into the user data of the interaction, as JSON: more than that, which `interactions.max_user_data_bytes` is unless it
is set, interactions do not keep. Amazon's API has as many for the names and values alone.
"""

PLAIN: Final = "text/plain"
"""The content type that every chat takes."""

_NAME: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_NO_CONTROLS: Final = r"^[^\x00-\x1f\x7f]+$"


def _attributes(given: dict[str, str]) -> dict[str, str]:
    for name in given:
        if not _NAME.fullmatch(name):
            raise ValueError("expected names of letters, digits, - and _")
    return given


def _types(given: list[str]) -> list[str]:
    if not set(given) <= set(TEXT_TYPES):
        raise ValueError(f"expected some of {', '.join(TEXT_TYPES)}")
    if PLAIN not in given:
        raise ValueError(f"expected {PLAIN} among them")
    return given


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class Details(_Body):
    """Who begins the chat."""

    DisplayName: str = Field(min_length=1, max_length=256, pattern=_NO_CONTROLS, description="What the others see.", examples=["Ana"])


class FirstMessage(_Body):
    """What the customer says at once."""

    ContentType: str = Field(min_length=1, max_length=100, examples=[PLAIN])
    Content: str = Field(min_length=1, max_length=MAX_CONTENT_BYTES)


class Configuration(_Body):
    """How answers are sent."""

    ResponseMode: str | None = Field(None, description="`COMPLETE`, which is what the hub does.")


class StartChat(_Body):
    """A chat that is to begin."""

    InstanceId: str = Field(min_length=1, max_length=100, description="The instance id of the tenant, or its name.")
    ContactFlowId: str = Field(
        min_length=1,
        max_length=500,
        pattern=_NO_CONTROLS,
        description="`connect:ContactFlowId` of the interaction's user data.",
    )
    ParticipantDetails: Details
    Attributes: Annotated[dict[str, str], AfterValidator(_attributes)] | None = Field(None, description="User data of the interaction.")
    InitialMessage: FirstMessage | None = None
    ClientToken: str | None = Field(None, max_length=500, description="The same token means the same chat.")
    ChatDurationInMinutes: int | None = Field(
        None,
        ge=60,
        le=10_080,
        description="Minutes after which the chat ends; without it, after `files.chat_idle_hours` of silence.",
    )
    SupportedMessagingContentTypes: Annotated[list[str], Field(min_length=1), AfterValidator(_types)] | None = Field(
        None, description="Content types that messages may have, `text/plain` among them; without it all that there are."
    )
    CustomerId: str | None = Field(
        None,
        min_length=1,
        max_length=128,
        pattern=_NO_CONTROLS,
        description="`connect:CustomerId` of the interaction's user data.",
    )
    ConnectionTypes: Annotated[list[str], Field(min_length=1, max_length=2)] | None = Field(
        None, description="`WEBSOCKET`, `CONNECTION_CREDENTIALS` or both: they come with the answer."
    )
    DisconnectOnCustomerExit: Annotated[list[str], Field(min_length=1, max_length=1)] | None = Field(
        None, description="`AGENT`, which is what the hub does."
    )
    ParticipantConfiguration: Configuration | None = None
    PersistentChat: Any = Field(None, description="Not taken.")
    RelatedContactId: Any = Field(None, description="Not taken.")
    SegmentAttributes: Any = Field(None, description="Not taken.")
    ChatStreamingConfiguration: Any = Field(None, description="Not taken.")


class StartedChat(BaseModel):
    """A chat that began."""

    ContactId: str = Field(description="The id of the interaction.")
    ParticipantId: str
    ParticipantToken: str = Field(
        max_length=1000, description="What `POST /participant/connection` carries as `X-Amz-Bearer`, good while the participant is there."
    )
    ConnectionCredentials: Credentials | None = None
    Websocket: WebsocketDetails | None = None
