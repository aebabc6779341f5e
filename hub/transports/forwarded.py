"""Finds the client behind a proxy: reads ``X-Forwarded-For`` and ``X-Forwarded-Proto`` of trusted proxies (docs/proxies.md)."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from hub.http.error_table import ErrorTable
from hub.http.errors import ApiError
from hub.http.headers import first_headers
from hub.security.connections import RETRY_AFTER_S, SCOPE_KEY, Connection, Connections
from hub.transports.dispatcher import refuse

_BY_PROXIES: Final = frozenset({b"x-forwarded-for", b"x-forwarded-proto"})
_SCHEMES: Final = {b"http": ("http", "ws"), b"https": ("https", "wss"), b"ws": ("http", "ws"), b"wss": ("https", "wss")}


class Forwarded:
    """ASGI in front of the application: sets ``client`` and ``scheme`` of the scope to the values that a trusted proxy reports."""

    __slots__ = ("_app", "_connections", "_errors")

    def __init__(self, app: ASGIApp, connections: Connections, errors: ErrorTable | None = None) -> None:
        """``errors``: the forms of refusals."""
        self._app = app
        self._connections = connections
        self._errors = errors

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        connection: Connection | None = scope.get(SCOPE_KEY)
        if connection is not None and (connection.trusted or not connection.identified) and not self._look(scope, connection):
            text = "this address has as many connections that have shown no credential as it may have (limits.max_unidentified_per_address)"
            refusal = ApiError(429, text, headers={"Retry-After": str(RETRY_AFTER_S), "Connection": "close"})
            return refuse(scope, send, refusal, self._errors)
        return self._app(scope, receive, send)

    def _look(self, scope: Scope, connection: Connection) -> bool:
        """Store what a trusted proxy reports in ``scope``, and count the client's address; False when the request must be refused."""
        by_name = first_headers(scope)
        if not connection.trusted:
            return b"x-forwarded-for" not in by_name or self._connections.forwarded_for(connection, None)
        if _BY_PROXIES.isdisjoint(by_name):
            return self._connections.forwarded_for(connection, None)
        forwarded = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        client = None
        if forwarded and (client := self._client(b",".join(forwarded).decode("latin-1"))) is not None:
            scope["client"] = (client, 0)
        for name, value in scope["headers"]:
            if name == b"x-forwarded-proto" and (schemes := _SCHEMES.get(value.strip().lower())) is not None:
                scope["scheme"] = schemes[scope["type"] == "websocket"]
        return self._connections.forwarded_for(connection, client)

    def _client(self, forwarded: str) -> str | None:
        """The address of the client: each proxy appends an address, and the last one that is not a trusted proxy is the client."""
        hosts = [host for each in forwarded.split(",") if (host := _without_port(each.strip()))]
        return next((host for host in reversed(hosts) if not self._connections.trusts(host)), hosts[0] if hosts else None)


def _without_port(value: str) -> str:
    """An address without its port: some proxies write ``192.0.2.1:80`` and ``[2001:db8::1]:80``."""
    if value.startswith("["):
        return value[1:].partition("]")[0]
    return value.partition(":")[0] if value.count(":") == 1 else value
