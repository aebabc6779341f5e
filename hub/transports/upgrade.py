"""Who opens a WebSocket, where that can be found out."""

from __future__ import annotations

import structlog
from starlette.types import Scope

from hub.core.errors import CloseCode
from hub.security.gate import Caller, Gate
from hub.storage.transactions import StorageError
from hub.transports.socket import Socket

_log = structlog.get_logger(__name__)


async def identify(gate: Gate, scope: Scope, socket: Socket, *, statistics_session: str | None = None) -> Caller | None:
    """Who asks for a WebSocket. While credentials cannot be looked up it is accepted and closed with 1013 (docs/errors.md), for browsers do
    not show scripts the HTTP status of a refused upgrade; then this returns None, when the connection is over.
    """
    try:
        return await gate.identify(scope, statistics_session=statistics_session)
    except StorageError:
        _log.exception("a caller could not be identified")
    await socket.accept()
    socket.close(CloseCode.UNAVAILABLE, "credentials cannot be looked up now; come back later")
    while await socket.receive() is not None:
        pass
    return None
