"""Cross-origin requests to the REST API (Fetch standard, section 3.2; docs/security.md#pages-of-other-sites)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from hub.http.cors import MAX_AGE
from hub.http.error_table import is_below
from hub.security.gate import Gate

CORS_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    "Last-Event-ID",
    "traceparent",
    "X-Api-Key",
    "X-B3-SpanId",
    "X-B3-SnapId",
    "X-B3-TraceId",
    "X-Gws-Unstable",
    "X-Request-Id",
    "X-Requested-With",
)
"""Request headers that pages of other origins may send (docs/protocol/rest.md#headers-of-other-origins; one of them is spelt as in the Java
library).
"""

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_EXPOSED: Final = ("X-Request-Id", "Retry-After", "WWW-Authenticate", "X-GWS-User")
"""What scripts may read of an answer; the last is the answer of ``/auth/v3/jwt-userinfo``."""
_MAX_AGE_S: Final = int(MAX_AGE[1])


class PageHeaders(NamedTuple):
    """Headers of pages of other origins at the paths of an API that has some of its own."""

    sent: Sequence[str] = ()
    """Those of requests."""
    read: Sequence[str] = ()
    """Those of answers."""


_USUAL: Final = PageHeaders()


class _Registered(CORSMiddleware):
    """Answers for origins of the settings and of clients. It asks at each request: a client that was added just now counts."""

    def __init__(self, app: ASGIApp, gate: Gate, also: PageHeaders = _USUAL) -> None:
        super().__init__(
            app,
            allow_methods=_METHODS,
            allow_headers=(*CORS_HEADERS, *also.sent),
            allow_credentials=True,
            expose_headers=(*_EXPOSED, *also.read),
            max_age=_MAX_AGE_S,
        )
        self._gate = gate

    def is_allowed_origin(self, origin: str) -> bool:
        return self._gate.allows_origin(origin)


def _everybody(app: ASGIApp, also: PageHeaders) -> CORSMiddleware:
    """Answers for pages of any origin, to which browsers send no credential of theirs."""
    return CORSMiddleware(
        app,
        allow_origins=("*",),
        allow_methods=("GET", "HEAD", "POST"),
        allow_headers=(*CORS_HEADERS, *also.sent),
        expose_headers=also.read,
        max_age=_MAX_AGE_S,
    )


class CrossOriginAnswers:
    """ASGI around the REST application: the rules of each path. Preflights are answered here, from prebuilt headers, before anything is
    read, and a browser keeps the answer for :data:`hub.http.cors.MAX_AGE`.
    """

    def __init__(
        self,
        app: ASGIApp,
        gate: Gate,
        any_origin: frozenset[str] = frozenset(),
        no_origin: frozenset[str] = frozenset(),
        page_headers: Mapping[str, PageHeaders] | None = None,
    ) -> None:
        """``any_origin``: paths that every page may call, without credentials of the browser; ``no_origin``: those that none may.
        ``page_headers``: headers of an API's own, by the path below which it is.
        """
        self._app = app
        self._any_origin = any_origin
        self._no_origin = no_origin
        self._registered = _Registered(app, gate)
        self._below = {path: _Registered(app, gate, headers) for path, headers in (page_headers or {}).items()}
        self._everybody = _everybody(app, _USUAL)
        self._everybody_below = {path: _everybody(app, headers) for path, headers in (page_headers or {}).items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not any(name == b"origin" for name, _ in scope["headers"]):
            await self._app(scope, receive, send)
            return
        path = scope["path"].rstrip("/")
        await self._rules(path)(scope, receive, send)

    def _rules(self, path: str) -> ASGIApp:
        if path in self._no_origin and path not in self._any_origin:
            return self._app
        below, other = (self._everybody_below, self._everybody) if path in self._any_origin else (self._below, self._registered)
        return next((rules for prefix, rules in below.items() if is_below(path, prefix)), other)
