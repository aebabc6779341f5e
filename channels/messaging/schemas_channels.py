"""The bodies of ``/api/v1/messaging/channels``."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from hub.http.schemas import Status


class Sender(BaseModel):
    """Whom outgoing messages are from that do not say it."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(examples=["no-reply@company.com"], max_length=1_000)
    name: str | None = Field(default=None, examples=["Sender display name"], max_length=1_000)


class ChannelChange(BaseModel):
    """What is to be set; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"webhook": "https://sms.example.com/hook"}]})

    type: str | None = Field(
        default=None, description="`email`, or `sms` and others for texts and media.", examples=["sms"], max_length=1_000
    )
    webhook: str | None = Field(
        default=None,
        description="Where outgoing messages are posted to; null: nowhere, and what waits waits until there is one again.",
        examples=["https://sms.example.com/hook"],
        max_length=4_000,
    )
    sender: Sender | None = Field(default=None, description="Whom outgoing messages are from that do not say it; null: nobody.")
    enabled: bool | None = Field(default=None, description="Whether the webhook is called. What waits goes on when it is enabled again.")
    throttle: Literal["order", "endpoint"] | None = Field(
        default=None, description="What a 429 of the webhook holds back: messages to the same consumer, or all of the channel."
    )


class NewChannel(ChannelChange):
    """A channel that is to be made."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"id": "0123456789", "type": "sms", "webhook": "https://sms.example.com/hook"}]}
    )

    id: str = Field(description="What the third party knows it by.", examples=["0123456789", "company.com"], max_length=1_000)
    type: str = Field(description="`email`, or `sms` and others for texts and media.", examples=["sms"], max_length=1_000)
    secret: str | None = Field(default=None, description="Keys the signatures of both directions; drawn when left out.", max_length=4_000)


class NewChannelSecret(BaseModel):
    """A secret of one's own."""

    model_config = ConfigDict(extra="forbid")

    secret: str | None = Field(default=None, description="Drawn when left out.", max_length=4_000)


class Webhook(BaseModel):
    """Where outgoing messages go."""

    url: str
    enabled: bool
    disabledReason: str = Field(description="Why it is not enabled.")
    failingSince: int | None = Field(default=None, description="Since when there were nothing but failures, ms.")


class ChannelEntry(BaseModel):
    """A messaging channel. Times in milliseconds since 1970."""

    id: str
    type: str
    sender: Sender | None = None
    webhook: Webhook | None = None
    throttle: Literal["order", "endpoint"]
    endpoint: str = Field(description="Its endpoint's id, for `GET /api/v1/deliveries?endpoint=`.")
    createdAt: int
    oldSecretsUntil: list[int] = Field(description="When secrets that were rotated out cease to be good.")


class ChannelWithSecret(ChannelEntry):
    """A channel, and its secret: it is shown this once."""

    secret: str


class ChannelAnswer(BaseModel):
    """Envelope of a channel."""

    status: Status
    data: ChannelEntry


class ChannelWithSecretAnswer(BaseModel):
    """Envelope of a channel and its secret."""

    status: Status
    data: ChannelWithSecret


class ChannelList(BaseModel):
    """All channels, in the order of their ids."""

    channels: list[ChannelEntry]


class ChannelsAnswer(BaseModel):
    """Envelope of all channels."""

    status: Status
    data: ChannelList
