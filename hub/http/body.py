"""The bodies of requests: limits on one body and on all that are held in memory together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive, Scope

from hub.core.json_validation import commas
from hub.core.limits import Limits
from hub.core.metric import CounterFamily
from hub.http.errors import ApiError
from hub.security.connections import connection_of

IDENTITY: Final = "identity"
GZIP: Final = "gzip"

RETRY_AFTER: Final = {"Retry-After": "1"}
"""Bodies come and go within seconds."""

INLINE_BYTES: Final = 32 * 1024
"""Bytes of a body above which work on it is done in a thread, so that it does not hold the event loop up."""

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
    """Bytes of bodies that are held for requests that are not answered yet: of the process, and of each address."""

    __slots__ = ("_by_address", "_limits", "buffered_bytes", "counters")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._by_address: dict[str, int] = {}
        self.buffered_bytes = 0
        self.counters = BodyCounters()

    def lease(self, scope: Scope) -> Lease:
        """What one request holds of the budget. Release it when the request is answered, whatever the answer."""
        return Lease(self, address_of(scope))

    def take(self, address: str, size: int) -> None:
        """Count ``size`` bytes more; ``address`` is empty for who is exempt from the share of an address.

        Raises:
            ApiError: they do not fit: 503 into the budget of the process, 429 into that of the address (RFC 6585 section 4); with
                ``Retry-After``. Nothing is counted then.
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
        """Count ``size`` bytes less."""
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
        """Hold ``size`` bytes less; without it, none any more."""
        size = self._held if size is None else size
        if size:
            self._held -= size
            self._budget.give(self._address, size)

    def metered(self, scope: Scope, receive: Receive) -> Receive:
        """``receive`` that counts what it hands over. The lease stands in ``scope`` for :func:`let_go`."""
        scope[_LEASE] = self

        async def counted() -> Message:
            message = await receive()
            if message["type"] == "http.request" and (piece := message.get("body")):
                self.add(len(piece))
            return message

        return counted


def let_go(request: Request, size: int) -> None:
    """Release ``size`` bytes of a request's body, which were written to a file or dropped."""
    lease: Lease | None = request.scope.get(_LEASE)
    if lease is not None:
        lease.release(size)


def hold(request: Request, size: int) -> None:
    """Take ``size`` bytes for a request's body that is read back into memory.

    Raises:
        ApiError: see :meth:`BodyBudget.take`.
    """
    lease: Lease | None = request.scope.get(_LEASE)
    if lease is not None:
        lease.add(size)


def address_of(scope: Scope) -> str:
    """The address whose share a request counts to: its client, as a trusted proxy names it. Empty for a peer that forwards for others and
    is not trusted, since requests of different clients come from its address (docs/proxies.md).
    """
    connection = connection_of(scope)
    if connection is not None:
        return connection.limited_address or ""
    client = scope.get("client")
    return client[0] if client else ""


def takes(max_bytes: int | Callable[[Limits], int]) -> Callable[[F], F]:
    """Says of a REST operation how many bytes its body may have, where ``limits.max_rest_body_bytes`` does not fit it: a number that a
    family's settings have, or one of the limits.
    """

    def mark(endpoint: F) -> F:
        setattr(endpoint, _LIMIT, max_bytes)
        return endpoint

    return mark


def limit_of(endpoint: Callable[..., Any], limits: Limits) -> int:
    """Bytes that the body of an operation may have."""
    limit: int | Callable[[Limits], int] = getattr(endpoint, _LIMIT, limits.max_rest_body_bytes)
    return limit if isinstance(limit, int) else limit(limits)


def check_announced(request: Request, limit: int) -> None:
    """Refuse by its ``Content-Length`` a body that is too large, before anything of it is read.

    Raises:
        ApiError: 413.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise ApiError.of_field("body", f"at most {limit} bytes", int(announced), http_status=413)


def too_large(limit: int) -> ApiError:
    """The error 413 for a body without a ``Content-Length``."""
    return ApiError.in_words("body", f"at most {limit} bytes", "more", http_status=413)


def bounded(receive: Receive, limit: int) -> Receive:
    """``receive`` that raises :func:`too_large` beyond ``limit`` bytes."""
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
    """How a body is encoded: :data:`IDENTITY`, or one of ``taken``. ``x-gzip`` is gzip (RFC 9110 section 8.4.1.3).

    Raises:
        ApiError: 415, it is encoded in another way; names those that are taken, in ``Accept-Encoding`` too (RFC 9110 section 15.5.16).
    """
    given = ", ".join(request.headers.getlist("content-encoding")).strip().lower()
    encoding = GZIP if given == "x-gzip" else given or IDENTITY
    if encoding not in (IDENTITY, *taken):
        headers = {"Accept-Encoding": ", ".join((*taken, IDENTITY))}
        raise ApiError.in_words("Content-Encoding", " or ".join((*taken, IDENTITY)), given, http_status=415, headers=headers)
    return encoding


async def apart(size: int, work: Callable[[], T]) -> T:
    """``work`` on something of ``size`` bytes: here if it is small, else in a thread."""
    return work() if size <= INLINE_BYTES else await asyncio.to_thread(work)


def check_members(text: bytes, max_members: int, field: str = "body") -> None:
    """Refuse JSON text that is checked whole, in one piece, and of whose members each could be an error; ``max_members``:
    ``limits.max_body_members``.

    Raises:
        ApiError: 413, it has more members and elements.
    """
    if commas(text, max_members) >= max_members:
        raise ApiError.of_field(field, f"at most {max_members} members and elements", "more", http_status=413)


async def stream_body(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body in pieces, as it comes, byte for byte. What its headers say is the caller's to check before, with :func:`content_encoding`
    and :func:`check_announced`.

    The pieces count to the budget of bodies until the request is answered; a caller that drops one, or writes it to a file, calls
    :func:`let_go`.

    Raises:
        ApiError: 413, it is larger than ``limit`` bytes; 400, it ended before it was whole; 429 or 503, see :meth:`BodyBudget.take`.
    """
    size = 0
    try:
        async for piece in request.stream():
            size += len(piece)
            if size > limit:  # a chunked body says its size only by coming
                raise too_large(limit)
            yield piece
    except ClientDisconnect:
        raise ApiError(400, "the body ended before it was whole") from None


async def read_body(request: Request, limit: int, *encodings: str) -> bytes:
    """The whole body. ``encodings`` are those that the caller takes.

    Raises:
        ApiError: see :func:`stream_body`; 413, ``Content-Length`` says more than ``limit`` bytes; 415, see :func:`content_encoding`.
    """
    content_encoding(request, *encodings)
    check_announced(request, limit)
    pieces = [piece async for piece in stream_body(request, limit)]
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
