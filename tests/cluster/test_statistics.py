"""Statistics of three hubs are those of one, whichever hub takes the events and whichever answers."""

from __future__ import annotations

import datetime
import gzip
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients.foreign import JAVA_KINDS, KINDS, why_no_java
from tests.cluster.hubs import HubCluster
from tests.support.hub_process import HubProcess
from tests.support.puppet import Puppet, PuppetProcess

pytestmark = [pytest.mark.node, pytest.mark.timeout(600)]

DAY = Path(__file__).parents[2] / "samples" / "office-day.ndjson.gz"
FIRST, COUNT, BATCH = 3000, 600, 50

AGENT = ("InboundCalls", "OutboundCalls", "InternalCalls", "ConsultCalls", "MissedCalls", "RefusedCalls", "AverageHandlingTime")
QUEUE = ("CallsEntered", "TotalAnswered", "TotalAbandoned", "TotalDistributed", "CurrentInQueue", "AverageWaitingTime", "ServiceLevel")
"""What stands still where nothing happens: no time in a state that goes on."""


def office_hours() -> list[dict[str, Any]]:
    """Events of a recorded day, its groups before them, moved so that the last of them was a minute ago."""
    with gzip.open(DAY, "rt") as lines:
        recorded = [json.loads(line) for line in lines]
    groups = [event for event in recorded[:20] if event["type"] == "cx.group.changed"]
    events = recorded[FIRST : FIRST + COUNT]
    last = datetime.datetime.fromisoformat(events[-1]["time"])
    shift = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=1) - last
    times = [datetime.datetime.fromisoformat(event["time"]) + shift for event in events]
    moved = [{**event, "time": time.isoformat()} for event, time in zip(events, times, strict=True)]
    return [*({**group, "time": times[0].isoformat()} for group in groups), *moved]


def wanted(events: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Every statistic of every agent and queue of these events."""
    agents = {event["data"]["agentId"] for event in events if "agentId" in event["data"]}
    queues = {event["data"]["queue"] for event in events if "queue" in event["data"]}
    objects = [(name, agent, "Agent") for agent in sorted(agents) for name in AGENT]
    objects += [(name, queue, "Queue") for queue in sorted(queues) for name in QUEUE]
    return [{"name": name, "objectId": identifier, "objectType": kind} for name, identifier, kind in objects]


def feed(urls: Sequence[str], headers: dict[str, str], events: Sequence[dict[str, Any]]) -> None:
    """Send them in batches, each to another URL; each is accepted before the next one is sent."""
    turns = itertools.cycle(urls)
    with httpx.Client(headers={**headers, "Content-Type": "application/x-ndjson"}, timeout=30) as http:
        for first in range(0, len(events), BATCH):
            batch = events[first : first + BATCH]
            reply = http.post(f"{next(turns)}/ingest/v1/events", content="\n".join(map(json.dumps, batch)))
            assert reply.status_code == httpx.codes.OK, reply.text
            assert reply.json()["data"]["accepted"] == len(batch), reply.text


def values(url: str, headers: dict[str, str], statistics: Sequence[dict[str, str]]) -> dict[tuple[str, str], Any]:
    """The values by name and object."""
    reply = httpx.post(
        f"{url}/statistics/v3/operations/get-statistic-ex", json={"data": {"statistics": statistics}}, headers=headers, timeout=30
    )
    assert reply.status_code == httpx.codes.OK, reply.text
    found = reply.json()["data"]["statistics"]
    return {(each["name"], each["objectId"]): {**each["value"], "timestamp": None} for each in found}


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """One hub of its own, without a simulator."""
    hub = HubProcess(tmp_path_factory.mktemp("single"), ("--open",))
    yield hub.start()
    hub.close()


@pytest.fixture
def clients(cluster: HubCluster) -> Iterator[dict[str, Puppet]]:
    """The Statistics API's clients, in JavaScript and in Java, behind each balancer."""
    if why := why_no_java():
        pytest.skip(why)
    kinds = [kind for kind in (*KINDS, *JAVA_KINDS) if kind.library in {"genesys", "statistics-java"}]
    processes = [PuppetProcess(kind.script, program=kind.program, folder=kind.folder) for kind in kinds]
    made = {}
    for kind, process in zip(kinds, processes, strict=True):
        for number, url in enumerate(cluster.urls):
            client = kind.open(process, url, apiKey=cluster.acme.key)
            client.call("initialize", cluster.acme.token)
            client.wait("initialized")
            made[f"{kind.library}-{number}"] = client
    yield made
    for process in processes:
        process.close()


def own_tenant(single: HubProcess) -> dict[str, str]:
    single.command("tenant", "list")
    made = json.loads(single.command("token", "add", "boss", "--tenant", "demo", "--role", "admin", "--json"))
    return {"Authorization": f"Bearer {made['token']}"}


def subscribe(client: Puppet, name: str, statistics: Sequence[dict[str, str]]) -> None:
    descriptors = [{**each, "statisticId": str(number)} for number, each in enumerate(statistics)]
    reply = client.call("createSubscription", f"all-{name}", descriptors)
    assert reply["status"]["code"] == 0, reply


def peek(client: Puppet, name: str, statistics: Sequence[dict[str, str]]) -> dict[tuple[str, str], Any]:
    """The values of a client's subscription; one that was told meanwhile that the service was away opens it again, as the manual says."""
    if any("UNAVAILABLE" in str(event["data"]) for event in client.waiting("service")):
        subscribe(client, name, statistics)
    peeked = client.call("peek", f"all-{name}")["data"]["statistics"]
    return {(each["name"], each["objectId"]): {**each["value"], "timestamp": None} for each in peeked}


def test_the_statistics_are_those_of_a_single_hub(cluster: HubCluster, single: HubProcess, clients: dict[str, Puppet]) -> None:
    events = office_hours()
    statistics = wanted(events)
    for name, client in clients.items():
        subscribe(client, name, statistics)
    feed(cluster.urls, cluster.acme.headers, events)
    alone = own_tenant(single)
    feed([single.url], alone, events)
    expected = values(single.url, alone, statistics)
    assert len(expected) == len(statistics)
    assert sum(bool(each.get("intValue")) for each in expected.values()) > len(expected) / 4
    for hub in cluster.hubs:
        assert values(hub.url, cluster.acme.headers, statistics) == expected
    for name, client in clients.items():
        assert peek(client, name, statistics) == expected
    # and nothing of it is another tenant's
    assert {each["intValue"] for each in values(cluster.urls[0], cluster.globex.headers, statistics).values()} == {0}
