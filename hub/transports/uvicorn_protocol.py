"""A WebSocket connection, based on uvicorn's: it writes prebuilt frames, cuts off peers that never read, and limits what peers send.

:mod:`hub.transports.http_protocol` is the HTTP side.
"""

from __future__ import annotations

import random
from asyncio.transports import BaseTransport
from collections.abc import Callable, Generator, Iterable
from http import HTTPStatus
from time import monotonic
from typing import Any, Final, cast

import structlog
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHeaderValue, ProtocolError
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Protocol, State
from websockets.server import ServerProtocol
from websockets.typing import StatusLike

from hub.core.frames import DirectWrite
from hub.core.limits import Limits
from hub.core.time_slice import SLICE_S
from hub.http.headers import forget_headers
from hub.http.security_headers import SECURITY_HEADERS, SERVER_HEADERS
from hub.security.connections import SCOPE_KEY, Connection
from hub.transports.frames import EXTENSION, fit_reason, whole_text

MAX_EAGER_FRAMES = 16
"""Messages of one read that are handled directly in the read callback, within one time slice; the connection's task handles the others."""

WEBSOCKET_VERSION: Final = "13"
"""The one version of the protocol (RFC 6455 section 4.1)."""

CLOSED_FOR_OTHERS: Final = 4429
"""The close code for a reached limit, the same as the endpoints use."""

EARLIEST_PING: Final = 0.85
"""The peer is pinged at the earliest after this share of the interval without any data of the peer."""

_log = structlog.get_logger(__name__)


def _ignore(direct_write: DirectWrite | None) -> None:
    """Do nothing: no callback was set by ``on_writable_changed``."""


