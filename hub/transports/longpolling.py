"""Bayeux over HTTP POST: a response carries the session's queued messages, and a ``/meta/connect`` is held until there is one
(docs/protocol/bayeux.md#long-polling).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from hub.bayeux.messages import CONNECT, BatchTooLargeError, Incoming, MalformedError, read_request
from hub.bayeux.ports import Peer, Remote
from hub.bayeux.response_batch import ResponseBatch
from hub.bayeux.server import BayeuxServer, claimed_id, find_handshake
from hub.bayeux.session import ServerSession
from hub.cluster.ports import LinkError, NodeGoneError
from hub.core.errors import RefusedError
from hub.core.field_error import FieldError
from hub.core.frames import array
from hub.http.body import RETRY_AFTER, BodyBudget, BodyTooLargeError, read_posted
from hub.http.cors import MAX_AGE, CrossOrigin, Headers
from hub.http.error_table import unavailable
from hub.http.errors import ApiError
from hub.http.headers import first_headers
from hub.http.permits import refusal
from hub.http.security_headers import SECURITY_HEADERS
from hub.security.connections import connection_of
from hub.security.cookies import SIGN_IN_COOKIE, STATISTICS_COOKIE, new_cookie_value, read_cookies, statistics_cookie
from hub.security.gate import Failure, Gate
from hub.security.origin import foreign_origin, is_secure
from hub.storage.transactions import StorageError
from hub.transports.http_response import HttpResponse
from hub.transports.plain_http import envelope, respond
from hub.transports.relaying import ReleasedError, SessionRelay, was_relayed

BROWSER_COOKIE = "BAYEUX_BROWSER"
"""Identifies a browser: only its own browser may use a session without credentials (docs/protocol/credentials.md#whose-a-session-is)."""

_BROWSER_VALUE = re.compile(r"[A-Za-z0-9]{16,64}")
_BASE_HEADERS = (
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-cache, no-store"),
    *SECURITY_HEADERS,
)
_METHODS = b"GET, POST, OPTIONS"
_PREFLIGHT: Headers = [
    (b"access-control-allow-methods", _METHODS),
    (
        b"access-control-allow-headers",
        b"Accept, Authorization, Content-Type, Origin, X-Requested-With, X-API-Key, X-B3-TraceId, X-B3-SpanId, X-B3-SnapId, X-GWS-Unstable",
    ),
    MAX_AGE,
]
_CLOSE = (b"connection", b"close")
_CREDENTIALS = frozenset({b"authorization", b"x-api-key"})
_SMALL_BYTES = 16 * 1024

Owner = ServerSession | Remote | None
"""The session of a request, or the node that has it."""

Handled = tuple[ResponseBatch, Headers]
"""Replies, and the cookies that go with them."""

_log = structlog.get_logger(__name__)


def browser_cookies(headers: Headers) -> tuple[str, ...]:
    """The ``BAYEUX_BROWSER`` cookies of a request whose values have the form that Bayeux servers use."""
    return tuple([value for value in read_cookies(headers, BROWSER_COOKIE) if _BROWSER_VALUE.fullmatch(value)])


def other_site(scope: Scope) -> str | None:
    """The ``Origin`` of a page of another site that sends a request without the sign-in cookie; None for every other request."""
    origin = foreign_origin(scope)
    return None if origin is None or read_cookies(scope["headers"], SIGN_IN_COOKIE) else origin


def session_cookie(name: str, value: str, scope: Scope) -> tuple[bytes, bytes]:
    """A ``Set-Cookie`` header of a cookie that lasts until the browser is closed. It is for every path; scripts cannot read it, requests
    of other sites do not carry it, and over TLS it is ``Secure`` (docs/protocol/bayeux.md#cookies). The name comes first: a client
    library expects it there.
    """
    secure = "; Secure" if is_secure(scope) else ""
    return b"set-cookie", f"{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}".encode("ascii")


class LongPolling:
    """The HTTP side of the Bayeux endpoint."""

    __slots__ = ("_bodies", "_gate", "_relay", "_server")

    def __init__(self, server: BayeuxServer, gate: Gate, bodies: BodyBudget, relay: SessionRelay | None = None) -> None:
        """``relay`` serves the sessions of other nodes; None where the hub is this process alone."""
        self._server = server
        self._bodies = bodies
        self._gate = gate
        self._relay = relay

    async def serve(self, scope: Scope, receive: Receive, send: Send, *, statistics: bool) -> None:
        """Answer one request. ``statistics``: the path is that of the Statistics API, which has its own cookie, and refuses a bad
        credential in a header by HTTP status (docs/protocol/credentials.md#refusals).
        """
        origin = CrossOrigin(self._gate, scope)
        cors = origin.headers
        if scope["method"] != "POST":
            await self._not_a_post(scope, send, origin)
            return
        try:
            if statistics and _may_be_large(first_headers(scope)):
                await self._check_header(scope)
            body = await read_posted(scope, receive, self._server.hub.limits.max_request_bytes, self._bodies)
            messages = read_request(body, self._server.hub.limits)
        except ClientDisconnect:
            return
        except ApiError as error:
            self._server.counters.bad_requests += 1
            await self._refuse(send, error, [*cors, _CLOSE])
            return
        except StorageError as error:
            await self._refuse(send, unavailable(error), [*cors, _CLOSE])
            return
        except BodyTooLargeError as error:
            await self._bad_request(send, 413, error, [*cors, _CLOSE])
            return
        except BatchTooLargeError as error:
            await self._bad_request(send, 413, error, cors)
            return
        except MalformedError as error:
            encoding = first_headers(scope).get(b"content-encoding", b"identity").decode("latin-1")
            if encoding.lower() != "identity":
                encoded = ValueError(f"Content-Encoding: expected identity, got {encoding[:120]!r}")
                await self._bad_request(send, 415, encoded, [*cors, (b"accept-encoding", b"identity")])
            else:
                await self._bad_request(send, 400, error, cors)
            return
        handshake = find_handshake(messages)
        owner = self._server.owner(claimed_id(messages))
        try:
            if self._relay is None or (node := self._node_of(scope, handshake, owner)) is None:  # nearly always
                answer = await self._handle(scope, messages, handshake, owner, statistics=statistics)
            else:
                relayed = await self._send_on(scope, receive, send, node, body, messages, handshake, statistics=statistics)
                if relayed is None:
                    return
                answer = relayed
        except StorageError as error:
            answer = unavailable(error)
        except ApiError as error:
            answer = error
        except Exception:
            _log.exception("bayeux_request_failed")
            await respond(send, 500, [*_BASE_HEADERS, *cors], envelope(500, "Internal Server Error"))
            return
        if isinstance(answer, ApiError):
            await self._refuse(send, answer, cors)
            return
        batch, cookies = answer
        headers = [*_BASE_HEADERS, *cors, *cookies] if cors or cookies else _BASE_HEADERS
        response = HttpResponse(send, headers, array, self._server.hub.limits)
        await response.answer(batch, receive)

    # -- the caller -------------------------------------------------------------------------------------------------

    async def _check_header(self, scope: Scope) -> None:
        """Refuse a bad credential in a header before a body is read that may be large.

        Raises:
            ApiError: 401 or 403, the same answer as for the whole request.
            StorageError: credentials cannot be looked up now.
        """
        if not _CREDENTIALS.isdisjoint(first_headers(scope)):
            caller = await self._gate.identify(scope, cookies=False)
            if caller.failure is not None:
                raise refusal(caller.failure)

    async def _handle(
        self, scope: Scope, messages: Sequence[Incoming], handshake: Incoming | None, owner: Owner, *, statistics: bool
    ) -> Handled | ApiError:
        """Process the messages. Returns the replies and the cookies to set, or a refusal."""
        headers: Headers = scope["headers"]
        browsers = browser_cookies(headers)
        statistics_session = statistics_cookie(headers)
        offered = None
        cookies: Headers = []
        if handshake is not None:
            if statistics and statistics_session is None:
                statistics_session = new_cookie_value()
                cookies.append(session_cookie(STATISTICS_COOKIE, statistics_session, scope))
            if not browsers:
                offered = new_cookie_value() if self._relay is None else self._relay.new_browser()
                cookies.append(session_cookie(BROWSER_COOKIE, offered, scope))
        peer = Peer(
            browsers=browsers,
            offered=offered,
            origin=other_site(scope),
            statistics_session=statistics_session,
            connection=connection_of(scope),
        )
        failure = await self._identify(scope, peer, owner, handshake)
        if statistics and failure is not None and (failure is not Failure.MISSING or self._must_know(handshake)):
            self._server.counters.handshakes_denied += handshake is not None
            return refusal(failure)
        batch = await self._server.handle(messages, peer)
        return batch, cookies if batch.opened is not None else []

    async def _identify(self, scope: Scope, peer: Peer, owner: Owner, handshake: Incoming | None) -> Failure | None:
        """Identify the caller, if these messages need that, and store the result in ``peer``. Returns why the caller is not known."""
        by_header = not _CREDENTIALS.isdisjoint(first_headers(scope))
        asks_for_it = handshake is not None or (isinstance(owner, ServerSession) and owner.binding.by_header)
        if not (asks_for_it or by_header):
            return None  # nearly every request: the cookie of the browser is enough
        caller = await self._gate.identify(scope, statistics_session=peer.statistics_session, cookies=asks_for_it)
        peer.principal = caller.principal
        peer.presented = caller.failure is not Failure.MISSING
        peer.by_cookie = caller.by_cookie
        return caller.failure

    def _must_know(self, handshake: Incoming | None) -> bool:
        """Whether a request without any credential is refused by HTTP status: a handshake without ``ext.authentication``, unless the hub
        admits anonymous clients.
        """
        if handshake is None:
            return False
        try:
            named = handshake.authentication() is not None
        except FieldError:  # the reply to the handshake reports it
            named = True
        return not named and self._gate.anonymous() is None

    # -- sessions of other nodes ------------------------------------------------------------------------------------

    def _node_of(self, scope: Scope, handshake: Incoming | None, owner: Owner) -> str | None:
        """The node that serves a request: the owner of its session, for a handshake the home of its browser; None for this one."""
        relay = self._relay
        if relay is None or was_relayed(scope):
            return None
        if handshake is None:
            return owner.incarnation if isinstance(owner, Remote) else None
        browsers = browser_cookies(scope["headers"])
        home = relay.home_of(browsers[0]) if browsers else None
        return home if home is not None and self._may_ask(scope) else None

    def _may_ask(self, scope: Scope) -> bool:
        """Count a handshake for the rate of its address. One beyond the rate is refused here, by the handshake's own check."""
        connection = connection_of(scope)
        try:
            self._server.hub.sessions.check_rate(None if connection is None else connection.limited_address)
        except RefusedError:
            return False
        return True

    async def _send_on(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        node: str,
        body: bytes,
        messages: Sequence[Incoming],
        handshake: Incoming | None,
        *,
        statistics: bool,
    ) -> Handled | ApiError | None:
        """Have another node answer. Returns None if it did, or what this node has to answer. A handshake whose home cannot be reached is
        answered here.
        """
        assert self._relay is not None
        if not _CREDENTIALS.isdisjoint(first_headers(scope)):
            caller = await self._gate.identify(scope, cookies=False)
            if statistics and caller.failure is not None:
                return refusal(caller.failure)
        if self._server.draining and _is_connect(messages):  # the owner would hold it
            return self._server.answer_released(messages[0], Peer()), [_CLOSE]
        try:
            await self._relay.relay(scope, receive, send, node, body)
        except (LinkError, ReleasedError) as error:
            if handshake is not None:
                return await self._handle(scope, messages, handshake, None, statistics=statistics)
            return elsewhere(self._server, error, messages, Peer())
        return None

    # -- everything else --------------------------------------------------------------------------------------------

    async def _not_a_post(self, scope: Scope, send: Send, cors: CrossOrigin) -> None:
        if scope["method"] == "OPTIONS":
            preflight = _PREFLIGHT if cors.allowed else []
            await respond(send, 204, [*SECURITY_HEADERS, *cors.headers, *preflight, (b"allow", _METHODS)], b"")
            return
        body = envelope(405, f"expected POST, or GET with the parameter message (callback-polling), got {scope['method']}")
        await respond(send, 405, [*_BASE_HEADERS, *cors.headers, (b"allow", _METHODS)], body)

    async def _refuse(self, send: Send, error: ApiError, headers: Headers) -> None:
        extra = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in (error.headers or {}).items()]
        await respond(send, error.http_status, [*_BASE_HEADERS, *headers, *extra], _json(error.body()))

    async def _bad_request(self, send: Send, status: int, error: Exception, headers: Headers) -> None:
        self._server.counters.bad_requests += 1
        await respond(send, status, [*_BASE_HEADERS, *headers], envelope(status, str(error)))


def elsewhere(server: BayeuxServer, error: LinkError | ReleasedError, messages: Sequence[Incoming], peer: Peer) -> Handled | ApiError:
    """What is answered to a request of another node's session, if that node has not answered. A session of which nobody knows that it is
    lost is not given up: 503, and the client asks again.
    """
    if isinstance(error, NodeGoneError):
        return server.answer_lost(messages, peer), []
    if isinstance(error, ReleasedError) and _is_connect(messages):
        return server.answer_released(messages[0], peer), [_CLOSE]
    return ApiError(503, "the node that has this session does not answer now: try again", headers=RETRY_AFTER)


def _is_connect(messages: Sequence[Incoming]) -> bool:
    """Whether a request is one connect, which may be held."""
    return len(messages) == 1 and messages[0].channel == CONNECT


def _may_be_large(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a body may arrive in several pieces, after its head. Nearly none does."""
    if b"transfer-encoding" in headers:
        return True
    length = headers.get(b"content-length", b"0")
    return not length.isdigit() or int(length) > _SMALL_BYTES


def _json(body: dict[str, object]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode("ascii")
