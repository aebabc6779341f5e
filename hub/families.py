"""The hub's own families, and what all families of a hub bring together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hub.family import Family
from hub.outbox.family import family as outbox
from hub.presence.family import family as presence
from hub.publishing.family import family as publishing
from hub.security.access import Access, assemble
from hub.security.family import family as security

OWN: Final[tuple[Family, ...]] = (security, presence, publishing, outbox)
"""They are built before all others, which need what they offer."""


def whole(families: Iterable[Family]) -> tuple[Family, ...]:
    """The hub's own families and these."""
    return (*OWN, *families)


def access_of(families: Iterable[Family]) -> Access:
    """What may be allowed in a hub with these families beside its own, whose operations are listed last.

    Raises:
        AccessError: they contradict each other.
    """
    return assemble((*families, *OWN))


def migrations_of(families: Iterable[Family]) -> tuple[str, ...]:
    """The packages of all versions of the database of a hub with these families beside its own."""
    return tuple(family.migrations for family in whole(families) if family.migrations is not None)