def read_handshake(target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> Request:
    """Make the opening handshake of a WebSocket from a parsed HTTP head.

    Raises:
        ValueError: the target or a header has a byte that is not allowed there (RFC 9110 section 5.5, RFC 9112 section 3.2).
    """
    fields = Headers()
    try:
        for name, value in headers:
            fields[name.decode("ascii")] = value.strip(b" \t").decode("latin-1")
    except InvalidHeaderValue as error:
        raise ValueError(str(error)) from None
    return Request(target.decode("ascii"), fields)


class BoundedServerProtocol(ServerProtocol):
    """The parser of a WebSocket after its opening handshake (:func:`read_handshake`). It also limits the number of frames, and stops at the
    first frame above the limit, even in the middle of a read.

    It closes with 1009 (RFC 6455 section 7.4.1: "too big for it to process") above ``limits.max_message_frames`` in one message, and with
    1008 ("violates its policy") above ``limits.max_frames_at_once``.
    """

    max_message_size: int
    """Bytes. Never None, because the hub always has a limit."""
    _max_fragments = 0
    _max_frames_at_once = 0
    _fragments = 0
    between = False
    """Whether the last read ended with a whole frame, and no message is incomplete."""

    def __init__(self, *, limits: Limits, **options: Any) -> None:
        super().__init__(**options)
        self._bound(limits)

    @classmethod
    def of(cls, made: ServerProtocol, limits: Limits) -> BoundedServerProtocol:
        """Turn the parser that uvicorn has just made into one of this class. Another object would cost as much as reading the handshake."""
        made.__class__ = cls
        bounded = cast("BoundedServerProtocol", made)
        bounded._bound(limits)
        bounded.parser = bounded.parse()
        next(bounded.parser)  # runs the generator up to the first frame
        return bounded

    def _bound(self, limits: Limits) -> None:
        self._max_fragments = limits.max_message_frames
        self._max_frames_at_once = max(1, limits.max_frames_at_once)

    def parse(self) -> Generator[None]:
        """As the base class, without the opening handshake, which is read already."""
        return Protocol.parse(self)

    def accept(self, request: Request) -> Response:
        """As the base class; a refusal names the supported version (RFC 6455 section 4.4)."""
        response = super().accept(request)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            response.headers["Sec-WebSocket-Version"] = WEBSOCKET_VERSION
        return response

    def reject(self, status: StatusLike, text: str) -> Response:
        """As the base class, with the headers that all answers of the server have."""
        response = super().reject(status, text)
        for name, value in (*SERVER_HEADERS, *SECURITY_HEADERS):
            response.headers[name.decode("ascii")] = value.decode("ascii")
        return response

    def recv_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CONT:
            self._fragments += 1
            if self._fragments >= self._max_fragments:
                self._end(CloseCode.MESSAGE_TOO_BIG, f"expected a message in at most {self._max_fragments} frames, got more")
        elif frame.opcode is Opcode.TEXT or frame.opcode is Opcode.BINARY:
            self._fragments = 0
        elif frame.opcode is Opcode.CLOSE:
            # a close frame may come between the fragments of a message (section 5.4): the incomplete message is dropped
            self.current_size = None
        if len(self.events) >= self._max_frames_at_once:
            self._end(CloseCode.POLICY_VIOLATION, f"expected at most {self._max_frames_at_once} frames at once, got more")
        super().recv_frame(frame)
        self.between = not self.reader.buffer and self.current_size is None

    def _end(self, code: CloseCode, reason: str) -> None:
        self.fail(code, reason)
        raise ProtocolError(reason)  # ends the parser; fail() has set the close code


class HubWebSocketProtocol(WebSocketsSansIOProtocol):
    """A WebSocket of uvicorn that takes prebuilt frames: the :class:`hub.transports.frames.FrameWriter` of its scope.

    Whole frames of the application and of uvicorn (pings, pongs) can be mixed safely: server frames are unmasked and stateless, and uvicorn
    never fragments. This class also differs from its base in these points. A close does not wait until the peer has read. A peer that does
    not read while the connection closes is cut off after ``limits.close_timeout_ms``: the transport alone would keep its bytes for ever.
    The number of frames is limited (:class:`BoundedServerProtocol`). While a peer does not read, only its last ping is answered, when it
    reads again (RFC 6455 section 5.5.3). A peer that sent data within the interval is not pinged; a Bayeux client, which keeps sending
    connects, never is. After :meth:`claim`, text is passed on as received bytes, not decoded and not checked to be UTF-8. A message of one
    whole frame, as nearly all are, goes to the listener (:meth:`listen`) without the parser.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        limits: Limits = self.config.hub_limits  # type: ignore[attr-defined]  # hub.transports.http_config.HubConfig
        self.close_timeout = limits.close_timeout_ms / 1000
        self._max_size = self.config.ws_max_size
        self.conn: BoundedServerProtocol = BoundedServerProtocol.of(self.conn, limits)
        self._late_pong = b""
        self._connection: Connection | None = None
        self._early = b""
        """Bytes of a client that did not wait for the answer to its opening handshake; they are parsed after that answer."""
        self._heard_at = self.loop.time()
        self._served = False
        """Whether the application has ended."""
        self._on_text: DirectWrite | None = None
        self._on_drain: Callable[[], None] | None = None
        self._writable_changed: Callable[[DirectWrite | None], object] = _ignore

    # -- what uvicorn calls -----------------------------------------------------------------------------------------

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        # high=0: a caller that stopped writing at any number of buffered bytes gets resume_writing when none is buffered
        self.transport.set_write_buffer_limits(high=0)

    def open(self, transport: BaseTransport, handshake: Request) -> None:
        """Begin with an opening handshake that is parsed already."""
        self.connection_made(transport)
        self.handle_connect(handshake)

    def take_over(self, connection: Connection | None, stranger_bytes: int) -> None:
        """Take ``connection`` over from HTTP, after the opening handshake; the application's task is scheduled and has not run yet. Until
        the caller is admitted, a message may have at most ``stranger_bytes`` bytes.
        """
        self._connection = connection
        if connection is not None:
            connection.held = self
            if not (connection.identified or connection.let_in):
                self.conn.max_message_size = min(self._max_size, stranger_bytes)
        if self.handshake_initiated and not self.close_sent:
            cast("dict[str, object]", self.scope)[SCOPE_KEY] = connection

    @property
    def waits(self) -> bool:
        """Whether the caller is not identified; see :class:`hub.security.connections.Held`."""
        return self._connection is None or not self._connection.identified

    @property
    def stalled(self) -> bool:
        """Always False: the limit of the subscriber's queue cuts off a peer that does not read."""
        return False

    def give_way(self) -> None:
        """Close the connection, so that another one can be accepted."""
        if self.writable_now:
            self.start_close(CLOSED_FOR_OTHERS, "there are too many connections")
        else:
            self.transport.abort()

    def admitted(self) -> None:
        """Allow messages as large as a request: the caller was admitted, with a credential or without."""
        self.conn.max_message_size = self._max_size

    def data_received(self, data: bytes) -> None:
        self._heard_at = self.loop.time()
        if self._on_text is not None and self.conn.between and self.queue.empty():
            data = self._take_eagerly(data)
            if not data:
                return
        self.conn.between = False
        if self.handshake_initiated and not self.handshake_complete:
            self._early += data
            if len(self._early) > self.conn.max_message_size:
                self.transport.abort()
            return
        super().data_received(data)

    def _take_eagerly(self, data: bytes) -> bytes:
        """Pass on the messages of one whole frame at the beginning of ``data``; returns the rest, for the parser."""
        start = 0
        until = monotonic() + SLICE_S  # the loop's own clock stands still while a callback runs
        for count in range(MAX_EAGER_FRAMES):
            if self._on_text is None or self.conn.state is not State.OPEN or (count and monotonic() > until):
                break
            found = whole_text(data, start, self.conn.max_message_size)
            if found is None:
                break
            payload, start = found
            begun = self._on_text(payload)
            if begun is not None:
                self._on_text = None
                self._enqueue({"type": "hub.begun", "payload": begun})
        return data[start:] if start else data

    def _enqueue(self, message: dict[str, object]) -> None:
        self.queue.put_nowait(cast("Any", message))
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            # the application's task has not run yet, so it finds this in its scope
            cast("dict[str, object]", self.scope["extensions"])[EXTENSION] = self

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            self.handshake_complete = True  # the handshake was refused; else uvicorn would log an error of the application
        if self._early and self.handshake_complete:
            early, self._early = self._early, b""
            if not self.close_sent:
                self.data_received(early)

    def handle_ping(self) -> None:
        # data_to_send() holds the answers to all pings of one read when the first of them is handled
        answers = self.conn.data_to_send()
        if self.writable.is_set() or self.conn.state is not State.OPEN:
            self.transport.write(b"".join(answers))
        elif answers:
            self._late_pong = answers[-1]

    def send_receive_event_to_app(self) -> None:
        if self._on_drain is None or self.curr_msg_data_type != "text":
            super().send_receive_event_to_app()
            return
        payload = b"".join(self.frames)
        self.frames = []
        if self.close_sent:
            return
        self._enqueue({"type": "hub.text", "payload": payload})

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
        self._served = True
        self._bound_closing()
        self._let_go()

    def schedule_ping(self) -> None:
        """Ping when the peer has sent nothing for nearly the interval. The time is random, so that connections which were opened together
        are not pinged together.
        """
        assert self.ping_interval is not None
        silence = self.ping_interval * random.uniform(EARLIEST_PING, 1.0)  # noqa: S311 - spreads load, guards nothing
        self.ping_timer = self.loop.call_at(self._heard_at + silence, self._ping_the_silent, self._heard_at)

    def _ping_the_silent(self, heard_at: float) -> None:
        if self._heard_at == heard_at:
            self.send_keepalive_ping()
        else:
            self.schedule_ping()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._tell_writable()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._late_pong:
            self.write_frame(self._late_pong)
            self._late_pong = b""
        self._tell_writable()
        if self._on_drain is not None:
            self._on_drain()

    def shutdown(self) -> None:
        super().shutdown()
        self._tell_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._connection is not None:
            self._connection.lost()
        self._tell_writable()
        self._let_go()

    def _let_go(self) -> None:
        """Break the circles of references when both the connection and its application have ended. Else each would stay in memory until the
        garbage collector finds it, which with many sessions comes late and takes long.
        """
        if self._served and self.disconnected:
            self.scope = cast("Any", {})
            self._on_text = self._on_drain = None
            self._writable_changed = _ignore
            self.conn.parser = cast("Any", None)

    def _bound_closing(self) -> None:
        self._tell_writable()
        if self.close_timer is None and self.transport.is_closing() and self.transport.get_write_buffer_size():
            self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    # -- FrameWriter ------------------------------------------------------------------------------------------------

    def claim(self, on_drain: Callable[[], None]) -> None:
        self._on_drain = on_drain

    def on_writable_changed(self, callback: Callable[[DirectWrite | None], object]) -> None:
        self._writable_changed = callback

    def _tell_writable(self) -> None:
        self._writable_changed(self.direct_write)

    def listen(self, on_text: DirectWrite | None) -> None:
        self._on_text = on_text

    def accepted(self) -> None:
        self.request = self.response = cast("Any", None)
        forget_headers(cast("Any", self.scope))

    @property
    def direct_write(self) -> DirectWrite | None:
        return self.transport.write if self.writable_now and self.writable.is_set() else None

    @property
    def writable_now(self) -> bool:
        return self.handshake_complete and not self.close_sent and not self.disconnected and not self.transport.is_closing()

    @property
    def buffered_bytes(self) -> int:
        # a lost transport has no buffer any more, and must not be asked for its size
        return 0 if self.disconnected else self.transport.get_write_buffer_size()

    def write_frame(self, frame: bytes) -> bool:
        if not self.writable_now:
            return False
        try:
            self.transport.write(frame)
        except (RuntimeError, OSError) as error:
            _log.info("websocket_write_failed", fault=str(error))
            self.transport.abort()
            self._tell_writable()
            return False
        return True

    def start_close(self, code: int, reason: str) -> None:
        """As uvicorn handles ``websocket.close``, but without waiting until the peer has read, which a slow peer may never do."""
        if not self.writable_now:
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.conn.send_close(code, fit_reason(reason))
        self.write_frame(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self._tell_writable()
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)
