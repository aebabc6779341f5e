"""Hubs that die, stop and start again under load, with two hundred clients: what was promised is kept, and everybody comes back."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.cluster.crowd import Crowd, missing, order_faults
from tests.cluster.hubs import HubCluster, Tenant, until
from tests.cluster.load import Producer, Publisher
from tests.support.hub_process import HubProcess

pytestmark = [pytest.mark.node, pytest.mark.timeout(600)]

GONE_WITHIN_S = 5.0
LONG_ROUNDS = int(os.environ.get("HUB_TEST_KILLS", "200"))


class Session:
    """A session of long-polling on a hub of the test's choice, whose next requests go wherever the test sends them."""

    def __init__(self, cluster: HubCluster, hub: HubProcess, tenant: Tenant | None = None) -> None:
        self._http = httpx.Client(headers=(tenant or cluster.acme).headers, timeout=20)
        handshake = {"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["long-polling"]}
        (reply,) = self._http.post(f"{hub.url}/cometd", json=[handshake]).json()
        assert reply["successful"], reply
        self.client_id: str = reply["clientId"]

    def connect(self, hub: HubProcess, client_id: str | None = None) -> tuple[int, dict[str, Any]]:
        """A connect that is not held, by way of a hub; the status, and the reply if there is one. ``client_id``: of another session."""
        connect = {
            "channel": "/meta/connect",
            "clientId": client_id or self.client_id,
            "connectionType": "long-polling",
            "advice": {"timeout": 0},
        }
        response = self._http.post(f"{hub.url}/cometd", json=[connect])
        return response.status_code, response.json()[-1] if response.status_code == httpx.codes.OK else {}

    def close(self) -> None:
        self._http.close()


def test_anothers_session_is_of_no_use_on_any_hub(cluster: HubCluster) -> None:
    """Not with another credential, nor with another session's cookie."""
    session = Session(cluster, cluster.hubs[0])
    other = Session(cluster, cluster.hubs[1], cluster.globex)
    try:
        for hub in cluster.hubs:
            assert session.connect(hub)[1]["successful"]
            status, reply = other.connect(hub, session.client_id)
            assert (status, reply["successful"], reply["error"]) == (200, False, "402::session_unknown")
            assert session.connect(hub)[1]["successful"]
    finally:
        session.close()
        other.close()


@contextmanager
def under_load(cluster: HubCluster, crowd: Crowd) -> Iterator[Publisher]:
    """Publish and produce while the block runs; then everybody must have come back, and nothing may be missing or wrong."""
    crowd.clear()
    queue = f"q{time.monotonic_ns()}"
    publisher = Publisher(cluster.urls, cluster.acme, crowd.channel, every_s=0.2)
    producer = Producer(cluster.urls, cluster.acme, queue, f"agent-of-{queue}", every_s=0.1)
    try:
        publisher.go_on(5)
        producer.go_on(2)
        yield publisher
        # while clients come back, so that the last message finds all of them
        until_everybody_hears(cluster, crowd, publisher)
    finally:
        publisher.stop()
        producer.stop()
    publisher.check()
    producer.check()
    crowd.until_all_heard(cluster.acme, publisher.numbers[-1])
    members = crowd.of(cluster.acme)
    assert order_faults(members, publisher.positions, repeats=True) == []
    # what a WebSocket carried when it broke is gone, unless the client says where it was: polling has answers that are confirmed
    assert missing([member for member in members if member.resumes or not member.kind.endswith("websocket")], publisher.numbers) == []
    assert [member for member in crowd.of(cluster.globex) if member.heard] == []
    # each call once, whatever was sent again
    assert producer.accepted + producer.duplicates == producer.calls * 4
    until(
        f"{producer.calls} calls are answered",
        lambda: value(cluster, "TotalAnswered", queue) == producer.calls,
        within_s=20,
    )
    assert value(cluster, "CallsEntered", queue) == producer.calls


def until_everybody_hears(cluster: HubCluster, crowd: Crowd, publisher: Publisher, within_s: float = 120.0) -> None:
    """Wait until each client has heard a message that was published after this call began."""
    since = publisher.count
    end = time.monotonic() + within_s
    while True:
        publisher.check()
        crowd.gather()
        absent = [member for member in crowd.of(cluster.acme) if not member.heard or member.numbers[-1] < since]
        if not absent:
            return
        assert time.monotonic() < end, f"{len(absent)} did not come back within {within_s:.0f} s: {absent[:20]}"
        time.sleep(0.1)


def value(cluster: HubCluster, name: str, queue: str) -> Any:
    """A queue's statistic, as the next hub in turn has it; None while there is no answer."""
    url = f"{cluster.urls[0]}/statistics/v3/statistic-values/{name}"
    response = httpx.get(url, params={"objectId": queue, "objectType": "Queue"}, headers=cluster.acme.headers, timeout=20)
    if response.status_code != httpx.codes.OK:
        return None
    return response.json()["data"]["statistic"]["value"]["intValue"]


def gone_after(cluster: HubCluster, session: Session, hub: HubProcess) -> float:
    """Seconds until a hub answers 402 for the session of one that died; 503 is what it may say before."""
    began = time.monotonic()
    while True:
        status, reply = session.connect(hub)
        if status == httpx.codes.OK:
            assert reply["error"] == "402::session_unknown", reply
            assert reply["advice"]["reconnect"] == "handshake"
            return time.monotonic() - began
        assert status == httpx.codes.SERVICE_UNAVAILABLE, status
        assert time.monotonic() - began < 4 * GONE_WITHIN_S
        time.sleep(0.05)


def kill_and_start(cluster: HubCluster, publisher: Publisher, victim: HubProcess, other: HubProcess) -> float:
    """Kill a hub; returns after how many seconds another one knew that its sessions are gone."""
    session = Session(cluster, victim)
    try:
        assert session.connect(other)[1]["successful"]
        victim.kill9()
        gone = gone_after(cluster, session, other)
    finally:
        session.close()
    publisher.go_on(10)
    victim.start()
    return gone


def test_a_hub_that_is_killed_costs_nothing_that_was_promised(cluster: HubCluster, crowd: Crowd) -> None:
    with under_load(cluster, crowd) as publisher:
        gone = kill_and_start(cluster, publisher, cluster.hubs[1], cluster.hubs[0])
    print(f"402 after {gone:.1f} s")
    # the other hubs hold what they held: each client has one session, wherever it is now
    until("no session is left over", lambda: sessions(cluster) == len(crowd.members), within_s=60, pause_s=0.5)


def test_all_hubs_are_restarted_one_after_the_other(cluster: HubCluster, crowd: Crowd) -> None:
    with under_load(cluster, crowd) as publisher:
        for hub in cluster.hubs:
            assert hub.stop() == 0
            publisher.go_on(5)
            hub.start()
            publisher.go_on(5)


def sessions(cluster: HubCluster) -> int:
    """Of all hubs."""
    return int(sum(cluster.metrics(hub)["hub_sessions"] for hub in cluster.hubs))


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
def test_hubs_are_killed_and_restarted_hundreds_of_times(cluster: HubCluster, crowd: Crowd) -> None:
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    print(f"seed {seed}")
    slowest = 0.0
    for _ in range(LONG_ROUNDS):
        with under_load(cluster, crowd) as publisher:
            victim, other = chance.sample(cluster.hubs, 2)
            publisher.go_on(chance.randint(1, 40))
            if chance.random() < 0.7:
                slowest = max(slowest, kill_and_start(cluster, publisher, victim, other))
            else:
                assert victim.stop() == 0
                publisher.go_on(chance.randint(1, 20))
                victim.start()
    until("no session is left over", lambda: sessions(cluster) == len(crowd.members), within_s=60, pause_s=0.5)
    print(f"402 after {slowest:.1f} s at the latest")
