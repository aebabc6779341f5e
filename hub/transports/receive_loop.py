"""The receive loop of a WebSocket: passes each message on until the connection ends."""

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
    """Pass the messages to ``receive``, one after the other. An exception in the handling of a message ends this connection alone.

    A message that arrives while no other is being handled is handled in the server's callback, up to the point where it has to wait.
    Messages that arrive together are handled in time slices; between two slices the loop runs other tasks.

    Args:
        socket: the connection.
        receive: handles a message.
        refuse: is called for a binary frame, and for a message above the size limit.
        close: closes the connection after an error in the hub.
        clock: measures the time slices.
        loop: lets other tasks run between slices.
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
            message = await socket.receive()  # does not yield to the loop if a message is in the queue
        except BadFrameError as bad:
            refuse(CloseCode.BAD_MESSAGE, str(bad))
            continue
        except TooLargeError as large:
            refuse(CloseCode.TOO_LARGE, str(large))
            continue
        if message is None:
            return
        if not isinstance(message, bytes):
            time_slice = TimeSlice(clock, loop)  # it arrived while this task waited, so other tasks have run
        try:
            await (receive(message) if isinstance(message, bytes) else message)
        except Exception:
            _log.exception(log_event)
            close(CloseCode.INTERNAL, "the server failed")
        await time_slice.checkpoint()
