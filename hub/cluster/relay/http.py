"""Relays an HTTP request to another node, and writes that node's answer to the client (docs/scaling.md#a-relayed-request)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from starlette.types import Receive, Scope, Send

from hub.cluster.ports import Call, LinkError, Links, NodeGoneError, UnreachableError
from hub.cluster.relay.counters import RelayCounters
from hub.cluster.relay.wire import (
    PIECE_BYTES,
    Admitted,
    BodyPiece,
    ResponseHead,
    decode_answer,
    encode,
    head_of,
)
from hub.security.connections import ClientConnection, connection_of
from hub.transports.plain_http import RESPONSE_TIMEOUT_S, respond
from hub.transports.relaying import HOPS, ReleasedError
from hub.transports.single_write import single_write, wakeable

KIND: Final = "http"
"""The kind of these calls between nodes."""

_CLOSE: Final = (b"connection", b"close")


class HttpRelay:
    """Relays requests of this node's clients."""

    __slots__ = ("_headers", "_links", "_response_timeout_s", "_waiting", "counters")

    def __init__(self, links: Links, counters: RelayCounters, *, response_timeout_s: float = RESPONSE_TIMEOUT_S) -> None:
        """``response_timeout_s``: seconds that a client may take to read a long answer."""
        self._links = links
        self._response_timeout_s = response_timeout_s
        self._waiting: dict[_Wait, None] = {}
        self._headers: tuple[tuple[bytes, bytes], ...] = ()
        self.counters = counters

    def __len__(self) -> int:
        """Requests with ``confirm`` whose answer has not come."""
        return len(self._waiting)

    def release(self) -> Iterator[None]:
        """Wait no more for the answers to requests with ``confirm``, since this node stops. A step for each, so that the caller can spread
        them over time.
        """
        for watch in list(self._waiting):
            if watch in self._waiting:
                watch.release()
                yield

    async def send_on(
        self, scope: Scope, receive: Receive, send: Send, node: str, body: bytes | None = None, *, timeout_s: float, confirm: bool = False
    ) -> bool:
        """Have another node answer a request with its own application, and write the answer. Returns whether the answer was written whole;
        False if the client has gone.

        The other node serves the request in the scope in which it came here: method, path, query, headers, client, scheme and server are
        the same. It gets no second request for the same call: a request that has come over a link is not relayed again.

        Args:
            scope: the request.
            receive: its ASGI channel. It must not be read by anybody else from now on.
            send: takes the answer.
            node: the incarnation of the other node.
            body: the body, if it was read already; with None it is read from ``receive`` and sent on in pieces as it comes.
            timeout_s: seconds until the answer begins.
            confirm: whether the other node learns if the answer was written. It waits for that, and the application is told as by
                :func:`hub.transports.plain_http.respond`.

        Raises:
            NodeGoneError: no such node lives. Nothing was written, and the request was not served.
            UnreachableError: the node lives but its link cannot be used, or broke, or the answer did not begin in time. Nothing was
                written; if the link broke, the request may have been served.
            ReleasedError: :meth:`release` was called. Nothing was written; to the other node, the client has gone.
        """
        counters = self.counters
        counters.requests_out += 1
        whole = True
        if body is None:
            message = await receive()
            if message["type"] == "http.disconnect":
                counters.client_left += 1
                return False
            body, whole = message.get("body", b""), not message.get("more_body", False)
        rest = b""
        if len(body) > PIECE_BYTES:
            body, rest = body[:PIECE_BYTES], body[PIECE_BYTES:]
        connection = connection_of(scope)
        head = head_of(scope, confirm=confirm, whole=whole and not rest)
        watch: _Wait | None = None
        call: Call | None = None
        try:
            call = await self._links.open(node, KIND, encode(head), body, hops=scope.get(HOPS, 0))
            answer: ResponseHead | None = None
            if confirm and head.whole and wakeable(send) is not None:  # a connect, nearly always
                watch = held = _Held(call, timeout_s, self, scope, send, connection)
                self._waiting[held] = None
                await held.wait(receive)
                if held.written is not None:
                    return held.written
                answer = held.answer
                self._waiting.pop(held, None)
            watch = _Watch(call, timeout_s, receive, rest, whole=whole)
            if answer is None:
                if confirm:
                    self._waiting[watch] = None
                answer = await _response(call, connection)
                self._waiting.pop(watch, None)
            watch.begun()
            if answer.more:
                written = await self._stream(call, watch, connection, send, answer, confirm=confirm)
            else:
                watch.answered = True
                written = await self._write(scope, send, answer)
            if confirm:
                call.confirm(written=written)
            call.finish()
            return written
        except NodeGoneError:
            counters.failed_gone += 1
            raise
        except LinkError as error:
            if watch is not None and watch.released:
                raise ReleasedError(f"this node stops, and {node} goes on with the session") from None
            if watch is not None and watch.gone:
                counters.client_left += 1
                return False
            if watch is not None and watch.late:
                counters.failed_timeout += 1
                raise UnreachableError(f"{node} did not answer within {timeout_s:g} s") from None
            counters.failed_unreachable += 1
            if isinstance(error, UnreachableError):
                raise
            raise UnreachableError(f"{node} ended the call: {error}") from error
        finally:
            if watch is not None:
                self._waiting.pop(watch, None)
                watch.stop()
            if call is not None:
                call.cancel()

    def write_at_once(self, scope: Scope, send: Send, answer: ResponseHead) -> bool | None:
        """Write an answer that is here whole, as :func:`hub.transports.single_write.single_write` does."""
        if not answer.body or scope["method"] == "HEAD" or _CLOSE in (headers := self._without_length(answer.headers)):
            return None
        return single_write(send, answer.status, headers, answer.body)

    async def _write(self, scope: Scope, send: Send, answer: ResponseHead) -> bool:
        """Write an answer that is here whole; returns whether the client took it."""
        written = self.write_at_once(scope, send, answer)
        if written is not None:  # nearly always
            return written
        if answer.body and scope["method"] != "HEAD":
            headers = self._without_length(answer.headers)
            return await respond(send, answer.status, headers, answer.body, timeout_s=self._response_timeout_s)
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": b""})
        return not _disconnected(send)

    def _without_length(self, headers: Sequence[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
        """Headers without ``Content-Length``, which is added when they are written. Nearly all answers have the same ones, and the lines
        of the same tuple are made once.
        """
        key = tuple([header for header in headers if header[0] != b"content-length"])
        if key != self._headers:
            self._headers = key
        return self._headers

    async def _stream(
        self, call: Call, watch: _Wait, connection: ClientConnection | None, send: Send, answer: ResponseHead, *, confirm: bool
    ) -> bool:
        """Write an answer piece by piece, as fast as its client reads; returns whether the client took it. One that breaks off ends with
        the client's connection, so that the client does not take it for a whole one.
        """
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        body, more = answer.body, True
        try:
            async with asyncio.timeout(self._response_timeout_s if confirm else None):
                while True:
                    watch.answered = not more
                    await send({"type": "http.response.body", "body": body, "more_body": more})
                    if not more:
                        return not _disconnected(send)
                    piece = await _next(call, connection)
                    if not isinstance(piece, BodyPiece):
                        raise UnreachableError(f"{call.node} sent two answers to one request")
                    body, more = piece.body, piece.more
        except (LinkError, TimeoutError):
            if watch.gone:
                return False
            self.counters.broken_off += 1
            transport = getattr(getattr(send, "__self__", None), "transport", None)
            if transport is None:  # another server than the hub's: it ends the connection for an exception
                raise
            transport.abort()
            return False


def _disconnected(send: Send) -> bool:
    """Whether the hub's server knows that the client has gone."""
    return bool(getattr(getattr(send, "__self__", None), "disconnected", False))


class _Wait:
    """One relayed request whose answer has not begun, and why it may be that it never does."""

    __slots__ = ("_call", "_timer", "answered", "gone", "late", "released")

    def __init__(self, call: Call, timeout_s: float) -> None:
        self._call = call
        self.gone = False
        """Whether the client has left before its answer came."""
        self.released = False
        """Whether nobody waits for the answer any more."""
        self.answered = False
        """Whether the answer has come: its end looks to ``receive`` like the end of the client."""
        self.late = False
        """Whether the answer has not begun in time."""
        self._timer = asyncio.get_running_loop().call_later(timeout_s, self._time_out)

    def stop(self) -> None:
        """Wait no more."""
        self._timer.cancel()

    def begun(self) -> None:
        """The answer has begun."""
        self._timer.cancel()

    def _time_out(self) -> None:
        self.late = True
        self._call.cancel()

    def release(self) -> None:
        """Stop waiting for the answer."""
        self.released = True
        self._call.cancel()


class _Held(_Wait):
    """A request that is here whole, and whose answer comes in one piece: a connect that another node holds.

    It uses only the task that the server made for it, which waits in ``receive``. A callback writes the answer, which ends ``receive``;
    what takes longer, or went wrong, is left to the task.
    """

    __slots__ = ("_connection", "_over", "_relay", "_scope", "_send", "answer", "error", "written")

    def __init__(
        self, call: Call, timeout_s: float, relay: HttpRelay, scope: Scope, send: Send, connection: ClientConnection | None
    ) -> None:
        super().__init__(call, timeout_s)
        self._relay = relay
        self._scope = scope
        self._send = send
        self._connection = connection
        self._over = False
        self.answer: ResponseHead | None = None
        """The answer, or its head, if it cannot be written at once."""
        self.error: Exception | None = None
        self.written: bool | None = None
        """Whether the client took the answer; None: nothing was written."""

    async def wait(self, receive: Receive) -> None:
        """Wait until the answer was written, or has to be.

        Raises:
            LinkError: it will not come.
            ValueError: it cannot be written.
        """
        self._call.when_ready(self._look)
        try:
            while not self._over:
                if (await receive())["type"] == "http.disconnect":
                    break
        finally:
            self._call.when_ready(None)
            self._timer.cancel()
        if self.error is not None:
            raise self.error
        if not self._over:
            self.gone = True
            raise UnreachableError("the client has left")

    def _look(self) -> None:
        """Take what has come of the answer."""
        if self._over:
            return
        try:
            while (piece := self._call.take()) is not None:
                if (answer := _read(self._call, piece, self._connection)) is not None:
                    self._write(answer)
                    return
        except Exception as error:  # the task raises it
            self.error = error
            self._end()

    def _write(self, answer: object) -> None:
        if not isinstance(answer, ResponseHead):
            raise UnreachableError(f"{self._call.node} sent an answer without a head")
        if not answer.more:
            self.written = self._relay.write_at_once(self._scope, self._send, answer)
        if self.written is None:
            self.answer = answer
        else:
            self._call.confirm(written=self.written)
            self._call.finish()
        self._end()

    def _end(self) -> None:
        self._over = True
        if (event := wakeable(self._send)) is not None:
            event.set()


class _Watch(_Wait):
    """Sends on the rest of a request's body, then waits until its client has gone, and cancels the call then."""

    __slots__ = ("_receive", "_rest", "_task")

    def __init__(self, call: Call, timeout_s: float, receive: Receive, rest: bytes, *, whole: bool) -> None:
        """``rest``: what was read of the body and has not been sent; ``whole``: there is nothing more."""
        super().__init__(call, timeout_s)
        self._receive = receive
        self._rest = rest
        self._task = asyncio.get_running_loop().create_task(self._run(whole), name="hub.cluster.relay")

    def stop(self) -> None:
        """See :meth:`_Wait.stop`."""
        super().stop()
        self._task.cancel()

    async def _run(self, whole: bool) -> None:
        more = not whole
        try:
            if self._rest:
                rest, self._rest = self._rest, b""
                await self._pass_on(rest, more)
            while True:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    break
                if more:
                    more = message.get("more_body", False)
                    await self._pass_on(message.get("body", b""), more)
        except LinkError:  # whoever waits for the answer gets it, too
            return
        if not self.answered:
            self.gone = True
            self._call.cancel()

    async def _pass_on(self, body: bytes, more: bool) -> None:
        """Send a part of the body, in pieces as a link takes them."""
        for begin in range(0, len(body) or 1, PIECE_BYTES):
            last = begin + PIECE_BYTES >= len(body)
            await self._call.send(encode(BodyPiece(body[begin : begin + PIECE_BYTES], more or not last)))


async def _next(call: Call, connection: ClientConnection | None) -> ResponseHead | BodyPiece:
    """The next piece of the answer. What the client has shown is noted, and is no piece of it."""
    while True:
        piece = await call.receive()
        if piece is None:
            raise UnreachableError(f"{call.node} ended its answer early")
        if (answer := _read(call, piece, connection)) is not None:
            return answer


def _read(call: Call, piece: bytes, connection: ClientConnection | None) -> ResponseHead | BodyPiece | None:
    """A piece of the answer; None for what the client has shown, which is noted."""
    try:
        answer = decode_answer(piece)
    except msgspec.DecodeError as error:
        raise UnreachableError(f"{call.node} sent an answer that cannot be read: {error}") from error
    if not isinstance(answer, Admitted):
        return answer
    if connection is not None:
        connection.admit(anonymous=answer.anonymous, tenant=answer.tenant)
    return None


async def _response(call: Call, connection: ClientConnection | None) -> ResponseHead:
    answer = await _next(call, connection)
    if isinstance(answer, ResponseHead):
        return answer
    raise UnreachableError(f"{call.node} sent an answer without a head")
