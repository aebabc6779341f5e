"""Bayeux by script elements (JSONP): a GET whose response calls a function of the page with the messages
(docs/protocol/bayeux.md#callback-polling).

A script element on any page sends the hub's cookies, and runs the response on that page. So this transport neither reads nor sets cookies,
and reads no credential from a header: a session is opened with ``ext.authentication`` (or as anonymous, where the hub admits that), and
later requests name it by its clientId, which other pages cannot know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import parse_qs

import structlog
from starlette.types import Receive, Scope, Send

from hub.bayeux.messages import BatchTooLargeError, Incoming, MalformedError, read_request
from hub.bayeux.ports import Peer, Remote
from hub.bayeux.response_batch import ResponseBatch
from hub.bayeux.server import BayeuxServer, claimed_id, find_handshake
from hub.cluster.ports import LinkError
from hub.core.json_text import ascii_json
from hub.http.errors import ApiError
from hub.http.security_headers import SECURITY_HEADERS
from hub.security.connections import connection_of
from hub.transports.http_response import Headers, HttpResponse
from hub.transports.longpolling import elsewhere
from hub.transports.plain_http import envelope, respond
from hub.transports.relaying import ReleasedError, SessionRelay, was_relayed

DEFAULT_CALLBACK = "jsonpcallback"

LONGEST_CALLBACK = 64

_CALLBACK = re.compile(rf"[A-Za-z0-9._\-]{{1,{LONGEST_CALLBACK}}}")
_COMMON: Headers = [
    (b"cache-control", b"no-cache, no-store"),
    *SECURITY_HEADERS,
]
_SCRIPT: Headers = [
    (b"content-type", b"text/javascript;charset=UTF-8"),
    # a browser or plug-in that opens the URL directly saves the response as a file
    (b"content-disposition", b"attachment; filename=f.txt"),
    *_COMMON,
]
_ERROR: Headers = [(b"content-type", b"application/json"), *_COMMON]

_log = structlog.get_logger(__name__)


class BadCallbackError(ValueError):
    """The parameter ``jsonp`` is not the name of a function; the text says what was expected and what came."""


def is_callback_polling(scope: Scope) -> bool:
    """Whether an HTTP request belongs to this transport: a GET or HEAD with the parameter ``message`` or ``jsonp``."""
    return scope["method"] in {"GET", "HEAD"} and any(name in scope["query_string"] for name in (b"message=", b"jsonp="))


class CallbackPolling:
    """The script side of the Bayeux endpoint."""

    __slots__ = ("_relay", "_server")

    def __init__(self, server: BayeuxServer, relay: SessionRelay | None = None) -> None:
        """``relay`` serves the sessions of other nodes; None where the hub is this process alone."""
        self._server = server
        self._relay = relay

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. An error has an HTTP status too; for the page it is a script that could not be loaded."""
        try:
            callback, messages = self._read(scope["query_string"])
        except BatchTooLargeError as error:
            await self._bad_request(send, 413, error)
            return
        except (MalformedError, BadCallbackError) as error:
            await self._bad_request(send, 400, error)
            return
        if scope["method"] == "HEAD":
            # do not process the messages: the answer has no body for the replies, and HEAD is safe (RFC 9110 section 9.2.1)
            # nobody knows how long the answer to a GET would be, and a length of 0 would be wrong (section 8.6)
            await send({"type": "http.response.start", "status": 200, "headers": _SCRIPT})
            await send({"type": "http.response.body", "body": b""})
            return
        try:
            handled = await self._handle(scope, receive, send, messages)
        except Exception:
            _log.exception("bayeux_request_failed")
            await respond(send, 500, _ERROR, envelope(500, "Internal Server Error"))
            return
        if handled is None:
            return
        if isinstance(handled, ApiError):
            retry = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in (handled.headers or {}).items()]
            await respond(send, handled.http_status, [*_ERROR, *retry], ascii_json(handled.body()))
            return
        batch = handled

        def render(parts: Iterable[bytes]) -> bytes:
            # all of it is ASCII, so no line separator (U+2028) can end a string literal; because of the comment in front, a browser cannot
            # take the answer for a file of another type that begins with the callback's name
            return b"/**/%b([%b]);" % (callback, b",".join(parts))

        await HttpResponse(send, _SCRIPT, render, self._server.hub.limits).answer(batch, receive)

    async def _handle(self, scope: Scope, receive: Receive, send: Send, messages: list[Incoming]) -> ResponseBatch | ApiError | None:
        """Process the messages, or have the node process them that has the session. Returns None if that node has answered."""
        peer = Peer(callback=True, connection=connection_of(scope))
        relay = self._relay
        if relay is not None and not was_relayed(scope) and find_handshake(messages) is None:
            owner = self._server.owner(claimed_id(messages))
            if isinstance(owner, Remote):
                try:
                    await relay.relay(scope, receive, send, owner.incarnation, b"")
                except (LinkError, ReleasedError) as error:
                    answer = elsewhere(self._server, error, messages, peer)
                    return answer if isinstance(answer, ApiError) else answer[0]
                return None
        return await self._server.handle(messages, peer)

    def _read(self, query: bytes) -> tuple[bytes, list[Incoming]]:
        """The callback's name and the messages; ``message`` may come several times.

        Raises:
            BadCallbackError: the name is not one of letters, digits and ``. _ -``, at most 64 of them.
            MalformedError, BatchTooLargeError: as :func:`hub.bayeux.messages.read_request`.
        """
        try:
            fields = parse_qs(query.decode("ascii"), keep_blank_values=True, errors="strict")
        except (UnicodeDecodeError, ValueError):
            raise MalformedError("expected a query of percent-encoded UTF-8, got other bytes") from None
        callback = fields.get("jsonp", [DEFAULT_CALLBACK])[0]
        if not _CALLBACK.fullmatch(callback):
            expected = f"a name of at most {LONGEST_CALLBACK} letters, digits, . _ or -"
            # the error does not repeat the value: it may be a script of an attacker
            raise BadCallbackError(f"expected jsonp to be {expected}, got {len(callback)} characters with others among them")
        if "message" not in fields:
            raise MalformedError("expected the parameter message to hold messages, got none")
        messages = [message for text in fields["message"] for message in read_request(text.encode(), self._server.hub.limits)]
        if len(messages) > self._server.hub.limits.max_batch:
            raise BatchTooLargeError(f"expected at most {self._server.hub.limits.max_batch} messages in one request, got {len(messages)}")
        return callback.encode("ascii"), messages

    async def _bad_request(self, send: Send, status: int, error: Exception) -> None:
        self._server.counters.bad_requests += 1
        await respond(send, status, _ERROR, envelope(status, str(error)))
