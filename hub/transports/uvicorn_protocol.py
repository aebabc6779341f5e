"""uvicorn's protocols, with what the hub needs beside them: prebuilt frames, an end for peers that never read, bounded request heads."""

from __future__ import annotations

import asyncio
import random
from asyncio.transports import BaseTransport
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

from hub.transports.frames import EXTENSION, fit_reason

CLOSE_TIMEOUT_S = 5.0
"""How long a peer may take to answer a close frame, or to read what stands before it."""

MAX_HEAD_BYTES = 64 * 1024
"""Request line and headers together; the parser itself sets no limit."""

HEAD_TIMEOUT_S = 10.0
"""How long a new connection, or a request head that has begun, may take to arrive."""

_log = structlog.get_logger(__name__)


class HubWebSocketProtocol(WebSocketsSansIOProtocol):
    """A WebSocket of uvicorn that takes prebuilt frames: the :class:`hub.transports.frames.FrameWriter` of its scope.

    Whole frames of the application and of uvicorn (pings, pongs) interleave safely: server frames are unmasked and stateless, and uvicorn
    never fragments. It differs from its base in three more points. Closing never waits for a peer to read. A peer that leaves bytes
    unread while the connection closes is cut off after ``CLOSE_TIMEOUT_S``: the transport alone would keep them for ever. And once
    claimed, text is handed on as the bytes that came, neither decoded nor checked to be UTF-8.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.close_timeout = CLOSE_TIMEOUT_S
        self._on_drain: Callable[[], None] | None = None

    # -- what uvicorn calls -----------------------------------------------------------------------------------------

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        # every byte that waits counts: whoever saw one wait is told when none does, however small the limit was
        self.transport.set_write_buffer_limits(high=0)

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            # the application's task is only scheduled so far: it sees this
            cast("dict[str, object]", self.scope["extensions"])[EXTENSION] = self

    def handle_cont(self, event: Frame) -> None:
        # an endless run of empty fragments passes every check of size, but each would be kept
        if event.data or event.fin:
            super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        if self._on_drain is None or self.curr_msg_data_type != "text":
            super().send_receive_event_to_app()
            return
        payload = b"".join(self.frames)
        self.frames = []
        if self.close_sent:
            return
        self.queue.put_nowait(cast("Any", {"type": "hub.text", "payload": payload}))
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def handle_close(self, event: Frame) -> None:
        super().handle_close(event)
        self._bound_closing()

    def handle_parser_exception(self) -> None:
        super().handle_parser_exception()
        self._bound_closing()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self._bound_closing()

    async def run_asgi(self) -> None:
        await super().run_asgi()
        self._bound_closing()

    def start_keepalive(self) -> None:
        """Spread the first ping, so that connections made together do not ping together ever after."""
        if self.ping_interval:
            delay = self.ping_interval * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
            self.ping_timer = self.loop.call_later(delay, self.send_keepalive_ping)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._on_drain is not None:
            self._on_drain()

    def _bound_closing(self) -> None:
        if self.close_timer is None and self.transport.is_closing() and self.transport.get_write_buffer_size():
            self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    # -- FrameWriter ------------------------------------------------------------------------------------------------

    def claim(self, on_drain: Callable[[], None]) -> None:
        self._on_drain = on_drain

    @property
    def writable_now(self) -> bool:
        return self.handshake_complete and not self.close_sent and not self.disconnected and not self.transport.is_closing()

    @property
    def buffered_bytes(self) -> int:
        # a lost transport has let go of its buffer and must not be asked any more
        return 0 if self.disconnected else self.transport.get_write_buffer_size()

    def write_frame(self, frame: bytes) -> bool:
        if not self.writable_now:
            return False
        try:
            self.transport.write(frame)
        except (RuntimeError, OSError) as fault:
            _log.info("websocket_write_failed", fault=str(fault))
            self.transport.abort()
            return False
        return True

    def start_close(self, code: int, reason: str) -> None:
        """As uvicorn handles ``websocket.close``, but at once: there it waits until the peer has read, which a slow one never does."""
        if not self.writable_now:
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.conn.send_close(code, fit_reason(reason))
        self.write_frame(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)


class HubHttpProtocol(HttpToolsProtocol):
    """An HTTP connection of uvicorn whose request heads are bounded in size and in time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_open = True
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the base class has it
        super().connection_made(transport)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._head_open = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_open = False
        self._stop_head_timer()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # nearly every head comes in one piece: then nothing is counted and no timer is set
        if self._head_open and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            elif self._head_timer is None:
                self._start_head_timer()

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._head_late)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_late(self) -> None:
        self._head_timer = None
        if self._head_bytes:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:  # connected and silent: nothing to answer
            self.transport.close()

    def _refuse(self, status: HTTPStatus) -> None:
        if not self.transport.is_closing():
            head = f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            self.transport.write(head.encode("ascii"))
            self.transport.close()
