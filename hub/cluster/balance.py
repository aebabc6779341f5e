"""Which tenant a node hands over, so that tenants are spread over the nodes again after some were restarted (docs/scaling.md#owners)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from hub.cluster.rendezvous import first


def surplus(me: str, owners: Mapping[str, str], candidates: Collection[str], idle: Iterable[str]) -> str | None:
    """The tenant that ``me`` should hand over; None if it has no more than it should, or none that may go.

    ``owners`` has the node of each tenant, ``candidates`` the nodes that may own tenants. A tenant goes to the first of the other
    candidates by its rendezvous hash. It is chosen from ``idle`` if that node has at least two tenants less: then it does not come back.
    """
    counts = Counter(owners.values())
    others = [node for node in candidates if node != me]
    for tenant in sorted(idle):
        to = first(tenant, others)
        if to is not None and counts[to] + 1 < counts[me]:
            return tenant
    return None
