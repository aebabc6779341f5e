"""The connection below a link: one WebSocket, by the websockets library's sans-I/O core, and the hello before anything else.

Frames that are written in one turn of the event loop leave as one message, in one call of the operating system. Why not one message
a frame, and why not the library's own connections: docs/adr/one-link-a-pair.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

from websockets.client import ClientProtocol
from websockets.frames import CloseCode, Opcode
from websockets.frames import Frame as WebSocketFrame
from websockets.http11 import Request, Response
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from hub.cluster.link.address import PATH
from hub.cluster.link.frames import Frame, FrameError, pack, unpack
from hub.cluster.link.hello import MAX_HELLO_BYTES, Handshake, HelloError, Refusal
from hub.cluster.link.multiplexer import Multiplexer
from hub.cluster.link.tuning import Counters, Tuning

MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""Bytes of a message: several frames, each shorter than this."""

_BATCH_BYTES: Final = 256 * 1024
"""A message takes further frames as long as it is shorter than this."""

_REFUSED: Final = 4401
"""The close code of a connection that did not become a link; the reason says why."""

_CLOSE_S: Final = 1.0
"""Seconds that the other side has to read the close frame."""


class LinkConnection(asyncio.Protocol):
    """One connection. ``on_link`` is called when it becomes a link, ``on_end`` once when it ends, with the reason."""

    def __init__(
        self,
        websocket: ClientProtocol | ServerProtocol,
        handshake: Handshake,
        make_multiplexer: Callable[[LinkConnection], Multiplexer],
        tuning: Tuning,
        counters: Counters,
        *,
        on_link: Callable[[LinkConnection], object],
        on_end: Callable[[LinkConnection], object],
    ) -> None:
        self.handshake = handshake
        self.calls: Multiplexer | None = None
        """The calls that it carries, as soon as it is a link."""
        self.ended: str | None = None
        """Why it ended; None: it has not."""
        self.refusal: Refusal | None = None
        """Why it did not become a link, where that is known."""
        self._websocket = websocket
        self._make_multiplexer = make_multiplexer
        self._tuning = tuning
        self._counters = counters
        self._on_link = on_link
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._out: list[Frame] = []
        self._flushing = False
        self._heard_at = 0.0
        self._tick_at = 0.0
        # over TLS the transport of who was called comes after that handshake, or never
        self._timer = None if self.dialled else self._loop.call_later(tuning.dial_s, self._refuse_late)

    def _over(self) -> bool:
        return self.ended is not None

    @property
    def dialled(self) -> bool:
        """Whether this node opened it."""
        return isinstance(self._websocket, ClientProtocol)

    # -- asyncio ------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._over():  # it was refused before its TLS handshake was done
            self._transport.abort()
            return
        if self._timer is None:
            self._timer = self._loop.call_later(self._tuning.dial_s, self._refuse_late)
        if isinstance(self._websocket, ClientProtocol):
            self._websocket.send_request(self._websocket.connect())
            self._send()

    def data_received(self, data: bytes) -> None:
        if self._over():
            return
        self._heard_at = self._loop.time()
        self._counters.bytes_in += len(data)
        websocket = self._websocket
        websocket.receive_data(data)
        try:
            for event in websocket.events_received():
                self._take(event)
                if self._over():
                    return
            fault = websocket.handshake_exc or websocket.parser_exc
            if fault is not None and not isinstance(fault, EOFError):
                raise self._not_understood(fault)
        except HelloError as error:
            self._refuse(error.reason, str(error))
        except FrameError as error:
            self.close(CloseCode.PROTOCOL_ERROR, str(error))
        else:
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        self._end("the other side closed the connection" if error is None else f"the connection broke: {error}")

    # -- what comes ---------------------------------------------------------------------------------------------------

    def _take(self, event: object) -> None:
        if isinstance(event, WebSocketFrame):
            self._take_frame(event)
        elif isinstance(event, Request) and isinstance(self._websocket, ServerProtocol):
            self._take_request(self._websocket, event)
        elif isinstance(event, Response):
            if self._websocket.state is not OPEN:
                raise HelloError(Refusal.MALFORMED, f"expected a WebSocket, got status {event.status_code}")
            self._write_now(self.handshake.first())

    def _take_request(self, websocket: ServerProtocol, request: Request) -> None:
        if request.path != PATH or "Origin" in request.headers:  # a browser, or a mistake
            response = websocket.reject(404, "Here other nodes of the hub connect. The hub itself is at another port.\n")
        else:
            response = websocket.accept(request)
        websocket.send_response(response)
        if websocket.state is not OPEN:
            self._send()
            raise HelloError(Refusal.MALFORMED, f"answered {response.status_code}")

    def _take_frame(self, frame: WebSocketFrame) -> None:
        if frame.opcode is Opcode.BINARY and frame.fin:
            message = bytes(frame.data)
            if self.calls is not None:
                for each in unpack(message):
                    self.calls.receive(each)
                return
            self._take_hello(message)
        elif frame.opcode is Opcode.CLOSE:
            closed = self._websocket.close_rcvd
            code, reason = (closed.code, closed.reason) if closed is not None else (0, "")
            if code == _REFUSED and reason in Refusal.__members__.values():
                self.refusal = Refusal(reason)
            self._send()
            self._end(f"the other side closed the connection: {code} {reason}".rstrip())
        elif frame.opcode not in (Opcode.PING, Opcode.PONG):
            raise FrameError(f"expected whole binary messages, got {frame.opcode.name}")

    def _take_hello(self, message: bytes) -> None:
        if len(message) > MAX_HELLO_BYTES:
            raise HelloError(Refusal.MALFORMED, f"expected a hello of at most {MAX_HELLO_BYTES} bytes, got {len(message)}")
        try:
            frames = list(unpack(message))
        except FrameError as error:
            raise HelloError(Refusal.MALFORMED, str(error)) from None
        for number, frame in enumerate(frames):
            calls = self.calls
            if calls is not None:
                calls.receive(frame)
                continue
            self._write_now(self.handshake.receive(frame))
            if self.handshake.done:
                self._become_link()
            elif number:
                raise HelloError(Refusal.MALFORMED, "expected one frame of a hello at a time")

    def _become_link(self) -> None:
        assert self._timer is not None
        self._timer.cancel()
        self._websocket.max_message_size = MAX_MESSAGE_BYTES
        self.calls = self._make_multiplexer(self)
        self._tick_at = self._loop.time() + self._tuning.ping_s
        self._timer = self._loop.call_at(self._tick_at, self._tick)
        self._on_link(self)

    def _not_understood(self, fault: Exception) -> HelloError | FrameError:
        text = f"expected a WebSocket: {fault}"
        return HelloError(Refusal.MALFORMED, text) if self.calls is None else FrameError(text)

    # -- what goes ----------------------------------------------------------------------------------------------------

    def write(self, frame: Frame) -> None:
        """Send a frame, with all others of this turn of the event loop."""
        self._out.append(frame)
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        frames, self._out = self._out, []
        if self.ended is not None or self._websocket.state is not OPEN:
            return
        batch: list[Frame] = []
        size = 0
        for frame in frames:
            batch.append(frame)
            size += len(frame.payload)
            if size >= _BATCH_BYTES:
                self._websocket.send_binary(pack(batch))
                batch, size = [], 0
        if batch:
            self._websocket.send_binary(pack(batch))
        self._send()

    def _write_now(self, frames: list[Frame]) -> None:
        if frames:
            self._websocket.send_binary(pack(frames))
            self._send()

    def _send(self) -> None:
        """Hand what the library has ready to the operating system."""
        assert self._transport is not None
        for data in self._websocket.data_to_send():
            if data:
                self._counters.bytes_out += len(data)
                self._transport.write(data)

    # -- how it ends --------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        now = self._loop.time()
        if now - self._tick_at > self._tuning.ping_s:
            self._heard_at = now  # this process stood still, and could not hear
        silent_s = now - self._heard_at
        if silent_s >= self._tuning.dead_s:
            self.abort(f"nothing came within {self._tuning.dead_s:g} s")
            return
        if silent_s >= self._tuning.ping_s / 2 and self._websocket.state is OPEN:
            self._websocket.send_ping(b"")
            self._send()
        self._tick_at = now + self._tuning.ping_s
        self._timer = self._loop.call_at(self._tick_at, self._tick)

    def _refuse_late(self) -> None:
        self._refuse(Refusal.TIMEOUT, f"no hello within {self._tuning.dial_s:g} s")

    def _refuse(self, reason: Refusal, text: str) -> None:
        self.refusal = reason
        self.close(_REFUSED, reason, text)

    def refuse(self, reason: Refusal, text: str) -> None:
        """Close a connection that is not to become a link."""
        if self.ended is None:
            self._refuse(reason, text)

    def close(self, code: int, reason: str, text: str = "") -> None:
        """Close it, and tell the other side why."""
        if self.ended is not None:
            return
        if self._out and self.calls is not None:
            self._flush()
        if self._websocket.state is OPEN:
            self._websocket.fail(code, reason[:120])
        if self._transport is not None:
            self._send()
        self._end(text or reason)

    def abort(self, reason: str) -> None:
        """Close it at once: the other side does not hear."""
        if self._transport is not None:
            self._transport.abort()
        self._end(reason)

    def _end(self, reason: str) -> None:
        if self.ended is not None:
            return
        self.ended = reason
        if self._timer is not None:
            self._timer.cancel()
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.close()
            # what the other side does not read would hold the socket open
            self._loop.call_later(_CLOSE_S, transport.abort)
        if self.calls is not None:
            self.calls.broken(reason)
        self._on_end(self)
