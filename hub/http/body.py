"""The bodies of requests: limits for one body, and for all bodies in memory together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive, Scope

from hub.core.json_validation import commas
from hub.core.limits import Limits
from hub.core.metric import CounterFamily
from hub.http.errors import ApiError
from hub.http.headers import first_headers
from hub.security.connections import connection_of

IDENTITY: Final = "identity"
GZIP: Final = "gzip"

RETRY_AFTER: Final = {"Retry-After": "1"}
"""The memory of bodies becomes free within seconds."""

DISCARD_BYTES: Final = 16 * 1024 * 1024
"""Bytes of a too large Bayeux body that are read and dropped, so that the client can read the refusal; then the connection ends."""

INLINE_BYTES: Final = 32 * 1024
"""Bytes of a body above which a thread processes it, so that it does not block the event loop."""

_LIMIT: Final = "hub_body_limit"
_LEASE: Final = "hub.body_lease"

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


@dataclass(slots=True)
class BodyCounters:
    """What the budget of bodies counts; ``/metrics`` reads them."""

    METRICS: ClassVar = (
        CounterFamily(
            "refused",
            "Requests that were refused because bodies of requests under way took what they may, by whose budget it was.",
            "budget",
            {"over_process_budget": "process", "over_address_budget": "address"},
        ),
    )

    over_process_budget: int = 0
    """Requests that were refused because all bodies together took ``limits.max_buffered_bytes``."""
    over_address_budget: int = 0
    """Requests that were refused because those of their address took ``limits.max_buffered_bytes_per_address``."""


class BodyBudget:
    """Counts the bytes of bodies of unanswered requests, and limits them for the process and for each address."""

    __slots__ = ("_by_address", "_limits", "buffered_bytes", "counters")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._by_address: dict[str, int] = {}
        self.buffered_bytes = 0
        self.counters = BodyCounters()

    def lease(self, scope: Scope) -> Lease:
        """Make the lease of one request. Release it when the request is answered, with success or not."""
        return Lease(self, address_of(scope))

    def take(self, address: str, size: int) -> None:
        """Add ``size`` bytes; ``address`` is empty if the limit of an address does not apply.

        Raises:
            ApiError: the bytes do not fit: 503 for the budget of the process, 429 for that of the address (RFC 6585 section 4); with
                ``Retry-After``. Then nothing is added.
        """
        limits = self._limits
        if self.buffered_bytes + size > limits.max_buffered_bytes:
            self.counters.over_process_budget += 1
            raise _over("the bodies of all requests that are under way", limits.max_buffered_bytes, 503)
        if address:
            held = self._by_address.get(address, 0) + size
            if held > limits.max_buffered_bytes_per_address:
                self.counters.over_address_budget += 1
                raise _over("the bodies of this address's requests that are under way", limits.max_buffered_bytes_per_address, 429)
            self._by_address[address] = held
        self.buffered_bytes += size

    def give(self, address: str, size: int) -> None:
        """Subtract ``size`` bytes."""
        self.buffered_bytes -= size
        if address:
            held = self._by_address[address] - size
            if held:
                self._by_address[address] = held
            else:
                del self._by_address[address]


def _over(what: str, max_bytes: int, status: int) -> ApiError:
    expected = f"{what} within {max_bytes} bytes"
    detail = {"field": "body", "expected": expected, "got": "more"}
    return ApiError(status, f"body: expected {expected}, got more: try again in a second", detail=detail, headers=RETRY_AFTER)


class Lease:
    """The bytes that one request holds of the budget."""

    __slots__ = ("_address", "_budget", "_held")

    def __init__(self, budget: BodyBudget, address: str) -> None:
        self._budget = budget
        self._address = address
        self._held = 0

    def add(self, size: int) -> None:
        """Hold ``size`` bytes more.

        Raises:
            ApiError: see :meth:`BodyBudget.take`.
        """
        self._budget.take(self._address, size)
        self._held += size

    def release(self, size: int | None = None) -> None:
        """Hold ``size`` bytes less; without ``size``, release all bytes."""
        size = self._held if size is None else size
        if size:
            self._held -= size
            self._budget.give(self._address, size)

    def metered(self, scope: Scope, receive: Receive) -> Receive:
        """A ``receive`` that adds the bytes of each piece to the lease. The lease is stored in ``scope``, for :func:`let_go`."""
        scope[_LEASE] = self

        async def counted() -> Message:
            message = await receive()
            if message["type"] == "http.request" and (piece := message.get("body")):
                self.add(len(piece))
            return message

        return counted


def let_go(request: Request, size: int) -> None:
    """Release ``size`` bytes of a request's body that were written to a file or dropped."""
    lease: Lease | None = request.scope.get(_LEASE)
    if lease is not None:
        lease.release(size)


