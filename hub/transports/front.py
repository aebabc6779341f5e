"""Plain ASGI in front of the REST application: serves the protocols' own paths and hands all other requests on."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Final, Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from hub.core.limits import Limits
from hub.ops.body import BodyBudget
from hub.ops.envelope import ApiError, ascii_json, show
from hub.ops.method import serve_head
from hub.security.headers import first_headers
from hub.security.hosts import split_host

Guard = Callable[[Scope], ApiError | None]
"""Says why a request or WebSocket is not let in, whatever its path; None when it is."""

_WITHOUT_HOST: Final = frozenset({"0.9", "1.0"})
_HOST: Final = re.compile(rb"[A-Za-z0-9\-._~%!$&'()*+,;=:\[\]]*")
"""The characters of a name or address and its port (RFC 3986 section 3.2)."""


class Door(Protocol):
    """A way in that does without the REST framework: Bayeux, dashboards, Server-Sent Events."""

    def serves(self, path: str) -> bool:
        """Whether requests and WebSockets of this path are the door's. Called for each one: it must be cheap and must not raise."""
        ...

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request or WebSocket, as an ASGI application."""
        ...


class Front:
    """The ASGI application of the hub; ``guards`` are asked first. Lifespan events go to ``rest``, which has the services' start, stop."""

    __slots__ = ("_bodies", "_doors", "_guards", "_most_headers", "_rest")

    def __init__(
        self,
        doors: Sequence[Door],
        rest: ASGIApp,
        limits: Limits | None = None,
        bodies: BodyBudget | None = None,
        guards: Sequence[Guard] = (),
    ) -> None:
        """``bodies`` is what the bodies of all requests share; the doors count their own."""
        self._doors = tuple(doors)
        self._rest = rest
        self._guards = tuple(guards)
        limits = limits or Limits()
        self._most_headers = limits.max_headers
        self._bodies = bodies or BodyBudget(limits)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "lifespan":
            for guard in self._guards:
                if (refusal := guard(scope)) is not None:
                    return refuse(scope, send, refusal)
            path: str = scope["path"]
            headers = scope["headers"]
            if len(headers) > self._most_headers:
                return refuse(scope, send, self._too_many_headers(len(headers)))
            by_name = first_headers(scope)
            host = by_name.get(b"host")
            # only where a name stands twice, as it nearly never does, there may be two hosts
            looked_at = host is None or len(by_name) < len(headers) or not _is_host(host)
            if looked_at and (fault := _host_fault(scope)) is not None:
                return refuse(scope, send, fault)
            for door in self._doors:
                if door.serves(path):
                    return door(scope, receive, send)
        return self._serve_rest(scope, receive, send) if scope["type"] == "http" else self._rest(scope, receive, send)

    async def _serve_rest(self, scope: Scope, receive: Receive, send: Send) -> None:
        lease = self._bodies.lease(scope)
        try:
            if scope["method"] == "HEAD":
                await serve_head(self._rest, scope, lease.metered(scope, receive), send)
            else:
                await self._rest(scope, lease.metered(scope, receive), send)
        finally:
            lease.release()

    def _too_many_headers(self, got: int) -> ApiError:
        """431 (RFC 6585 section 5)."""
        detail = {"field": "headers", "expected": f"at most {self._most_headers} headers", "got": str(got)}
        message = f"headers: expected at most {self._most_headers}, got {got}"
        return ApiError(431, message, detail=detail, headers={"Connection": "close"})


@lru_cache(maxsize=256)
def _is_host(value: bytes) -> bool:
    """Whether it can stand in ``Host``; what has no authority to name sends an empty one (RFC 9112 section 3.2)."""
    return _HOST.fullmatch(value) is not None and (not value or split_host(value.decode("ascii")) is not None)


def _host_fault(scope: Scope) -> ApiError | None:
    """400 of a request that does not say whom it is for, or says it in two ways: a proxy may have looked at another one (RFC 9112 section
    3.2). HTTP/1.0 does not know the header.
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


async def refuse(scope: Scope, send: Send, error: ApiError) -> None:
    """Answer a request, or a WebSocket before it is one, with an error."""
    websocket = scope["type"] == "websocket"
    lead = "websocket.http" if websocket else "http"
    body = ascii_json(error.body())
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), (b"cache-control", b"no-store")]
    if websocket:  # the server adds it to all other answers
        headers.append((b"x-content-type-options", b"nosniff"))
    headers += [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in (error.headers or {}).items()]
    await send({"type": f"{lead}.response.start", "status": error.http_status, "headers": headers})
    await send({"type": f"{lead}.response.body", "body": body})
