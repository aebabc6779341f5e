"""Puts the ownership of tenants together, from settings (docs/scaling.md#owners)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from hub.cluster.cluster import Cluster
from hub.cluster.leased_ownership import LeasedOwnership, may_own
from hub.cluster.ownership import FixedOwnership, Ownership
from hub.cluster.ports import Call, LinkError
from hub.core.metric import Gauge
from hub.core.ports import Clock
from hub.family import Parts
from hub.ops.settings import Settings
from hub.storage.transactions import Transactions

KIND: Final = "owners"
"""The kind of the calls by which a node that stops tells others that its tenants are free."""

ASK: Final = "owners/ask"
"""The kind of the calls by which a node asks the owner of a tenant, which is the head of the call, to hand it over."""

NOTICE_S: Final = 1.0
"""Seconds that a node which stops waits for others to take notice; they look by themselves too."""


def build_ownership(
    settings: Settings,
    cluster: Cluster,
    transactions: Transactions,
    clock: Clock,
    *,
    claim: Callable[[str, int], Awaitable[int]] | None,
    worker: int | None,
    clock_is_right: Callable[[], bool] = lambda: True,
) -> Ownership:
    """Make it. ``claim`` is that of the bus (:meth:`hub.bus.redis.bus.RedisBus.claim`); None: the nodes have no PostgreSQL in common, so
    each node owns its tenants, and the first of several workers those of its machine. ``worker`` is the number of this process among them.
    ``clock_is_right``: whether the time of day of this node is that of the others.
    """
    me = cluster.nodes.me.incarnation
    if claim is None:
        return FixedOwnership(cluster.nodes, me=me, is_owner=worker in (None, 0), find_s=settings.ownership.find_s)
    ownership = LeasedOwnership(
        transactions,
        cluster.nodes,
        clock,
        settings.ownership,
        me=me,
        role=settings.role,
        claim=claim,
        clock_is_right=clock_is_right,
    )

    async def look(_call: Call) -> None:
        ownership.look_soon()

    async def tell(_tenants: Sequence[str]) -> None:
        others = [node.incarnation for node in cluster.nodes.live().values() if may_own(node.role) and node.incarnation != me]
        await asyncio.gather(*(_notify(cluster, node) for node in others))

    async def hand_over(call: Call) -> None:
        await ownership.yield_to(call.head.decode())

    async def ask(node: str, tenant: str) -> None:
        await _notify(cluster, node, ASK, tenant.encode())

    cluster.links.serve(KIND, look)
    cluster.links.serve(ASK, hand_over)
    ownership.on_wanted = ask
    ownership.on_released.append(tell)
    return ownership


async def _notify(cluster: Cluster, node: str, kind: str = KIND, head: bytes = b"") -> None:
    try:
        async with asyncio.timeout(NOTICE_S):
            call = await cluster.links.open(node, kind, head)
            call.finish()
            await call.receive()
    except (LinkError, TimeoutError):
        return  # it looks once a second by itself


def parts_of(ownership: LeasedOwnership) -> Parts:
    """The metrics of leased tenants."""
    return Parts(
        counters={"ownership": ownership.counters},
        gauges=[Gauge("ownership_tenants", "Tenants that this node owns.", lambda: len(ownership.owned))],
    )
