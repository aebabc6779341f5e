"""REST: ``/nexus/v3/securemail`` (docs/protocol/secure-email.md#calls), and ``/api/v1/securemail`` for the contact centre's answers."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import orjson
from fastapi import Path, Query, Request
from fastapi.routing import APIRoute
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from channels.secure_email.errors import UnknownMailError
from channels.secure_email.models import (
    DEFAULT_BOX,
    MAX_ADDRESS,
    SECUREBOX,
    Direction,
    Draft,
    Mailbox,
    MailFilter,
    MailStatus,
    MailWithAttachments,
    is_address,
    mailbox_address,
)
from channels.secure_email.parsing import Envelope, open_envelope, parse_id, public_user_data, read_draft, read_json_body
from channels.secure_email.responses import Elsewhere, MailRoute, answer
from channels.secure_email.schemas import (
    CountSecureMailResponse,
    CreateSecureMailResponse,
    ListSecureMailResponse,
    ReplyRequest,
    RetrieveSecureMailResponse,
    RetrieveSecureMailUserdataResponse,
    SecureMailResponse,
    SendRequest,
    SentSecureMailResponse,
)
from channels.secure_email.serializers import mail_entry
from channels.secure_email.service import MailService, Removal
from channels.secure_email.settings import SecureEmailSettings
from hub.core.field_error import FieldError
from hub.core.principal import Principal
from hub.http.body import apart, takes
from hub.http.errors import ApiError
from hub.http.file_names import disposition
from hub.http.method import asked_method
from hub.http.openapi import json_body, schema_of
from hub.http.permits import requires
from hub.http.responses import NO_STORE, respond
from hub.http.routing import HubRouter
from hub.security.hosts import Hosts
from hub.security.origin import may_be_link

BASE: Final = "/nexus/v3/securemail"
REPLIES: Final = "/api/v1/securemail"

MAX_PAGE: Final = 1000
"""Mails of one page."""
LAST: Final = (1 << 31) - 1

_ENTRY_BYTES: Final = 500
"""Of a mail in a list, roughly."""

READ: Final = "/securemail/read"
WRITE: Final = "/securemail/write"
REPLY: Final = "/securemail/reply"

_MAY_WRITE = requires(WRITE).dependency
"""Asked beside :data:`READ` where a parameter makes a call one that changes something."""

_FAILURE: Final = {"application/json": {"schema": {"$ref": "#/components/schemas/SecureMailResponse"}}}
_FORBIDDEN: Final = {
    "application/json": {
        "schema": {"anyOf": [{"$ref": "#/components/schemas/SecureMailResponse"}, {"$ref": "#/components/schemas/Forbidden"}]}
    }
}
_FAILURES: Final[dict[int | str, dict[str, Any]]] = {
    400: {
        "model": SecureMailResponse,
        "description": "Invalid request parameters: `status.detail` names the one, `status.message` what was expected.",
    },
    401: {"description": "No credential, or a wrong or expired one: `INVALID_CLIENT_TOKEN`.", "content": _FAILURE},
    403: {"description": "The credential may not do this.", "content": _FORBIDDEN},
    500: {"description": "The server failed to answer: `FAILURE`.", "content": _FAILURE},
    503: {"description": "The database cannot be used now, and nothing was changed: `FAILURE`.", "content": _FAILURE},
}
_NO_SUCH: Final[dict[int | str, dict[str, Any]]] = {
    404: {"description": "There is no such secure e-mail, or no such part of it.", "content": _FAILURE}
}
_BAD_BODY: Final[dict[int | str, dict[str, Any]]] = {
    413: {"description": "More than may be sent.", "content": _FAILURE},
    415: {"description": "The body is not JSON by its headers: `INVALID_TRANSPORT`.", "content": _FAILURE},
    429: {"description": "Bodies of this address take what they may: `FAILURE`.", "content": _FAILURE},
}
_REPLY_FAILURES: Final[dict[int | str, dict[str, Any]]] = {
    413: {"description": "More than may be sent.", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}},
    415: {"description": "The body is not JSON.", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}},
}
_FILE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The file, for saving.",
        "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
    },
    **_NO_SUCH,
}

_FILE_HEADERS: Final = {
    **NO_STORE,
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_NEVER_SHOWN: Final = ("text/html", "image/svg+xml", "application/xml", "application/xhtml+xml")
"""Types that a browser would run scripts of; they are sent as bytes of no type."""

Address = Annotated[
    str,
    Query(
        description="The e-mail address of the consumer.",
        json_schema_extra={"format": "email", "maxLength": MAX_ADDRESS},
        examples=["ana@example.com"],
    ),
]
Status = Annotated[Literal["all", "read", "unread"], Query(description="Which: unread, read, or all of them.")]
Way = Annotated[Literal["all", "inbound", "outbound"], Query(description="Which: from the consumer, to the consumer, or both.")]
Securebox = Annotated[
    str | None,
    Query(
        description="Name of a mailbox of its own for the same contact: 3 to 16 of A-Z, a-z, 0-9. Without it, the mailbox without a name.",
        json_schema_extra={"pattern": "^[A-Za-z0-9]{3,16}$"},
        examples=["Loans"],
    ),
]
MailId = Annotated[str, Path(alias="secureMailId", description="The id of the secure e-mail.")]
Removing = Annotated[
    Literal["read", "true", "\\", "", "delete", "purge"],
    Query(
        description="`read`: mark as read (`true`, `\\` and nothing say the same, deprecated). `delete`: no list has it any more, but it is"
        " kept. `purge`: remove it for good."
    ),
]


def create_router(mails: MailService, settings: SecureEmailSettings, hosts: Hosts) -> HubRouter:
    """The calls of ``/nexus/v3/securemail``."""
    router = HubRouter(prefix=BASE, tags=["Secure e-mail"], route_class=MailRoute, responses=_FAILURES)

    @router.get(
        "", summary="Get secure emails", response_model=None, responses={200: {"model": ListSecureMailResponse, "description": "Ok"}}
    )
    async def page(
        request: Request,
        caller: Annotated[Principal, requires(READ)],
        address: Address,
        status: Status = "all",
        index: Annotated[int, Query(ge=0, le=LAST, description="How many to leave out, from the newest.")] = 0,
        count: Annotated[int, Query(ge=0, le=MAX_PAGE, description="How many to return at most.")] = 10,
        securebox: Securebox = None,
        direction: Way = "all",
    ) -> Response:
        """The secure e-mails of a consumer, the newest first, without their texts. One who never had any has an empty list."""
        box = _box(caller, address, securebox)
        found = await mails.page(box, _wanted(status, direction), index=index, count=count)
        base = _base(request, hosts)
        return await apart(len(found) * _ENTRY_BYTES, lambda: answer(request, data=[mail_entry(each, base) for each in found]))

    @router.post(
        "",
        summary="Send secure email",
        response_model=None,
        responses={200: {"model": CreateSecureMailResponse, "description": "Ok"}, **_BAD_BODY},
        openapi_extra=json_body(lambda: schema_of(SendRequest)),
    )
    @takes(settings.max_body_bytes)
    async def send(request: Request, caller: Annotated[Principal, requires(WRITE)], securebox: Securebox = None) -> Response:
        """Send a secure e-mail for a consumer to the contact centre. An interaction of type email starts with it."""
        box = _securebox(securebox)
        try:
            base = _base(request, hosts)  # before anything is done: it may be refused
            _, draft = await _draft(request, settings, Direction.INBOUND)
            identifier = await mails.receive(caller.tenant, box or DEFAULT_BOX, draft)
        except (ApiError, FieldError):
            mails.counters.refused += 1
            raise
        return answer(request, secureMailId=identifier, selfUri=f"{base}/{identifier}")

    @router.get(
        "/count",
        summary="Get a count of unread, read or all secure emails",
        response_model=None,
        responses={200: {"model": CountSecureMailResponse, "description": "Ok"}},
    )
    async def count(
        request: Request,
        caller: Annotated[Principal, requires(READ)],
        address: Address,
        status: Status = "all",
        securebox: Securebox = None,
        direction: Way = "all",
    ) -> Response:
        """How many secure e-mails a consumer has."""
        number = await mails.count(_box(caller, address, securebox), _wanted(status, direction))
        return answer(request, data={"count": number})

    @router.get(
        "/{secureMailId}",
        summary="Get secure email content",
        response_model=None,
        responses={200: {"model": RetrieveSecureMailResponse, "description": "Ok"}, **_NO_SUCH},
    )
    async def find(
        request: Request,
        caller: Annotated[Principal, requires(READ)],
        identifier: MailId,
        read: Annotated[bool, Query(description="Mark it as read, and stop the interaction of an inbound one.")] = False,
        attachments: Annotated[bool, Query(description="Whether to send the contents of its attachments.")] = True,
    ) -> Response:
        """A secure e-mail with its texts and attachments. With `read=true` the credential must be one that may write, too, and a browser
        that is signed in by cookie has to come from a page of the hub, not by a link.
        """
        known = _known(identifier)
        if read:
            await _MAY_WRITE(request, caller)
            if may_be_link(request.scope):
                raise ApiError.of_field("read", "false where a browser may have followed a link of another site", "true", http_status=403)
        if read and asked_method(request.scope) != "HEAD":  # which is safe (RFC 9110 section 9.2.1): nobody has read it by that
            found = await mails.read(caller.tenant, known, contents=attachments)
        else:
            found = await mails.find(caller.tenant, known, contents=attachments)
        base = _base(request, hosts)
        return await apart(_size(found), lambda: answer(request, secureMail=mail_entry(found, base)))

    @router.delete(
        "/{secureMailId}",
        summary="Mark as read or delete a secure email",
        response_model=None,
        responses={200: {"model": RetrieveSecureMailResponse, "description": "Ok"}, **_NO_SUCH},
    )
    async def remove(
        request: Request, caller: Annotated[Principal, requires(WRITE)], identifier: MailId, remove: Removing = "read"
    ) -> Response:
        """Mark a secure e-mail as read or as deleted, or remove it for good. Each stops the interaction of an inbound one."""
        removal = Removal(remove) if remove in ("delete", "purge") else Removal.READ
        found = await mails.remove(caller.tenant, _known(identifier), removal)
        base = _base(request, hosts)
        return await apart(_size(found), lambda: answer(request, secureMail=mail_entry(found, base)))

    @router.get(
        "/{secureMailId}/userdata",
        summary="Get secure email userdata",
        response_model=None,
        responses={200: {"model": RetrieveSecureMailUserdataResponse, "description": "Ok"}, **_NO_SUCH},
    )
    async def user_data(request: Request, caller: Annotated[Principal, requires(READ)], identifier: MailId) -> Response:
        """The userdata of a secure e-mail, without internal keys: those that begin with `_`."""
        text = await mails.user_data(caller.tenant, _known(identifier))
        public = {key: orjson.Fragment(bytes(value)) for key, value in public_user_data(text).items()}
        return answer(request, data=public)

    @router.get("/{secureMailId}/attachments/{number}", summary="Get an attachment", response_class=Response, responses=_FILE)
    async def attachment(
        caller: Annotated[Principal, requires(READ)],
        identifier: MailId,
        number: Annotated[int, Path(ge=1, le=LAST, description="Which, from 1.")],
    ) -> Response:
        """One attachment, as a file to be saved."""
        found, pieces = await mails.attachment(caller.tenant, _known(identifier), number)
        kind = "application/octet-stream" if found.content_type in _NEVER_SHOWN else found.content_type
        headers = {**_FILE_HEADERS, "Content-Type": kind, "Content-Disposition": disposition(found.filename)}
        return StreamingResponse(pieces, headers={**headers, "Content-Length": str(found.size)})

    return router


def create_fallback(router: HubRouter) -> list[Route]:
    """Plain routes for paths below that of :func:`create_router` where it has no call: their errors have the same shape."""
    fallback = Elsewhere([route for route in router.routes if isinstance(route, APIRoute)])
    return [Route(BASE, fallback), Route(f"{BASE}/{{rest:path}}", fallback)]


def create_reply_router(mails: MailService, settings: SecureEmailSettings, hosts: Hosts) -> HubRouter:
    """The call of ``/api/v1/securemail``."""
    router = HubRouter(tags=["Secure e-mail"])

    @router.post(
        REPLIES,
        summary="Send secure email to a consumer",
        response_model=None,
        responses={200: {"model": SentSecureMailResponse, "description": "Ok"}, **_REPLY_FAILURES},
        openapi_extra=json_body(lambda: schema_of(ReplyRequest)),
    )
    @takes(settings.max_body_bytes)
    async def reply(request: Request, caller: Annotated[Principal, requires(REPLY)], securebox: Securebox = None) -> Response:
        """Put a secure e-mail of the contact centre into a consumer's mailbox, as an answer (`inReplyTo`) or of its own accord."""
        box = _securebox(securebox)
        try:
            base = _base(request, hosts)  # before anything is done: it may be refused
            envelope, draft = await _draft(request, settings, Direction.OUTBOUND)
            identifier = await mails.send(caller.tenant, box, draft)
        except (ApiError, FieldError):
            mails.counters.refused += 1
            raise
        data = {"secureMailId": identifier, "selfUri": f"{base}/{identifier}"}
        if envelope.operation_id is not None:
            data["operationId"] = envelope.operation_id
        return respond(data)

    return router


