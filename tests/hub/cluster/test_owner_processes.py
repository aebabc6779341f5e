"""Owners of tenants among real processes: killed, frozen, without a database, and stopped as an upgrade stops them."""

from __future__ import annotations

import asyncio
import copy
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.hub.cluster.owner_hub import Hub, Load, Watcher
from tests.hub.cluster.processes import WITHIN_S, NodeProcess, add_tenant, inbound_calls, known_calls, wait_until
from tests.hub.storage.backends import Postgres, running_postgres
from tests.support.hub_process import clean_environment, run_hub
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A PostgreSQL that a test may stop."""
    with running_postgres() as made:
        yield made


@pytest.fixture
def make(tmp_path: Path, server: Postgres, shared_redis: Callable[[str], RedisServer]) -> Iterator[Callable[..., Hub]]:
    made: list[Hub] = []

    def build(count: int = 2, **environment: str) -> Hub:
        name = asyncio.run(server.create())
        made.append(Hub(tmp_path, server.url(name), shared_redis("redis"), count, environment))
        return made[-1]

    yield build
    for hub in made:
        for node in hub.nodes:
            if node._process is not None and node.process.poll() is None:
                node.thaw()
        hub.close()


def test_any_node_answers_and_the_totals_are_those_of_one(make: Callable[..., Hub]) -> None:
    hub = make(2)
    one, two = hub.nodes
    for node in (one, two, one):
        node.feed(*hub.call())
    owner = hub.owner()
    (other,) = hub.others(owner)
    assert inbound_calls(one) == inbound_calls(two) == 3
    opened = other.post(
        "/statistics/v3/subscriptions",
        {
            "operationId": "op",
            "data": {"statistics": [{"statisticId": "s", "name": "InboundCalls", "objectId": "ana", "objectType": "Agent"}]},
        },
    )
    assert opened.status_code == httpx.codes.OK, opened.text
    values = [node.get("/statistics/v3/subscriptions/op/statistic-values").json()["data"]["statistics"] for node in (one, two)]
    assert [found[0]["value"]["intValue"] for found in values] == [3, 3]
    assert other.get("/api/v1/stat-server").json()["data"]["position"] == 6
    assert owner.get("/readyz").json()["status"] == "ok"


def test_an_owner_that_is_killed_is_followed_by_another_that_has_everything(make: Callable[..., Hub]) -> None:
    hub = make(3)
    hub.nodes[0].feed(*hub.call())
    owner = hub.owner()
    edges = hub.others(owner)
    watchers = [Watcher(node) for node in edges]
    wait_until(lambda: all(each.states == ["AVAILABLE"] for each in watchers))
    load = Load(hub, edges)
    wait_until(lambda: load.calls > 20)
    owner.kill9()
    wait_until(lambda: all("UNAVAILABLE" in each.states for each in watchers))
    wait_until(lambda: all(each.states[-1] == "AVAILABLE" for each in watchers))
    before = load.calls
    wait_until(lambda: load.calls > before + 20)
    total = load.stop() + 1
    assert [each.states for each in watchers] == [["AVAILABLE", "UNAVAILABLE", "AVAILABLE"]] * 2
    assert {inbound_calls(node) for node in edges} == {total}
    assert load.refused > 0
    for each in watchers:
        each.close()


def test_a_frozen_owner_that_wakes_can_neither_write_nor_be_heard(make: Callable[..., Hub]) -> None:
    hub = make(3)
    hub.nodes[0].feed(*hub.call())
    owner = hub.owner()
    edges = hub.others(owner)
    watchers = [Watcher(node) for node in edges]
    wait_until(lambda: all(each.states == ["AVAILABLE"] for each in watchers))
    load = Load(hub, edges)
    wait_until(lambda: load.calls > 10)
    owner.freeze()
    wait_until(lambda: all(each.states[-2:] == ["UNAVAILABLE", "AVAILABLE"] for each in watchers))
    before = load.calls
    wait_until(lambda: load.calls > before + 10)
    owner.thaw()
    wait_until(lambda: '"lease_lost"' in owner.log_path.read_text())
    # it asks the new owner now, as an edge does
    wait_until(lambda: owner.get("/livez").status_code == httpx.codes.OK)
    total = load.stop() + 1
    assert [each.states for each in watchers] == [["AVAILABLE", "UNAVAILABLE", "AVAILABLE"]] * 2
    assert wait_until(lambda: known_calls(owner) == total)
    assert {inbound_calls(node) for node in edges} == {total}
    assert all(values == sorted(values) for values in (each.values for each in watchers))
    for each in watchers:
        each.close()


def test_a_database_that_restarts_refuses_events_and_loses_none(make: Callable[..., Hub], server: Postgres) -> None:
    hub = make(2)
    hub.nodes[0].feed(*hub.call())
    owner = hub.owner()
    load = Load(hub, hub.nodes)
    wait_until(lambda: load.calls > 10)
    server.halt()
    try:
        wait_until(lambda: load.refused > 0)
        wait_until(lambda: '"lease_lost"' in owner.log_path.read_text())
    finally:
        server.resume()
    before = load.calls
    wait_until(lambda: load.calls > before + 10)
    total = load.stop() + 1
    assert {inbound_calls(node) for node in hub.nodes} == {total}


def test_a_node_that_stops_hands_its_tenants_over_at_once(make: Callable[..., Hub]) -> None:
    # nobody waits for the end of the lease or for the next look: a test would end before
    hub = make(2, HUB_OWNERSHIP__TERM_S="3600", HUB_OWNERSHIP__GIVE_UP_S="3000", HUB_OWNERSHIP__LOOK_S="60")
    hub.nodes[0].feed(*hub.call())
    owner = hub.owner()
    (other,) = hub.others(owner)
    watcher = Watcher(other)
    wait_until(lambda: watcher.states == ["AVAILABLE"])
    stopping = threading.Thread(target=owner.stop)
    stopping.start()
    wait_until(lambda: watcher.states == ["AVAILABLE", "UNAVAILABLE", "AVAILABLE"], within_s=50)
    assert inbound_calls(other) == 1
    stopping.join(WITHIN_S)
    assert not stopping.is_alive()
    other.feed(*hub.call())
    assert inbound_calls(other) == 2
    watcher.close()


def owned(node: NodeProcess) -> int:
    """How many tenants a node owns."""
    (line,) = re.findall(r"^hub_ownership_tenants ([0-9.]+)$", node.get("/metrics").text, re.MULTILINE)
    return int(float(line))


def test_after_all_nodes_were_restarted_one_after_the_other_tenants_are_spread_again(make: Callable[..., Hub]) -> None:
    hub = make(2, HUB_OWNERSHIP__BALANCE_S="1")
    tokens = [hub.token, *(add_tenant(hub.folder, hub.database, f"spread-{number}") for number in range(3))]
    for token in tokens:
        hub.nodes[0].token = token
        hub.nodes[0].feed(*hub.call())
    first, last = hub.nodes
    assert first.stop() == 0
    first.start()
    assert last.stop() == 0
    wait_until(lambda: owned(first) == 4)
    # each has a client, whom a move would cost its subscriptions
    watchers = [Watcher(_as(first, token)) for token in tokens]
    wait_until(lambda: all(each.values == [1] for each in watchers))
    last.start()
    time.sleep(4)  # several looks
    assert (owned(first), owned(last)) == (4, 0)
    watchers[0].close()
    wait_until(lambda: owned(last) == 1)
    for each in watchers[1:]:
        assert set(each.states) == {"AVAILABLE"}
        each.close()
    wait_until(lambda: (owned(first), owned(last)) == (2, 2))
    for token in tokens:  # nothing was lost by it
        for node in hub.nodes:
            node.token = token
            assert inbound_calls(node) == 1


def _as(node: NodeProcess, token: str) -> NodeProcess:
    """The node as another tenant's administrator has it."""
    other = copy.copy(node)
    other.token = token  # type: ignore[misc]
    return other


