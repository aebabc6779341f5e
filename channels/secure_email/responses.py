"""The answers of secure e-mail: the texts used as codes, the shape of answers, and every error in that shape
(docs/protocol/secure-email.md#results).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Coroutine, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import structlog
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from hub.http.envelope import show
from hub.http.error_table import unavailable
from hub.http.errors import ApiError
from hub.http.permits import UnknownKeyError
from hub.http.responses import EnvelopeResponse
from hub.http.routing import HubRoute
from hub.http.validation import of_validation
from hub.security.gate import Failure
from hub.storage.transactions import StorageError

_log = structlog.get_logger(__name__)

NO_STORE: Final = {"Cache-Control": "no-store"}


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


class MailError(ApiError):
    """A refusal that has one of the string codes of its own. Outside of ``/nexus`` its code is the HTTP status, as everywhere."""

    def __init__(self, result: Code, field: str, expected: str, got: str) -> None:
        super().__init__(400, f"{field}: expected {expected}, got {got}", detail={"field": field, "expected": expected, "got": got})
        self.result = result


def answer(request: Request, **members: Any) -> Response:
    """The answer of a call that went well."""
    head = _head(request, Code.SUCCESS, "Done.", "")
    return EnvelopeResponse({**head, **members}, headers=NO_STORE)


def refused(request: Request, error: ApiError) -> Response:
    """An error in the shape of this family. An unknown API key has no envelope (docs/protocol/credentials.md#refusals)."""
    headers = {**NO_STORE, **(error.headers or {})}
    if isinstance(error, UnknownKeyError):
        return EnvelopeResponse(error.body(), error.http_status, headers)
    if isinstance(error, MailError):
        code = error.result
    else:
        code = _OF_GATE.get(error.message) or _OF_STATUS.get(error.http_status, Code.FAILURE)
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
            except ApiError as error:
                return refused(request, error)
            except RequestValidationError as error:
                return refused(request, of_validation(error))
            except StorageError as error:
                return refused(request, unavailable(error))
            except HTTPException as error:
                return refused(request, ApiError(error.status_code, str(error.detail), headers=error.headers))
            except Exception:
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
        nothing = MailError(Code.INVALID_ENDPOINT, "path", "a call of secure e-mail", show(path))
        nothing.http_status = 404
        return refused(request, nothing)

    def _methods(self, scope: Mapping[str, Any]) -> set[str]:
        return {method for call in self._calls if call.matches(dict(scope))[0] is not Match.NONE for method in call.methods or ()}
