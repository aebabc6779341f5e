"""Identifies the caller who opens a WebSocket."""

from __future__ import annotations

import structlog
from starlette.types import Scope

from hub.core.errors import CREDENTIAL_UNVERIFIED, CloseCode
from hub.http.errors import ApiError
from hub.security.gate import Caller, Gate
from hub.storage.transactions import StorageError
from hub.transports.socket import Socket

_log = structlog.get_logger(__name__)


async def identify(gate: Gate, scope: Scope, socket: Socket, *, statistics_session: str | None = None) -> Caller | None:
    """Identify the caller of a WebSocket. If credentials cannot be looked up, the WebSocket is accepted and closed with 1013
    (docs/errors.md), because browsers do not show scripts the HTTP status of a refused upgrade. If the caller's tenant has reached its
    limit of connections, it is accepted and closed with 4429. In both cases this returns None after the connection has ended.
    """
    try:
        return await gate.identify(scope, statistics_session=statistics_session)
    except StorageError:
        _log.exception("a caller could not be identified")
        code, reason = CloseCode.UNAVAILABLE, CREDENTIAL_UNVERIFIED
    except ApiError as refused:  # the tenant has reached its limit of connections
        code, reason = CloseCode.TOO_MANY, refused.message
    await socket.accept()
    socket.close(code, reason)
    while await socket.receive() is not None:
        pass
    return None
