"""REST for administrators: ``/api/v1/messaging/channels``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import structlog
from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from channels.messaging.administration import Change, ChannelAdministration, ChannelExistsError, Managed, UnknownChannelError
from channels.messaging.outgoing import unknown_channel
from hub.core.principal import Principal
from hub.ops.envelope import ApiError, EnvelopeResponse, ok
from hub.ops.storage import unavailable
from hub.outbox.administration import EndpointError
from hub.security.api import Status
from hub.security.rest import requires
from hub.storage.transactions import Operation, StorageError, T, Transactions

_log = structlog.get_logger(__name__)

_NO_STORE = {"Cache-Control": "no-store"}


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


UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"description": "The tenant has no such channel."}}
_EXISTS: dict[int | str, dict[str, Any]] = {409: {"description": "The tenant has a channel of this id already."}}

ChannelId = Annotated[str, Path(alias="channelId", description="The channel's id.", examples=["0123456789"])]


def create_router(transactions: Transactions, administration: ChannelAdministration) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/v1/messaging", tags=["Messaging"])

    async def write(operation: Operation[T]) -> T:
        try:
            return await transactions.write(operation)
        except EndpointError as fault:
            raise ApiError.of_field(fault.field, fault.expected, fault.got) from None
        except UnknownChannelError as fault:
            raise unknown_channel(str(fault)) from None
        except ChannelExistsError as fault:
            raise ApiError.of_field("id", "an id that the tenant has no channel of yet", str(fault), http_status=409) from None
        except StorageError as fault:
            raise unavailable(fault) from fault

    async def read(operation: Operation[T]) -> T:
        try:
            return await transactions.read(operation)
        except UnknownChannelError as fault:
            raise unknown_channel(str(fault)) from None
        except StorageError as fault:
            raise unavailable(fault) from fault

    @router.get("/channels", summary="All channels", response_model=ChannelsAnswer)
    async def channels(caller: Annotated[Principal, requires("/messaging/read")]) -> Response:
        """The messaging channels of the tenant, in the order of their ids."""
        found = await read(lambda tx: administration.all(tx, caller.tenant))
        return _answer({"channels": [_entry(each) for each in found]})

    @router.post("/channels", summary="Add a channel", response_model=ChannelWithSecretAnswer, responses=_EXISTS)
    async def add(caller: Annotated[Principal, requires("/messaging/admin")], body: NewChannel) -> Response:
        """Add a messaging channel. The answer has its secret, which is not shown again."""
        made, secret = await write(lambda tx: administration.add(tx, caller.tenant, body.id, _change(body), body.secret))
        _log.info("messaging_channel_added", tenant=caller.tenant, by=caller.subject, channel=made.channel.id)
        return _answer({**_entry(made), "secret": secret})

    @router.get("/channels/{channelId}", summary="One channel", response_model=ChannelAnswer, responses=UNKNOWN)
    async def channel(caller: Annotated[Principal, requires("/messaging/read")], identifier: ChannelId) -> Response:
        """One channel."""
        return _answer(_entry(await read(lambda tx: administration.find(tx, caller.tenant, identifier))))

    @router.patch("/channels/{channelId}", summary="Change a channel", response_model=ChannelAnswer, responses=UNKNOWN)
    async def change(caller: Annotated[Principal, requires("/messaging/admin")], identifier: ChannelId, body: ChannelChange) -> Response:
        """Change what is given; deliveries follow at once."""
        made = await write(lambda tx: administration.change(tx, caller.tenant, identifier, _change(body)))
        fields = sorted(body.model_fields_set)
        _log.info("messaging_channel_changed", tenant=caller.tenant, by=caller.subject, channel=identifier, fields=fields)
        return _answer(_entry(made))

    @router.delete("/channels/{channelId}", summary="Remove a channel", response_model=ChannelAnswer, responses=UNKNOWN)
    async def remove(caller: Annotated[Principal, requires("/messaging/admin")], identifier: ChannelId) -> Response:
        """Remove a channel with its messages and media. Pending deliveries to its webhook are dead and cannot be replayed."""
        gone = await write(lambda tx: administration.remove(tx, caller.tenant, identifier))
        _log.info("messaging_channel_removed", tenant=caller.tenant, by=caller.subject, channel=identifier)
        return _answer(_entry(gone))

    @router.post(
        "/channels/{channelId}/rotate-secret", summary="Rotate the secret", response_model=ChannelWithSecretAnswer, responses=UNKNOWN
    )
    async def rotate(
        caller: Annotated[Principal, requires("/messaging/admin")], identifier: ChannelId, body: NewChannelSecret | None = None
    ) -> Response:
        """Another secret. The one before is good beside it for 24 hours (`outbox.secret_overlap_h`)."""
        made, secret = await write(lambda tx: administration.rotate(tx, caller.tenant, identifier, body.secret if body else None))
        _log.info("messaging_channel_secret_rotated", tenant=caller.tenant, by=caller.subject, channel=identifier)
        return _answer({**_entry(made), "secret": secret})

    return router


def _answer(data: dict[str, Any]) -> Response:
    return EnvelopeResponse(ok(data), headers=_NO_STORE)


def _change(body: ChannelChange) -> Change:
    """A member that is null takes something away, one that is not there leaves it."""
    url = (body.webhook or "") if "webhook" in body.model_fields_set else None
    sender_id, sender_name = None, None
    if "sender" in body.model_fields_set:
        sender_id, sender_name = (body.sender.id, body.sender.name or "") if body.sender is not None else ("", "")
    return Change(body.type, url, sender_id, sender_name, body.enabled, body.throttle)


def _entry(managed: Managed) -> dict[str, Any]:
    channel, endpoint = managed
    entry: dict[str, Any] = {"id": channel.id, "type": channel.type}
    if channel.sender_id is not None:
        entry["sender"] = {"id": channel.sender_id, **({"name": channel.sender_name} if channel.sender_name is not None else {})}
    if endpoint.url:
        entry["webhook"] = {"url": endpoint.url, "enabled": endpoint.enabled, "disabledReason": endpoint.disabled_reason}
        if endpoint.failing_since_ms is not None:
            entry["webhook"]["failingSince"] = endpoint.failing_since_ms
    return entry | {
        "throttle": endpoint.policy.throttle.value,
        "endpoint": channel.endpoint,
        "createdAt": channel.created_ms,
        "oldSecretsUntil": [each.until_ms for each in endpoint.secrets if each.until_ms is not None],
    }
