"""Gives each REST request a request id and a trace id, which all its log lines have, and writes an access log line at its end."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.http.error_table import ErrorTable
from hub.http.errors import ApiError
from hub.http.method import asked_method

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:\-]{1,128}")
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_B3_TRACE_ID = re.compile(rb"(?:[0-9a-fA-F]{16}){1,2}")

_PROBES: Final = frozenset({"/livez", "/readyz", "/metrics"})
"""Routes that balancers and Prometheus ask every second or so: at ``info`` their lines would hide those of clients."""

_access = structlog.get_logger("hub.access")
_log = structlog.get_logger(__name__)


def request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The caller's ``X-Request-Id`` when it has 1 to 128 of ``A-Z a-z 0-9 . _ : -``, which is safe to log and return; else a new one."""
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value.decode("ascii")
    return secrets.token_hex(16)


def trace_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The trace id of a request: ``traceparent`` (W3C Trace Context), else ``X-B3-TraceId`` (B3, 64 or 128 bits), else a new one."""
    b3: str | None = None
    for name, value in headers:
        if name == b"traceparent" and (found := _TRACEPARENT.fullmatch(value)) and not value.startswith(b"ff"):
            return found[1].decode("ascii")
        if name == b"x-b3-traceid" and _B3_TRACE_ID.fullmatch(value):
            b3 = value.decode("ascii").lower()
    return b3 or secrets.token_hex(16)


class Tracing:
    """Plain ASGI around the REST application. Bayeux, `/ws` and `/events` are not traced: a held connect can take minutes."""

    __slots__ = ("_app", "_errors")

    def __init__(self, app: ASGIApp, errors: ErrorTable | None = None) -> None:
        """``errors``: the forms of errors."""
        self._app = app
        self._errors = errors or ErrorTable()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        identifier = request_id(headers)
        status = 0  # no response was sent

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), (b"x-request-id", identifier.encode("ascii"))]}
            await send(message)

        began = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=identifier, trace_id=trace_id(headers)):
            try:
                await self._app(scope, receive, send_with_id)
            except Exception:
                # logged here and not raised again: the server would log it a second time, without the request id
                _log.exception("request_failed", method=scope["method"], path=_route(scope))
                if not status:
                    await self._errors.respond(scope, ApiError(500, "Internal Server Error"))(scope, receive, send_with_id)
            finally:
                access(scope, status, time.perf_counter() - began)


def access(scope: Scope, status: int, seconds: float, route: str | None = None) -> None:
    """Write the access log line of a request; ``status`` 0: it was not answered. That of a probe has the level ``debug``. ``route``
    stands for the path where the scope has no route.
    """
    route = route or _route(scope)
    write = _access.debug if route in _PROBES else _access.info
    write("request", method=asked_method(scope), path=route, status=status, ms=round(seconds * 1000, 1))


def _route(scope: Scope) -> str:
    """The template of the request's route, so that no id or secret in a path is logged; ``-`` if there is no route."""
    return getattr(scope.get("route"), "path", "-")
