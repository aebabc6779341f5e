"""Sends files by the operating system: ``http.response.zerocopysend`` of ASGI (ASGI documentation, "Extensions", "Zero Copy Send").

An application that has a file hands over the file. Its bytes go from the cache of the system to the socket, in a thread and without a copy
in this process: neither the event loop nor Python's lock has a part in it. A connection with TLS does not offer this, since its bytes are
encrypted here.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, BinaryIO, Final

from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from hub.objects.threads import in_sending_thread

ZERO_COPY: Final = "http.response.zerocopysend"
"""The name of the extension in a scope, and the type of its message."""

EXTENSIONS: Final[dict[str, dict[object, object]]] = {ZERO_COPY: {}} if hasattr(os, "sendfile") else {}
"""The extensions of a request on a connection without TLS."""

TURN_BYTES: Final = 4 * 1024 * 1024
"""Bytes that a thread sends before another file has its turn: about 1 ms on a loopback interface, whose client reads as fast as it can. A
socket of a network takes fewer at once.
"""


class FileSendingCycle(RequestResponseCycle):
    """A request whose answer may be a file."""

    file_left = 0
    """Bytes of the file that is being sent which the operating system has not taken yet."""

    def send(self, message: Message) -> Any:  # type: ignore[override]  # Starlette's type of the same dictionary
        """See ``send`` of ASGI."""
        return self._send_file(message) if message["type"] == ZERO_COPY else super().send(message)  # type: ignore[arg-type]

    async def _send_file(self, message: Message) -> None:
        """Send a part of a file as the body of an answer, or as one piece of it.

        Raises:
            ConnectionError: the client has gone.
            OSError: the file cannot be read.
            RuntimeError: as for any other body, where ``Content-Length`` does not fit, or the file is shorter than ``count``.
        """
        if not self.response_started or self.response_complete or self.chunked_encoding is not False:
            raise RuntimeError(f"Expected a response with Content-Length that has begun, but got {ZERO_COPY!r}.")
        file: BinaryIO = message["file"]
        offset = message.get("offset")
        count = message.get("count")
        start = file.tell() if offset is None else offset
        size = os.fstat(file.fileno()).st_size - start if count is None else count
        if size > self.expected_content_length:
            raise RuntimeError("Response content longer than Content-Length")
        if self.scope["method"] != "HEAD":
            await self._flushed()
            await self._through(file, start, size)
            self.expected_content_length -= size
        await super().send({"type": "http.response.body", "body": b"", "more_body": message.get("more_body", False)})

    async def _flushed(self) -> None:
        """Wait until the socket has what was written before: the file comes behind it."""
        self.transport.set_write_buffer_limits(0)
        try:
            await self.flow.drain()
        finally:
            if not self.disconnected:
                self.transport.set_write_buffer_limits()

    async def _through(self, file: BinaryIO, at: int, size: int) -> None:
        if self.disconnected or self.transport.is_closing():
            raise ConnectionResetError("the client has gone")
        way = _Way(self.transport.get_extra_info("socket").fileno(), file.fileno())
        loop = asyncio.get_running_loop()
        self.file_left = size
        try:
            while self.file_left:
                sent, full = await way.send(at, min(self.file_left, TURN_BYTES))
                at += sent
                self.file_left -= sent
                if self.disconnected:
                    raise ConnectionResetError("the client has gone")
                if full:
                    # as if the transport had said that it is full; a connection that is lost ends this, too
                    self.flow.pause_writing()
                    loop.add_writer(way.socket, self.flow.resume_writing)
                    try:
                        await self.flow.drain()
                    finally:
                        loop.remove_writer(way.socket)
                        self.flow.resume_writing()
        finally:
            self.file_left = 0
            way.close()


class _Way:
    """From a file to a socket, by descriptors of its own: connection and file may be closed while a thread sends, and their numbers may
    then be those of others.
    """

    __slots__ = ("_file", "_sending", "socket")

    def __init__(self, socket: int, file: int) -> None:
        self._sending: asyncio.Future[tuple[int, bool]] | None = None
        self.socket = os.dup(socket)
        try:
            self._file = os.dup(file)
        except OSError:
            os.close(self.socket)
            raise

    async def send(self, at: int, size: int) -> tuple[int, bool]:
        """See :func:`_send`. If the caller is cancelled, the thread goes on to the end of its turn."""
        self._sending = asyncio.ensure_future(in_sending_thread(_send, self.socket, self._file, at, size))
        return await asyncio.shield(self._sending)

    def close(self) -> None:
        """Close the descriptors, as soon as no thread needs them."""
        if self._sending is None or self._sending.done():
            self._close()
        else:
            self._sending.add_done_callback(self._close)

    def _close(self, sending: asyncio.Future[tuple[int, bool]] | None = None) -> None:
        os.close(self.socket)
        os.close(self._file)
        if sending is not None and not sending.cancelled():
            sending.exception()  # nobody waits for it any more


def _send(socket: int, file: int, at: int, size: int) -> tuple[int, bool]:
    """Send bytes of a file until the socket takes no more. Returns how many, and whether the socket is full.

    Raises:
        RuntimeError: the file has ended.
    """
    sent = 0
    while sent < size:
        try:
            step = os.sendfile(socket, file, at + sent, size - sent)
        except BlockingIOError:
            return sent, True
        if not step:
            raise RuntimeError("Response content shorter than Content-Length")
        sent += step
    return sent, False
