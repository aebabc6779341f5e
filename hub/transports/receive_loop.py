"""The receive loop of a WebSocket: hands over messages until the connection is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import structlog

from hub.core.errors import CloseCode
from hub.core.ports import Clock, Loop
from hub.core.time_slice import TimeSlice
from hub.transports.eager_step import eager_step
from hub.transports.socket import BadFrameError, Socket, TooLargeError, Work

_log = structlog.get_logger(__name__)


async def receive_loop(
    socket: Socket,
    receive: Callable[[bytes], Coroutine[Any, Any, object]],
    refuse: Callable[[CloseCode, str], object],
    close: Callable[[CloseCode, str], object],
    *,
    clock: Clock,
    loop: Loop,
    log_event: str,
) -> None:
    """Hand over each message to ``receive``, one after the other. An exception by one message ends this connection alone.

    A message that comes while no other is handled is handled in the server's callback, as far as it does not have to wait. Messages that
    came together are handled in slices of time; between slices the loop runs others.

    Args:
        socket: the connection.
        receive: handles a message.
        refuse: is called for a frame that is no message at all.
        close: ends the connection after an error of the hub.
        clock: measures the slices.
        loop: gives way between them.
        log_event: the name under which an error of the hub is logged.
    """
    task = cast("asyncio.Task[Any]", asyncio.current_task())
    asyncio_loop = asyncio.get_running_loop()

    def start(payload: bytes) -> Work | None:
        return eager_step(receive(payload), task, asyncio_loop)

    socket.on_text(start)
    time_slice = TimeSlice(clock, loop)
    while True:
        try:
            message = await socket.receive()  # one that is here already is received without giving way
        except BadFrameError as bad:
            refuse(CloseCode.BAD_MESSAGE, str(bad))
            continue
        except TooLargeError as large:
            refuse(CloseCode.TOO_LARGE, str(large))
            continue
        if message is None:
            return
        if not isinstance(message, bytes):
            time_slice = TimeSlice(clock, loop)  # it came while this waited: others have run
        try:
            await (receive(message) if isinstance(message, bytes) else message)
        except Exception:
            _log.exception(log_event)
            close(CloseCode.INTERNAL, "the server failed")
        await time_slice.checkpoint()
