"""Answers calls that raised an exception: by the table of errors, in the envelope or in the form of the path."""

from http import HTTPStatus
from typing import Final

import structlog
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.http.error_table import ErrorTable
from hub.http.errors import ApiError
from hub.http.method import asked_method

FAILED: Final = "the server failed to answer; its log says why"

_log = structlog.get_logger(__name__)


class Failsafe:
    """Answers an unexpected exception with 500, and logs it. Starlette's own handler would raise it again afterwards."""

    def __init__(self, app: ASGIApp, errors: ErrorTable) -> None:
        self.app = app
        self.errors = errors

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
            await self.errors.respond(scope, ApiError(500, FAILED))(scope, receive, send)


def _methods(request: Request) -> set[str]:
    """The methods of all routes of a request's path (RFC 9110 section 10.2.1). A route whose method is another matches in part."""
    routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return {method for route in routes for method in getattr(route, "methods", None) or ()}


def install(app: FastAPI, errors: ErrorTable | None = None) -> None:
    """Send every error of ``app`` in the envelope, or in the form of its path: those in ``errors``, 404, 405, and unexpected exceptions
    (500, logged).

    A type that is added to ``errors`` later has no effect on ``app``.
    """
    table = ErrorTable() if errors is None else errors

    async def on_error(request: Request, error: Exception) -> Response:
        answer = table.answer(error, request)
        assert answer is not None  # called only for types in the table
        return table.respond(request.scope, answer)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        message, headers = str(error.detail), dict(error.headers or {})
        if error.status_code == HTTPStatus.NOT_FOUND and message == HTTPStatus.NOT_FOUND.phrase:
            message = f"there is nothing at {request.url.path}"
        elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            # Starlette tells the methods of the first route of the path alone, in an order that is another in each process
            allowed = ", ".join(sorted({*filter(None, headers.get("Allow", "").split(", ")), *_methods(request)}))
            headers = {**headers, "Allow": allowed} if allowed else headers
            message = f"expected {allowed or 'another method'}, got {asked_method(request.scope)}"
        return table.respond(request.scope, ApiError(error.status_code, message, headers=headers))

    for kind in table:
        app.add_exception_handler(kind, on_error)
    app.add_exception_handler(HTTPException, on_http)
    app.add_middleware(Failsafe, errors=table)
