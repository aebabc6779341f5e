"""Identifies who opens a WebSocket."""

from __future__ import annotations

import structlog
from starlette.types import Scope

from hub.core.errors import CloseCode
from hub.http.errors import ApiError
from hub.security.gate import Caller, Gate
from hub.storage.transactions import StorageError
from hub.transports.socket import Socket

_log = structlog.get_logger(__name__)


async def identify(gate: Gate, scope: Scope, socket: Socket, *, statistics_session: str | None = None) -> Caller | None:
    """Who asks for a WebSocket. While credentials cannot be looked up it is accepted and closed with 1013 (docs/errors.md), for browsers do
    not show scripts the HTTP status of a refused upgrade; then this returns None, when the connection is over. So it is with 4429 where the
    caller's tenant has its share of connections.
    """
    try:
        return await gate.identify(scope, statistics_session=statistics_session)
    except StorageError:
        _log.exception("a caller could not be identified")
        code, reason = CloseCode.UNAVAILABLE, "credentials cannot be looked up now; come back later"
    except ApiError as refused:  # its tenant has its share of connections
        code, reason = CloseCode.TOO_MANY, refused.message
    await socket.accept()
    socket.close(code, reason)
    while await socket.receive() is not None:
        pass
    return None
