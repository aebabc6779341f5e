"""The hub's own families, and the operations and migrations of all families together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hub.administration.family import family as administration
from hub.audit.family import family as audit
from hub.family import Family
from hub.objects.family import family as objects
from hub.outbox.family import family as outbox
from hub.presence.family import family as presence
from hub.publishing.family import family as publishing
from hub.security.access import Access, assemble
from hub.security.family import family as security

EVENT_LOG: Final = "hub.eventlog.migrations"
"""The package with the migrations of the event log in PostgreSQL, and of leases. A SQLite database has these tables too, and leaves them
empty.
"""

OWN: Final[tuple[Family, ...]] = (audit, security, presence, publishing, outbox, objects, administration)
"""They are built before all other families, which use their offers."""

NODES: Final = "hub.cluster.migrations"
"""The package with the migrations of the table by which the nodes of a hub know each other's database."""


def whole(families: Iterable[Family]) -> tuple[Family, ...]:
    """The hub's own families, then ``families``."""
    return (*OWN, *families)


def access_of(families: Iterable[Family]) -> Access:
    """The operations, grants and scopes of these families and the hub's own ones, whose operations are listed last.

    Raises:
        AccessError: families contradict each other.
    """
    return assemble((*families, *OWN))


def webhook_types(families: Iterable[Family]) -> frozenset[str]:
    """The types of events that go to endpoints of webhooks, of these families and the hub's own ones."""
    return frozenset(event_type for family in whole(families) for event_type in family.webhooks)


def migrations_of(families: Iterable[Family]) -> tuple[str, ...]:
    """The packages with the migrations of the hub's own families and these, of the event log and the leases of several nodes, and of the id
    of the database.
    """
    return (*(family.migrations for family in whole(families) if family.migrations is not None), EVENT_LOG, NODES)
