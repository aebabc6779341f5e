"""The answers of secure e-mail: the texts used as codes, the shape of answers, and every error in that shape
(docs/protocol/secure-email.md#results).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Coroutine, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import structlog
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from hub.core.field_error import FieldError
from hub.http.error_table import ErrorTable
from hub.http.errors import ApiError
from hub.http.permits import UnknownKeyError
from hub.http.responses import NO_STORE, EnvelopeResponse
from hub.http.routing import HubRoute
from hub.security.gate import Failure

_log = structlog.get_logger(__name__)


class Code(StrEnum):
    """``status.code``: the list of Genesys' description, each with where it is used here."""

    SUCCESS = "SUCCESS"
    """Done."""
    FAILURE = "FAILURE"
    """The hub could not do it; nothing is wrong with the request."""
    INVALID_CLIENT_TOKEN = "INVALID_CLIENT_TOKEN"  # noqa: S105
    """No credential, a wrong one, or one whose roles do not allow the call."""
    INVALID_CONTACT_CENTER = "INVALID_CONTACT_CENTER"
    """The API key and the token are of different tenants."""
    INVALID_SESSION = "INVALID_SESSION"
    """The sign-in cookie came from a page that may not use it."""
    INVALID_PARTICIPANT = "INVALID_PARTICIPANT"
    """Sender or receiver of a mail is no e-mail address."""
    INVALID_TRANSPORT = "INVALID_TRANSPORT"
    """The request's body is not JSON by its headers."""
    INVALID_PARAMETER = "INVALID_PARAMETER"
    """A parameter or a field of the body is wrong, or there is no such mail."""
    INVALID_ENDPOINT = "INVALID_ENDPOINT"
    """There is nothing at this path, or not with this method."""
    INVALID_NICKNAME = "INVALID_NICKNAME"
    """The name that is to be shown for a sender or receiver is wrong."""
    INVALID_FILE_TYPE = "INVALID_FILE_TYPE"
    """An attachment is of a type that may not be sent, or is not of the type that was said."""


_OF_GATE: Final = {Failure.TENANT_MISMATCH.value: Code.INVALID_CONTACT_CENTER, Failure.FOREIGN_ORIGIN.value: Code.INVALID_SESSION}
"""Reasons of the gate for which a caller who showed a credential was not identified."""

_OF_STATUS: Final = {
    400: Code.INVALID_PARAMETER,
    401: Code.INVALID_CLIENT_TOKEN,
    403: Code.INVALID_CLIENT_TOKEN,
    404: Code.INVALID_PARAMETER,
    405: Code.INVALID_ENDPOINT,
    413: Code.INVALID_PARAMETER,
    415: Code.INVALID_TRANSPORT,
}


class MailError(FieldError):
    """A field is wrong, and this family has a string code for that. Outside of ``/nexus`` it is answered as every :class:`FieldError`."""

    def __init__(self, code: Code, field: str, expected: str, got: str) -> None:
        super().__init__(field, expected, got)
        self.code = code


def answer(request: Request, **members: Any) -> Response:
    """The answer of a call that went well."""
    head = _head(request, Code.SUCCESS, "Done.", "")
    return EnvelopeResponse({**head, **members}, headers=NO_STORE)


def refused(request: Request, error: ApiError, code: Code | None = None) -> Response:
    """An error in the shape of this family; without ``code`` that of its HTTP status. An unknown API key has no envelope
    (docs/protocol/credentials.md#refusals).
    """
    headers = {**NO_STORE, **(error.headers or {})}
    if isinstance(error, UnknownKeyError):
        return EnvelopeResponse(error.body(), error.http_status, headers)
    code = code or _OF_GATE.get(error.message) or _OF_STATUS.get(error.http_status, Code.FAILURE)
    field = str((error.detail or {}).get("field", ""))
    return EnvelopeResponse(_head(request, code, error.message, field), error.http_status, headers)


def _head(request: Request, code: Code, message: str, detail: str) -> dict[str, Any]:
    # the id that the log and X-Request-Id have of this request
    reference = structlog.contextvars.get_contextvars().get("request_id") or str(uuid.uuid4())
    operation = getattr(request.state, "operation_id", None) or str(uuid.uuid4())
    return {
        "referenceId": reference,
        "operationId": operation,
        "status": {"code": code.value, "message": message, "detail": detail},
    }


class MailRoute(HubRoute):
    """Turns every error of a call into the shape of this family."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def respond(request: Request) -> Response:
            try:
                return await handle(request)
            except MailError as error:
                return refused(request, ApiError.of_error(error), error.code)
            except HTTPException as error:
                return refused(request, ApiError(error.status_code, str(error.detail), headers=error.headers))
            except Exception as error:
                errors: ErrorTable = request.app.state.errors
                known = errors.answer(error, request)
                if known is not None:
                    return refused(request, known)
                _log.exception("request failed", method=request.method, path=self.path)
                return refused(request, ApiError(500, "the server failed to answer; its log says why"))

        return respond


class Elsewhere:
    """What answers below the family's path where no call is: 404, or 405 where another method would do."""

    __slots__ = ("_calls",)

    def __init__(self, calls: Sequence[APIRoute]) -> None:
        self._calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        bare = {**scope, "path": scope["path"].removesuffix("/")}
        if not self._methods(scope) and scope["method"] in self._methods(bare):
            # a slash too many
            scope["path"] = bare["path"]
            await scope["router"].app(scope, receive, send)
            return
        await self._answer(Request(scope))(scope, receive, send)

    def _answer(self, request: Request) -> Response:
        path = request.scope["path"]
        if allowed := self._methods(request.scope):
            shown = ", ".join(sorted(allowed))
            return refused(request, ApiError(405, f"expected {shown}, got {request.method}", headers={"Allow": shown}))
        nothing = ApiError.of_field("path", "a call of secure e-mail", path, http_status=404)
        return refused(request, nothing, Code.INVALID_ENDPOINT)

    def _methods(self, scope: Mapping[str, Any]) -> set[str]:
        return {method for call in self._calls if call.matches(dict(scope))[0] is not Match.NONE for method in call.methods or ()}
