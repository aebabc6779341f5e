"""Tickets, for pages that cannot send headers with a WebSocket or event stream: such a page puts a ticket in the URL
(docs/security.md#browsers).

A ticket opens one stream, within 30 s. If a browser's ``EventSource`` loses its connection, it requests the same URL again by itself.
Therefore a ticket may open the same stream again for a while. The new stream replaces the old one, which may still be open on the server
although its connection is broken.
"""

import asyncio
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final

from hub.core.limits import Limits
from hub.core.ports import Clock
from hub.core.principal import Principal
from hub.security.directory import SLICE_ITEMS, Gone

TICKET_S: Final = 30
"""Seconds for which a new ticket is valid. The time is short because URLs are stored in logs and browser histories."""

MAX_AGE_S: Final = 12 * 3600
"""Seconds after its issue for which a ticket can open its stream again."""


class Opened:
    """A ticket that is opening a stream, or has opened one."""

    __slots__ = ("end", "issued", "principal", "ticket", "url")

    def __init__(self, ticket: str, principal: Principal, issued: float, url: tuple[str, bytes]) -> None:
        self.ticket = ticket
        self.principal = principal
        self.issued = issued
        self.url = url
        """Path and query: a ticket opens only the same URL again."""
        self.end: Callable[[], object] | None = None
        """Ends the stream that is open now."""


