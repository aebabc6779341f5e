"""Two hundred clients of all kinds on three hubs, behind balancers that know nothing of sessions."""

from __future__ import annotations

import pytest

from tests.cluster.crowd import Crowd, missing, order_faults
from tests.cluster.hubs import HubCluster, Tenant
from tests.cluster.load import Publisher
from tests.support.hub_process import HubProcess

pytestmark = [pytest.mark.node, pytest.mark.timeout(600)]

MESSAGES = 12


def publisher(cluster: HubCluster, crowd: Crowd, tenant: Tenant) -> Publisher:
    return Publisher(cluster.urls, tenant, crowd.channel)


def test_everybody_hears_each_message_once_and_in_order(cluster: HubCluster, crowd: Crowd) -> None:
    """Two tenants with the same channel, each of which hears its own alone."""
    assert len(crowd.members) == 200
    crowd.clear()
    loads = {tenant.name: publisher(cluster, crowd, tenant) for tenant in (cluster.acme, cluster.globex)}
    for load in loads.values():
        load.go_on(MESSAGES)
    for load in loads.values():
        load.end()
    for tenant in (cluster.acme, cluster.globex):
        numbers = loads[tenant.name].numbers
        crowd.until_all_heard(tenant, numbers[-1])
        assert missing(crowd.of(tenant), numbers) == []
        assert order_faults(crowd.of(tenant), loads[tenant.name].positions) == []
        assert [member for member in crowd.of(tenant) if not set(member.numbers) <= set(numbers)] == []


def test_the_sessions_are_spread_over_the_hubs(cluster: HubCluster, crowd: Crowd) -> None:
    assert [hub for hub in cluster.hubs if sessions(cluster, hub) < 10] == []


def sessions(cluster: HubCluster, hub: HubProcess) -> float:
    return sum(value for name, value in cluster.metrics(hub).items() if name.startswith("hub_sessions{") or name == "hub_sessions")
