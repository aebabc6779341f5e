"""The ASGI application of the hub: it passes a request to the endpoint of its path, and all other requests to the REST application."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Final, Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from hub.core.json_text import show
from hub.core.limits import Limits
from hub.http.body import BodyBudget
from hub.http.error_table import ErrorTable
from hub.http.errors import ApiError
from hub.http.headers import first_headers
from hub.http.method import serve_head
from hub.http.responses import NO_STORE, respond_error
from hub.http.security_headers import SECURITY_HEADERS, SERVER_HEADERS, completing
from hub.security.hosts import split_host

Guard = Callable[[Scope], ApiError | None]
"""Returns the refusal of a request or WebSocket, for any path; None when it is allowed."""

_WITHOUT_HOST: Final = frozenset({"0.9", "1.0"})
_HOST: Final = re.compile(rb"[A-Za-z0-9\-._~%!$&'()*+,;=:\[\]]*")
"""The characters of a name or address and its port (RFC 3986 section 3.2)."""


class Endpoint(Protocol):
    """The ASGI application of one protocol, without the REST framework: Bayeux, dashboards, Server-Sent Events."""

    def serves(self, path: str) -> bool:
        """Whether the endpoint serves requests and WebSockets of this path. It is called for each one, must be cheap and must not raise."""
        ...

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request or WebSocket, as an ASGI application."""
        ...


class Dispatcher:
    """The ASGI application of the hub. It calls ``guards`` first. Lifespan events go to ``rest``, which starts and stops the services."""

    __slots__ = ("_bodies", "_endpoints", "_errors", "_guards", "_max_headers", "_rest")

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        rest: ASGIApp,
        limits: Limits | None = None,
        bodies: BodyBudget | None = None,
        guards: Sequence[Guard] = (),
        errors: ErrorTable | None = None,
    ) -> None:
        """``bodies``: the budget for the bodies of REST requests; endpoints count theirs themselves. ``errors``: the forms of refusals."""
        self._errors = errors
        self._endpoints = tuple(endpoints)
        self._rest = rest
        self._guards = tuple(guards)
        limits = limits or Limits()
        self._max_headers = limits.max_headers
        self._bodies = bodies or BodyBudget(limits)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "lifespan":
            for guard in self._guards:
                if (refusal := guard(scope)) is not None:
                    return refuse(scope, send, refusal, self._errors)
            path: str = scope["path"]
            headers = scope["headers"]
            if len(headers) > self._max_headers:
                return refuse(scope, send, self._too_many_headers(len(headers)), self._errors)
            by_name = first_headers(scope)
            host = by_name.get(b"host")
            # two Host headers are possible only if some header name occurs twice, which is rare
            looked_at = host is None or len(by_name) < len(headers) or not _is_host(host)
            if looked_at and (error := _host_error(scope)) is not None:
                return refuse(scope, send, error, self._errors)
            for endpoint in self._endpoints:
                if endpoint.serves(path):
                    return endpoint(scope, receive, send)
        return self._serve_rest(scope, receive, send) if scope["type"] == "http" else self._rest(scope, receive, send)

    async def _serve_rest(self, scope: Scope, receive: Receive, send: Send) -> None:
        lease = self._bodies.lease(scope)
        send = completing(send)
        try:
            if scope["method"] == "HEAD":
                await serve_head(self._rest, scope, lease.metered(scope, receive), send)
            else:
                await self._rest(scope, lease.metered(scope, receive), send)
        finally:
            lease.release()

    def _too_many_headers(self, got: int) -> ApiError:
        """431 (RFC 6585 section 5)."""
        detail = {"field": "headers", "expected": f"at most {self._max_headers} headers", "got": str(got)}
        message = f"headers: expected at most {self._max_headers}, got {got}"
        return ApiError(431, message, detail=detail, headers={"Connection": "close"})


@lru_cache(maxsize=256)
def _is_host(value: bytes) -> bool:
    """Whether a value can stand in ``Host``. It may be empty, for a target without an authority (RFC 9112 section 3.2)."""
    return _HOST.fullmatch(value) is not None and (not value or split_host(value.decode("ascii")) is not None)


def _host_error(scope: Scope) -> ApiError | None:
    """The error 400 for a request whose ``Host`` is missing, repeated or malformed: a proxy may have taken another value for the host
    (RFC 9112 section 3.2). None when there is no error; HTTP/1.0 does not have the header.
    """
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if len(hosts) == 1 and _is_host(hosts[0]):
        return None
    if not hosts:
        if scope.get("http_version", "1.1") in _WITHOUT_HOST:
            return None
        got = "nothing"
    else:
        got = "several" if len(hosts) > 1 else show(hosts[0].decode("latin-1"))
    expected = "one name or address, with or without a port"
    return ApiError(400, f"Host: expected {expected}, got {got}", detail={"field": "Host", "expected": expected, "got": got})


async def refuse(scope: Scope, send: Send, error: ApiError, errors: ErrorTable | None = None) -> None:
    """Answer a request, or the opening handshake of a WebSocket, with an error: in the envelope, or in the form that ``errors`` has for the
    path of a request.
    """
    websocket = scope["type"] == "websocket"
    lead = "websocket.http" if websocket else "http"
    response = respond_error(error) if websocket or errors is None else errors.respond(scope, error)
    for name, value in NO_STORE.items():
        response.headers.setdefault(name, value)
    headers = [*response.raw_headers, *SECURITY_HEADERS]
    if websocket:  # to all other answers the server adds these
        headers += SERVER_HEADERS
    await send({"type": f"{lead}.response.start", "status": response.status_code, "headers": headers})
    await send({"type": f"{lead}.response.body", "body": response.body})
