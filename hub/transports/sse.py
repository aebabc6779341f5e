"""Serves ``/events``: Server-Sent Events for any client that can open a URL (docs/protocol/dashboard.md#event-streams; WHATWG HTML section
9.2).
"""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from starlette.types import Receive, Scope, Send

from hub.core.errors import CloseCode, RefusedError, WireError
from hub.core.hub import Hub
from hub.core.json_text import ascii_json, show
from hub.core.principal import Principal
from hub.core.session_ids import new_stream_id
from hub.core.subscriptions import SubscribeResult
from hub.core.timers import Timer
from hub.dashboard.stream import QueryError, StreamCounters, StreamRequest, StreamSession, gaps, read_request, restart_ms
from hub.http.cors import MAX_AGE, CrossOrigin, Headers
from hub.http.error_table import unavailable
from hub.http.errors import ApiError
from hub.http.permits import refusal
from hub.http.security_headers import SECURITY_HEADERS
from hub.security.connections import admit, connection_of
from hub.security.gate import Failure, Gate
from hub.security.origin import header
from hub.security.tickets import Opened
from hub.storage.transactions import StorageError
from hub.transports.plain_http import respond

CUT_OFF_S = 5.0
"""Seconds that a client may take to read the end of its stream."""

RETRY_AFTER_S = 5
"""Seconds of ``Retry-After`` for a client that is refused because of the state of the server."""

_PATHS = frozenset({"/events", "/events/"})
_METHODS = b"GET, HEAD, OPTIONS"
_DRAIN_SLICES_PER_SECOND = 20

_ERROR_HEADERS: Headers = [
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    *SECURITY_HEADERS,
]
_STREAM_HEADERS: Headers = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    *SECURITY_HEADERS,
    (b"x-accel-buffering", b"no"),  # else nginx sends events only when its buffer is full
]
_PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"GET, HEAD"),
    (b"access-control-allow-headers", b"Accept, Authorization, Cache-Control, Last-Event-ID, X-API-Key, X-Requested-With"),
    MAX_AGE,
]
_EXPOSED = (b"access-control-expose-headers", b"Hub-Recovered, Retry-After")

_log = structlog.get_logger(__name__)


class Response:
    """The response of a stream, which lasts as long as the stream: the :class:`hub.dashboard.stream.Outlet` of a session.

    Under the hub's own server, the task of the request is the only one. It waits in ``receive``, which returns when the client has closed
    the connection, and also when the session has something to send: then the session sets the event that the server sets for a piece of a
    request body. Under another server, a second task waits for the client's disconnect.
    """

    __slots__ = ("_cut", "_cut_off", "_gone", "_hub", "_listener", "_receive", "_send", "_sending", "_sends", "_server", "_signal", "_task")

    def __init__(self, hub: Hub, receive: Receive, send: Send) -> None:
        self._hub = hub
        self._receive = receive
        self._send = send
        self._server: Any = getattr(send, "__self__", None)
        event = getattr(self._server, "message_event", None)
        self._listener: asyncio.Task[None] | None = None
        self._signal: asyncio.Event = event if isinstance(event, asyncio.Event) else asyncio.Event()
        if self._signal is not event:
            self._server = None
            self._listener = asyncio.get_running_loop().create_task(self._listen())
        self._gone = False
        self._sending = False
        self._sends = 0
        self._cut_off: Timer | None = None
        self._cut = False
        self._task = asyncio.current_task()

    # -- Outlet -----------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        self._signal.set()

    def unread(self) -> int | None:
        if self._server is not None:
            return int(self._server.transport.get_write_buffer_size()) or None
        return self._sends if self._sending else None

    def close(self) -> None:
        self._signal.set()
        if self._cut_off is None:
            self._cut_off = self._hub.timers.after(CUT_OFF_S, self._cut_connection)

    def _cut_connection(self) -> None:
        self._cut_off = None
        self._cut = True
        if self._server is not None:
            self._server.transport.abort()
        elif self._task is not None:
            self._task.cancel()

    # -- what the endpoint calls ----------------------------------------------------------------------------------------

    @property
    def gone(self) -> bool:
        """Whether the client is known to have closed the connection."""
        return self._gone or bool(getattr(self._server, "disconnected", False))

    async def write(self, chunk: bytes) -> bool:
        """Send a part of the body; returns when the client has read enough of the earlier parts. False when the client has gone."""
        self._sending = True
        try:
            await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        except OSError:  # the ASGI specification: a send on a lost connection raises it
            self._gone = True
        self._sending = False
        self._sends += 1
        return not self.gone

    async def pump(self, session: StreamSession) -> None:
        """Send the session's blocks until it has ended or the client has gone."""
        while not self.gone:
            while (chunk := session.next_chunk()) is not None:
                if not await self.write(chunk):
                    return
            if session.ended:
                return
            await self._wait()

    async def finish(self) -> None:
        """End the response and stop waiting for the client's disconnect."""
        if not self.gone:
            self._sending = True
            try:
                await self._send({"type": "http.response.body", "body": b""})
            except OSError:
                self._gone = True
        self.release()
        if self._listener is not None:
            await asyncio.gather(self._listener, return_exceptions=True)

    def release(self) -> None:
        """Cancel the timer and the second task of the response. Nothing is sent after this."""
        if self._cut_off is not None:
            self._hub.timers.cancel(self._cut_off)
            self._cut_off = None
        if self._listener is not None:
            self._listener.cancel()

    def was_cut(self) -> bool:
        """Whether this task was cancelled because its client did not read."""
        return self._cut and self._task is not None and self._task.uncancel() == 0

    async def _wait(self) -> None:
        if self._listener is None:
            self._gone = (await self._receive())["type"] == "http.disconnect"
        else:
            await self._signal.wait()
            self._signal.clear()

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        self._signal.set()


