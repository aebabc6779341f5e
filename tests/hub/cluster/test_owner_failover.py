"""A master of Redis dies while owners publish, and a replica takes its place: owners stay, events count once, and what is heard is true."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hub.redis.cluster import slot_of
from hub.redis.names import Names
from tests.hub.cluster.owner_hub import Hub, Load, Watcher
from tests.hub.cluster.processes import inbound_calls, wait_until
from tests.hub.storage.backends import Postgres, postgres
from tests.support.redis_server import why_no_redis
from tests.support.redis_topologies import RedisCluster, WatchedRedis

__all__ = ["postgres"]

pytestmark = pytest.mark.timeout(600)

Kill = Callable[[Hub], None]
"""Kills the master that has the tenant of a hub; returns when a replica is the master."""


def _kill_watched(watched: WatchedRedis) -> None:
    watched.kill()
    wait_until(lambda: watched.master_port() != watched.port)


def _kill_in_cluster(servers: RedisCluster, hub: Hub) -> None:
    slot = slot_of(Names(hub.environment["HUB_REDIS_PREFIX"]).of(hub.tenant).meta)
    master = servers.owner(slot)
    master.kill()
    witness = next(other for other in servers.masters if other is not master)

    def taken() -> bool:
        ranges = witness.ask("CLUSTER", "SLOTS")
        return all(int(at[1]) != master.port for begin, end, at, *_ in ranges if begin <= slot <= end)

    wait_until(taken)


@pytest.fixture(params=["sentinel", "cluster"])
def redis(request: pytest.FixtureRequest) -> Iterator[tuple[WatchedRedis | RedisCluster, Kill]]:
    if why := why_no_redis():
        pytest.skip(why)
    servers: WatchedRedis | RedisCluster
    if request.param == "sentinel":
        servers = watched = WatchedRedis(sentinels=3, replicas=1)
        yield servers, lambda _: _kill_watched(watched)
    else:
        servers = shared = RedisCluster(replicas=True)
        yield servers, lambda hub: _kill_in_cluster(shared, hub)
    servers.close()


def test_a_replica_takes_the_place_of_the_master(
    tmp_path: Path, postgres: Postgres, redis: tuple[WatchedRedis | RedisCluster, Kill]
) -> None:
    servers, kill = redis
    hub = Hub(tmp_path, postgres.url(asyncio.run(postgres.create())), servers, 2, {"HUB_OWNERSHIP__BALANCE_S": "0"})
    try:
        hub.nodes[0].feed(*hub.call())
        owner = hub.owner()
        watchers = [Watcher(node) for node in hub.nodes]
        wait_until(lambda: all(each.states == ["AVAILABLE"] for each in watchers))
        load = Load(hub, hub.nodes)
        wait_until(lambda: load.calls > 10)
        kill(hub)
        before = load.calls
        wait_until(lambda: load.calls > before + 20)
        total = load.stop() + 1
        assert {inbound_calls(node) for node in hub.nodes} == {total}
        wait_until(lambda: all(each.values[-1] == total for each in watchers))
        for each in watchers:
            assert set(each.states) == {"AVAILABLE"}
            assert each.values == sorted(each.values)
            each.close()
        assert hub.owner() is owner
        # the replica may not have had the fence: the next owner's is higher than what it knows, and the next owner is heard
        owner.stop()
        (other,) = hub.others(owner)
        watcher = Watcher(other)
        other.feed(*hub.call())
        wait_until(lambda: watcher.values and watcher.values[-1] == total + 1)
        assert inbound_calls(other) == total + 1
        watcher.close()
    finally:
        hub.close()
