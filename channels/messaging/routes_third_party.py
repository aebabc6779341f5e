"""REST for third parties: ``/nexus/v3/channels/{channelId}/messages`` and ``/media`` (docs/protocol/messaging.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any, Final

import structlog
from fastapi import Path, Query, Request, Response

from channels.messaging.counters import Counters
from channels.messaging.media_links import MediaLinks
from channels.messaging.parsing import read_inbound
from channels.messaging.schemas import INBOUND, schema_of_any
from channels.messaging.schemas_third_party import IdsAnswer, MediumAnswer
from channels.messaging.serializers import media_entry
from channels.messaging.service_inbound import InboundService
from channels.messaging.service_media import FIELD, MediaService
from channels.messaging.settings import MessagingSettings
from channels.messaging.signature import Signatures
from hub.core.field_error import FieldError
from hub.http.body import GZIP, apart, content_encoding, takes
from hub.http.errors import ApiError
from hub.http.inflate import inflate
from hub.http.openapi import SECURITY_SCHEMES
from hub.http.responses import respond
from hub.http.routing import HubRouter
from hub.objects.folder import is_id

_log = structlog.get_logger(__name__)


def _error(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}


REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    401: _error("No `x-ccid` or signature, or one that is malformed."),
    403: _error("The signature is not one of a secret of this channel, or there is no such channel."),
    404: _error("There is no such channel, told to who signs with the secret of another one; or no such media resource."),
    503: _error("The database cannot be reached; nothing was changed."),
}
LARGE: Final[dict[int | str, dict[str, Any]]] = {413: _error("More bytes or messages than one request may have.")}
UNSUPPORTED: Final[dict[int | str, dict[str, Any]]] = {
    415: _error("No form, or a file of a type that is not taken, or that is not what is said of it.")
}

BYTES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The file.", "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}

FORM: Final = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {"type": "object", "required": [FIELD], "properties": {FIELD: {"type": "string", "format": "binary"}}}
        }
    },
}

TRACE: Final = {
    "name": "X-B3-TraceId",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "Goes with what follows from the request.",
}

_HEADERS: Final = [
    {
        "name": "X-Hub-Signature",
        "in": "header",
        "required": False,
        "schema": {"type": "string", "pattern": "^sha1=[0-9A-Fa-f]{40}$"},
        "description": "`sha1=` and the HMAC-SHA1 of the raw body (of nothing where there is none), keyed with a secret of the channel.",
    },
    {
        "name": "X-Hub-Signature-256",
        "in": "header",
        "required": False,
        "schema": {"type": "string", "pattern": "^sha256=[0-9A-Fa-f]{64}$"},
        "description": "`sha256=` and the HMAC-SHA256 of the same. One of the two is needed; where both come, both have to fit.",
    },
    {
        "name": "x-ccid",
        "in": "header",
        "required": True,
        "schema": {"type": "string"},
        "description": "The id of the contact center: the name of the tenant.",
    },
    TRACE,
]

_SIGNED: Final[dict[str, Any]] = {
    SECURITY_SCHEMES: {
        "contactCenter": {"type": "apiKey", "in": "header", "name": "x-ccid", "description": "The name of the tenant."},
        "signature": {"type": "apiKey", "in": "header", "name": "X-Hub-Signature", "description": "HMAC-SHA1 of the raw body."},
        "signature256": {"type": "apiKey", "in": "header", "name": "X-Hub-Signature-256", "description": "HMAC-SHA256 of the raw body."},
    },
    "security": [{"contactCenter": [], "signature256": []}, {"contactCenter": [], "signature": []}],
}


def _messages() -> dict[str, Any]:
    """The body of the operation that takes messages."""
    return {
        "required": True,
        "description": "`Content-Encoding: gzip` is taken; the signature is that of the bytes as they are sent.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["messages"],
                    "properties": {"messages": {"type": "array", "minItems": 1, "items": schema_of_any(INBOUND)}},
                }
            }
        },
    }


ChannelId = Annotated[str, Path(alias="channelId", description="The ID of the channel.", examples=["0123456789"])]
MediaId = Annotated[str, Path(alias="mediaId", description="The media resource ID.")]


def create_router(
    *,
    signatures: Signatures,
    inbox: InboundService,
    media: MediaService,
    links: MediaLinks,
    settings: MessagingSettings,
    counters: Counters,
) -> HubRouter:
    """The routes. The signature is checked before a body is read as anything but bytes."""
    router = HubRouter(prefix="/nexus/v3/channels", tags=["Third-party messaging"], responses=REFUSALS)

    @router.post(
        "/{channelId}/messages",
        summary="Send a message",
        response_model=IdsAnswer,
        responses={**LARGE, 415: _error("A content encoding that is not taken.")},
        openapi_extra={**_SIGNED, "parameters": _HEADERS, "requestBody": _messages},
    )
    @takes(settings.max_body_bytes)
    async def messages(request: Request, channel: ChannelId) -> Response:
        """Take messages from consumers, and receipts of messages to them. All of a request is taken, and on disk, or nothing is."""
        signed = await signatures.check(request, channel, settings.max_body_bytes, GZIP)
        with _counted(counters):
            most: int = request.app.state.limits.max_body_members
            body = signed.body
            if content_encoding(request, GZIP) == GZIP:
                body = await inflate(request, body, settings.max_body_bytes, partial(asyncio.sleep, 0))
            written = await apart(len(body), lambda: read_inbound(body, settings, most))
            ids = await inbox.take(signed.channel, written, signed.trace_id)
        return respond({"ids": ids} if ids else None, headers=None)

    @router.post(
        "/{channelId}/media",
        summary="Upload a media resource",
        response_model=MediumAnswer,
        responses={**LARGE, **UNSUPPORTED},
        openapi_extra={**_SIGNED, "parameters": _HEADERS, "requestBody": FORM},
    )
    @takes(media.limit)
    async def upload(request: Request, channel: ChannelId) -> Response:
        """Upload a file, to be named by its `url` in a RichMedia message."""
        signed = await signatures.check(request, channel, media.limit)
        with _counted(counters):
            stored = await media.store(signed.channel, request, signed.body)
        return respond(media_entry(stored), headers=None)

    @router.get(
        "/{channelId}/media/{mediaId}",
        summary="Download a media resource",
        response_class=Response,
        responses=BYTES,
        openapi_extra={
            **_SIGNED,
            "security": [*_SIGNED["security"], {}],
            "parameters": [{**each, "required": False} for each in _HEADERS],
        },
    )
    async def download(
        request: Request,
        channel: ChannelId,
        identifier: MediaId,
        expires: Annotated[str | None, Query(description="Of a link in an outgoing message, with `signature` in place of headers.")] = None,
        signature: Annotated[str | None, Query(description="Of a link in an outgoing message.")] = None,
    ) -> Response:
        """Download a file: signed like every request of a third party, or by a link that an outgoing message had."""
        if signature is not None:
            if expires is None or not is_id(identifier) or not links.good(channel, identifier, expires, signature):
                counters.refused_signatures += 1
                raise ApiError.of_field("signature", "a link of this hub that has not run out", signature, http_status=403)
            return await media.fetch(await media.by_link(channel, identifier))
        signed = await signatures.check(request, channel, settings.max_body_bytes)
        return await media.fetch(await media.find(signed.channel, identifier))

    @router.delete(
        "/{channelId}/media/{mediaId}",
        summary="Delete a media resource",
        response_model=MediumAnswer,
        openapi_extra={**_SIGNED, "parameters": _HEADERS},
    )
    async def delete(request: Request, channel: ChannelId, identifier: MediaId) -> Response:
        """Delete a file that was uploaded; links to it end."""
        signed = await signatures.check(request, channel, settings.max_body_bytes)
        return respond(media_entry(await media.remove(signed.channel, identifier)), headers=None)

    return router


@contextmanager
def _counted(counters: Counters) -> Iterator[None]:
    try:
        yield
    except (ApiError, FieldError):
        counters.refused_requests += 1
        raise
