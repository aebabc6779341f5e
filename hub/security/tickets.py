"""Tickets, for pages that cannot send headers with a WebSocket or event stream: such a page puts a ticket in the URL
(docs/security.md#browsers).

A ticket opens one stream, within 30 s. If a browser's ``EventSource`` loses its connection, it requests the same URL again by itself.
Therefore a ticket may open the same stream again for a while. The new stream replaces the old one, which may still be open on the server
although its connection is broken.

Nodes that share a Redis share their tickets: any of them opens a stream, or opens it again (docs/scaling.md#tickets).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from hub.core.principal import Principal
from hub.security.credentials import Credential
from hub.security.directory import Gone
from hub.security.lookup import LookupUnavailableError

TICKET_S: Final = 30
"""Seconds for which a new ticket is valid. The time is short because URLs are stored in logs and browser histories."""

MAX_AGE_S: Final = 12 * 3600
"""Seconds after its issue for which a ticket can open its stream again."""

_SECRET_BYTES: Final = 24


class TicketsUnavailableError(LookupUnavailableError):
    """The nodes' common memory of tickets does not answer. Nobody is let in by a ticket meanwhile: HTTP 503, close code 1013."""

    told = "tickets cannot be used now, since the hub's Redis does not answer: try again"
    event = "tickets_unavailable"


@dataclass(slots=True)
class TicketCounters:
    """What tickets count; ``/metrics`` reads them."""

    resumed: int = 0
    """Times that a ticket opened its stream again."""
    refused: int = 0
    """Tickets that were not issued because too many waited to be used."""
    forgotten: int = 0
    """Streams that may not be opened again although their time is not over, because too many others ended after them."""
    unavailable: int = 0
    """Times that a ticket could not be issued, used or noted, because Redis did not answer."""
    replaced_elsewhere: int = 0
    """Streams that ended because their ticket opened them again on another node, which said so."""
    not_told: int = 0
    """Times that another node could not be told so at once; it finds out by itself within 20 s."""


class Opened:
    """A ticket that is opening a stream, or has opened one."""

    __slots__ = ("end", "issued", "opening", "principal", "ticket", "url", "version")

    def __init__(
        self, ticket: str, principal: Principal, issued: float, url: tuple[str, bytes], version: str = "", opening: str = ""
    ) -> None:
        self.ticket = ticket
        self.principal = principal
        self.issued = issued
        """Seconds; which clock's is the backend's own affair."""
        self.url = url
        """Path and query: a ticket opens only the same URL again."""
        self.version = version
        """The state of the credential when the ticket was issued (:func:`credential_version`); empty for principals without one."""
        self.opening = opening
        """A name of this opening, where nodes share their tickets."""
        self.end: Callable[[], object] | None = None
        """Ends the stream that is open now."""


class Tickets(Protocol):
    """The tickets of a process, or of all nodes that share them."""

    counters: TicketCounters

    async def issue(self, principal: Principal, version: str = "") -> str | None:
        """Issue a ticket to a principal; None if too many tickets wait to be used. For ``version`` see :attr:`Opened.version`.

        Raises:
            TicketsUnavailableError: see there.
        """
        ...

    async def redeem(self, ticket: str, url: tuple[str, bytes] = ("", b"")) -> Opened | None:
        """Use a ticket to open a stream at ``url`` (path, query); None if the ticket is unknown, used or expired. Of two calls at once one
        gets the stream. A ticket that has opened a stream at the same ``url`` may open it again. The caller must report the opened stream
        to :meth:`opened`.

        Raises:
            TicketsUnavailableError: see there.
        """
        ...

    async def look(self, ticket: str, url: tuple[str, bytes] = ("", b"")) -> Opened | None:
        """The result that :meth:`redeem` would return, without using the ticket.

        Raises:
            TicketsUnavailableError: see there.
        """
        ...

    async def opened(self, stream: Opened, end: Callable[[], object]) -> None:
        """Note that a stream is open, and end the one that it replaces. ``end`` ends it, and is called when a newer one replaces it."""
        ...

    def closed(self, stream: Opened) -> None:
        """Note that a stream has ended. Its ticket may open it again for a while, unless a newer stream has replaced it."""
        ...

    async def revoke(self, gone: Gone) -> None:
        """Revoke the tickets of principals whose credential is no longer valid. It lets other tasks run in between."""
        ...

    @property
    def resumable(self) -> int:
        """Number of ended streams that may be opened again; where nodes share their tickets, those that ended on this node."""
        ...

    def __len__(self) -> int:
        """Number of tickets that wait to be used; where nodes share their tickets, those that this node issued in the last 30 s."""
        ...


def new_ticket(tenant: str) -> str:
    """A ticket of 192 random bits. It begins with its tenant, so that any node knows where it is kept."""
    return f"{tenant}.{secrets.token_urlsafe(_SECRET_BYTES)}"


def tenant_of(ticket: str) -> str:
    """The tenant of a ticket; empty for a text that is none."""
    return ticket.rpartition(".")[0]


def credential_version(credential: Credential) -> str:
    """A digest of what a ticket relies on: it changes with the secret, the roles and the end of the credential. Grants are no part of it,
    since they are looked up by the roles at each decision.
    """
    stored: tuple[object, ...] = (
        *(credential.id, credential.tenant, credential.subject, sorted(credential.roles), credential.fingerprint, credential.expires_ms),
        *((credential.generation,) if credential.generation else ()),  # as older hubs make it, where nothing was ended
    )
    return hashlib.blake2b(repr(stored).encode(), digest_size=16).hexdigest()
