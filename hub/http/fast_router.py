"""Serves fast routes in front of the REST application, without its framework (docs/adr/fast-routes.md).

For each request, the framework calls several layers of middleware, finds a route and resolves its dependencies. For a small operation, or
one with a cached answer, this takes several times as long as the operation itself. A fast route serves only plain requests: the parameters
in the path have ordinary characters, and there is no ``Origin``. All other requests go to the REST application, which has the same
operation, describes it in ``/openapi.json`` and gives the same answers.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from hub.core.limits import Limits
from hub.http.body import limit_of
from hub.http.error_table import ErrorTable
from hub.http.errors import ApiError
from hub.http.fast_routes import FastRoute, FrameworkAnswersError, OpenRoute, OwnRoute
from hub.http.handlers import FAILED
from hub.http.method import asked_method
from hub.http.permits import identified, permit
from hub.http.routing import replayed
from hub.http.signed_route import signed_request
from hub.http.tracing import access, request_id, trace_id
from hub.ops.metrics import Metrics
from hub.security.gate import Gate
from hub.security.signed_requests import is_signed

_log = structlog.get_logger(__name__)

_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_ORDINARY: Final = r"((?!ext_)[A-Za-z0-9][A-Za-z0-9_-]{0,63})"
"""A parameter of a fast route: an id of the hub, or a name. The router checks parameters of another form."""


Answer = Callable[[Request], Awaitable[Response]]


class _Route(NamedTuple):
    """The route of a request, as metrics and the access log read it: its template."""

    path: str


class FastRouter:
    """ASGI in front of the REST application."""

    __slots__ = ("_app", "_errors", "_gate", "_limits", "_metrics", "_open", "_own", "_routes")

    def __init__(
        self,
        app: ASGIApp,
        routes: Sequence[FastRoute],
        gate: Gate,
        metrics: Metrics,
        open_routes: Sequence[OpenRoute] = (),
        errors: ErrorTable | None = None,
        own_routes: Sequence[OwnRoute] = (),
        limits: Limits | None = None,
    ) -> None:
        """``errors``: the answers to exceptions, the same table as that of ``app``. ``limits``: those of bodies of signed requests."""
        self._app = app
        self._errors = errors or ErrorTable()
        self._gate = gate
        self._limits = limits or Limits()
        self._metrics = metrics
        self._open = {each.path: each for each in open_routes}
        self._own = {(each.method, each.path): each for each in own_routes}
        self._routes = [(each.method, re.compile(_PARAMETER.sub(_ORDINARY, each.path)), each) for each in routes]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            method, path = scope["method"], scope["path"]
            if method == "GET" and (open_route := self._open.get(path)) is not None and _of_no_page(scope):
                await self._serve(scope, receive, send, path, open_route.respond)
                return
            if (own := self._own.get((method, path))) is not None and not scope["query_string"] and _of_no_page(scope):
                await self._serve(scope, receive, send, path, own.respond)
                return
            for fast_method, pattern, route in self._routes:
                if method == fast_method and (found := pattern.fullmatch(path)) is not None:
                    if _of_no_page(scope) and route.takes(scope):
                        await self._serve(scope, receive, send, route.path, partial(self._permitted, route, found.groups()))
                        return
                    break
        await self._app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, path: str, answer: Answer) -> None:
        headers = scope["headers"]
        scope["route"] = _Route(path)
        identifier = request_id(headers)
        began = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=identifier, trace_id=trace_id(headers)):
            request = Request(scope, receive, send)
            try:
                response = await answer(request)
            except FrameworkAnswersError as left:
                del scope["route"]
                await self._app(scope, replayed(left.body, receive), send)
                return
            except Exception as error:
                response = self._failed(error, request, path)
            response.raw_headers.append((b"x-request-id", identifier.encode("ascii")))
            try:
                await response(scope, receive, send)
            finally:
                seconds = time.perf_counter() - began
                self._metrics.observe_request(asked_method(scope), path, response.status_code, seconds)
                access(scope, response.status_code, seconds)

    def _failed(self, error: Exception, request: Request, path: str) -> Response:
        known = self._errors.answer(error, request)
        if known is not None:
            return self._errors.respond(request.scope, known)
        _log.exception("request failed", method=request.method, path=path)
        return self._errors.respond(request.scope, ApiError(500, FAILED))

    async def _permitted(self, route: FastRoute, parameters: Sequence[str], request: Request) -> Response:
        if route.signed_for and is_signed(request.scope):
            request = await signed_request(request, self._gate, route.signed_for, limit_of(route.serve, self._limits))
        caller = await permit(self._gate, request.scope, route.operation)
        identified(request.scope, caller)
        return await route.serve(request, caller, *parameters)


def _of_no_page(scope: Scope) -> bool:
    return not any(name == b"origin" for name, _ in scope["headers"])