class EventStreamEndpoint:
    """A :class:`hub.transports.dispatcher.Endpoint`."""

    __slots__ = ("_draining", "_gate", "_hub", "_streams", "counters")

    def __init__(self, hub: Hub, gate: Gate) -> None:
        self._hub = hub
        self._gate = gate
        self._streams: dict[StreamSession, None] = {}
        self._draining = False
        self.counters = StreamCounters()

    def serves(self, path: str) -> bool:
        """``/events``, with or without a trailing slash."""
        return path in _PATHS

    def __len__(self) -> int:
        return len(self._streams)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": int(CloseCode.POLICY)})  # before it was accepted: HTTP 403
            return
        cors = CrossOrigin(self._gate, scope)
        if scope["method"] not in {"GET", "HEAD"}:
            await self._not_a_get(scope, send, cors)
            return
        if self._draining:
            await self._send_away(send, cors)
            return
        response = Response(self._hub, receive, send)
        try:
            await self._serve(scope, response, send, cors)
        except asyncio.CancelledError:
            if not response.was_cut():
                raise
        finally:
            response.release()

    # -- one stream -------------------------------------------------------------------------------------------------

    async def _serve(self, scope: Scope, response: Response, send: Send, cors: CrossOrigin) -> None:
        try:
            self._arrives(scope)
            caller = await self._identify(scope)
            request = read_request(scope["query_string"], header(scope, b"last-event-id"), self._hub.limits)
            session, result = await self._let_in(caller[0], request, response)
        except ApiError as refused:
            await self._refuse(scope, send, cors, refused)
            return
        except QueryError as error:
            self.counters.bad_requests += 1
            await self._refuse(scope, send, cors, ApiError.of_error(error))
            return
        except StorageError as error:
            await self._refuse(scope, send, cors, unavailable(error))
            return
        except Exception:
            _log.exception("event_stream_failed")
            await self._refuse(scope, send, cors, ApiError(500, "the server failed to answer; its log says why"))
            return
        self._streams[session] = None
        ticket = caller[1]
        try:
            if ticket is not None:
                await self._gate.tickets.opened(ticket, session.give_way)
            await self._stream(scope, session, result, request, response, send, cors)
        finally:
            del self._streams[session]
            session.client_gone()
            if ticket is not None:
                self._gate.tickets.closed(ticket)

    async def _identify(self, scope: Scope) -> tuple[Principal, Opened | None]:
        """Identify the caller. Returns the principal, and the ticket that was used."""
        caller = await self._gate.identify(scope)
        principal = caller.principal
        if principal is None and caller.failure is Failure.MISSING:
            principal = self._gate.anonymous()
        if principal is None:
            self.counters.not_authenticated += 1
            raise refusal(caller.failure or Failure.MISSING)
        admit(scope, anonymous=principal.anonymous, tenant=principal.tenant)
        return principal, caller.ticket

    def _arrives(self, scope: Scope) -> None:
        connection = connection_of(scope)
        try:
            self._hub.sessions.check_rate(None if connection is None else connection.limited_address)
        except RefusedError as refused:
            self.counters.too_many += 1
            raise ApiError(429, refused.detail, headers=_retry_after()) from None

    async def _let_in(self, principal: Principal, request: StreamRequest, response: Response) -> tuple[StreamSession, SubscribeResult]:
        session = StreamSession(self._hub, new_stream_id(self._hub.incarnation), principal, response, self.counters)
        try:
            self._hub.sessions.attach(session)
        except RefusedError as refused:
            self.counters.too_many += 1
            raise ApiError(503, refused.detail, headers=_retry_after()) from None
        since = None if request.since is None else dict.fromkeys(request.channels, request.since)
        try:
            return session, await self._hub.subscriptions.subscribe(session, request.channels, since=since)
        except RefusedError as refused:
            ended = session.ended
            session.end()
            raise self._of_refused(refused, revoked=ended) from None
        except BaseException:
            session.end()
            raise

    def _of_refused(self, refused: RefusedError, *, revoked: bool) -> ApiError:
        """The HTTP answer to a subscribe that the hub refused."""
        if revoked:
            self.counters.not_authenticated += 1
            return refusal(Failure.BAD_TOKEN)
        error, channel = refused.error, refused.channel
        if error is WireError.SUBSCRIPTION_INVALID:
            self.counters.bad_requests += 1
            detail = {"field": "channel", "expected": refused.detail, "got": show(channel)}
            return ApiError(400, f"channel: {refused.detail}, got {show(channel)}", detail=detail)
        if error is WireError.SUBSCRIBE_DENIED:
            self.counters.denied += 1
        elif error in {WireError.UNAVAILABLE, WireError.RATE_LIMITED}:
            self.counters.too_many += error is WireError.RATE_LIMITED
            return ApiError(error.code, refused.detail, detail={"channel": channel}, headers=_retry_after())
        return ApiError(error.code, f"{refused.detail}: {channel}", detail={"field": "channel", "channel": channel})

    async def _stream(
        self,
        scope: Scope,
        session: StreamSession,
        result: SubscribeResult,
        request: StreamRequest,
        response: Response,
        send: Send,
        cors: CrossOrigin,
    ) -> None:
        headers = [*_STREAM_HEADERS, *cors.headers, *([_EXPOSED] if cors.allowed else [])]
        if request.resumes:
            headers.append((b"hub-recovered", b"false" if gaps(self._hub.registry, result.outcomes) else b"true"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["method"] == "HEAD":
            session.end()
        else:
            # send the headers and the first block at once: the replay after them may take long
            await response.write(session.open(result.outcomes, resumes=request.resumes))
            try:
                await result.start()
                await response.pump(session)
            except Exception:
                _log.exception("event_stream_failed")
                session.end("the server failed")
        if response.gone:
            session.client_gone()
        await response.finish()

    # -- everything else --------------------------------------------------------------------------------------------

    async def _refuse(self, scope: Scope, send: Send, cors: CrossOrigin, error: ApiError) -> None:
        extra = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in (error.headers or {}).items()]
        if cors.allowed:
            extra.append(_EXPOSED)
        await respond(send, error.http_status, [*_ERROR_HEADERS, *cors.headers, *extra], ascii_json(error.body()))

    async def _not_a_get(self, scope: Scope, send: Send, cors: CrossOrigin) -> None:
        if scope["method"] == "OPTIONS":
            preflight = _PREFLIGHT if cors.allowed else []
            await respond(send, 204, [*SECURITY_HEADERS, *cors.headers, *preflight, (b"allow", _METHODS)], b"")
            return
        self.counters.bad_requests += 1
        await self._refuse(scope, send, cors, ApiError(405, f"expected GET, got {scope['method']}", headers={"Allow": _METHODS.decode()}))

    async def _send_away(self, send: Send, cors: CrossOrigin) -> None:
        """Answer 200 with a ``retry`` time while the server stops: after another status a browser does not reconnect (WHATWG HTML section
        9.2.3).
        """
        body = b"retry: %d\n: the server stops\n\n" % restart_ms()
        await respond(send, 200, [*_STREAM_HEADERS, *cors.headers, (b"connection", b"close")], body)

    async def drain(self, seconds: float) -> None:
        """End every stream, spread over at most ``seconds``. Each client gets its own time after which to reconnect. A stream that begins
        later is ended at once.
        """
        self._draining = True
        open_now = list(self._streams)
        # with few streams the drain takes less time
        slices = max(1, min(int(seconds * _DRAIN_SLICES_PER_SECOND), len(open_now)))
        for number in range(slices):
            if number:
                await asyncio.sleep(1 / _DRAIN_SLICES_PER_SECOND)
            for session in open_now[number::slices]:
                session.send_away()


def _retry_after() -> dict[str, str]:
    return {"Retry-After": str(RETRY_AFTER_S)}
