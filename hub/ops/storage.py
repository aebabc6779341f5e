"""The answers of REST calls when the database or a log cannot be used."""

from __future__ import annotations

import structlog
from fastapi import FastAPI, Request
from starlette.responses import Response

from hub.eventlog.interface import EventLogError
from hub.ops.envelope import ApiError, respond, show
from hub.storage.text import NulTextError
from hub.storage.transactions import StorageError

_log = structlog.get_logger(__name__)


def unavailable(fault: StorageError | EventLogError) -> ApiError:
    """503; the reason goes to the log, where the operator finds it."""
    _log.error("database_unavailable", exc_info=fault)
    return ApiError(503, "the database cannot be used now, and nothing was changed: try again", headers={"Retry-After": "1"})


def nul_refused(request: Request, fault: NulTextError) -> ApiError:
    """The error 400 for text with a NUL, which the databases do not store. It names the parameter, or the body."""
    named = [*request.path_params.items(), *request.query_params.multi_items()]
    field = next((name for name, value in named if isinstance(value, str) and fault.text in value), "body")
    expected, got = "text without NUL (U+0000)", show(fault.text)
    return ApiError(400, f"{field}: expected {expected}, got {got}", detail={"field": field, "expected": expected, "got": got})


def install(app: FastAPI) -> None:
    """Answer 503 where an operation fails for the database or a log (docs/operations.md)."""

    async def on_fault(_: Request, fault: Exception) -> Response:
        assert isinstance(fault, StorageError | EventLogError)
        return respond(unavailable(fault))

    app.add_exception_handler(StorageError, on_fault)
    app.add_exception_handler(EventLogError, on_fault)
