"""Tickets: a page that cannot send headers with its WebSocket or event stream shows one in the URL. Single use, 30 s (contract part 2)."""

import secrets
from collections import OrderedDict
from typing import Final

from hub.core.ports import Clock
from hub.core.principal import Principal
from hub.security.directory import Gone

TICKET_S: Final = 30
"""Seconds that a ticket is good for: a URL ends in logs and histories."""

MOST_TICKETS: Final = 10_000
"""Tickets that wait to be used; over it no more are given out until some run out."""


class Tickets:
    """The tickets of one process, in memory."""

    __slots__ = ("_clock", "_waiting")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: OrderedDict[str, tuple[float, Principal]] = OrderedDict()

    def issue(self, principal: Principal) -> str | None:
        """A new ticket for a principal; None when too many wait."""
        self._expire()
        if len(self._waiting) >= MOST_TICKETS:
            return None
        ticket = secrets.token_urlsafe(24)
        self._waiting[ticket] = (self._clock.monotonic() + TICKET_S, principal)
        return ticket

    def redeem(self, ticket: str) -> Principal | None:
        """Who a ticket was given to; it is used up. None when it is unknown, used or has run out."""
        self._expire()
        found = self._waiting.pop(ticket, None)
        return None if found is None else found[1]

    def revoke(self, gone: Gone) -> None:
        """Take back the tickets of principals whose credential is gone."""
        for ticket in [ticket for ticket, (_, principal) in self._waiting.items() if gone(principal)]:
            del self._waiting[ticket]

    def _expire(self) -> None:
        now = self._clock.monotonic()
        while self._waiting and next(iter(self._waiting.values()))[0] <= now:
            self._waiting.popitem(last=False)

    def __len__(self) -> int:
        return len(self._waiting)
