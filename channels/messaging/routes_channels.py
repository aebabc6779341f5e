"""REST for administrators: ``/api/v1/messaging/channels``."""

from __future__ import annotations

from typing import Annotated, Any

import structlog
from fastapi import Path, Response

from channels.messaging.schemas_channels import (
    ChannelAnswer,
    ChannelChange,
    ChannelsAnswer,
    ChannelWithSecretAnswer,
    NewChannel,
    NewChannelSecret,
)
from channels.messaging.serializers import channel_entry
from channels.messaging.service_channels import Change, ChannelService
from hub.core.principal import Principal
from hub.http.permits import requires
from hub.http.responses import respond
from hub.http.routing import HubRouter
from hub.storage.transactions import Transactions

_log = structlog.get_logger(__name__)


UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"description": "The tenant has no such channel."}}
_EXISTS: dict[int | str, dict[str, Any]] = {409: {"description": "The tenant has a channel of this id already."}}

ChannelId = Annotated[str, Path(alias="channelId", description="The channel's id.", examples=["0123456789"])]


def create_router(transactions: Transactions, service: ChannelService) -> HubRouter:
    """The routes."""
    router = HubRouter(prefix="/api/v1/messaging", tags=["Messaging"])

    @router.get("/channels", summary="All channels", response_model=ChannelsAnswer)
    async def channels(caller: Annotated[Principal, requires("/messaging/read")]) -> Response:
        """The messaging channels of the tenant, in the order of their ids."""
        found = await transactions.read(lambda tx: service.all(tx, caller.tenant))
        return respond({"channels": [channel_entry(each) for each in found]})

    @router.post("/channels", summary="Add a channel", response_model=ChannelWithSecretAnswer, responses=_EXISTS)
    async def add(caller: Annotated[Principal, requires("/messaging/admin")], body: NewChannel) -> Response:
        """Add a messaging channel. The answer has its secret, which is not shown again."""
        made, secret = await transactions.write(lambda tx: service.add(tx, caller.tenant, body.id, _change(body), body.secret))
        _log.info("messaging_channel_added", tenant=caller.tenant, by=caller.subject, channel=made.channel.id)
        return respond({**channel_entry(made), "secret": secret})

    @router.get("/channels/{channelId}", summary="One channel", response_model=ChannelAnswer, responses=UNKNOWN)
    async def channel(caller: Annotated[Principal, requires("/messaging/read")], identifier: ChannelId) -> Response:
        """One channel."""
        return respond(channel_entry(await transactions.read(lambda tx: service.find(tx, caller.tenant, identifier))))

    @router.patch("/channels/{channelId}", summary="Change a channel", response_model=ChannelAnswer, responses=UNKNOWN)
    async def change(caller: Annotated[Principal, requires("/messaging/admin")], identifier: ChannelId, body: ChannelChange) -> Response:
        """Change what is given; deliveries follow at once."""
        made = await transactions.write(lambda tx: service.change(tx, caller.tenant, identifier, _change(body)))
        fields = sorted(body.model_fields_set)
        _log.info("messaging_channel_changed", tenant=caller.tenant, by=caller.subject, channel=identifier, fields=fields)
        return respond(channel_entry(made))

    @router.delete("/channels/{channelId}", summary="Remove a channel", response_model=ChannelAnswer, responses=UNKNOWN)
    async def remove(caller: Annotated[Principal, requires("/messaging/admin")], identifier: ChannelId) -> Response:
        """Remove a channel with its messages and media. Pending deliveries to its webhook are dead and cannot be replayed."""
        gone = await transactions.write(lambda tx: service.remove(tx, caller.tenant, identifier))
        _log.info("messaging_channel_removed", tenant=caller.tenant, by=caller.subject, channel=identifier)
        return respond(channel_entry(gone))

    @router.post(
        "/channels/{channelId}/rotate-secret", summary="Rotate the secret", response_model=ChannelWithSecretAnswer, responses=UNKNOWN
    )
    async def rotate(
        caller: Annotated[Principal, requires("/messaging/admin")], identifier: ChannelId, body: NewChannelSecret | None = None
    ) -> Response:
        """Another secret. The one before is good beside it for 24 hours (`outbox.secret_overlap_h`)."""
        made, secret = await transactions.write(lambda tx: service.rotate(tx, caller.tenant, identifier, body.secret if body else None))
        _log.info("messaging_channel_secret_rotated", tenant=caller.tenant, by=caller.subject, channel=identifier)
        return respond({**channel_entry(made), "secret": secret})

    return router


def _change(body: ChannelChange) -> Change:
    """A member that is null takes something away, one that is not there leaves it."""
    url = (body.webhook or "") if "webhook" in body.model_fields_set else None
    sender_id, sender_name = None, None
    if "sender" in body.model_fields_set:
        sender_id, sender_name = (body.sender.id, body.sender.name or "") if body.sender is not None else ("", "")
    return Change(body.type, url, sender_id, sender_name, body.enabled, body.throttle)
