"""What every WebSocket door does with what comes: hand it over until the connection is over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from hub.core.errors import CloseCode
from hub.transports.socket import BadFrameError, Socket, TooLargeError

_log = structlog.get_logger(__name__)


async def converse(
    socket: Socket,
    receive: Callable[[bytes], Awaitable[Any]],
    refuse: Callable[[CloseCode, str], object],
    close: Callable[[CloseCode, str], object],
    *,
    fault: str,
) -> None:
    """Hand over each message to ``receive``. What one message does wrong ends this connection alone.

    ``refuse`` is told of a frame that is no message at all; ``close`` ends the connection after a fault of ours, which is logged as
    ``fault``.
    """
    while True:
        try:
            payload = await socket.receive()
        except BadFrameError as bad:
            refuse(CloseCode.BAD_MESSAGE, str(bad))
            continue
        except TooLargeError as large:
            refuse(CloseCode.TOO_LARGE, str(large))
            continue
        if payload is None:
            return
        try:
            await receive(payload)
        except Exception:
            _log.exception(fault)
            close(CloseCode.INTERNAL, "the server failed")
