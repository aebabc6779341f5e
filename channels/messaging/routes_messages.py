"""REST for agents' systems: messages and media of ``/api/v1/messaging/channels/{channelId}``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query, Request, Response

from channels.messaging import store_channels, store_messages
from channels.messaging.errors import UnknownChannelError, UnknownMessageError
from channels.messaging.models import Channel, Direction, Message, MessageId
from channels.messaging.parsing import read_outbound
from channels.messaging.routes_channels import UNKNOWN, ChannelId
from channels.messaging.routes_third_party import BYTES, FORM, LARGE, TRACE, UNSUPPORTED, MediaId
from channels.messaging.schemas import OUTBOUND, schema_of_any
from channels.messaging.schemas_messages import MessageAnswer, MessagesAnswer
from channels.messaging.schemas_third_party import MediumAnswer
from channels.messaging.serializers import media_entry, message_entry
from channels.messaging.service_media import MediaService
from channels.messaging.service_outbound import OutboundService
from channels.messaging.settings import MessagingSettings
from channels.messaging.signature import CHANNEL_ID, trace_id
from channels.messaging.state_machine import State
from hub.core.field_error import FieldError
from hub.core.principal import Principal
from hub.http.body import apart, read_body, takes
from hub.http.openapi import json_body
from hub.http.permits import requires
from hub.http.responses import respond
from hub.http.routing import HubRouter
from hub.security.hosts import Hosts
from hub.storage.transactions import Transactions

MAX_PAGE: int = 1_000
"""Entries of one page."""


_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"description": "The tenant has no such channel, or that no such message or media."}}
_NO_WEBHOOK: dict[int | str, dict[str, Any]] = {409: {"description": "The channel has no webhook."}}


def create_router(
    *, transactions: Transactions, outgoing: OutboundService, media: MediaService, settings: MessagingSettings, hosts: Hosts
) -> HubRouter:
    """The routes. Third parties are given links to where ``hosts`` says that the hub is found."""
    router = HubRouter(prefix="/api/v1/messaging", tags=["Messaging"], responses=UNKNOWN)

    async def find(tenant: str, identifier: str) -> Channel:
        found = (
            await transactions.read(lambda tx: store_channels.find(tx, tenant, identifier)) if CHANNEL_ID.fullmatch(identifier) else None
        )
        if found is None:
            raise UnknownChannelError(identifier)
        return found

    @router.post(
        "/channels/{channelId}/messages",
        summary="Send a message to a consumer",
        response_model=MessageAnswer,
        responses={**LARGE, **_NO_WEBHOOK},
        openapi_extra={"parameters": [TRACE], **json_body(lambda: schema_of_any(OUTBOUND))},
    )
    @takes(settings.max_body_bytes)
    async def send(request: Request, caller: Annotated[Principal, requires("/messaging/write")], channel: ChannelId) -> Response:
        """Send a message by the channel's webhook. When this is answered it is on disk, and goes out in the order of its recipient's
        messages; what becomes of it is told on the hub's channel `/nexus/v3/channels/{channelId}/messages`, and here.
        """
        body = await read_body(request, settings.max_body_bytes)
        most: int = request.app.state.limits.max_body_members
        content, raw = await apart(len(body), lambda: read_outbound(body, settings, most))
        if not CHANNEL_ID.fullmatch(channel):
            raise UnknownChannelError(channel)
        base_url = hosts.base_url(request.scope)
        sent = await outgoing.send(caller.tenant, channel, content, raw, base_url=base_url, trace_id=trace_id(request))
        return respond(message_entry(sent.channel.id, sent.message, content=False))

    @router.get("/channels/{channelId}/messages", summary="Messages of a channel", response_model=MessagesAnswer)
    async def messages(
        caller: Annotated[Principal, requires("/messaging/read")],
        channel: ChannelId,
        state: Annotated[State | None, Query(description="Only those in this state.")] = None,
        direction: Annotated[Direction | None, Query(description="Only those that go this way.")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Entries of a page.")] = 100,
        cursor: Annotated[str | None, Query(description="`data.cursor` of the page before.")] = None,
    ) -> Response:
        """The messages of a channel in both directions, the newest first, without what they say."""
        before = None if cursor is None else MessageId.parse(cursor)
        if cursor is not None and before is None:
            raise FieldError.of_value("cursor", "the cursor of the page before", cursor)
        known = await find(caller.tenant, channel)
        found = await transactions.read(
            lambda tx: store_messages.page(tx, known.number, state=state, direction=direction, before=before, limit=limit)
        )
        data: dict[str, Any] = {"messages": [message_entry(known.id, each, content=False) for each in found]}
        if len(found) == limit:
            data["cursor"] = str(found[-1].id)
        return respond(data)

    @router.get("/channels/{channelId}/messages/{messageId}", summary="One message", response_model=MessageAnswer, responses=_UNKNOWN)
    async def message(
        caller: Annotated[Principal, requires("/messaging/read")],
        channel: ChannelId,
        identifier: Annotated[str, Path(alias="messageId", description="The hub's id of the message.", examples=["1613474523265-0"])],
    ) -> Response:
        """One message, with what it says."""
        wanted = MessageId.parse(identifier)
        known = await find(caller.tenant, channel)
        found: Message | None = None
        if wanted is not None:
            found = await transactions.read(lambda tx: store_messages.by_id(tx, known.number, wanted))
        if found is None:
            raise UnknownMessageError(identifier)
        return respond(message_entry(known.id, found, content=True))

    @router.post(
        "/channels/{channelId}/media",
        summary="Upload a file for a message",
        response_model=MediumAnswer,
        responses={**LARGE, **UNSUPPORTED},
        openapi_extra={"requestBody": FORM},
    )
    @takes(media.limit)
    async def upload(request: Request, caller: Annotated[Principal, requires("/messaging/write")], channel: ChannelId) -> Response:
        """Upload a file, to be named by its `url` in a RichMedia message. The third party gets a link to it that is good for
        `messaging.media_link_hours`.
        """
        known = await find(caller.tenant, channel)
        stored = await media.store(known, request, await read_body(request, media.limit))
        return respond(media_entry(stored))

    @router.get(
        "/channels/{channelId}/media/{mediaId}",
        summary="Download a file of a message",
        response_class=Response,
        responses={**_UNKNOWN, **BYTES},
    )
    async def download(caller: Annotated[Principal, requires("/messaging/read")], channel: ChannelId, identifier: MediaId) -> Response:
        """Download what a `genesys://nexus/{mediaId}` of a message stands for."""
        return await media.fetch(await media.find(await find(caller.tenant, channel), identifier))

    @router.delete("/channels/{channelId}/media/{mediaId}", summary="Delete a file", response_model=MediumAnswer, responses=_UNKNOWN)
    async def delete(caller: Annotated[Principal, requires("/messaging/write")], channel: ChannelId, identifier: MediaId) -> Response:
        """Delete a file; links to it end."""
        return respond(media_entry(await media.remove(await find(caller.tenant, channel), identifier)))

    return router
