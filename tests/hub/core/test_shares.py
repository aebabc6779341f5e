"""Sessions are shared out among tenants, and asked for at a rate."""

from __future__ import annotations

import pytest

from hub.core.errors import RefusedError, WireError
from hub.core.limits import Limits
from hub.core.principal import Principal
from tests.hub.core.harness import World, principal


def of(tenant: str) -> Principal:
    return principal(tenant=tenant)


def test_one_tenant_does_not_take_all_sessions() -> None:
    world = World(limits=Limits(max_sessions=8))
    mine = [world.session(f"a{number}", of("a")) for number in range(4)]
    with pytest.raises(RefusedError, match="this tenant has 4 sessions here, its share") as refused:
        world.session("a4", of("a"))
    assert refused.value.error is WireError.RATE_LIMITED
    for number in range(4):
        world.session(f"b{number}", of("b"))
    world.hub.sessions.detach(mine[0])
    world.session("a5", of("a"))
    assert (world.hub.counters.refused_by_tenant, world.hub.counters.refused_by_process) == (1, 0)


def test_a_share_of_100_percent_is_everything() -> None:
    world = World(limits=Limits(max_sessions=3, tenant_share_percent=100))
    for number in range(3):
        world.session(str(number), of("a"))
    with pytest.raises(RefusedError, match="this server holds 3 sessions"):
        world.session("3", of("a"))


def test_a_tenant_opens_so_many_sessions_in_a_second_and_others_go_on() -> None:
    world = World(limits=Limits(handshakes_per_s_per_tenant=5))
    for number in range(5):
        world.hub.sessions.detach(world.session(f"a{number}", of("a")))
    with pytest.raises(RefusedError, match="more than 5 sessions a second"):
        world.session("a5", of("a"))
    world.session("b", of("b"))
    world.clock.now += 1
    world.session("a6", of("a"))
    assert world.hub.counters.refused_by_tenant_rate == 1


def test_an_address_asks_for_so_many_sessions_in_a_second() -> None:
    world = World(limits=Limits(handshakes_per_s_per_address=3))
    for _ in range(3):
        world.hub.sessions.check_rate("192.0.2.1")
    with pytest.raises(RefusedError, match="more than 3 sessions a second"):
        world.hub.sessions.check_rate("192.0.2.1")
    world.hub.sessions.check_rate("192.0.2.2")
    for _ in range(100):
        world.hub.sessions.check_rate(None)
    assert world.hub.counters.refused_by_address_rate == 1
