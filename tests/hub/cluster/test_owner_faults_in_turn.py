"""Owners and their database fail in turn, at random moments of a load: the faults of the tests beside this one, hundreds of times."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.hub.cluster.owner_hub import Hub, Load, Watcher
from tests.hub.cluster.processes import QUICK, inbound_calls, known_calls, wait_until
from tests.hub.cluster.test_stalled_postgresql import joined, standing_still
from tests.hub.storage.backends import Postgres, running_postgres
from tests.support.redis_server import RedisServer

LONG_ROUNDS = int(os.environ.get("HUB_TEST_KILLS", "200"))
TERM_S = float(QUICK["HUB_OWNERSHIP__TERM_S"])

Fault = Callable[[Hub, Postgres, random.Random], None]


def the_owner_is_killed(hub: Hub, server: Postgres, chance: random.Random) -> None:
    owner = hub.owner()
    owner.kill9()
    time.sleep(chance.uniform(0, TERM_S))
    owner.start()


def the_owner_stands_still(hub: Hub, server: Postgres, chance: random.Random) -> None:
    """Shorter than its lease, or longer."""
    owner = hub.owner()
    owner.freeze()
    try:
        time.sleep(chance.uniform(0, 2 * TERM_S))
    finally:
        owner.thaw()


def the_owner_is_restarted(hub: Hub, server: Postgres, chance: random.Random) -> None:
    owner = hub.owner()
    assert owner.stop() == 0
    time.sleep(chance.uniform(0, TERM_S))
    owner.start()


def the_database_is_restarted(hub: Hub, server: Postgres, chance: random.Random) -> None:
    server.halt()
    try:
        time.sleep(chance.uniform(0, TERM_S))
    finally:
        server.resume()


def the_database_stands_still(hub: Hub, server: Postgres, chance: random.Random) -> None:
    with standing_still(server):
        time.sleep(chance.uniform(0, 2 * TERM_S))


FAULTS: list[Fault] = [
    the_owner_is_killed,
    the_owner_stands_still,
    the_owner_is_restarted,
    the_database_is_restarted,
    the_database_stands_still,
]


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A PostgreSQL that a test may stop."""
    with running_postgres() as made:
        yield made


@pytest.fixture
def hub(tmp_path: Path, server: Postgres, shared_redis: Callable[[str], RedisServer]) -> Iterator[Hub]:
    """Two nodes that may own the tenant, and an edge that lives throughout."""
    made = Hub(tmp_path, server.url(asyncio.run(server.create())), shared_redis("redis"), 0, {})
    try:
        for number in range(2):
            joined(made, f"node-{number}")
        edge = made.add("edge", HUB_ROLE="edge")
        edge.token = made.token
        made.nodes.append(edge)
        yield made
    finally:
        made.close()


def faults(hub: Hub, server: Postgres, chance: random.Random, rounds: int, kinds: Sequence[Fault] = FAULTS) -> None:
    """Cause a fault in each round, then see that every call that was taken is counted, and that clients heard of no owner but the one."""
    *_, edge = hub.nodes
    edge.feed(*hub.call())
    hub.owner()
    watcher = Watcher(edge)
    wait_until(lambda: watcher.states == ["AVAILABLE"])
    total = 1
    done = ""
    try:
        for number in range(rounds):
            load = Load(hub, [edge])  # a node that stands still would hold its calls up
            fault = chance.choice(kinds)
            done = f"round {number}: {fault.__name__}"
            wait_until(lambda load=load: load.calls > chance.randint(1, 30))  # type: ignore[misc]
            fault(hub, server, chance)
            before = load.calls
            wait_until(lambda load=load, before=before: load.calls > before + 10)  # type: ignore[misc]
            total += load.stop()
            wait_until(lambda: watcher.states[-1] == "AVAILABLE" and known_calls(edge) is not None)
            assert inbound_calls(edge) == total
            wait_until(lambda total=total: watcher.values[-1] == total)  # type: ignore[misc]
            assert watcher.heard_of_nobody == []
            assert watcher.values == sorted(watcher.values)
    except BaseException:
        print(done)
        raise
    finally:
        watcher.close()


@pytest.mark.timeout(600)
def test_one_fault(hub: Hub, server: Postgres) -> None:
    """The quickest; the others have their short forms in the tests beside this one."""
    faults(hub, server, random.Random(1), 1, [the_owner_is_restarted])


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
def test_faults_one_after_the_other_hundreds_of_times(hub: Hub, server: Postgres) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    faults(hub, server, random.Random(seed), LONG_ROUNDS)
