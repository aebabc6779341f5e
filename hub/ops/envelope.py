"""The REST envelope: ``{"status":{"code","message","detail"},"data","errors"}`` (docs/protocol/rest.md#envelope).

``status.code`` 0 says done, 1 says sent (the outcome follows as a notification), 2 says that some of a bulk request failed; anything
else is an error and repeats the HTTP status, unless an API has codes of its own. Members without a value are left out.
"""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.core.limits import Limits
from hub.ops.method import asked_method

OK: Final = 0
SENT: Final = 1
PARTIAL: Final = 2

_log = structlog.get_logger(__name__)
_NON_ASCII = re.compile(r"[^\x00-\x7f]")
_MAX_GOT = 120

MOST_TOLD: Final = Limits().max_errors_told
"""Errors that one answer lists, where ``limits.max_errors_told`` is not known."""


class ApiError(Exception):
    """A REST request that is refused.

    ``http_status`` is the status line; ``code`` what ``status.code`` says, the HTTP status unless an API has codes of its own; ``detail``
    an object with more, by habit ``field``, ``expected`` and ``got``; ``errors`` the failures of a bulk request, each
    ``{"status": {...}}``; ``headers`` further response headers.
    """

    def __init__(
        self,
        http_status: int,
        message: str,
        *,
        code: int | str | None = None,
        detail: dict[str, Any] | None = None,
        errors: list[dict[str, Any]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.message = message
        self.code = http_status if code is None else code
        self.detail = detail
        self.errors = errors
        self.headers = headers

    @classmethod
    def of_field(cls, field: str, expected: str, got: object, *, http_status: int = 400) -> "ApiError":
        """A field of the request is wrong: the message names it, what was expected, and what came (cut to 120 characters)."""
        shown = show(got)
        return cls(http_status, f"{field}: expected {expected}, got {shown}", detail={"field": field, "expected": expected, "got": shown})

    def body(self) -> dict[str, Any]:
        """The envelope of this error."""
        return failure(self.code, self.message, self.detail, errors=self.errors)


def show(value: object) -> str:
    """A value as JSON for an error text, cut to 120 characters; what JSON cannot say is shown as Python does."""
    try:
        text = ascii_json(value).decode()
    except TypeError:
        text = repr(value)
    return text if len(text) <= _MAX_GOT else f"{text[:_MAX_GOT]}..."


def status(code: int | str, message: str | None = None, detail: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The ``status`` object; ``message`` and ``detail`` only where there is one."""
    made: dict[str, Any] = {"code": code}
    if message is not None:
        made["message"] = message
    if detail is not None:
        made["detail"] = dict(detail)
    return made


def ok(data: object = None, *, code: int = OK, errors: Sequence[Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """The envelope of a success; ``code`` 1 for sent, 2 for partly done (then ``errors`` lists ``{"status": {...}}`` for each failure)."""
    made: dict[str, Any] = {"status": status(code)}
    if data is not None:
        made["data"] = data
    if errors:
        made["errors"] = [dict(error) for error in errors]
    return made


def failure(
    code: int | str, message: str, detail: Mapping[str, Any] | None = None, *, errors: Sequence[Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """The envelope of an error."""
    made: dict[str, Any] = {"status": status(code, message, detail)}
    if errors:
        made["errors"] = [dict(error) for error in errors]
    return made


def _escape(found: re.Match[str]) -> str:
    number = ord(found[0])
    if number < 0x10000:
        return f"\\u{number:04x}"
    number -= 0x10000
    return f"\\u{0xD800 + (number >> 10):04x}\\u{0xDC00 + (number & 0x3FF):04x}"


def ascii_json(content: object) -> bytes:
    """Encode as JSON text of ASCII characters alone: some clients tear a multi-byte character that two TCP segments share
    (docs/protocol/rest.md#ascii).

    Raises:
        TypeError: ``content`` holds something that JSON has no form for, or an integer beyond 64 bits.
    """
    encoded = orjson.dumps(content, option=orjson.OPT_NON_STR_KEYS)
    return encoded if encoded.isascii() else _NON_ASCII.sub(_escape, encoded.decode()).encode("ascii")


class EnvelopeResponse(JSONResponse):
    """A JSON response of ASCII characters alone."""

    def render(self, content: Any) -> bytes:
        return ascii_json(content)


def of_validation(fault: RequestValidationError, most: int = MOST_TOLD) -> ApiError:
    """Pydantic's findings as one error of the API: 400, the first finding in ``detail``, at most ``most`` of them in ``errors`` when there
    are more than one; ``detail.moreErrors`` counts those that are not told.
    """
    errors = fault.errors()
    first, *others = (_finding(error) for error in errors[:most])
    told = [{"status": first}, *({"status": each} for each in others)] if len(errors) > 1 else None
    return ApiError(400, first["message"], detail=with_more(first["detail"], len(errors) - most), errors=told)


def with_more(detail: Mapping[str, Any], left_out: int) -> dict[str, Any]:
    """``detail`` of an answer that tells some of its errors: with ``moreErrors``, how many it leaves out, where it leaves out any."""
    return {**detail, "moreErrors": left_out} if left_out > 0 else dict(detail)


def _finding(error: Mapping[str, Any]) -> dict[str, Any]:
    place, *rest = error["loc"] or ("request",)
    field = ".".join(str(part) for part in rest) or str(place)
    field = field if len(field) <= _MAX_GOT else f"{field[:_MAX_GOT]}..."
    if error["type"] == "json_invalid":
        field, expected = "body", f"JSON ({error.get('ctx', {}).get('error', 'malformed')})"
    elif error["type"] == "missing":
        expected = f"a value (in the {place})"
    else:
        expected = _expected(error["msg"])
    got = "nothing" if error["type"] == "missing" else show(error.get("input"))
    return status(400, f"{field}: expected {expected}, got {got}", {"field": field, "expected": expected, "got": got})


def _expected(message: str) -> str:
    """Pydantic says ``Input should be a valid integer``: what comes after ``be`` is what was expected."""
    for lead in ("Input should be ", "Input should have ", "Value error, expected ", "Value error, "):
        if message.startswith(lead):
            return message.removeprefix(lead)
    return message[:1].lower() + message[1:]


def respond(error: ApiError) -> Response:
    """The HTTP response of an error."""
    headers = dict(error.headers) if error.headers else None
    return EnvelopeResponse(error.body(), error.http_status, headers)


class _Failsafe:
    """Turns what nobody expected into a 500 envelope, and logs it. Starlette's own handler would raise it once more behind the response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except Exception:
            _log.exception("request failed", method=scope["method"], path=scope["path"])
            if started:
                raise  # half a response is out: only the server can still end the connection
            body = EnvelopeResponse(failure(500, "the server failed to answer; its log says why"), 500)
            await body(scope, receive, send)


def install(app: FastAPI, most_told: int = MOST_TOLD) -> None:
    """Send every error of ``app`` in the envelope: ``ApiError``, validation (``most_told`` findings), 404, 405, and unexpected ones
    (500, logged).
    """

    async def on_api_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        return respond(error)

    async def on_validation(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return respond(of_validation(error, most_told))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        message = str(error.detail)
        if error.status_code == HTTPStatus.NOT_FOUND and message == HTTPStatus.NOT_FOUND.phrase:
            message = f"there is nothing at {request.url.path}"
        elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = (error.headers or {}).get("Allow", "another method")
            message = f"expected {allowed}, got {asked_method(request.scope)}"
        return respond(ApiError(error.status_code, message, headers=error.headers))

    app.add_exception_handler(ApiError, on_api_error)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)
    app.add_middleware(_Failsafe)
