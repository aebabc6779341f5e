"""One cluster, and one crowd of clients, for all tests of this folder in a worker that leave them whole.

They end with the last of these: two hundred clients that come again and again would take CPU from the tests of other folders.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.foreign import why_no_java
from tests.cluster.crowd import Crowd
from tests.cluster.hubs import HubCluster
from tests.hub.storage.backends import Postgres, running_postgres
from tests.support.balancer import PROGRAMS, why_no_balancer
from tests.support.puppet import why_no_node
from tests.support.redis_server import why_no_redis

CHANNEL = "/log/orders"


@pytest.fixture(scope="package")
def cluster_postgres() -> Iterator[Postgres]:
    """A server of the cluster's own, which tests may halt."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory, cluster_postgres: Postgres) -> Iterator[HubCluster]:
    """Three hubs behind nginx and HAProxy."""
    for why in (why_no_redis(), *map(why_no_balancer, PROGRAMS)):
        if why:
            pytest.skip(why)
    made = HubCluster(tmp_path_factory.mktemp("cluster"), cluster_postgres)
    yield made
    made.close()


@pytest.fixture(scope="package")
def crowd(cluster: HubCluster) -> Iterator[Crowd]:
    """Two hundred clients behind the balancers."""
    for why in (why_no_node(), why_no_java()):
        if why:
            pytest.skip(why)
    made = Crowd(cluster, CHANNEL)
    yield made
    made.close()
