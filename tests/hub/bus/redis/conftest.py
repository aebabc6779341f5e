"""Clusters that end with their test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hub.bus.redis.tuning import Tuning
from tests.hub.bus.redis.cluster import TUNING, Cluster, MakeCluster
from tests.support.redis_server import RedisServer


@pytest.fixture
async def make_cluster() -> AsyncIterator[MakeCluster]:
    made: list[Cluster] = []

    def make(server: RedisServer, url_b: str = "", tuning: Tuning = TUNING) -> Cluster:
        made.append(Cluster(server, url_b, tuning))
        return made[-1]

    yield make
    for cluster in made:
        await cluster.close()