def test_roles(make: Callable[..., Hub]) -> None:
    hub = make(0)
    token = add_tenant(hub.folder, hub.database, "roles")
    edge = hub.add("edge", HUB_ROLE="edge")
    stat = hub.add("stat", HUB_ROLE="stat-server")
    hub.nodes += [edge, stat]
    for node in hub.nodes:
        node.token = token
    edge.feed(*hub.call())
    hub.tenant = "roles"
    assert hub.owner() is stat
    assert inbound_calls(edge) == 1
    assert stat.get("/livez").status_code == httpx.codes.OK
    # clients have nothing to look for at a stat server
    assert stat.post("/cometd", []).status_code == httpx.codes.NOT_FOUND


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (
            {"HUB_ROLE": "edge"},
            r"database_url: expected the PostgreSQL of the hub, which the role edge needs to work with other nodes, got SQLite",
        ),
        ({"HUB_ROLE": "stat-server"}, r"redis_url: expected the Redis of the hub, which the role stat-server needs"),
        ({"HUB_ROLE": "edge"}, r"link_listen: expected where this node takes links, which the role edge needs"),
    ],
)
def test_a_role_without_what_it_needs_is_refused(tmp_path: Path, environment: dict[str, str], expected: str) -> None:
    done = run_hub(("serve", "--port", "0", "--data-dir", str(tmp_path / "data")), tmp_path, clean_environment(environment))
    assert done.returncode != 0
    assert re.search(expected, done.stderr + done.stdout)
