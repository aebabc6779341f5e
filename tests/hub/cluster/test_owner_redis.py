"""What happens to Redis does not change who owns a tenant: events count, and afterwards clients hear the present values."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hub.cluster.owner_hub import Hub, Load, Watcher
from tests.hub.cluster.processes import inbound_calls, wait_until
from tests.hub.storage.backends import Postgres, postgres
from tests.support.redis_server import RedisServer, persistence

__all__ = ["postgres"]

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(params=["always", "everysec", "none"])
def redis(request: pytest.FixtureRequest, redis_process: Callable[..., RedisServer]) -> RedisServer:
    """A server of the test's own; without persistence it comes back without the epochs of owners."""
    return redis_process("redis", *persistence(request.param))


@pytest.fixture
def hub(tmp_path: Path, postgres: Postgres, redis: RedisServer) -> Iterator[Hub]:
    made = Hub(tmp_path, postgres.url(asyncio.run(postgres.create())), redis, 2, {"HUB_OWNERSHIP__BALANCE_S": "0"})
    yield made
    made.close()


def test_redis_is_killed_and_comes_back(hub: Hub, redis: RedisServer) -> None:
    hub.nodes[0].feed(*hub.call())
    owner = hub.owner()
    watchers = [Watcher(node) for node in hub.nodes]
    wait_until(lambda: all(each.states == ["AVAILABLE"] for each in watchers))
    load = Load(hub, hub.nodes)
    wait_until(lambda: load.calls > 10)
    redis.kill()
    before = load.calls
    wait_until(lambda: load.calls > before + 20)  # events need PostgreSQL and the link alone
    redis.start()
    before = load.calls
    wait_until(lambda: load.calls > before + 20)
    total = load.stop() + 1
    assert {inbound_calls(node) for node in hub.nodes} == {total}
    wait_until(lambda: all(each.values[-1] == total for each in watchers))
    for each in watchers:
        assert set(each.states) == {"AVAILABLE"}  # sent again, with all states, since some may have been lost
        assert each.values == sorted(each.values)
        each.close()
    assert hub.owner() is owner
    # a fence that Redis has forgotten is known again: the next owner's is higher, and it is heard
    owner.stop()
    (other,) = hub.others(owner)
    watcher = Watcher(other)
    other.feed(*hub.call())
    wait_until(lambda: watcher.values and watcher.values[-1] == total + 1)
    assert inbound_calls(other) == total + 1
    watcher.close()
