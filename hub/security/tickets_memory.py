"""The tickets of one process, in memory (:class:`hub.security.tickets.Tickets`)."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable

from hub.core.limits import Limits
from hub.core.ports import Clock
from hub.core.principal import Principal
from hub.security.directory import SLICE_ITEMS, Gone
from hub.security.tickets import MAX_AGE_S, TICKET_S, Opened, TicketCounters, new_ticket


class MemoryTickets:
    """The tickets of one process, in memory.

    At most ``limits.max_tickets`` tickets wait to be used, and as many tickets of ended streams are remembered; a tenant may have its share
    of both. When there are more, no new tickets are issued until some expire, and the stream that ended first, of that tenant or of all,
    cannot be opened again.
    """

    __slots__ = (
        *("_clock", "_ended", "_ended_of", "_most", "_most_of_tenant", "_open", "_resume_s", "_waiting", "_waiting_of"),
        "counters",
    )

    def __init__(self, clock: Clock, limits: Limits | None = None) -> None:
        limits = limits or Limits()
        self._clock = clock
        self._resume_s = limits.ticket_resume_s
        self._most = limits.max_tickets
        self._most_of_tenant = limits.of_tenant(limits.max_tickets)
        self._waiting: OrderedDict[str, tuple[float, Principal, str]] = OrderedDict()
        self._waiting_of: Counter[str] = Counter()
        # by tenant: tickets of ended streams, by the time of their end
        self._ended_of: dict[str, OrderedDict[str, None]] = {}
        # by ticket: open streams; and ended streams with the time until which they may be opened again, by rising time
        self._open: dict[str, Opened] = {}
        self._ended: OrderedDict[str, tuple[float, Opened]] = OrderedDict()
        self.counters = TicketCounters()

    async def issue(self, principal: Principal, version: str = "") -> str | None:
        """See :meth:`Tickets.issue`."""
        self._expire()
        if len(self._waiting) >= self._most or self._waiting_of[principal.tenant] >= self._most_of_tenant:
            self.counters.refused += 1
            return None
        self._waiting_of[principal.tenant] += 1
        ticket = new_ticket(principal.tenant)
        self._waiting[ticket] = (self._clock.monotonic() + TICKET_S, principal, version)
        return ticket

    async def redeem(self, ticket: str, url: tuple[str, bytes] = ("", b"")) -> Opened | None:
        """See :meth:`Tickets.redeem`."""
        self._expire()
        found = self._take_waiting(ticket)
        if found is not None:
            return Opened(ticket, found[1], found[0] - TICKET_S, url, found[2])
        stream = self._again(ticket, url)
        if stream is None:
            return None
        self.counters.resumed += 1
        return Opened(ticket, stream.principal, stream.issued, url, stream.version)

    async def look(self, ticket: str, url: tuple[str, bytes] = ("", b"")) -> Opened | None:
        """See :meth:`Tickets.look`."""
        self._expire()
        found = self._waiting.get(ticket)
        if found is not None:
            return Opened(ticket, found[1], found[0] - TICKET_S, url, found[2])
        return self._again(ticket, url)

    def _again(self, ticket: str, url: tuple[str, bytes]) -> Opened | None:
        """The stream that a ticket has opened; None if it may not open it again."""
        stream = self._open.get(ticket)
        if stream is None and ticket in self._ended:
            stream = self._ended[ticket][1]
        if stream is None or stream.url != url or self._clock.monotonic() >= stream.issued + MAX_AGE_S:
            return None
        return stream

    async def opened(self, stream: Opened, end: Callable[[], object]) -> None:
        """See :meth:`Tickets.opened`."""
        before = self._open.get(stream.ticket)
        self._forget(stream.ticket)
        stream.end = end
        self._open[stream.ticket] = stream
        if before is not None and before.end is not None:
            before.end()

    def closed(self, stream: Opened) -> None:
        """See :meth:`Tickets.closed`."""
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
                self.counters.forgotten += 1
            elif len(self._ended) > self._most:
                self._forget(next(iter(self._ended)))
                self.counters.forgotten += 1

    async def revoke(self, gone: Gone) -> None:
        """See :meth:`Tickets.revoke`."""
        for principals, take_back in (
            ([(ticket, principal) for ticket, (_, principal, _) in self._waiting.items()], self._take_waiting),
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

    def _take_waiting(self, ticket: str) -> tuple[float, Principal, str] | None:
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
