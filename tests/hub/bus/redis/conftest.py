"""Clusters that end with their test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hub.bus.redis.tuning import Tuning
from tests.hub.bus.redis.cluster import TUNING, Cluster, MakeCluster
from tests.support.redis_server import RedisServer
from tests.support.redis_topologies import RedisCluster


@pytest.fixture
async def make_cluster() -> AsyncIterator[MakeCluster]:
    made: list[Cluster] = []

    def make(server: RedisServer | RedisCluster, through: Path | None = None, tuning: Tuning = TUNING) -> Cluster:
        made.append(Cluster(server, through, tuning))
        return made[-1]

    yield make
    for cluster in made:
        await cluster.close()
