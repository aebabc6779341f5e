"""A short way through REST for the few operations that come by the thousand.

Middleware around middleware, finding a route, solving its dependencies: for each request that takes several times what such an operation
itself does; and so for what anybody may ask for, whose answers are made once. The short way is for plain requests alone: a path whose
parameters are of ordinary characters, not from a page of another origin. All others, and whatever is not hot, go on to the REST
application, where the same operation stands, is described in ``/openapi.json``, and answers in the same words.
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

from hub.eventlog.interface import EventLogError
from hub.ops.envelope import ApiError, EnvelopeResponse, failure, respond
from hub.ops.hot_paths import HotPath, OpenPath
from hub.ops.method import asked_method
from hub.ops.metrics import Metrics
from hub.ops.storage import nul_refused, unavailable
from hub.security.gate import Gate
from hub.security.rest import permit
from hub.storage.text import NulTextError
from hub.storage.transactions import StorageError
from hub.transports.tracing import access, request_id, trace_id

_log = structlog.get_logger(__name__)

_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_ORDINARY: Final = r"((?!ext_)[A-Za-z0-9][A-Za-z0-9_-]{0,63})"
"""What a parameter looks like here: an id of ours, a name. What looks otherwise is the router's to check."""


Answer = Callable[[Request], Awaitable[Response]]


class _Route(NamedTuple):
    """What is shown of a request: its template."""

    path: str


class HotPaths:
    """ASGI in front of the REST application."""

    __slots__ = ("_app", "_gate", "_metrics", "_open", "_paths")

    def __init__(self, app: ASGIApp, paths: Sequence[HotPath], gate: Gate, metrics: Metrics, open_paths: Sequence[OpenPath] = ()) -> None:
        self._app = app
        self._gate = gate
        self._metrics = metrics
        self._open = {each.path: each for each in open_paths}
        self._paths = [(path.method, re.compile(_PARAMETER.sub(_ORDINARY, path.path)), path) for path in paths]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            method, path = scope["method"], scope["path"]
            if method == "GET" and (found_open := self._open.get(path)) is not None and _of_no_page(scope):
                await self._serve(scope, receive, send, path, found_open.respond)
                return
            for hot_method, pattern, hot in self._paths:
                if method == hot_method and (found := pattern.fullmatch(path)) is not None:
                    if _of_no_page(scope):
                        await self._serve(scope, receive, send, hot.path, partial(self._permitted, hot, found.groups()))
                        return
                    break
        await self._app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, path: str, answer: Answer) -> None:
        headers = scope["headers"]
        scope["route"] = _Route(path)
        identifier = request_id(headers)
        began = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=identifier, trace_id=trace_id(headers)):
            response = await _answered(answer, Request(scope, receive, send), path)
            response.raw_headers.append((b"x-request-id", identifier.encode("ascii")))
            try:
                await response(scope, receive, send)
            finally:
                seconds = time.perf_counter() - began
                self._metrics.observe_request(asked_method(scope), path, response.status_code, seconds)
                access(scope, response.status_code, seconds)

    async def _permitted(self, hot: HotPath, parameters: Sequence[str], request: Request) -> Response:
        caller = await permit(self._gate, request.scope, hot.operation)
        return await hot.serve(request, caller, *parameters)


def _of_no_page(scope: Scope) -> bool:
    return not any(name == b"origin" for name, _ in scope["headers"])


async def _answered(answer: Answer, request: Request, path: str) -> Response:
    try:
        return await answer(request)
    except ApiError as error:
        return respond(error)
    except NulTextError as fault:
        return respond(nul_refused(request, fault))
    except (StorageError, EventLogError) as fault:
        return respond(unavailable(fault))
    except Exception:
        _log.exception("request failed", method=request.method, path=path)
        return EnvelopeResponse(failure(500, "the server failed to answer; its log says why"), 500)
