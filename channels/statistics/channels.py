"""The channels of the statistics family, and the stat server behind them (docs/protocol/channels.md#the-hubs-own-channels)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from channels.statistics.service.interface import SERVICE, UPDATES, VALUES, StatServer
from channels.statistics.service.payloads import service_state_change
from hub.core.delivery import ChannelDeclaration, DeliveryClass


def declarations(server: StatServer) -> list[ChannelDeclaration]:
    """What the hub has to know of each channel: all are ``state``, so that subscribing and every loss end with a snapshot."""

    async def updates(tenant: str, audience: str, pattern: str) -> Sequence[tuple[str, bytes]]:
        data = await server.present_updates(tenant, audience)
        return [] if data is None else [(UPDATES, data)]

    async def service(tenant: str, audience: str, pattern: str) -> Sequence[tuple[str, bytes]]:
        return [(SERVICE, service_state_change(await server.present_state(tenant)))]

    def values(tenant: str, audience: str, pattern: str) -> AsyncGenerator[Sequence[tuple[str, bytes]], None]:
        return server.present_values(tenant, pattern)

    return [
        ChannelDeclaration(
            UPDATES,
            DeliveryClass.STATE,
            "StatisticUpdate: changed values of the caller's own subscriptions",
            operation="/statistics/read",
            personal=True,
            snapshot=updates,
        ),
        ChannelDeclaration(
            SERVICE,
            DeliveryClass.STATE,
            "ServiceStateChange: whether the stat server is AVAILABLE; UNAVAILABLE ends all subscriptions",
            operation="/statistics/read",
            snapshot=service,
        ),
        ChannelDeclaration(
            f"{VALUES}/**",
            DeliveryClass.STATE,
            "{objectType}/{objectId}/{name}: value of a predefined statistic, open while somebody subscribes",
            operation="/statistics/read",
            watch=server.watch,
            unwatch=server.unwatch,
            snapshot_pieces=values,
        ),
    ]
