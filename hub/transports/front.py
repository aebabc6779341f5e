"""The front of the house: plain ASGI that asks the doors first and hands everything else to the REST application."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from hub.core.errors import CloseCode
from hub.core.limits import Limits
from hub.ops.body import BodyBudget
from hub.ops.envelope import EnvelopeResponse, failure


class Door(Protocol):
    """A way in that does without the REST framework: Bayeux, dashboards, Server-Sent Events."""

    def serves(self, path: str) -> bool:
        """Whether requests and WebSockets of this path are the door's. Called for each one: it must be cheap and must not raise."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket, as an ASGI application."""
        ...


class Front:
    """The ASGI application of the hub. Lifespan events go to ``rest``, which has the services' start and stop."""

    __slots__ = ("_bodies", "_doors", "_most_headers", "_rest")

    def __init__(self, doors: Sequence[Door], rest: ASGIApp, limits: Limits | None = None, bodies: BodyBudget | None = None) -> None:
        """``bodies`` is what the bodies of all requests share; the doors count their own."""
        self._doors = tuple(doors)
        self._rest = rest
        limits = limits or Limits()
        self._most_headers = limits.max_headers
        self._bodies = bodies or BodyBudget(limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            path: str = scope["path"]
            if len(scope["headers"]) > self._most_headers:
                await _refuse(scope, receive, send, len(scope["headers"]), self._most_headers)
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
            await self._rest(scope, lease.metered(scope, receive), send)
        finally:
            lease.release()


async def _refuse(scope: Scope, receive: Receive, send: Send, got: int, most: int) -> None:
    """431 (RFC 6585 section 5); a WebSocket is not opened."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": CloseCode.TOO_LARGE, "reason": "too many headers"})
        return
    detail = {"field": "headers", "expected": f"at most {most} headers", "got": str(got)}
    message = f"headers: expected at most {most}, got {got}"
    await EnvelopeResponse(failure(431, message, detail), 431, {"Connection": "close"})(scope, receive, send)
