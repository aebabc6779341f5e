"""The hub is killed again and again under load: what it accepted is delivered, in order, and nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from hub.outbox.settings import OutboxSettings
from tests.crash.load import Clients
from tests.crash.receiver import Receiver
from tests.hub.storage.backends import Postgres, postgres
from tests.support.hub_process import HubProcess, clean_environment, run_hub
from tests.support.redis_server import RedisServer

__all__ = ["postgres"]

SECRET = "s3cret of the crash test"
ENVIRONMENT = {
    "HUB_OUTBOX__ALLOWED_NETWORKS": '["127.0.0.0/8"]',
    "HUB_OUTBOX__RETRY_S": json.dumps([0.1] * 100),
    "HUB_OUTBOX__THROTTLE_S": "0.1",
    "HUB_OUTBOX__TIMEOUT_S": "2",
    "HUB_OUTBOX__LEASE_S": "2",  # PostgreSQL's: on SQLite a hub knows at its start that no other one is at work
    "HUB_LOG_LEVEL": "warning",
}
DELIVERED_WITHIN_S = 120.0

KILLS = 2
LONG_KILLS = int(os.environ.get("HUB_TEST_KILLS", "200"))


def command(hub: HubProcess, *words: str) -> str:
    flags = ["--data-dir", str(hub.data_dir), *hub.flags]
    done = run_hub([*words, *flags], hub.folder, clean_environment(ENVIRONMENT))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(params=["sqlite", "postgresql"])
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HubProcess]:
    """A hub with a tenant, on each database; not started yet."""
    flags: tuple[str, ...] = ()
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        flags = ("--database-url", server.url(asyncio.run(server.create())).replace("+psycopg", ""))
    made = HubProcess(tmp_path, flags, ENVIRONMENT)
    command(made, "tenant", "add", "acme")
    yield made
    made.close()


def campaign(hub: HubProcess, kills: int, seed: int) -> None:
    """Kill the hub ``kills`` times at moments that ``seed`` decides, then look at what came."""
    chance = random.Random(seed)
    receiver = Receiver(SECRET, fails=0.1, seed=seed)
    command(hub, "endpoint", "add", receiver.url, "--secret", SECRET)
    key = json.loads(command(hub, "key", "add", "load", "--role", "admin", "--json"))["key"]
    hub.start()
    clients = Clients(hub.url, key, threads=6, seed=seed)
    try:
        for _ in range(kills):
            clients.go_on(chance.randint(12, 100))  # by what it accepted, not by time: a slow machine's hub dies as late in its work
            time.sleep(chance.uniform(0, 0.02))
            hub.kill9()
            hub.start()
        clients.go_on(12)
        clients.end()
        receiver.calm()
        expect(hub, clients, receiver, key)
    finally:
        clients.end()
        receiver.close()


@pytest.fixture
def two(tmp_path: Path, postgres: Postgres, shared_redis: Callable[[str], RedisServer]) -> Iterator[list[HubProcess]]:
    """Two hubs on one PostgreSQL and one Redis, with a tenant; not started yet."""
    flags = ("--database-url", postgres.url(asyncio.run(postgres.create())).replace("+psycopg", ""))
    shared = {"HUB_REDIS_URL": shared_redis("redis").url, "HUB_REDIS_PREFIX": secrets.token_hex(8), "HUB_SECRET": "the secret of both hubs"}
    made = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        made.append(HubProcess(tmp_path / name, flags, ENVIRONMENT | shared))
    command(made[0], "tenant", "add", "acme")
    yield made
    for each in made:
        each.close()


def expect(hub: HubProcess, clients: Clients, receiver: Receiver, key: str) -> None:
    promised = clients.promised
    wanted = {(identifier, "STARTED") for identifier in promised.created.values()}
    wanted |= {(identifier, "FINISHED") for identifier in promised.stopped}
    until = time.monotonic() + DELIVERED_WITHIN_S
    while not wanted <= receiver.seen() and time.monotonic() < until:
        time.sleep(0.05)
    missing = wanted - receiver.seen()
    assert missing == set(), f"{len(missing)} of {len(wanted)} were not delivered"
    assert receiver.unsigned == 0
    by_interaction: dict[str, list[str]] = {}
    contents: dict[tuple[str, str], set[tuple[str, int, bytes]]] = {}
    for each in receiver.arrivals:
        by_interaction.setdefault(each.interaction, []).append(each.event)
        contents.setdefault((each.interaction, each.event), set()).add((each.id, each.sequence, each.body))
    for identifier, events in by_interaction.items():
        # a repeat may come late, but nothing comes for the first time after the end
        assert set(events) <= {"STARTED", "FINISHED"}
        assert events[0] == "STARTED", identifier
    assert {key for key, versions in contents.items() if len(versions) > 1} == set(), "an event that came again was another one"
    # nothing that was refused, and nothing that is not there
    with httpx.Client(base_url=hub.url, headers={"x-api-key": key}) as client:
        for external in promised.refused:
            assert client.get(f"/nexus/v3/openmedia/crash/interactions/ext_{external}").status_code == 404
        known = set(promised.created.values())
        for external in promised.unknown:
            answer = client.get(f"/nexus/v3/openmedia/crash/interactions/ext_{external}")
            if answer.status_code == 200:
                known.add(answer.json()["data"]["id"])
        assert set(by_interaction) <= known


@pytest.mark.timeout(2 * DELIVERED_WITHIN_S + 120)
def test_what_was_accepted_is_delivered(hub: HubProcess) -> None:
    campaign(hub, KILLS, seed=7)


def two_node_campaign(hubs: list[HubProcess], kills: int, seed: int) -> None:
    """As :func:`campaign`, with clients that send each request to one of two hubs. One is killed, and the other one takes over what it had
    claimed; then it comes back.
    """
    chance = random.Random(seed)
    receiver = Receiver(SECRET, fails=0.1, seed=seed)
    command(hubs[0], "endpoint", "add", receiver.url, "--secret", SECRET)
    key = json.loads(command(hubs[0], "key", "add", "load", "--role", "admin", "--json"))["key"]
    for hub in hubs:
        hub.start()
    clients = Clients([hub.url for hub in hubs], key, threads=6, seed=seed)
    try:
        for number in range(kills):
            clients.go_on(chance.randint(12, 60))
            hubs[number % 2].kill9()
            clients.go_on(chance.randint(12, 60))
            hubs[number % 2].start()
        clients.go_on(12)
        clients.end()
        receiver.calm()
        expect(hubs[0], clients, receiver, key)
        repeated = Counter((each.interaction, each.event) for each in receiver.arrivals)
        again = sum(times - 1 for times in repeated.values())
        under_way = OutboxSettings().concurrency  # of the endpoint, when a hub was killed: an answer that it could not note
        assert again <= kills * under_way, f"{again} events came again after {kills} kills"
    finally:
        clients.end()
        receiver.close()


@pytest.mark.timeout(2 * DELIVERED_WITHIN_S + 120)
def test_two_nodes_on_one_database_deliver_what_either_accepted(two: list[HubProcess]) -> None:
    two_node_campaign(two, KILLS, seed=11)


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
def test_two_nodes_on_one_database_deliver_what_either_accepted_hundreds_of_times(two: list[HubProcess]) -> None:
    two_node_campaign(two, LONG_KILLS, seed=random.randrange(1 << 30))


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
def test_what_was_accepted_is_delivered_hundreds_of_times(hub: HubProcess) -> None:
    campaign(hub, LONG_KILLS, seed=random.randrange(1 << 30))
