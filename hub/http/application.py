"""The REST application: it combines the routers of all parts, CORS, the answers to exceptions and ``/openapi.json``."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from hub import __version__
from hub.core.limits import Limits
from hub.http.assets import Asset
from hub.http.cors_rest import CrossOriginAnswers, PageHeaders
from hub.http.error_table import ErrorTable
from hub.http.fast_routes import OpenRoute
from hub.http.handlers import install
from hub.http.openapi import describe, operation_id
from hub.http.responses import EnvelopeResponse
from hub.http.routing import WithoutSlash, include
from hub.ops.health import Health
from hub.ops.metrics import Metrics, RequestTimer
from hub.ops.routes import create_open_routes, create_router
from hub.security.gate import Gate
from hub.security.origin import header

TITLE: Final = "CX Event Hub"

_DESCRIPTION: Final = (
    "The REST face of the hub. Every answer is an envelope: `status.code` 0 is done, 1 sent, 2 partly done, else an error."
)


def create_app(
    *,
    gate: Gate,
    metrics: Metrics,
    health: Health,
    routers: Sequence[APIRouter] = (),
    routes: Sequence[BaseRoute] = (),
    limits: Limits | None = None,
    errors: ErrorTable | None = None,
    any_origin: Collection[str] = (),
    no_origin: Collection[str] = (),
    page_headers: Mapping[str, PageHeaders] | None = None,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None,
) -> FastAPI:
    """Make the REST application. ``app.state.open_routes`` holds the routes that need no credential.

    Args:
        gate: identifies callers; :func:`hub.http.permits.requires` finds it in ``app.state.gate``. Pages of its allowed origins may call
            from a browser (CORS) with credentials, so the allowed origins never contain ``*``.
        metrics: the metrics for ``/metrics``.
        health: the checks for ``/livez`` and ``/readyz``.
        routers: the REST routes of every part, which ``/openapi.json`` describes.
        routes: plain routes for pages and files. They come after the routers, so that they cannot hide the API.
        limits: the limits of requests; ``app.state.limits``.
        errors: the answers to exceptions, complete before this call; ``app.state.errors``.
        any_origin: paths that pages of any origin may call, without credentials of the browser.
        no_origin: paths that no page of another origin may read, whoever registered it: those are pages themselves.
        page_headers: headers that pages of other origins send and read below some paths, beside the usual ones.
        lifespan: starts and stops the services with the server.
    """
    app = FastAPI(
        title=TITLE,
        version=__version__,
        description=_DESCRIPTION,
        default_response_class=EnvelopeResponse,
        openapi_url=None,  # FastAPI would make it on the event loop, which blocks for half a second; see OpenApiDocument
        docs_url=None,  # FastAPI's pages load scripts from other sites
        redoc_url=None,
        license_info={"name": "Apache 2.0", "identifier": "Apache-2.0"},
        generate_unique_id_function=operation_id,
        lifespan=lifespan,
    )
    app.state.gate = gate
    app.state.metrics = metrics
    app.state.health = health
    app.state.limits = limits = limits or Limits()
    app.state.errors = errors = errors or ErrorTable(limits.max_errors_told)
    install(app, errors)
    app.add_middleware(RequestTimer, metrics=metrics)
    app.add_middleware(
        CrossOriginAnswers, gate=gate, any_origin=frozenset(any_origin), no_origin=frozenset(no_origin), page_headers=page_headers
    )
    app.add_middleware(OriginWatch, gate=gate)  # around the other, which answers preflights itself
    for router in (create_router(health, metrics), *routers):
        include(app, router)
    document = OpenApiDocument(app)
    app.state.open_routes = [OpenRoute("/openapi.json", document.answer), *create_open_routes(health)]
    app.add_route("/openapi.json", document.answer, methods=["GET"], include_in_schema=False)
    app.router.routes.extend(routes)
    app.router.redirect_slashes = False
    app.router.default = WithoutSlash(app.router)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = describe(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
    return app


class OpenApiDocument:
    """``/openapi.json``: made in a thread at the first request, then kept as the bytes of its answers."""

    __slots__ = ("_app", "_asset", "_lock")

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._lock = asyncio.Lock()
        self._asset: Asset | None = None

    def _make(self) -> Asset:
        return Asset(bytes(JSONResponse(self._app.openapi()).body), "application/json")

    async def answer(self, request: Request) -> Response:
        """Answer with the document; requests that arrive while it is made wait for it."""
        if self._asset is None:
            async with self._lock:
                if self._asset is None:
                    self._asset = await asyncio.to_thread(self._make)
        return self._asset.respond(request)


class OriginWatch:
    """Middleware that logs origins whose pages may not read the answers, because a browser does not show the reason to its page."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self.app = app
        self.gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and header(scope, b"origin") is not None:
            self.gate.may_call(scope)
        await self.app(scope, receive, send)
