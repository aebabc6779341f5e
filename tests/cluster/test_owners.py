"""The hub that keeps a tenant's statistics sleeps over its lease, and PostgreSQL goes away: each event counts once all the same."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import psycopg
import pytest

from tests.cluster.hubs import HubCluster, Tenant, until
from tests.cluster.load import Producer
from tests.hub.storage.backends import Postgres
from tests.support.hub_process import HubProcess

pytestmark = pytest.mark.timeout(600)

TAKEN_OVER_WITHIN_S = 60.0


@pytest.fixture
def producer(cluster: HubCluster) -> Iterator[Producer]:
    """Calls of a queue of the test's own, which go on until it ends."""
    queue = f"q{time.monotonic_ns()}"
    made = Producer(cluster.urls, cluster.acme, queue, f"agent-of-{queue}")
    try:
        made.go_on(2)
        yield made
    finally:
        made.stop()


def value(hub: HubProcess, tenant: Tenant, name: str, queue: str) -> Any:
    """A queue's statistic at a hub; None while there is no answer."""
    url = f"{hub.url}/statistics/v3/statistic-values/{name}"
    response = httpx.get(url, params={"objectId": queue, "objectType": "Queue"}, headers=tenant.headers, timeout=20)
    return response.json()["data"]["statistic"]["value"]["intValue"] if response.status_code == httpx.codes.OK else None


def expect_each_call_once(cluster: HubCluster, producer: Producer) -> None:
    producer.end()
    assert producer.accepted + producer.duplicates == producer.calls * 4
    for hub, name in itertools.product(cluster.hubs, ("CallsEntered", "TotalAnswered")):
        told = partial(value, hub, cluster.acme, name, producer.queue)
        until(f"{name} is {producer.calls}", lambda told=told: told() == producer.calls, within_s=30)


def leaseholder(cluster: HubCluster) -> str | None:
    """Who has the lease of the tenant acme, as the database says: its incarnation is in it. None: it is over, and nobody has it."""
    with psycopg.connect(cluster.database) as connection:
        query = "SELECT owner FROM leases WHERE name LIKE %s AND until > now()"
        found = connection.execute(query, (f"%{cluster.acme.name}%",)).fetchone()
    return None if found is None else str(found[0])


def test_an_owner_that_sleeps_over_its_lease_has_no_say_any_more(cluster: HubCluster, producer: Producer) -> None:
    holder = until("a hub has the lease", partial(leaseholder, cluster), within_s=TAKEN_OVER_WITHIN_S)
    sleeper = next(hub for hub in cluster.hubs if cluster.incarnation(hub) in holder)
    sleeper.process.send_signal(signal.SIGSTOP)
    try:
        # what has come to the balancers by way of the sleeper waits; the rest goes to who takes its place
        until("another hub has it", lambda: leaseholder(cluster) not in {None, holder}, within_s=TAKEN_OVER_WITHIN_S)
    finally:
        sleeper.process.send_signal(signal.SIGCONT)
    producer.go_on(10)
    expect_each_call_once(cluster, producer)


def test_postgresql_is_restarted(cluster: HubCluster, cluster_postgres: Postgres, producer: Producer) -> None:
    cluster_postgres.halt()
    try:
        for hub in cluster.hubs:
            until("ingest is refused for now", partial(refused, hub, cluster.acme), within_s=30)
            assert httpx.get(f"{hub.url}/livez", timeout=20).status_code == httpx.codes.OK
    finally:
        cluster_postgres.resume()
    producer.go_on(5)
    expect_each_call_once(cluster, producer)


def refused(hub: HubProcess, tenant: Tenant) -> bool:
    event = {
        "specversion": "1.0",
        "id": f"{time.monotonic_ns()}",
        "source": "/owners",
        "type": "cx.agent.login",
        "data": {"agentId": "nobody"},
    }
    content = {"Content-Type": "application/cloudevents+json"}
    reply = httpx.post(f"{hub.url}/ingest/v1/events", json=event, headers=tenant.headers | content, timeout=30)
    return reply.status_code == httpx.codes.SERVICE_UNAVAILABLE
