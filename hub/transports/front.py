"""The front of the house: plain ASGI that asks the doors first and hands everything else to the REST application."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from hub.core.limits import Limits
from hub.ops.body import BodyBudget
from hub.ops.envelope import ApiError, ascii_json
from hub.ops.method import serve_head

Guard = Callable[[Scope], ApiError | None]
"""Says why a request or WebSocket is not let in, whatever its path; None when it is."""


class Door(Protocol):
    """A way in that does without the REST framework: Bayeux, dashboards, Server-Sent Events."""

    def serves(self, path: str) -> bool:
        """Whether requests and WebSockets of this path are the door's. Called for each one: it must be cheap and must not raise."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            for guard in self._guards:
                if (refusal := guard(scope)) is not None:
                    await refuse(scope, send, refusal)
                    return
            path: str = scope["path"]
            headers = scope["headers"]
            if len(headers) > self._most_headers:
                await refuse(scope, send, self._too_many_headers(len(headers)))
                return
            if [name for name, _ in headers].count(b"host") > 1:  # asked of every request: a list is faster than a generator here
                await refuse(scope, send, _two_hosts())
                return
            for door in self._doors:
                if door.serves(path):
                    await door(scope, receive, send)
                    return
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
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


def _two_hosts() -> ApiError:
    """400 (RFC 9112 section 3.2): a proxy may have looked at another one."""
    return ApiError(400, "Host: expected one, got several", detail={"field": "Host", "expected": "one", "got": "several"})


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
