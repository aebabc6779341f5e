"""The origins that OAuth clients have registered: their pages may call the hub from a browser (docs/security.md#pages-of-other-sites)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Final

import structlog

MAX_ORIGINS: Final = 10_000
"""Origins that are known at most, by default; the same origin of two tenants counts twice."""

_TENANTS_LOGGED: Final = 10

_NONE: Final[frozenset[str]] = frozenset()

_log = structlog.get_logger(__name__)


class ClientOrigins:
    """By origin the tenants whose clients registered it.

    Where all tenants together have more than can be known, those with most of them lose the ones of their newest clients: a tenant
    keeps all that it has as long as that is no more than its even share.
    """

    __slots__ = ("_max_origins", "_tenants", "left_out")

    def __init__(self, max_origins: int = MAX_ORIGINS) -> None:
        self._max_origins = max_origins
        self._tenants: Mapping[str, frozenset[str]] = {}
        self.left_out = 0
        """Origins that are registered and not known, since there are too many."""

    def set(self, registered: Iterable[tuple[str, str]]) -> None:
        """Take the place of all that was known: pairs of an origin, in lower case, and the tenant of a client that registered it; those of
        the oldest clients come first.
        """
        of_tenant: dict[str, dict[str, None]] = {}
        for origin, tenant in registered:
            of_tenant.setdefault(tenant, {})[origin] = None
        most = _most_of_each([len(origins) for origins in of_tenant.values()], self._max_origins)
        found: dict[str, set[str]] = {}
        left_out: dict[str, int] = {}
        for tenant, origins in of_tenant.items():
            for origin in islice(origins, most):
                found.setdefault(origin, set()).add(tenant)
            if len(origins) > most:
                left_out[tenant] = len(origins) - most
        before, self.left_out = self.left_out, sum(left_out.values())
        if self.left_out and not before:
            first = sorted(left_out, key=left_out.__getitem__, reverse=True)[:_TENANTS_LOGGED]
            _log.warning("client_origins_left_out", number=self.left_out, tenants=first, setting="limits.max_client_origins")
        self._tenants = {origin: frozenset(tenants) for origin, tenants in found.items()}

    def __contains__(self, origin: str) -> bool:
        """Whether a client of any tenant has registered an origin."""
        return origin in self._tenants

    def __len__(self) -> int:
        return len(self._tenants)

    def tenants(self, origin: str) -> frozenset[str]:
        """The tenants whose clients registered an origin: a page of it may use the sign-in cookies of their users alone."""
        return self._tenants.get(origin, _NONE)


def _most_of_each(counts: Iterable[int], room: int) -> int:
    """How many each may keep so that all together fit (max-min fairness): what small ones leave is shared by the others. It is one at
    least, since tenants are made by the operator.
    """
    ascending = sorted(counts)
    for number, count in enumerate(ascending):
        share = max(1, room // (len(ascending) - number))
        if count > share:
            return share
        room -= count
    return max(ascending, default=0)
