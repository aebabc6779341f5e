"""The form of errors of Amazon Connect, whose clients read no other: its own calls and those of its Participant service each have names of
their own for them (docs/protocol/attached-files.md#errors).

The type stands in a header and in the body: browsers hide headers from pages of other sites, and some clients look at one place alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import structlog
from starlette.responses import Response
from starlette.types import Scope

from channels.files.errors import BeingCompleted, FileNotFound, InvalidFile, NotApproved, QuotaExceeded, TokenReused
from channels.files.participants.errors import ChatEndedError, TooManyError
from hub.http.cors_rest import PageHeaders
from hub.http.error_table import ErrorForm
from hub.http.errors import ApiError
from hub.http.permits import UnknownKeyError
from hub.http.responses import NO_STORE, EnvelopeResponse
from hub.http.tracing import request_id
from hub.security.gate import Failure

ERROR_TYPE: Final = "x-amzn-errortype"
REQUEST_ID: Final = "x-amzn-requestid"

PAGE_HEADERS: Final = PageHeaders(
    sent=(
        "amz-sdk-invocation-id",
        "amz-sdk-request",
        "X-Amz-Bearer",
        "X-Amz-Content-Sha256",
        "X-Amz-Date",
        "X-Amz-Security-Token",
        "X-Amz-User-Agent",
    ),
    read=(ERROR_TYPE, REQUEST_ID, "ETag", "Retry-After"),
)
"""What Amazon's clients send from pages of other sites, and read there."""


@dataclass(frozen=True, slots=True)
class _Service:
    """How one of the two services calls what went wrong."""

    types: Mapping[int, str]
    """Types by HTTP status."""
    missing: str
    """That of a request without any credential."""
    invalid: str
    """That of every other request that is wrong."""
    failed: str
    """That of every failure of the server. Clients try again by the status."""
    fields: Mapping[str, str]
    """The fields of an announced file, as callers write them."""
    statuses: Mapping[type[BaseException], int]
    """The statuses of errors that have another one in the hub's own API."""
    reasons: Mapping[type[BaseException], str]
    """The member of ``Reason`` that tells a program what exactly is wrong."""
    kinds: Mapping[type[BaseException], str] = field(default_factory=dict)
    """The types of errors whose status does not say enough."""

    def answer(self, scope: Scope, error: ApiError) -> Response:
        """See :data:`hub.http.error_table.ErrorForm`."""
        cause = error.__cause__
        status = self._status(error, cause)
        kind = next((kind for of, kind in self.kinds.items() if isinstance(cause, of)), None) or self._type(status, error)
        told = self._message(error, cause)
        body: dict[str, object] = {"__type": kind, "Message": told}
        reason = getattr(cause, "reason", None) if isinstance(cause, InvalidFile | QuotaExceeded) else None
        member = next((name for kind, name in self.reasons.items() if isinstance(cause, kind)), None)
        if reason is not None and member is not None:
            body["Reason"] = {member: str(reason)}
        headers = {**NO_STORE, **(error.headers or {}), ERROR_TYPE: kind, REQUEST_ID: id_of(scope)}
        return EnvelopeResponse(body, status, headers)

    def _status(self, error: ApiError, cause: BaseException | None) -> int:
        own = next((status for kind, status in self.statuses.items() if isinstance(cause, kind)), None)
        return error.http_status if own is None else own

    def _type(self, status: int, error: ApiError) -> str:
        named = (error.detail or {}).get("type")
        if isinstance(named, str):
            return named
        if isinstance(error, UnknownKeyError):
            return self.types[401]
        if status == 401 and error.message == Failure.MISSING.value:
            return self.missing
        return self.types.get(status) or (self.failed if status >= 500 else self.invalid)

    def _message(self, error: ApiError, cause: BaseException | None) -> str:
        if isinstance(cause, InvalidFile):
            return f"{self.fields.get(cause.field, cause.field)}: {cause.text}"
        return error.message


_BOTH: Final = {
    402: "ServiceQuotaExceededException",
    403: "AccessDeniedException",
    408: "RequestTimeoutException",
    429: "ThrottlingException",
}

_ATTACHED: Final = _Service(
    types={
        **_BOTH,
        401: "UnrecognizedClientException",
        404: "ResourceNotFoundException",
        409: "ResourceConflictException",
    },
    missing="MissingAuthenticationTokenException",
    invalid="InvalidRequestException",
    failed="InternalServiceException",
    fields={"name": "FileName", "size": "FileSizeInBytes", "type": "FileName", "tags": "Tags", "expiry": "UrlExpiryInSeconds"},
    statuses={},
    reasons={
        InvalidFile: "AttachedFileInvalidRequestExceptionReason",
        QuotaExceeded: "AttachedFileServiceQuotaExceededExceptionReason",
    },
)

_CONTACT: Final = replace(_ATTACHED, statuses={ChatEndedError: 400}, kinds={TooManyError: "LimitExceededException"})

_PARTICIPANT: Final = _Service(
    types={**_BOTH, 401: "AccessDeniedException", 409: "ConflictException"},
    missing="AccessDeniedException",
    invalid="ValidationException",
    failed="InternalServerException",
    fields={
        "name": "AttachmentName",
        "size": "AttachmentSizeInBytes",
        "type": "ContentType",
        "expiry": "UrlExpiryInSeconds",
    },
    statuses={FileNotFound: 400, TokenReused: 400, NotApproved: 400, BeingCompleted: 409},
    reasons={},
)

FORMS: Final[Mapping[str, ErrorForm]] = {
    "/attached-files": _ATTACHED.answer,
    "/contact": _CONTACT.answer,
    "/participant": _PARTICIPANT.answer,
}
"""The forms of errors, by the path below which the calls are."""


def id_of(scope: Scope) -> str:
    """The id of a request, as the log has it: each answer has it in the header :data:`REQUEST_ID`. Who refuses a request in front of the
    log has a new one made.
    """
    bound = structlog.contextvars.get_contextvars().get("request_id")
    return bound if isinstance(bound, str) else request_id(scope["headers"])


def refused(status: int, kind: str, text: str) -> ApiError:
    """An error of these services that says its type itself."""
    return ApiError(status, text, detail={"type": kind})
