"""A WebSocket for all endpoints: it writes prebuilt frames if the server takes them, else it queues messages for ASGI's ``send``."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum, auto
from typing import cast

import structlog
from starlette.types import Message, Receive, Scope, Send

from hub.core.frames import DirectWrite, payload_of
from hub.transports.frames import EXTENSION, FrameWriter, fit_reason

Work = Awaitable[None]
"""The rest of the handling of a message that the server's callback began."""

_log = structlog.get_logger(__name__)


class BadFrameError(ValueError):
    """The peer sent a binary message; the text says what was expected and what came."""


class TooLargeError(ValueError):
    """A message is larger than ``max_message_bytes``; the text gives the limit and the size, in bytes."""


class _State(Enum):
    NEW = auto()
    OPEN = auto()
    CLOSING = auto()
    """The hub has sent a close frame, or has queued one."""
    GONE = auto()


class Socket:
    """One WebSocket connection of an ASGI server.

    The fast path exists when ``scope["extensions"]["hub.frames"]`` holds a :class:`hub.transports.frames.FrameWriter`: :meth:`write` is
    then one call of the transport. Under any other ASGI server, payloads wait in a queue, and a task that runs while there is something to
    send empties it. Both ways behave alike. Neither limits the bytes that wait: the caller checks :attr:`buffered`.

    After :meth:`close`, call :meth:`receive` until it returns None, and return from the ASGI application only then: a server without the
    fast path may cut the connection when its application returns, before the close frame is sent.
    """

    __slots__ = (
        "_close",
        "_drain",
        "_drainer",
        "_max_message_bytes",
        "_on_text",
        "_queue",
        "_queued",
        "_receive",
        "_send",
        "_state",
        "_writer",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, max_message_bytes: int) -> None:
        self._receive = receive
        self._send = send
        self._max_message_bytes = max_message_bytes
        self._state = _State.NEW
        self._drain: Callable[[], object] | None = None
        self._on_text: Callable[[bytes], Work | None] | None = None
        # without the fast path only
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._drainer: asyncio.Task[None] | None = None
        self._close: tuple[int, str] | None = None
        self._writer = cast("FrameWriter | None", (scope.get("extensions") or {}).get(EXTENSION))
        if self._writer is not None:
            self._writer.claim(self._drained)

    async def accept(self, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """Answer the opening handshake, with additional response headers. :attr:`open` stays False if the peer has gone."""
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self._state = _State.GONE
            return
        try:
            await self._send({"type": "websocket.accept", "headers": list(headers)})
        except OSError as error:  # the ASGI specification: a send on a lost connection raises it
            self._lost(error)
            return
        self._state = _State.OPEN
        if self._writer is not None:
            self._writer.accepted()

    def on_text(self, on_text: Callable[[bytes], Work | None]) -> None:
        """Call ``on_text`` for messages that arrive while :meth:`receive` waits. It returns the rest of the work, or None."""
        self._on_text = on_text

    async def receive(self) -> bytes | Work | None:
        """The payload of the next text message, not yet checked to be UTF-8. Or, for a message that went to :meth:`on_text`, the rest of
        its work, which the caller awaits before it does anything else. None when the connection has ended.

        Messages that arrive after :meth:`close` are dropped.

        Raises:
            BadFrameError: a binary message.
            TooLargeError: a message of more than ``max_message_bytes`` bytes. The fast path's server refuses these by itself (1009).
        """
        while self._state is not _State.GONE:
            message = await self._next()
            if message["type"] == "websocket.disconnect":
                self._end()
            elif message["type"] == "hub.begun":
                return cast("Work", message["payload"])
            elif self._state is _State.OPEN:
                return self._payload(message)
        return None

    async def _next(self) -> Message:
        if self._writer is None or self._on_text is None:
            return await self._receive()
        self._writer.listen(self._on_text)
        try:
            return await self._receive()
        finally:
            self._writer.listen(None)

    def _payload(self, message: object) -> bytes:
        fields = cast("dict[str, str | bytes | None]", message)
        payload = fields.get("payload")  # of the fast path
        if payload is None:
            payload = fields.get("text")
            if payload is None:
                raise BadFrameError("expected a text message, got a binary one")
        if isinstance(payload, str):
            payload = payload.encode(errors="surrogatepass")
        if len(payload) > self._max_message_bytes:
            raise TooLargeError(f"expected a message of at most {self._max_message_bytes} bytes, got {len(payload)}")
        return payload

    def write(self, frame: bytes) -> bool:
        """Send one whole text frame (:func:`hub.core.frames.text_frames`). Never raises, never awaits; False when the connection is closing
        or gone.
        """
        if self._state is not _State.OPEN:
            return False
        if self._writer is not None:
            return self._writer.write_frame(frame)
        payload = payload_of(frame)
        self._queue.append(payload)
        self._queued += len(payload)
        self._start_drainer()
        return True

    @property
    def buffered(self) -> int:
        """Bytes that wait here or in the transport because the peer has not read them."""
        return self._queued if self._writer is None else self._writer.buffered_bytes

    @property
    def open(self) -> bool:
        """Whether :meth:`write` would send: accepted, and neither side has begun to close."""
        return self._state is _State.OPEN and (self._writer is None or self._writer.writable_now)

    @property
    def direct_write(self) -> DirectWrite | None:
        """Writes frames at once; see :class:`hub.bayeux.ports.Connection`."""
        return None if self._writer is None or self._state is not _State.OPEN else self._writer.direct_write

    def on_writable_changed(self, callback: Callable[[DirectWrite | None], object]) -> None:
        """Call ``callback`` with :attr:`direct_write` whenever that changes. The server calls it directly."""
        if self._writer is not None:
            self._writer.on_writable_changed(callback)

    def on_drain(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` each time that :attr:`buffered` was above 0 after a write and is 0 again.

        Both water marks are 0. So a caller that stopped writing because of :attr:`buffered` always gets this call, whatever its limit was.
        """
        self._drain = callback

    def close(self, code: int, reason: str = "") -> None:
        """Start the closing handshake after the frames that wait. Idempotent; never awaits; a reason that is too long is cut."""
        if self._state is not _State.OPEN:
            return
        self._state = _State.CLOSING
        if self._writer is not None:
            self._writer.start_close(code, reason)
            return
        self._close = (code, fit_reason(reason))
        self._start_drainer()

    def _drained(self) -> None:
        if self._drain is not None and self._state is _State.OPEN:
            self._drain()

    # -- without the fast path --------------------------------------------------------------------------------------

    def _start_drainer(self) -> None:
        if self._drainer is None:
            self._drainer = asyncio.get_running_loop().create_task(self._empty_queue())

    async def _empty_queue(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._queue:
                payload = self._queue[0]
                await self._send({"type": "websocket.send", "text": payload.decode()})
                if not self._queue:  # cleared while this waited: the peer has gone
                    break
                self._queue.popleft()
                self._queued -= len(payload)
                if not self._queue:
                    loop.call_soon(self._drained)
            if self._close is not None:
                code, reason = self._close
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except (OSError, RuntimeError) as error:  # OSError by the ASGI specification; servers also raise RuntimeError after a close
            self._lost(error)
        finally:
            self._drainer = None

    def _lost(self, error: Exception) -> None:
        _log.info("websocket_write_failed", fault=str(error))
        self._end()

    def _end(self) -> None:
        self._state = _State.GONE
        self._queue.clear()
        self._queued = 0
        self._on_text = self._drain = None  # these refer to whoever has this: no circle is left to the garbage collector