class Tickets:
    """The tickets of one process, in memory.

    At most ``limits.max_tickets`` tickets wait to be used, and as many tickets of ended streams are remembered; a tenant may have its share
    of both. When there are more, no new tickets are issued until some expire, and the stream that ended first, of that tenant or of all,
    cannot be opened again.
    """

    __slots__ = (
        *("_clock", "_ended", "_ended_of", "_most", "_most_of_tenant", "_open", "_resume_s", "_waiting", "_waiting_of"),
        *("forgotten", "refused", "resumed"),
    )

    def __init__(self, clock: Clock, limits: Limits | None = None) -> None:
        limits = limits or Limits()
        self._clock = clock
        self._resume_s = limits.ticket_resume_s
        self._most = limits.max_tickets
        self._most_of_tenant = limits.of_tenant(limits.max_tickets)
        self._waiting: OrderedDict[str, tuple[float, Principal]] = OrderedDict()
        self._waiting_of: Counter[str] = Counter()
        # by tenant: tickets of ended streams, by the time of their end
        self._ended_of: dict[str, OrderedDict[str, None]] = {}
        # by ticket: open streams; and ended streams with the time until which they may be opened again, by rising time
        self._open: dict[str, Opened] = {}
        self._ended: OrderedDict[str, tuple[float, Opened]] = OrderedDict()
        self.resumed = 0
        """Times that a ticket opened its stream again."""
        self.refused = 0
        """Tickets that were not issued because too many waited to be used."""
        self.forgotten = 0
        """Ended streams that cannot be opened again, although their time is not over, because too many others ended after them."""

    def issue(self, principal: Principal) -> str | None:
        """Issue a ticket to a principal; None if too many tickets wait to be used."""
        self._expire()
        if len(self._waiting) >= self._most or self._waiting_of[principal.tenant] >= self._most_of_tenant:
            self.refused += 1
            return None
        self._waiting_of[principal.tenant] += 1
        ticket = secrets.token_urlsafe(24)
        self._waiting[ticket] = (self._clock.monotonic() + TICKET_S, principal)
        return ticket

    def redeem(self, ticket: str, url: tuple[str, bytes] = ("", b"")) -> Opened | None:
        """Use a ticket to open a stream at ``url`` (path, query); None if the ticket is unknown, used or expired. A ticket that has opened
        a stream at the same ``url`` may open it again. The caller must report the opened stream to :meth:`opened`.
        """
        self._expire()
        found = self._take_waiting(ticket)
        if found is not None:
            return Opened(ticket, found[1], found[0] - TICKET_S, url)
        stream = self._again(ticket, url)
        if stream is None:
            return None
        self.resumed += 1
        return Opened(ticket, stream.principal, stream.issued, url)

    def look(self, ticket: str, url: tuple[str, bytes] = ("", b"")) -> Opened | None:
        """The result that :meth:`redeem` would return, without using the ticket."""
        self._expire()
        found = self._waiting.get(ticket)
        if found is not None:
            return Opened(ticket, found[1], found[0] - TICKET_S, url)
        return self._again(ticket, url)

    def _again(self, ticket: str, url: tuple[str, bytes]) -> Opened | None:
        """The stream that a ticket has opened; None if it may not open it again."""
        stream = self._open.get(ticket)
        if stream is None and ticket in self._ended:
            stream = self._ended[ticket][1]
        if stream is None or stream.url != url or self._clock.monotonic() >= stream.issued + MAX_AGE_S:
            return None
        return stream

    def opened(self, stream: Opened, end: Callable[[], object]) -> None:
        """Note that a stream is open, and end the one that it replaces. ``end`` ends it, and is called when a newer one replaces it."""
        before = self._open.get(stream.ticket)
        self._forget(stream.ticket)
        stream.end = end
        self._open[stream.ticket] = stream
        if before is not None and before.end is not None:
            before.end()

    def closed(self, stream: Opened) -> None:
        """Note that a stream has ended. Its ticket may open it again for a while, unless a newer stream has replaced it."""
        if self._open.get(stream.ticket) is not stream:
            return
        del self._open[stream.ticket]
        stream.end = None
        if self._resume_s:
            self._ended[stream.ticket] = (self._clock.monotonic() + self._resume_s, stream)
            own = self._ended_of.setdefault(stream.principal.tenant, OrderedDict())
            own[stream.ticket] = None
            if len(own) > self._most_of_tenant:
                self._forget(next(iter(own)))
                self.forgotten += 1
            elif len(self._ended) > self._most:
                self._forget(next(iter(self._ended)))
                self.forgotten += 1

    async def revoke(self, gone: Gone) -> None:
        """Revoke the tickets of principals whose credential is no longer valid. It lets other tasks run in between."""
        for principals, take_back in (
            ([(ticket, principal) for ticket, (_, principal) in self._waiting.items()], self._take_waiting),
            ([(ticket, stream.principal) for ticket, (_, stream) in self._ended.items()], self._forget),
            # closed() then finds no open stream, and does not remember it
            ([(ticket, stream.principal) for ticket, stream in self._open.items()], lambda ticket: self._open.pop(ticket, None)),
        ):
            for number, (ticket, principal) in enumerate(principals, 1):
                if gone(principal):
                    take_back(ticket)
                if number % SLICE_ITEMS == 0:
                    await asyncio.sleep(0)

    def _expire(self) -> None:
        now = self._clock.monotonic()
        while self._waiting and next(iter(self._waiting.values()))[0] <= now:
            self._take_waiting(next(iter(self._waiting)))
        while self._ended and next(iter(self._ended.values()))[0] <= now:
            self._forget(next(iter(self._ended)))

    def _take_waiting(self, ticket: str) -> tuple[float, Principal] | None:
        """Remove a ticket that waits to be used; None if there is none."""
        found = self._waiting.pop(ticket, None)
        if found is not None:
            tenant = found[1].tenant
            self._waiting_of[tenant] -= 1
            if not self._waiting_of[tenant]:
                del self._waiting_of[tenant]
        return found

    def _forget(self, ticket: str) -> None:
        """Remove an ended stream, if it is remembered."""
        found = self._ended.pop(ticket, None)
        if found is not None:
            tenant = found[1].principal.tenant
            own = self._ended_of[tenant]
            del own[ticket]
            if not own:
                del self._ended_of[tenant]

    @property
    def resumable(self) -> int:
        """Number of ended streams that may be opened again."""
        return len(self._ended)

    def __len__(self) -> int:
        """Number of tickets that wait to be used."""
        return len(self._waiting)
