"""The errors of media storage, and the form in which every error at its paths is answered (docs/protocol/media-storage.md#errors)."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response
from starlette.types import Scope

from hub.http.errors import ApiError
from hub.http.responses import NO_STORE, EnvelopeResponse

if TYPE_CHECKING:
    from hub.http.error_table import ErrorTable

PATHS: Final = ("/via/v2", "/via/v3")
"""All errors at and below these paths have the form of this family."""

_TOLD: Final = {
    400: ("Bad request", "Invalid request"),
    403: ("Forbidden", "Not allowed"),
    404: ("No record exists for the provided key", "Not found"),
    405: ("Method Not Allowed", "Method not allowed"),
    429: ("Throttled", "Too many requests"),
    500: ("Internal server error", "Internal error"),
}
"""Message and reason, by status; the messages are those of Alvaria's description."""


class UnknownKeyError(LookupError):
    """The tenant has no file, and no folder, of this key, which is the text of the error."""


class UnknownOrganisationError(LookupError):
    """The caller's tenant has another name and id than this text."""


def register_errors(errors: ErrorTable) -> None:
    """Say how the errors of this family are answered, and in which form all errors at its paths."""
    errors.add(UnknownKeyError, lambda error: ApiError.of_field("key", "one that exists", str(error), http_status=404))
    errors.add(UnknownOrganisationError, _unknown_organisation)
    for path in PATHS:
        errors.add_form(path, respond)


def _unknown_organisation(error: UnknownOrganisationError) -> ApiError:
    return ApiError.of_field("orgId", "the name or the id of the caller's tenant", str(error), http_status=404)


def respond(scope: Scope, error: ApiError) -> Response:
    """The answer to a refused request: 401 has no body, all others say what is wrong in Alvaria's form."""
    headers = {**NO_STORE, **(error.headers or {})}
    status = error.http_status
    if status == HTTPStatus.UNAUTHORIZED:
        return Response(status_code=status, headers=headers)
    phrase = HTTPStatus(status).phrase
    message, reason = _TOLD.get(status, (phrase, phrase))
    errors = [{"scope": "global", "reason": reason, "message": text} for text in _texts(error)]
    return EnvelopeResponse({"error": {"code": str(status), "message": message, "errors": errors}}, status, headers)


def _texts(error: ApiError) -> list[str]:
    """What is wrong, in words: of a request with several faults each of them."""
    told: list[dict[str, Any]] = error.errors or []
    return [str(each["status"]["message"]) for each in told if "status" in each] or [error.message]