def hold(request: Request, size: int) -> None:
    """Add ``size`` bytes for a part of a request's body that is read back into memory, or decompressed.

    Raises:
        ApiError: see :meth:`BodyBudget.take`.
    """
    lease: Lease | None = request.scope.get(_LEASE)
    if lease is not None:
        lease.add(size)


def address_of(scope: Scope) -> str:
    """The address whose limit applies to a request: its client's, as a trusted proxy reports it. Empty for an untrusted peer that sends
    ``X-Forwarded-For``, because requests of different clients come from its address (docs/proxies.md).
    """
    connection = connection_of(scope)
    if connection is not None:
        return connection.limited_address or ""
    client = scope.get("client")
    return client[0] if client else ""


def takes(max_bytes: int | Callable[[Limits], int]) -> Callable[[F], F]:
    """Set how many bytes the body of a REST operation may have, in place of ``limits.max_rest_body_bytes``: a number from a family's
    settings, or a function that returns one of the limits.
    """

    def mark(endpoint: F) -> F:
        setattr(endpoint, _LIMIT, max_bytes)
        return endpoint

    return mark


def limit_of(endpoint: Callable[..., Any], limits: Limits) -> int:
    """The most bytes that the body of an operation may have."""
    limit: int | Callable[[Limits], int] = getattr(endpoint, _LIMIT, limits.max_rest_body_bytes)
    return limit if isinstance(limit, int) else limit(limits)


def check_announced(request: Request, limit: int) -> None:
    """Check the ``Content-Length``, before the body is read.

    Raises:
        ApiError: 413, the body is larger than ``limit`` bytes.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise ApiError.of_field("body", f"at most {limit} bytes", int(announced), http_status=413)


def too_large(limit: int) -> ApiError:
    """The error 413 for a body of unknown length that is larger than ``limit`` bytes."""
    return ApiError.in_words("body", f"at most {limit} bytes", "more", http_status=413)


def bounded(receive: Receive, limit: int) -> Receive:
    """A ``receive`` that raises :func:`too_large` after more than ``limit`` bytes."""
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        if message["type"] == "http.request":
            size += len(message.get("body", b""))
            if size > limit:
                raise too_large(limit)
        return message

    return counted


def content_encoding(request: Request, *taken: str) -> str:
    """The encoding of a body: :data:`IDENTITY`, or one of ``taken``. ``x-gzip`` means gzip (RFC 9110 section 8.4.1.3).

    Raises:
        ApiError: 415, the body has another encoding; the error and its ``Accept-Encoding`` name those in ``taken`` (RFC 9110 section
            15.5.16).
    """
    given = ", ".join(request.headers.getlist("content-encoding")).strip().lower()
    encoding = GZIP if given == "x-gzip" else given or IDENTITY
    if encoding not in (IDENTITY, *taken):
        headers = {"Accept-Encoding": ", ".join((*taken, IDENTITY))}
        raise ApiError.in_words("Content-Encoding", " or ".join((*taken, IDENTITY)), given, http_status=415, headers=headers)
    return encoding


async def apart(size: int, work: Callable[[], T]) -> T:
    """Run ``work``, which processes ``size`` bytes: here if ``size`` is small, else in a thread."""
    return work() if size <= INLINE_BYTES else await asyncio.to_thread(work)


def check_members(text: bytes, max_members: int, field: str = "body") -> None:
    """Limit the members of a JSON text that is validated in one step and may have an error in each member. ``max_members`` is
    ``limits.max_body_members``.

    Raises:
        ApiError: 413, the text has more members and elements.
    """
    if commas(text, max_members) >= max_members:
        raise ApiError.of_field(field, f"at most {max_members} members and elements", "more", http_status=413)


PACED: Final = "hub.paced"
"""The key in an ASGI scope by which an application says that it bounds the pauses of a body itself. Such a body may take longer than
``limits.body_timeout_ms``.
"""


async def pieces_of(receive: Receive) -> AsyncGenerator[bytes, None]:
    """The pieces of a body, as they arrive. Every body of a request is read here.

    Raises:
        ClientDisconnect: the client closed the connection before the body was complete.
    """
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        more = message.get("more_body", False)
        if message.get("body"):
            yield message.pop("body")  # not kept here until the next one comes: it may have 256 KiB


async def stream_body(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body in pieces, as it arrives, without decoding. The caller first checks the headers with :func:`content_encoding` and
    :func:`check_announced`.

    The budget of bodies counts the pieces until the request is answered; a caller that drops a piece, or writes it to a file, calls
    :func:`let_go`.

    Raises:
        ApiError: 413, the body is larger than ``limit`` bytes; 400, it ended early; 429 or 503, see :meth:`BodyBudget.take`.
    """
    size = 0
    try:
        async for piece in pieces_of(request.receive):
            size += len(piece)
            if size > limit:  # the length of a chunked body is unknown before its end
                raise too_large(limit)
            yield piece
    except ClientDisconnect:
        raise ApiError(400, "the body ended before it was whole") from None