async def _draft(request: Request, settings: SecureEmailSettings, direction: Direction) -> tuple[Envelope, Draft]:
    body = await read_json_body(request, settings.max_body_bytes)
    envelope = await apart(len(body), lambda: open_envelope(body))
    request.state.operation_id = envelope.operation_id
    return envelope, await apart(len(body), lambda: read_draft(envelope.data, direction, settings))


def _base(request: Request, hosts: Hosts) -> str:
    return f"{hosts.base_url(request.scope)}{BASE}"


def _size(found: MailWithAttachments) -> int:
    """Bytes that an answer with this mail has, roughly."""
    return sum(len(each.content or b"") for each in found.attachments) + len(found.mail.text or "") + len(found.mail.html or "")


def _box(caller: Principal, address: str, securebox: str | None) -> Mailbox:
    if not is_address(address):
        hint = ", with + written as %2B" if " " in address else ""
        raise FieldError.of_value("address", f"an e-mail address of at most {MAX_ADDRESS} characters{hint}", address)
    return Mailbox(caller.tenant, mailbox_address(address), _securebox(securebox) or DEFAULT_BOX)


def _securebox(name: str | None) -> str | None:
    if name is not None and SECUREBOX.fullmatch(name) is None:
        raise FieldError.of_value("securebox", "3 to 16 of A-Z, a-z, 0-9", name)
    return name


def _wanted(status: str, direction: str) -> MailFilter:
    return MailFilter(
        None if status == "all" else MailStatus(status),
        None if direction == "all" else Direction(direction),
    )


def _known(identifier: str) -> str:
    """An id that can be looked for; others are of no mail."""
    known = parse_id(identifier)
    if known is None:
        raise UnknownMailError(identifier)
    return known
