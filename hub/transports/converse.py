"""What every WebSocket door does with what comes: hand it over until the connection is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any, cast

import structlog

from hub.core.errors import CloseCode
from hub.core.flusher import SLICE_S
from hub.transports.at_once import begin
from hub.transports.socket import BadFrameError, Socket, TooLargeError, Work

_log = structlog.get_logger(__name__)


async def converse(
    socket: Socket,
    receive: Callable[[bytes], Coroutine[Any, Any, object]],
    refuse: Callable[[CloseCode, str], object],
    close: Callable[[CloseCode, str], object],
    *,
    fault: str,
) -> None:
    """Hand over each message to ``receive``, one after the other. What one message does wrong ends this connection alone.

    A message that comes while nothing else waits begins to be handled at once, where the server calls. Between messages that came together
    others get the loop whenever a slice is used up.
    ``refuse`` is told of a frame that is no message at all; ``close`` ends the connection after a fault of ours, which is logged as
    ``fault``.
    """
    loop = asyncio.get_running_loop()
    task = cast("asyncio.Task[Any]", asyncio.current_task())

    def at_once(payload: bytes) -> Work | None:
        return begin(receive(payload), task, loop)

    socket.on_text(at_once)
    used = 0.0
    while True:
        if used > SLICE_S:  # a message that is here already is received without giving way
            await asyncio.sleep(0)
            used = 0.0
        try:
            message = await socket.receive()
        except BadFrameError as bad:
            refuse(CloseCode.BAD_MESSAGE, str(bad))
            continue
        except TooLargeError as large:
            refuse(CloseCode.TOO_LARGE, str(large))
            continue
        if message is None:
            return
        began = monotonic()  # the loop's own clock stands still while a callback runs
        try:
            await (receive(message) if isinstance(message, bytes) else message)
        except Exception:
            _log.exception(fault)
            close(CloseCode.INTERNAL, "the server failed")
        used += monotonic() - began