async def read_body(request: Request, limit: int, *encodings: str) -> bytes:
    """The whole body. ``encodings`` are those that the caller can decode.

    Raises:
        ApiError: see :func:`stream_body`; 413, ``Content-Length`` is above ``limit`` bytes; 415, see :func:`content_encoding`.
    """
    content_encoding(request, *encodings)
    check_announced(request, limit)
    pieces = [piece async for piece in stream_body(request, limit)]
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class BodyTooLargeError(ValueError):
    """The body is larger than the limit; the text gives the limit in bytes."""


async def read_posted(scope: Scope, receive: Receive, max_bytes: int, bodies: BodyBudget) -> bytes:
    """The whole body of a request without a framework, such as a Bayeux request. ``Content-Length`` is not relied upon. The rest of a body
    that is too large is read and dropped. The server limits how long a body may take to arrive, and then ends the connection
    (:class:`hub.transports.http_protocol.HubHttpProtocol`).

    Raises:
        BodyTooLargeError: more than ``max_bytes``.
        ClientDisconnect: the client has closed the connection.
        ApiError: the body arrives in several pieces, and these do not fit into ``bodies``: 429 or 503.
    """
    if _waits_for_continue(scope, max_bytes):
        raise _more_than(max_bytes)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):  # nearly always
        if len(body) > max_bytes:
            raise _more_than(max_bytes)
        return body
    lease = bodies.lease(scope)
    try:
        return await _read_rest(receive, body, max_bytes, lease)
    finally:
        lease.release()


async def _read_rest(receive: Receive, first: bytes, max_bytes: int, lease: Lease) -> bytes:
    lease.add(len(first))
    kept = [first]
    size = len(first)
    async with aclosing(pieces_of(receive)) as pieces:
        async for piece in pieces:
            size += len(piece)
            if size > max_bytes:
                kept.clear()
                lease.release()
                if size > max_bytes + DISCARD_BYTES:
                    break
            else:
                lease.add(len(piece))
                kept.append(piece)
    if size > max_bytes:
        raise _more_than(max_bytes)
    return b"".join(kept)


def _waits_for_continue(scope: Scope, max_bytes: int) -> bool:
    """Whether the client waits for "100 Continue" before it sends a body that is too large (RFC 9110 section 10.1.1)."""
    headers = first_headers(scope)
    if b"expect" not in headers:  # nearly always
        return False
    length = headers.get(b"content-length", b"")
    return length.isdigit() and int(length) > max_bytes


def _more_than(max_bytes: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"expected a body of at most {max_bytes} bytes, got more")
