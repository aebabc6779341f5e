"""Answers the requests that other nodes relay, by this node's own application (docs/scaling.md#a-relayed-request)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from starlette.types import ASGIApp, Message

from hub.cluster.ports import Call, LinkError
from hub.cluster.relay.connection import RelayedConnection
from hub.cluster.relay.counters import RelayCounters
from hub.cluster.relay.wire import (
    PIECE_BYTES,
    BodyPiece,
    Headers,
    RequestHead,
    ResponseHead,
    decode_body,
    decode_request,
    encode,
    scope_of,
)
from hub.security.connections import SCOPE_KEY
from hub.transports.plain_http import RESPONSE_TIMEOUT_S
from hub.transports.relaying import RelayedAnswer
from hub.transports.single_write import SINGLE_WRITE_BYTES

CONFIRM_S = 5.0


class HttpOwner:
    """Handles calls of the kind ``http``."""

    __slots__ = ("_confirm_s", "_response_timeout_s", "app", "counters")

    def __init__(
        self,
        app: ASGIApp,
        counters: RelayCounters,
        *,
        confirm_s: float = CONFIRM_S,
        response_timeout_s: float = RESPONSE_TIMEOUT_S,
    ) -> None:
        """``app`` answers. A response whose relay does not say within ``confirm_s`` seconds that it was written counts as lost; a long
        one, which its client may read for ``response_timeout_s`` seconds, that much later.
        """
        self.app = app
        self._confirm_s = confirm_s
        self._response_timeout_s = response_timeout_s
        self.counters = counters

    async def answer(self, call: Call) -> None:
        """Answer one request.

        Raises:
            msgspec.DecodeError: the other node sent something else.
        """
        head = decode_request(call.head)
        self.counters.requests_in += 1
        connection = RelayedConnection(head.tenant, let_in=head.let_in)
        scope = scope_of(head, "http", call.hops)
        scope[SCOPE_KEY] = connection
        exchange = _Exchange(self, call, head, connection)
        await self.app(scope, exchange.receive, exchange.send)

    def timeout_s(self, body_bytes: int) -> float:
        """Seconds until a response of this size counts as lost."""
        return self._confirm_s if body_bytes <= SINGLE_WRITE_BYTES else self._confirm_s + self._response_timeout_s


class _Exchange(RelayedAnswer):
    """One request and its response, as an ASGI application has them. ``send`` of the end of a response returns when the relay has said that
    all of it was written, and raises ``OSError`` when it was not: so :func:`hub.transports.plain_http.respond` finds out.
    """

    __slots__ = ("_body", "_call", "_confirm", "_connection", "_done", "_more_body", "_owner", "_sent", "_start")

    def __init__(self, owner: HttpOwner, call: Call, head: RequestHead, connection: RelayedConnection) -> None:
        self._owner = owner
        self._call = call
        self._connection = connection
        self._confirm = head.confirm
        # the request
        self._body: bytes | None = call.body
        self._more_body = not head.whole
        # the response
        self._start: tuple[int, Headers] | None = None
        self._sent = 0
        self._done = False

    async def receive(self) -> Message:
        """``receive`` of ASGI. It returns ``http.disconnect`` when the client has gone, and when the response is over."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": self._more_body}
        try:
            if (untold := self._connection.untold()) is not None:
                await self._call.send(encode(untold))
            while not self._done and (piece := await self._call.receive()) is not None:
                if self._more_body:
                    part = decode_body(piece)
                    self._more_body = part.more
                    return {"type": "http.request", "body": part.body, "more_body": part.more}
        except LinkError:  # the client or the relay has gone
            pass
        except msgspec.DecodeError:
            self._call.cancel()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """``send`` of ASGI.

        Raises:
            OSError: the response did not reach the client, as far as is known.
        """
        if message["type"] == "http.response.start":
            self._start = message["status"], [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
            return
        more: bool = message.get("more_body", False)
        try:
            await self._pass_on(message.get("body", b""), more)
            written = more or not self._confirm or await self._call.confirmed(self._owner.timeout_s(self._sent))
        except LinkError:
            # as for every client that has gone: an application that needs no confirmation finds out by ``receive``
            written = not self._confirm
            more = False
        except BaseException:
            self._done = True
            self._call.cancel()
            raise
        if more:
            return
        self._done = True
        if not written:
            self._owner.counters.unconfirmed += 1
            self._call.cancel()
            raise ConnectionResetError(f"{self._call.node} did not say that the response was written")

    def respond(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes, told: Callable[[bool], object]) -> bool:
        """See :meth:`hub.transports.relaying.RelayedAnswer.respond`."""
        if not self._confirm or self._done or self._start is not None or self._connection.has_news or len(body) > SINGLE_WRITE_BYTES:
            return False
        try:
            if not self._call.try_send(encode(ResponseHead(status, list(headers), body, False)), last=True):
                return False
        except LinkError:  # ``send`` finds out the same
            return False

        def confirmed(written: bool) -> None:
            self._done = True
            if not written:
                self._owner.counters.unconfirmed += 1
                self._call.cancel()
            told(written)

        self._call.when_confirmed(confirmed, self._owner.timeout_s(len(body)))
        return True

    async def _pass_on(self, body: bytes, more: bool) -> None:
        """Send a piece of the response. The head goes with the first one."""
        if (untold := self._connection.untold()) is not None:
            await self._call.send(encode(untold))
        self._sent += len(body)
        begin = 0
        while True:
            part = body if len(body) <= PIECE_BYTES else body[begin : begin + PIECE_BYTES]
            begin += PIECE_BYTES
            last = begin >= len(body)
            goes_on = more or not last
            if self._start is not None:
                (status, headers), self._start = self._start, None
                piece = encode(ResponseHead(status, headers, part, goes_on))
            else:
                piece = encode(BodyPiece(part, goes_on))
            await self._call.send(piece, last=not goes_on)
            if last:
                return
