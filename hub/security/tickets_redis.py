"""Tickets that nodes share over Redis (:class:`hub.security.tickets.Tickets`, docs/scaling.md#tickets).

Redis keeps the state of a ticket; the node that has a stream keeps the function that ends it. It repeats every 20 s that the stream is
open: if the node dies, the ticket may open the stream again for ``limits.ticket_resume_s`` after that, and is forgotten then.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from itertools import islice
from typing import Any, Final

import msgspec
import structlog

from hub.background import BackgroundTask
from hub.cluster.ports import Call, LinkError, Links
from hub.core.limits import Limits
from hub.core.ports import Clock
from hub.core.principal import Principal
from hub.redis.commands import RedisRefusedError, RedisUnavailableError
from hub.redis.shared import SharedRedis
from hub.security.directory import SLICE_ITEMS, Gone
from hub.security.tickets import MAX_AGE_S, TICKET_S, Opened, TicketCounters, TicketsUnavailableError, new_ticket, tenant_of

KEEP_S: Final = 20.0
"""Seconds between two messages to Redis that a stream is open."""

KEPT_S: Final = 50.0
"""Seconds for which such a message holds, beside ``limits.ticket_resume_s``: two of them may be lost."""

CALL_KIND: Final = "tickets"
"""The kind of the calls by which a node tells another that a stream was replaced (:class:`hub.cluster.ports.Links`)."""

_CALL_S: Final = 2.0
_STREAMS_PER_CALL: Final = 200
_MAX_LENGTH: Final = 128
_OPENING_BYTES: Final = 8

_log = structlog.get_logger(__name__)


class _Stored(msgspec.Struct, frozen=True, array_like=True):
    """A principal as Redis keeps it."""

    subject: str
    roles: list[str]
    login: str
    token_login: str
    credential: str
    anonymous: bool
    scopes: list[str] | None = None
    expires_ms: int | None = None


_stored: Final = msgspec.json.Decoder(_Stored)


class RedisTickets:
    """The tickets of all nodes that share a Redis. :meth:`start` it before the first stream opens.

    A tenant has its share of ``limits.max_tickets`` on all nodes together: of tickets that wait to be used, and of ended streams. When
    Redis does not answer, no ticket is issued and none opens a stream; open streams stay.
    """

    __slots__ = (
        *("_clock", "_ended", "_issued", "_keep", "_keep_s", "_kept_ms", "_links", "_most_of_tenant", "_open", "_redis"),
        *("_resume_ms", "_tasks", "counters"),
    )

    def __init__(self, redis: SharedRedis, clock: Clock, limits: Limits | None = None, *, keep_s: float = KEEP_S) -> None:
        """``keep_s``: seconds between two messages that a stream is open."""
        limits = limits or Limits()
        self._redis = redis
        self._clock = clock
        self._resume_ms = limits.ticket_resume_s * 1000
        self._kept_ms = self._resume_ms + round(KEPT_S * 1000)
        self._keep_s = keep_s
        self._most_of_tenant = limits.of_tenant(limits.max_tickets)
        # by opening: the streams that are open on this node
        self._open: dict[str, Opened] = {}
        # when the tickets and the ended streams of this node end, by rising time
        self._issued: deque[float] = deque(maxlen=max(1, limits.max_tickets))
        self._ended: deque[float] = deque(maxlen=max(1, limits.max_tickets))
        self._links: Links | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._keep = BackgroundTask("hub.security.tickets")
        self.counters = TicketCounters()

    def connect(self, links: Links) -> None:
        """Tell other nodes over ``links`` that a stream of theirs was replaced, and hear the same from them."""
        self._links = links
        links.serve(CALL_KIND, self._answer)

    async def start(self) -> None:
        """Begin to repeat that streams are open."""
        self._keep.start(self._keep_streams())

    async def stop(self) -> None:
        """Finish what is being written, and end the work in the background."""
        await self._keep.stop()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def issue(self, principal: Principal, version: str = "") -> str | None:
        """See :meth:`Tickets.issue`."""
        ticket = new_ticket(principal.tenant)
        digest, names = _digest(ticket), self._redis.names.of(principal.tenant)
        arguments = (digest, TICKET_S * 1000, self._most_of_tenant, _encode(principal), version)
        if not await self._run(principal.tenant, "ticket_issue", [names.ticket(digest), names.tickets_waiting], *arguments):
            self.counters.refused += 1
            return None
        self._expire(self._issued)
        self._issued.append(self._clock.monotonic() + TICKET_S)
        return ticket

    async def redeem(self, ticket: str, url: tuple[str, bytes] = ("", b"")) -> Opened | None:
        """See :meth:`Tickets.redeem`."""
        stream, again = await self._find(ticket, url, secrets.token_hex(_OPENING_BYTES))
        self.counters.resumed += again
        return stream

    async def look(self, ticket: str, url: tuple[str, bytes] = ("", b"")) -> Opened | None:
        """See :meth:`Tickets.look`."""
        return (await self._find(ticket, url, ""))[0]

    async def _find(self, ticket: str, url: tuple[str, bytes], opening: str) -> tuple[Opened | None, bool]:
        """The stream that a ticket opens, and whether it was open before."""
        tenant = tenant_of(ticket)
        if not tenant or len(ticket) > _MAX_LENGTH or not ticket.isascii():
            return None, False
        digest, names = _digest(ticket), self._redis.names.of(tenant)
        keys = [names.ticket(digest), names.tickets_waiting, names.tickets_ended]
        found = await self._run(tenant, "ticket_redeem", keys, digest, _url(url), opening, MAX_AGE_S * 1000, self._kept_ms)
        if found is None:
            return None, False
        stored, version, issued_ms, again = found
        principal = _decode(tenant, stored)
        return Opened(ticket, principal, int(issued_ms) / 1000, url, version.decode(), opening), bool(again)

    async def opened(self, stream: Opened, end: Callable[[], object]) -> None:
        """See :meth:`Tickets.opened`. A stream that Redis cannot be told of stays open; Redis is told again later."""
        stream.end = end
        self._open[stream.opening] = stream
        try:
            await self._note(stream, again=False)
        except TicketsUnavailableError as error:
            _log.warning("stream_not_noted", reason=str(error))

    async def _note(self, stream: Opened, *, again: bool) -> None:
        """Tell Redis that a stream is open, and the stream that it replaces to end. With ``again`` another one that is open keeps its
        place, and this one ends.
        """
        tenant = stream.principal.tenant
        digest, names = _digest(stream.ticket), self._redis.names.of(tenant)
        keys = [names.ticket(digest), names.tickets_ended]
        node, opening = await self._run(
            tenant, "ticket_opened", keys, digest, _url(stream.url), stream.opening, self._redis.node,
            _encode(stream.principal), stream.version, round(stream.issued * 1000), self._kept_ms, MAX_AGE_S * 1000, int(again),
        )  # fmt: skip
        if again and opening:
            self._replace(stream.opening)
        elif node.decode() == self._redis.node:
            self._replace(opening.decode())
        elif node:
            self._spawn(self._tell(node.decode(), opening))

    def closed(self, stream: Opened) -> None:
        """See :meth:`Tickets.closed`."""
        if self._open.pop(stream.opening, None) is None:
            return
        stream.end = None
        if self._resume_ms:
            self._expire(self._ended)
            self._ended.append(self._clock.monotonic() + self._resume_ms / 1000)
        self._spawn(self._close(stream, self._resume_ms))

    async def _close(self, stream: Opened, resume_ms: int) -> None:
        tenant = stream.principal.tenant
        digest, names = _digest(stream.ticket), self._redis.names.of(tenant)
        keys = [names.ticket(digest), names.tickets_ended]
        try:
            self.counters.forgotten += await self._run(
                tenant, "ticket_closed", keys, digest, stream.opening, resume_ms, self._most_of_tenant
            )
        except TicketsUnavailableError as error:
            _log.warning("stream_end_not_noted", reason=str(error))

    async def revoke(self, gone: Gone) -> None:
        """See :meth:`Tickets.revoke`. A ticket that waits holds the state of its credential, with which it is compared when it is used: no
        node has to look for it.
        """
        for number, stream in enumerate(list(self._open.values()), 1):
            if gone(stream.principal):
                self._open.pop(stream.opening, None)  # closed() then finds no open stream
                self._spawn(self._close(stream, 0))
            if number % SLICE_ITEMS == 0:
                await asyncio.sleep(0)

    # -- streams that are open -----------------------------------------------------------------------------------------

    async def _keep_streams(self) -> None:
        while True:
            await asyncio.sleep(self._keep_s)
            try:
                await self.keep()
            except TicketsUnavailableError as error:
                _log.warning("streams_not_kept", reason=str(error))

    async def keep(self) -> None:
        """Tell Redis that the streams of this node are open, and end those that were replaced.

        Raises:
            TicketsUnavailableError: see there.
        """
        of_tenant: dict[str, list[Opened]] = {}
        for stream in self._open.values():
            of_tenant.setdefault(stream.principal.tenant, []).append(stream)
        for tenant, streams in of_tenant.items():
            for some in _pieces(streams):
                keys = [self._redis.names.of(tenant).ticket(_digest(stream.ticket)) for stream in some]
                openings = [stream.opening for stream in some]
                states = await self._run(tenant, "ticket_keep", keys, self._kept_ms, MAX_AGE_S * 1000, *openings)
                for stream, state in zip(some, states, strict=True):
                    if stream.opening not in self._open:
                        continue
                    if state == 0:
                        self._replace(stream.opening)
                    elif state < 0:  # Redis has lost it
                        await self._note(stream, again=True)

    def _replace(self, opening: str) -> None:
        """End a stream whose ticket has opened it again."""
        stream = self._open.pop(opening, None)
        if stream is not None and stream.end is not None:
            stream.end()

    async def _tell(self, node: str, opening: bytes) -> None:
        try:
            if self._links is not None:
                await self._links.ask(node, CALL_KIND, opening, timeout_s=_CALL_S)
                return
        except LinkError as error:
            _log.info("replaced_stream_not_told", node=node, reason=str(error))
        self.counters.not_told += 1

    async def _answer(self, call: Call) -> None:
        self.counters.replaced_elsewhere += 1
        self._replace(call.head.decode())
        await call.send(b"")

    # -- Redis ---------------------------------------------------------------------------------------------------------

    async def _run(self, tenant: str, script: str, keys: list[bytes], *arguments: bytes | str | int) -> Any:
        try:
            return await self._redis.commands(tenant).run(getattr(self._redis.scripts, script), keys, lambda _: arguments)
        except (RedisUnavailableError, RedisRefusedError) as error:
            self.counters.unavailable += 1
            raise TicketsUnavailableError(f"tickets: {error}") from error

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="hub.security.tickets")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _expire(self, times: deque[float]) -> None:
        now = self._clock.monotonic()
        while times and times[0] <= now:
            times.popleft()

    @property
    def resumable(self) -> int:
        """See :attr:`Tickets.resumable`."""
        self._expire(self._ended)
        return len(self._ended)

    def __len__(self) -> int:
        """See :class:`Tickets`."""
        self._expire(self._issued)
        return len(self._issued)


def _digest(ticket: str) -> str:
    """Names a ticket in Redis, from where nobody can take one."""
    return hashlib.blake2b(ticket.encode(), digest_size=16).hexdigest()


def _url(url: tuple[str, bytes]) -> str:
    return hashlib.blake2b(url[0].encode() + b"?" + url[1], digest_size=16).hexdigest()


def _encode(principal: Principal) -> bytes:
    scopes = None if principal.scopes is None else sorted(principal.scopes)
    stored = _Stored(
        *(principal.subject, sorted(principal.roles), principal.login, principal.token_login),
        *(principal.credential, principal.anonymous, scopes, principal.expires_ms),
    )
    return msgspec.json.encode(stored)


def _decode(tenant: str, stored: bytes) -> Principal:
    found = _stored.decode(stored)
    roles = frozenset(found.roles)
    scopes = None if found.scopes is None else frozenset(found.scopes)
    return Principal(
        *(tenant, found.subject, roles, found.login, found.token_login, found.credential, found.anonymous, scopes, found.expires_ms)
    )


def _pieces(streams: Iterable[Opened]) -> Iterator[list[Opened]]:
    rest = iter(streams)
    while piece := list(islice(rest, _STREAMS_PER_CALL)):
        yield piece
