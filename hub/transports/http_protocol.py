"""An HTTP/1.1 connection, based on uvicorn's. It limits size, time and number of requests, and ignores offers of other protocols.

It differs from uvicorn's own protocol in these points:

- It ignores an ``Upgrade`` that it does not accept (RFC 9110 section 7.8): it reads that request to the end of its body, and then the next
  request. The parser alone would stop at such a head and leave the body unread; see :meth:`HubHttpProtocol._read_through`.
- A client may send requests before it has the answers to earlier ones (RFC 9112 section 9.3.2). At most ``limits.max_requests_ahead`` of
  these are parsed. Bytes of further requests are kept unparsed, and the socket is not read until an answer is complete.
- It refuses an unreadable request after it has answered the earlier ones: the client would take an earlier refusal for one of the answers.
- It drops trailers, which are not headers (RFC 9110 section 6.5.1): a client could set a header with one that a proxy removes.
- While the process stops, each answer ends its connection (RFC 9112 section 9.6), so that the next request goes to another one.
- A client that is still sending can read the last answer of its connection; see :mod:`hub.transports.lingering`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from time import monotonic
from typing import Any, Final, cast

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from hub.core.arrivals import Waiting
from hub.core.time_slice import SLICE_S
from hub.http.body import PACED
from hub.http.errors import ApiError
from hub.http.security_headers import SECURITY_HEADERS
from hub.security.connections import SCOPE_KEY, Connection
from hub.transports import http_request
from hub.transports.file_sending import EXTENSIONS, FileSendingCycle
from hub.transports.http_config import HubConfig
from hub.transports.http_request import HEAD_END, WITHOUT_CHUNKS, EndsByClosing, HeadTooLargeError, ReadFlow, Target, begun_scope
from hub.transports.lingering import ClosesLingering, LingeringClose
from hub.transports.uvicorn_protocol import HubWebSocketProtocol, read_handshake

MAX_HEAD_BYTES = 64 * 1024
"""Request line and headers together; the parser itself sets no limit."""

_UNPARSED: Final = b"Invalid HTTP request received."


class HubHttpProtocol(HttpToolsProtocol):
    """One connection, as the module's docstring describes it. ``config`` is a :class:`HubConfig`."""

    config: HubConfig
    flow: ReadFlow

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._counters = self.config.http_counters
        limits = self.config.hub_limits
        self._max_ahead = max(1, limits.max_requests_ahead)  # 0 would leave the body of an answered request unread
        self._head_timeout_s = limits.head_timeout_ms / 1000
        self._body_timeout_s = limits.body_timeout_ms / 1000
        self._connection: Connection | None = None
        """None before :meth:`connection_made`, and when the connection was refused."""
        self._active: RequestResponseCycle | None = None
        """The request that the application is answering; the requests in ``pipeline`` come after it."""
        self._head_open = True
        self._head_bytes = 0
        """Bytes so far of a head that did not arrive in one piece."""
        self._heads_begun = 0
        """Heads that begin in the piece that is being parsed."""
        self._body_open = False
        self._body_bytes = 0
        """Bytes so far of the body that is being read."""
        self._piece_bytes = 0
        self._unread = b""
        """Received bytes that are not parsed yet."""
        self._deaf = False
        """Whether further bytes are dropped, because this connection takes no further request."""
        self._last_word: Callable[[], None] | None = None
        """Refuses an unreadable request; called when all earlier requests are answered."""
        self._lingering: LingeringClose | None = None
        """Set between the last answer and the close of the connection."""
        self._early: bytes | None = None
        """Bytes behind an opening handshake that waits for its turn of the loop; None while none does."""
        self._turn: Waiting | None = None
        """That handshake among those that wait."""
        self._websocket: asyncio.Protocol | None = None
        """The WebSocket protocol that took the connection over."""
        self._timer: asyncio.TimerHandle | None = None
        """Runs while a head or a body is incomplete. A request that arrives in one piece needs no timer."""
        self._idle_until = 0.0
        """When an idle connection is closed, in seconds of the loop's clock; 0 while a request is read or answered."""
        self._target: Target | None = None
        """The target of the previous request: all polls of a client have the same one."""

    # -- what the transport calls -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the base class has it
        super().connection_made(transport)
        self.flow = ReadFlow(transport)
        taken = self.config.hub_connections.take(self, self.client[0] if self.client else None)
        if isinstance(taken, str):
            self._refuse_connection(taken)
            return
        self._connection = taken
        self._start_timer(self._head_timeout_s, self._head_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._unset_keepalive_if_required()
        if self._connection is not None:
            self._connection.lost()
        if self._lingering is not None:
            self._lingering.lost()
        self._unread = b""
        if self._turn is not None:
            self._turn.cancel()
        self.pipeline.clear()
        super().connection_lost(exc)
        active = self._active
        if active is not None and active is not self.cycle:  # the base class ends the last request alone
            active.disconnected = True
            active.message_event.set()
        # they refer to this: circles for the garbage collector
        self._last_word = None
        for cycle in (active, self.cycle):
            if cycle is not None:
                cycle.transport = self.transport

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            if self._lingering is not None:
                self._lingering.dropped(len(data))
            return
        if self._early is not None:  # as below
            self._early += data
            return
        if self._unread:  # this read had begun before reading was paused
            self._unread += data
            return
        self._idle_until = 0.0
        if self._head_bytes or self.pipeline or data.count(HEAD_END) > self._max_ahead:
            self._take(data)
        elif self._feed(data) and (self.pipeline or self.flow.held):  # nearly every read is one request, with its body
            self._pause_or_resume()

    # -- as one of the connections of the process -------------------------------------------------------------------

    @property
    def waits(self) -> bool:
        """Whether no request is being answered; see :class:`hub.security.connections.Held`."""
        return self._lingering is not None or not self._answering

    @property
    def stalled(self) -> bool:
        """Whether the client has not sent the rest of a body, or does not read its answer."""
        return self._body_open or self.flow.write_paused or bool(self.transport.get_write_buffer_size())

    def give_way(self) -> None:
        """Close the connection, so that another one can be accepted. A request that is not answered yet gets 503. A connection whose client
        does not read, or has sent requests ahead, is aborted.
        """
        if self.transport.get_write_buffer_size() or self.flow.write_paused or self.pipeline:
            self.transport.abort()
        elif self._lingering is not None:
            self.transport.close()
        elif self._answering:
            self._stop_timer()
            self._end_unfinished(HTTPStatus.SERVICE_UNAVAILABLE)
        else:
            self.transport.close()

    def close_answered(self) -> None:
        """Close the connection behind the answer to the last request that has come. One without a request stays: the client may be sending
        one now.
        """
        if self._answering:
            self.cycle.keep_alive = False

    def admitted(self) -> None:
        """Do nothing: each route has its own limit for bodies, whoever the caller is."""

    def _refuse_connection(self, limit: str) -> None:
        self._write_refusal(*http_request.refusal_of_connection(limit))

    # -- reading ----------------------------------------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        """Parse ``data`` for at most one time slice, and not more requests than may be read ahead. Keep the rest in ``_unread``."""
        at, end = 0, len(data)
        until = 0.0
        out_of_time = False
        while at < end and not out_of_time and (room := self._room()) > 0:
            stop = self._piece_end(data, at, room)
            piece = data if stop - at == end else data[at:stop]
            at = stop
            if not self._feed(piece):
                if at < end and self._early is not None:
                    self._early += data[at:]
                elif at < end and self._websocket is not None:
                    self._websocket.data_received(data[at:])
                return
            if at < end:
                now = monotonic()  # the loop's own clock stands still while a callback runs
                until = until or now + SLICE_S
                out_of_time = now > until
        if at < end:
            self._unread = data[at:]
            if out_of_time:
                self.loop.call_soon(self._go_on)
        self._pause_or_resume()

    def _go_on(self) -> None:
        """Parse more of ``_unread``, in a new time slice or after a request was answered."""
        if self._deaf or self.transport.is_closing():
            self._unread = b""
            return
        data, self._unread = self._unread, b""
        if data:
            self._take(data)
        else:
            self._pause_or_resume()

    def _pause_or_resume(self) -> None:
        full = bool(self._unread) or self._room() <= 0
        if full and not self.flow.held:
            self._counters.reading_paused += 1
            self.flow.hold()
        elif not full and self.flow.held:
            self.flow.release()
            if self.cycle is None or len(self.cycle.body) <= HIGH_WATER_LIMIT:  # else the application resumes it later
                self.flow.resume_reading()

    def _room(self) -> int:
        """How many more requests may be parsed: the one to answer now, and ``max_requests_ahead`` more. 0 when the bodies of the waiting
        requests together are larger than ``HIGH_WATER_LIMIT``, in bytes.
        """
        waiting = len(self.pipeline)
        if not waiting:
            return self._max_ahead + (not self._answering)
        if sum(len(cycle.body) for cycle, _ in self.pipeline) > HIGH_WATER_LIMIT:
            return 0
        return self._max_ahead - waiting

    def _piece_end(self, data: bytes, at: int, room: int) -> int:
        """Where to cut ``data`` so that the piece from ``at`` on ends at most ``room`` heads. An empty line may also stand in a body; if
        the length of the body is known, the piece reaches to the end of the body.
        """
        stop = http_request.heads_end(data, at, room, amid_head=self._head_bytes > 0)
        if stop is not None and self._body_open and (length := http_request.content_length(self.headers)) is not None:
            return min(len(data), at + length - self._body_bytes)
        return len(data) if stop is None else stop

    def _feed(self, piece: bytes) -> bool:
        """Parse one piece; False when the connection takes no further piece."""
        amid_request = self._body_open or self._head_bytes > 0
        self._heads_begun = 0
        self._piece_bytes = len(piece)
        try:
            while piece:
                try:
                    self.parser.feed_data(piece)
                    break
                except httptools.HttpParserUpgrade as stopped:
                    rest = piece[stopped.args[0] :]
                    if self.scope["method"] == "CONNECT":
                        self._refuse_in_turn(HTTPStatus.NOT_IMPLEMENTED)
                        return False
                    if not self._answering and http_request.offers_websocket(
                        self.scope["method"], self.parser.get_http_version(), self.headers
                    ):
                        self._open_websocket(rest)
                        return False
                    piece = self._read_through() + rest
        except httptools.HttpParserError as error:
            too_large = isinstance(error.__context__, HeadTooLargeError)
            self._refuse_message(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if too_large else HTTPStatus.BAD_REQUEST)
            return False
        if self._body_open or self._head_open or not self._answering:
            self._watch(len(piece), amid_request=amid_request)
        return not self._deaf and not self.transport.is_closing()

    def _watch(self, size: int, *, amid_request: bool) -> None:
        """Limit the time and size of an incomplete request. Not called for a request that arrives in one piece, as nearly all do."""
        if self._body_open:
            if self._timer is None and not self.transport.is_closing():
                self._start_timer(self._body_timeout_s, self._body_late)
                if self.cycle.transport is self.transport:
                    self.cycle.transport = cast("asyncio.Transport", ClosesLingering(self.transport, self._close_answered))
        elif self._head_open and not self.transport.is_closing():
            # a head that began in the middle of the piece, after another request, is counted from the next piece on
            behind = self._heads_begun > 1 or (self._heads_begun == 1 and amid_request)
            self._head_bytes += 1 if behind else size
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse_in_turn(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            elif self._timer is None:
                self._start_timer(self._head_timeout_s, self._head_late)
        elif self._timer is None and not self._answering and self in self.connections and not self.transport.is_closing():
            # an empty line between requests, on a connection that has not become a WebSocket: it stopped the limit for idle connections
            self._start_timer(self._head_timeout_s, self._head_late)

    # -- offers of another protocol ---------------------------------------------------------------------------------

    def _open_websocket(self, rest: bytes) -> None:
        """Become a WebSocket as soon as the turn of the loop has time for it: the clients of a process that has ended come together. Until
        then nothing is read.
        """
        arrivals = self.config.arrivals
        if arrivals is None:
            self._become_websocket(rest)
            return
        self._early = rest
        self._turn = arrivals.begin(self._begin_websocket)
        if self._turn is not None:
            self._stop_timer()
            self.flow.hold()

    def _begin_websocket(self) -> None:
        self._turn = None
        rest, self._early = self._early or b"", None
        if self.transport.is_closing():
            return
        try:
            self._become_websocket(rest)
        except BaseException:
            self.transport.abort()  # as the loop does where reading fails
            raise

    def _become_websocket(self, rest: bytes) -> None:
        try:
            handshake = read_handshake(self.url, self.headers)
        except ValueError:
            self._refuse(HTTPStatus.BAD_REQUEST)
            return
        self._stop_timer()
        self._unset_keepalive_if_required()
        self.flow.release()
        self.flow.resume_reading()
        connection, self._connection = self._connection, None
        kind = self.ws_protocol_class
        if kind is not None and issubclass(kind, HubWebSocketProtocol):
            become = kind(self.config, self.server_state, self.app_state)
            self.connections.discard(self)
            become.open(self.transport, handshake)
            self.transport.set_protocol(become)
            become.take_over(connection, self.config.hub_limits.max_message_bytes)
        else:  # another class of WebSocket, which does not report its end
            self.handle_websocket_upgrade()
            if connection is not None:
                connection.close()
        self.parser = cast("Any", None)  # it refers to this: a circle for the garbage collector
        if not self.transport.is_closing():  # else the handshake was refused
            self._websocket = cast("asyncio.Protocol", self.transport.get_protocol())
            if rest:  # the client sent frames before it had the answer
                self._websocket.data_received(rest)

    def _read_through(self) -> bytes:
        """Make a new parser for a request whose offer is ignored. Returns the head without the offer, to be parsed first."""
        self._counters.upgrades_ignored += 1
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as in the base class: data after a close is ignored
        return http_request.head_without_offer(self.scope["method"], self.url, self.scope["http_version"], self.headers)

    # -- what the parser calls --------------------------------------------------------------------------------------
    # These replace the methods of the base class rather than call them, to save time: they run for each header of each request.

    def on_message_begin(self) -> None:
        self._head_open = True
        self._head_bytes = 0
        self._heads_begun += 1
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        scope: dict[str, object] = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
            "headers": self.headers,
            "state": self.app_state.copy(),
            SCOPE_KEY: self._connection,
        }
        self.scope = cast("Any", scope)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_open:  # a trailer
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._piece_bytes > MAX_HEAD_BYTES and len(self.url) + sum(len(n) + len(v) + 4 for n, v in self.headers) > MAX_HEAD_BYTES:
            raise HeadTooLargeError
        self._head_open = False
        self._head_bytes = 0
        scope = self.scope
        scope["method"] = self.parser.get_method().decode("ascii")
        version = self.parser.get_http_version()
        if version != "1.1":
            scope["http_version"] = version
        elif self.scheme == "http":
            scope["extensions"] = EXTENSIONS
        if self.parser.should_upgrade():  # the parser stops here
            return
        self._body_open = True
        self._body_bytes = 0
        if self._timer is not None:
            self._stop_timer()
        target = self._target
        if target is None or target.url != self.url:
            target = self._target = Target(self.url)
        scope["path"] = self.root_path + target.path
        scope["raw_path"] = self.root_path.encode("ascii") + target.raw_path
        scope["query_string"] = target.query
        cycle = (EndsByClosing if version in WITHOUT_CHUNKS else FileSendingCycle)(
            scope,
            self.transport,
            self.flow,
            self.logger,
            self.access_logger,
            self.access_log,
            self.server_state.default_headers,
            asyncio.Event(),
            self.expect_100_continue,
            version != "1.0" and not self.config.stopping and self.parser.should_keep_alive(),
            self.on_response_complete,
        )
        before, self.cycle = self.cycle, cycle
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        if not self._body_open:  # the parser stopped at a head with an offer
            return
        self._body_open = False
        if self._timer is not None:
            self._stop_timer()
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()

    # -- answering --------------------------------------------------------------------------------------------------

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._active = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self._unread = b""
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idle()
        if self._last_word is not None:
            if not self._answering:
                self._last_word()
        elif self.flow.held:
            self._go_on()

    def _idle(self) -> None:
        """Close the connection after ``limits.keep_alive_s`` without a request. One timer serves many requests: when it fires, it compares
        the time with ``_idle_until``.
        """
        self._idle_until = self.loop.time() + self.timeout_keep_alive
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self._idle_long_enough)

    def _idle_long_enough(self) -> None:
        self.timeout_keep_alive_task = None
        if not self._idle_until:  # a request is being read or answered: its end sets the timer again
            return
        left = self._idle_until - self.loop.time()
        if left > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left, self._idle_long_enough)
        else:
            self.timeout_keep_alive_handler()

    @property
    def _answering(self) -> bool:
        """Whether a request is not answered yet."""
        return bool(self.pipeline) or (self._active is not None and not self._active.response_complete)

    # -- unreadable and late requests -------------------------------------------------------------------------------

    def _start_timer(self, seconds: float, late: Callable[[], None]) -> None:
        self._timer = self.loop.call_later(seconds, late) if seconds else None

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _head_late(self) -> None:
        self._timer = None
        if self.flow.read_paused or self._answering:  # its bytes may be unread, and the client would take a refusal for another answer
            self._start_timer(self._head_timeout_s, self._head_late)
        elif self._head_bytes:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:  # the client sent nothing: there is no request to answer
            self.transport.close()

    def _body_late(self) -> None:
        self._timer = None
        if self.flow.read_paused or self.pipeline or (self.cycle is not None and PACED in self.cycle.scope):
            # the application has not read the body so far, bounds its pauses itself, or is answering an earlier request
            self._start_timer(self._body_timeout_s, self._body_late)
            return
        self._end_unfinished(HTTPStatus.REQUEST_TIMEOUT)

    def _end_unfinished(self, status: HTTPStatus) -> None:
        """Refuse a request whose body stays incomplete, or close the connection if its answer has begun."""
        cycle = self.cycle
        if cycle is None or not cycle.response_started:
            self._refuse(status, None if cycle is None else cycle.scope)
        else:  # the answer is complete or has begun: no other status can be sent
            self.transport.close()
        if cycle is not None and not cycle.response_complete:
            # as when the connection is lost: the application receives a disconnect, and the rest of its answer is not written
            cycle.disconnected = True
            cycle.waiting_for_100_continue = False
            cycle.message_event.set()

    def _refuse_message(self, status: HTTPStatus) -> None:
        """Refuse bytes that are not HTTP, in a head or in the body of the last request."""
        if self._body_open and self.pipeline:
            self.pipeline.popleft()  # the newest request: its body cannot be completed
        elif self._body_open and self._answering:
            self._end_unfinished(status)
            return
        self._refuse_in_turn(status)

    def _refuse_in_turn(self, status: HTTPStatus) -> None:
        """Refuse the last request after all earlier ones are answered; read nothing more."""
        if self._answering:
            self._stop_timer()
            self.flow.hold()
            self._deaf = True
            self._last_word = lambda: self._refuse(status)
        else:
            self._refuse(status)

    def _refuse(self, status: HTTPStatus, scope: Any = None) -> None:
        """Refuse a request; one whose head was read has a scope, and its path may have a form of errors."""
        self._counters.requests_unreadable += 1
        if scope is None and self._head_open and status is HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
            scope = begun_scope(self.scope, self.parser.get_method(), self.url)
        if scope is not None and (form := self.config.errors.form_of(scope["path"])) is not None:
            answer = form(scope, ApiError(status.value, status.phrase))
            self._write_refusal(status, bytes(answer.body), [each for each in answer.raw_headers if each[0] != b"content-length"])
            return
        plain = status is HTTPStatus.BAD_REQUEST
        self._write_refusal(status, _UNPARSED if plain else b"", [(b"content-type", b"text/plain; charset=utf-8")] if plain else [])

    def _write_refusal(self, status: HTTPStatus, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        if self.transport.is_closing():
            return
        head = [b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode("ascii"))]
        head += [b"%b: %b\r\n" % field for field in (*self.server_state.default_headers, *SECURITY_HEADERS, *headers)]
        head.append(b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        self.transport.write(b"".join(head))
        self._linger()

    def _close_answered(self) -> None:
        """Close the connection after the answer to a request that ends it."""
        if self._body_open and not self._deaf and not self.transport.is_closing():
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        """Close the connection after the written bytes, so that a client that is still sending can read them."""
        self._stop_timer()
        self._deaf = True
        self._unread = b""
        self.flow.release()
        self.flow.resume_reading()  # without reading, the hub would not notice that the client has closed
        self._lingering = self.config.lingering.begin(self.transport, self.loop)
