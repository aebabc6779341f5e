"""REST for agents' systems: messages and media of ``/api/v1/messaging/channels/{channelId}``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field

from channels.messaging import channel_store, message_store
from channels.messaging.api_channels import UNKNOWN, ChannelId, Sender
from channels.messaging.api_thirdparty import BYTES, FORM, LARGE, TRACE, UNSUPPORTED, MediaId, MediumAnswer, faults
from channels.messaging.channel_store import Channel
from channels.messaging.media_service import Media, describe_medium
from channels.messaging.message_store import Direction, Message, MessageId
from channels.messaging.outgoing import Outgoing, unknown_channel
from channels.messaging.parsing import read_outbound
from channels.messaging.progress import describe
from channels.messaging.schemas import OUTBOUND, json_schema
from channels.messaging.settings import MessagingSettings
from channels.messaging.signature import CHANNEL_ID, trace_id
from channels.messaging.states import State
from hub.core.principal import Principal
from hub.ops.body import apart, read_body, takes
from hub.ops.envelope import ApiError, EnvelopeResponse, ok
from hub.security.api import Status
from hub.security.hosts import Hosts
from hub.security.rest import requires
from hub.storage.transactions import Transactions

MOST: int = 1_000
"""Entries of one page."""

_NO_STORE = {"Cache-Control": "no-store"}


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


_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"description": "The tenant has no such channel, or that no such message or media."}}
_NO_WEBHOOK: dict[int | str, dict[str, Any]] = {409: {"description": "The channel has no webhook."}}
_BODY = {"required": True, "content": {"application/json": {"schema": json_schema(OUTBOUND)}}}


def create_router(*, transactions: Transactions, outgoing: Outgoing, media: Media, settings: MessagingSettings, hosts: Hosts) -> APIRouter:
    """The routes. Third parties are given links to where ``hosts`` says that the hub is found."""
    router = APIRouter(prefix="/api/v1/messaging", tags=["Messaging"], responses=UNKNOWN)

    async def find(tenant: str, identifier: str) -> Channel:
        found = await transactions.read(lambda tx: channel_store.find(tx, tenant, identifier)) if CHANNEL_ID.fullmatch(identifier) else None
        if found is None:
            raise unknown_channel(identifier)
        return found

    @router.post(
        "/channels/{channelId}/messages",
        summary="Send a message to a consumer",
        response_model=MessageAnswer,
        responses={**LARGE, **_NO_WEBHOOK},
        openapi_extra={"parameters": [TRACE], "requestBody": _BODY},
    )
    @takes(settings.max_body_bytes)
    async def send(request: Request, caller: Annotated[Principal, requires("/messaging/write")], channel: ChannelId) -> Response:
        """Send a message by the channel's webhook. When this is answered it is on disk, and goes out in the order of its recipient's
        messages; what becomes of it is told on the hub's channel `/nexus/v3/channels/{channelId}/messages`, and here.
        """
        with faults():
            body = await read_body(request, settings.max_body_bytes)
            most: int = request.app.state.limits.max_body_members
            content, raw = await apart(len(body), lambda: read_outbound(body, settings, most))
            if not CHANNEL_ID.fullmatch(channel):
                raise unknown_channel(channel)
            base_url = hosts.base_url(request.scope)
            sent = await outgoing.send(caller.tenant, channel, content, raw, base_url=base_url, trace_id=trace_id(request))
        return _answer(describe(sent.channel.id, sent.message, content=False))

    @router.get("/channels/{channelId}/messages", summary="Messages of a channel", response_model=MessagesAnswer)
    async def messages(
        caller: Annotated[Principal, requires("/messaging/read")],
        channel: ChannelId,
        state: Annotated[State | None, Query(description="Only those in this state.")] = None,
        direction: Annotated[Direction | None, Query(description="Only those that go this way.")] = None,
        limit: Annotated[int, Query(ge=1, le=MOST, description="Entries of a page.")] = 100,
        cursor: Annotated[str | None, Query(description="`data.cursor` of the page before.")] = None,
    ) -> Response:
        """The messages of a channel in both directions, the newest first, without what they say."""
        before = None if cursor is None else MessageId.parse(cursor)
        if cursor is not None and before is None:
            raise ApiError.of_field("cursor", "the cursor of the page before", cursor)
        with faults():
            known = await find(caller.tenant, channel)
            found = await transactions.read(
                lambda tx: message_store.page(tx, known.number, state=state, direction=direction, before=before, limit=limit)
            )
        data: dict[str, Any] = {"messages": [describe(known.id, each, content=False) for each in found]}
        if len(found) == limit:
            data["cursor"] = str(found[-1].id)
        return _answer(data)

    @router.get("/channels/{channelId}/messages/{messageId}", summary="One message", response_model=MessageAnswer, responses=_UNKNOWN)
    async def message(
        caller: Annotated[Principal, requires("/messaging/read")],
        channel: ChannelId,
        identifier: Annotated[str, Path(alias="messageId", description="The hub's id of the message.", examples=["1613474523265-0"])],
    ) -> Response:
        """One message, with what it says."""
        wanted = MessageId.parse(identifier)
        with faults():
            known = await find(caller.tenant, channel)
            found: Message | None = None
            if wanted is not None:
                found = await transactions.read(lambda tx: message_store.by_id(tx, known.number, wanted))
        if found is None:
            raise ApiError.of_field("messageId", "the id of a message of this channel that is kept", identifier, http_status=404)
        return _answer(describe(known.id, found, content=True))

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
        with faults():
            known = await find(caller.tenant, channel)
            stored = await media.store(known, request, await read_body(request, media.limit))
        return _answer({**describe_medium(stored)})

    @router.get(
        "/channels/{channelId}/media/{mediaId}",
        summary="Download a file of a message",
        response_class=Response,
        responses={**_UNKNOWN, **BYTES},
    )
    async def download(caller: Annotated[Principal, requires("/messaging/read")], channel: ChannelId, identifier: MediaId) -> Response:
        """Download what a `genesys://nexus/{mediaId}` of a message stands for."""
        with faults():
            return await media.fetch(await media.find(await find(caller.tenant, channel), identifier))

    @router.delete("/channels/{channelId}/media/{mediaId}", summary="Delete a file", response_model=MediumAnswer, responses=_UNKNOWN)
    async def delete(caller: Annotated[Principal, requires("/messaging/write")], channel: ChannelId, identifier: MediaId) -> Response:
        """Delete a file; links to it end."""
        with faults():
            return _answer({**describe_medium(await media.remove(await find(caller.tenant, channel), identifier))})

    return router


def _answer(data: dict[str, Any]) -> Response:
    return EnvelopeResponse(ok(data), headers=_NO_STORE)
