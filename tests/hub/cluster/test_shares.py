"""Rates of the whole hub, of which each node allows its part."""

from __future__ import annotations

from hub.cluster.shares import share_rates
from hub.core.counters import Counters
from hub.core.errors import RefusedError
from hub.core.limits import Limits
from hub.core.sessions import Sessions
from tests.hub.core.harness import World
from tests.support.cluster import MemoryCluster


def allowed(sessions: Sessions) -> int:
    """How many sessions an address may ask a node for at once."""
    for number in range(1000):
        try:
            sessions.check_rate("1.2.3.4")
        except RefusedError:
            return number
    return 1000


def test_the_nodes_that_take_sessions_share_the_rates_as_they_come_and_go() -> None:
    cluster = MemoryCluster(2)
    cluster.add(role="stat-server")
    clock = World().clock
    each = []
    for member in cluster.nodes[:2]:
        sessions = Sessions(Limits(handshakes_per_s_per_address=120), clock, Counters(), World().hub.subscriptions)
        share_rates(sessions, member.nodes)
        each.append(sessions)
    assert [allowed(sessions) for sessions in each] == [60, 60]
    third = cluster.add()
    clock.now += 60
    assert [allowed(sessions) for sessions in each] == [40, 40]
    cluster.change(third, draining=True)
    clock.now += 60
    assert [allowed(sessions) for sessions in each] == [60, 60]
    cluster.kill(third)
    cluster.kill(cluster[1])
    clock.now += 60
    assert allowed(each[0]) == 120


def test_a_node_that_drains_alone_keeps_the_rates() -> None:
    cluster = MemoryCluster(1)
    world = World(limits=Limits(handshakes_per_s_per_address=120))
    sessions = Sessions(Limits(handshakes_per_s_per_address=120), world.clock, Counters(), world.hub.subscriptions)
    share_rates(sessions, cluster[0].nodes)
    cluster.change(cluster[0], draining=True)
    assert allowed(sessions) == 120
