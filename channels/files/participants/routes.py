"""The calls of Amazon Connect's Participant service (docs/protocol/participants.md#calls).

Who calls is found out before the body is read.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import Request, Response

from channels.events import format_time, parse_time
from channels.files.amazon_errors import REQUEST_ID, id_of
from channels.files.participants.callers import Callers
from channels.files.participants.connections import PREFIX, Connections, check_kinds
from channels.files.participants.errors import AccessDeniedError
from channels.files.participants.models import Participant
from channels.files.participants.schemas import (
    MAX_RESULTS,
    AttachmentLink,
    CompleteUpload,
    ConnectionDetails,
    CreateConnection,
    Disconnect,
    Empty,
    GetAttachment,
    GetTranscript,
    SendEvent,
    SendMessage,
    SentAnswer,
    StartedUpload,
    StartUpload,
    TranscriptPage,
)
from channels.files.participants.serializers import item_entry
from channels.files.participants.service import ChatService
from channels.files.participants.service_attachments import AttachmentService
from channels.files.participants.service_items import ItemService, Sent
from channels.files.participants.tokens import Purpose
from channels.files.participants.transcripts import Direction, Query, read_page
from hub.core.field_error import FieldError
from hub.http.openapi import SECURITY_SCHEMES, json_body, schema_of
from hub.http.read_model import read_model
from hub.http.responses import NO_STORE, EnvelopeResponse
from hub.http.routing import HubRouter
from hub.objects.links import Disposition
from hub.security.connections import admit
from hub.security.hosts import Hosts
from hub.storage.transactions import Transactions

PATHS: Final = tuple(
    f"{PREFIX}/{each}"
    for each in (
        "connection",
        "start-attachment-upload",
        "complete-attachment-upload",
        "attachment",
        "message",
        "event",
        "transcript",
        "disconnect",
    )
)
"""Every call. Pages of any origin may make them: the token is the credential, and no other one is looked at."""

MAX_BODY_BYTES: Final = 128 * 1024
"""A message of 16,384 characters, each of them escaped."""

HEADER: Final = "x-amz-bearer"

_SIGNED: Final[dict[str, Any]] = {
    SECURITY_SCHEMES: {
        "participant": {"type": "apiKey", "in": "header", "name": "X-Amz-Bearer", "description": "The token of a participant."}
    },
    "security": [{"participant": []}],
}


_REFUSAL: Final = {
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["__type", "Message"],
            "properties": {"__type": {"type": "string"}, "Message": {"type": "string"}},
        }
    }
}

REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": description, "content": _REFUSAL}
    for status, description in {
        400: "`ValidationException`: a field is wrong, or there is no such attachment.",
        402: "`ServiceQuotaExceededException`: the chat has as many files as it may.",
        403: "`AccessDeniedException`: the token is none, has ended, or its participant has left.",
        409: "`ConflictException`: the attachment is being completed by another call.",
        413: "`ValidationException`: the body is too large.",
        429: "`ThrottlingException`: too many calls; `Retry-After` says when to try again.",
        500: "`InternalServerException`: the server failed to answer.",
        503: "`InternalServerException`: a part of the server is not there now.",
    }.items()
}


def _body(model: Any) -> dict[str, Any]:
    return {**_SIGNED, **json_body(lambda: schema_of(model), required=False)}


class Handlers:
    """What the calls do."""

    __slots__ = ("_attachments", "_callers", "_chats", "_connections", "_hosts", "_items", "_transactions")

    def __init__(
        self,
        *,
        callers: Callers,
        chats: ChatService,
        items: ItemService,
        attachments: AttachmentService,
        connections: Connections,
        transactions: Transactions,
        hosts: Hosts,
    ) -> None:
        self._callers = callers
        self._chats = chats
        self._items = items
        self._attachments = attachments
        self._connections = connections
        self._transactions = transactions
        self._hosts = hosts

    async def _caller(self, request: Request, purpose: Purpose = Purpose.CONNECTION) -> Participant:
        found = await self._callers.present(_bearer(request), purpose)
        admit(request.scope, tenant=found.tenant)
        if purpose is Purpose.CONNECTION:
            await self._chats.connected(found)  # nobody reads or writes unseen
        return found

    async def connect(self, request: Request) -> Response:
        """See the route."""
        caller = await self._caller(request, Purpose.PARTICIPANT)
        wanted = await read_model(request, CreateConnection, MAX_BODY_BYTES)
        kinds = check_kinds("Type", wanted.Type)
        return _answer(request, await self._connections.make(request.scope, caller, kinds, connect=bool(wanted.ConnectParticipant)))

    async def start_upload(self, request: Request) -> Response:
        """See the route."""
        caller = await self._caller(request)
        base = self._hosts.base_url(request.scope)
        wanted = await read_model(request, StartUpload, MAX_BODY_BYTES)
        file, link = await self._attachments.start(
            caller, wanted.AttachmentName, wanted.AttachmentSizeInBytes, wanted.ContentType, wanted.ClientToken, base
        )
        metadata = {"Url": link.url, "UrlExpiry": format_time(link.expires_ms), "HeadersToInclude": dict(link.headers)}
        return _answer(request, {"AttachmentId": file.id, "UploadMetadata": metadata})

    async def complete_upload(self, request: Request) -> Response:
        """See the route."""
        caller = await self._caller(request)
        wanted = await read_model(request, CompleteUpload, MAX_BODY_BYTES)
        await self._attachments.complete(caller, wanted.AttachmentIds[0], wanted.ClientToken)
        return _answer(request, {})

    async def attachment(self, request: Request) -> Response:
        """See the route."""
        caller = await self._caller(request)
        base = self._hosts.base_url(request.scope)
        wanted = await read_model(request, GetAttachment, MAX_BODY_BYTES)
        disposition = Disposition(wanted.UrlContentDisposition.lower())
        file, url, ends_ms = await self._attachments.link(
            caller, wanted.AttachmentId, base, expiry_s=wanted.UrlExpiryInSeconds, disposition=disposition
        )
        return _answer(request, {"Url": url, "UrlExpiry": format_time(ends_ms), "AttachmentSizeInBytes": file.size})

    async def message(self, request: Request) -> Response:
        """See the route."""
        caller = await self._caller(request)
        wanted = await read_model(request, SendMessage, MAX_BODY_BYTES)
        return _sent(request, await self._items.send_message(caller, wanted.ContentType, wanted.Content, wanted.ClientToken))

    async def event(self, request: Request) -> Response:
        """See the route."""
        caller = await self._caller(request)
        wanted = await read_model(request, SendEvent, MAX_BODY_BYTES)
        return _sent(request, await self._items.send_event(caller, wanted.ContentType, wanted.Content, wanted.ClientToken))

    async def transcript(self, request: Request) -> Response:
        """See the route."""
        caller = await self._caller(request)
        wanted = await read_model(request, GetTranscript, MAX_BODY_BYTES)
        if wanted.ContactId not in (None, caller.contact):
            raise AccessDeniedError("ContactId: expected the chat of this participant, got another")
        query = _query(wanted)
        page = await self._transactions.read(lambda tx: read_page(tx, caller, query))
        answer: dict[str, Any] = {
            "InitialContactId": caller.contact,
            "Transcript": [item_entry(item, caller.contact) for item in page.items],
        }
        if page.next_token is not None:
            answer["NextToken"] = page.next_token
        return _answer(request, answer)

    async def disconnect(self, request: Request) -> Response:
        """See the route."""
        caller = await self._callers.known(_bearer(request), Purpose.CONNECTION)
        admit(request.scope, tenant=caller.tenant)
        wanted = await read_model(request, Disconnect, MAX_BODY_BYTES)
        await self._chats.leave(caller, wanted.ClientToken)
        return _answer(request, {})


def _bearer(request: Request) -> str:
    """The one token of a request.

    Raises:
        AccessDeniedError: there is none, or there are several.
    """
    found = request.headers.getlist(HEADER)
    if len(found) != 1:
        raise AccessDeniedError(f"X-Amz-Bearer: expected one token, got {len(found) or 'none'}")
    return found[0]


def _query(wanted: GetTranscript) -> Query:
    start = wanted.StartPosition
    given = start.model_dump(exclude_none=True)
    if len(given) > 1:
        raise FieldError("StartPosition", "one of Id, AbsoluteTime and MostRecent", " and ".join(given))
    return Query(
        limit=wanted.MaxResults or MAX_RESULTS,  # a page of nothing would never end
        ascending=wanted.SortOrder == "ASCENDING",
        direction=None if wanted.ScanDirection is None else Direction(wanted.ScanDirection),
        next_token=wanted.NextToken,
        from_id=start.Id,
        from_ms=None if start.AbsoluteTime is None else parse_time(start.AbsoluteTime),
        most_recent=start.MostRecent,
    )


def _answer(request: Request, content: dict[str, Any]) -> Response:
    return EnvelopeResponse(content, headers={**NO_STORE, REQUEST_ID: id_of(request.scope)})


def _sent(request: Request, sent: Sent) -> Response:
    return _answer(request, {"Id": sent.id, "AbsoluteTime": format_time(sent.at_ms)})


def create_router(calls: Handlers) -> HubRouter:
    """The routes."""
    router = HubRouter(prefix=PREFIX, tags=["Participant service"], responses=REFUSALS)

    def add(path: str, summary: str, body: Any, answer: Any, handle: Any) -> None:
        async def call(request: Request) -> Response:
            found: Response = await handle(request)
            return found

        call.__name__ = handle.__name__
        call.__doc__ = _DOCS[path]
        router.post(path, summary=summary, response_model=answer, openapi_extra=_body(body))(call)

    add("/connection", "Connect a participant", CreateConnection, ConnectionDetails, calls.connect)
    add("/start-attachment-upload", "Announce an attachment", StartUpload, StartedUpload, calls.start_upload)
    add("/complete-attachment-upload", "Complete an attachment", CompleteUpload, Empty, calls.complete_upload)
    add("/attachment", "A link to an attachment", GetAttachment, AttachmentLink, calls.attachment)
    add("/message", "Send a message", SendMessage, SentAnswer, calls.message)
    add("/event", "Send an event", SendEvent, SentAnswer, calls.event)
    add("/transcript", "Read the transcript", GetTranscript, TranscriptPage, calls.transcript)
    add("/disconnect", "Leave the chat", Disconnect, Empty, calls.disconnect)
    return router


_DOCS: Final = {
    "/connection": "`X-Amz-Bearer` is the ParticipantToken. Get a ConnectionToken for all other calls, and the URL of a WebSocket.",
    "/start-attachment-upload": "Announce a file, and get the link by which its bytes are sent.",
    "/complete-attachment-upload": "The bytes were sent: the file is checked, and the others are told of it.",
    "/attachment": "Get a link to a file of this chat that may be read.",
    "/message": "Send a message to all in the chat. The same `ClientToken` once more sends nothing again.",
    "/event": "Tell that the participant is typing, or that it has got or read a message.",
    "/transcript": "The items of the chat, in pages that stand whatever is added meanwhile.",
    "/disconnect": "Leave the chat: all tokens of the participant end. It ends with its last customer.",
}
