"""Answers calls that raised an exception: by the table of errors, always in the envelope."""

from http import HTTPStatus

import structlog
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.http.envelope import failure
from hub.http.error_table import ErrorTable
from hub.http.errors import ApiError
from hub.http.method import asked_method
from hub.http.responses import EnvelopeResponse, respond_error

_log = structlog.get_logger(__name__)


class Failsafe:
    """Answers an unexpected exception with an envelope of 500, and logs it. Starlette's own handler would raise it again afterwards."""

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
                raise  # a part of the response is sent: the server must close the connection
            body = EnvelopeResponse(failure(500, "the server failed to answer; its log says why"), 500)
            await body(scope, receive, send)


def install(app: FastAPI, errors: ErrorTable | None = None) -> None:
    """Send every error of ``app`` in the envelope: those in ``errors``, 404, 405, and unexpected exceptions (500, logged).

    A type that is added to ``errors`` later has no effect on ``app``.
    """
    table = ErrorTable() if errors is None else errors

    async def on_error(request: Request, error: Exception) -> Response:
        answer = table.answer(error, request)
        assert answer is not None  # called only for types in the table
        return respond_error(answer)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        message, headers = str(error.detail), dict(error.headers or {})
        if error.status_code == HTTPStatus.NOT_FOUND and message == HTTPStatus.NOT_FOUND.phrase:
            message = f"there is nothing at {request.url.path}"
        elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            # Starlette writes its set of methods, whose order is another in each process
            allowed = ", ".join(sorted(headers["Allow"].split(", "))) if "Allow" in headers else ""
            headers = {**headers, "Allow": allowed} if allowed else headers
            message = f"expected {allowed or 'another method'}, got {asked_method(request.scope)}"
        return respond_error(ApiError(error.status_code, message, headers=headers))

    for kind in table:
        app.add_exception_handler(kind, on_error)
    app.add_exception_handler(HTTPException, on_http)
    app.add_middleware(Failsafe)
