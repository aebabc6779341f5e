"""The front of the house: plain ASGI that asks the doors first and hands everything else to the REST application."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send


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

    __slots__ = ("_doors", "_rest")

    def __init__(self, doors: Sequence[Door], rest: ASGIApp) -> None:
        self._doors = tuple(doors)
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            path: str = scope["path"]
            for door in self._doors:
                if door.serves(path):
                    await door(scope, receive, send)
                    return
        await self._rest(scope, receive, send)
