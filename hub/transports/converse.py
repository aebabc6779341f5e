"""The receive loop of a WebSocket: hands over messages until the connection is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any, cast

import structlog

from hub.core.errors import CloseCode
from hub.core.time_slice import SLICE_S
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
    """Hand over each message to ``receive``, one after the other. An exception by one message ends this connection alone.

    A message that comes while no other is handled is handled at once, in the server's callback. Between messages that came together
    the loop runs others whenever a slice of time is used up.
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
