"""From one node to another, over Redis: how much later a message comes than on its own node, how many go, and what they cost a node on
which nobody listens.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from bench.generator import Answer, Generator
from bench.machine import cpu_us, median, pin
from bench.result import Result, Row, Size, goal
from bench.servers import GENERATOR_CORE, Hub
from tests.support.hub_process import clean_environment, hub_command
from tests.support.redis_server import RedisServer, persistence, why_no_redis

TENANT = "demo"
"""That of clients without a credential."""

PUBLISHERS = 10
"""In turns: the messages of one client wait for each other, on a log channel for the answer of Redis."""

INTERVAL_US = 1_000
MANY = 8_000
"""Messages a second that one node publishes and another receives."""
BATCH = 10
PER_REQUEST = 100
"""Messages of one request by REST."""

LOG = "/log/"
"""Channels with a log."""


class _Nodes:
    """Two hubs over one Redis. Of each test channel the first one has a subscriber of its own, and the second one another."""

    def __init__(self, kept: str) -> None:
        kind = "redis" if why_no_redis("redis") is None else "valkey"
        self.redis = RedisServer(kind, *persistence(kept))
        pin(self.redis.pid, GENERATOR_CORE)
        shared = {
            "HUB_REDIS_URL": self.redis.url,
            "HUB_SECRET": "of the benchmarks, 32 bytes or so",
            "HUB_REPLAY__CHANNELS": f"{LOG}**",
        }
        self.hubs: list[Hub] = []
        self.generator = Generator()
        try:
            self.hubs += [Hub(shared), Hub(shared)]
            self.token = _token(self.hubs[0])  # before there are clients, which the generator would not answer meanwhile
            for name, hub in zip("ab", self.hubs, strict=True):
                pin(hub.pid, self.hubs.index(hub) % (os.cpu_count() or 1))
                for kind_, channel in (("e", "/bench/e"), ("l", f"{LOG}l")):
                    self.generator("open", group=f"{kind_}{name}", count=1, channel=channel, **hub.subscribers("bayeux-ws"))
            self.generator("open", group="p", count=PUBLISHERS, **self.hubs[0].publishers())
        except BaseException:
            self.close()
            raise

    def rate(self, to: str, channel: str, seconds: float, *, batch: int = 1, interval_us: int = INTERVAL_US) -> Answer:
        """Publish on the first node to the subscriber ``to``."""
        return self.generator(
            "rate", from_="p", to=to, channel=channel, size=200, batch=batch, interval_us=interval_us, seconds=seconds, each=1
        )

    def close(self) -> None:
        self.generator.close()
        for hub in self.hubs:
            hub.close()
        self.redis.close()


def _token(hub: Hub) -> str:
    """For REST, of the same tenant as the clients; the hub learns of it within two seconds."""
    environment = clean_environment()
    folder = ("--data-dir", str(hub.process.data_dir))
    subprocess.run([str(hub_command()), "tenant", "add", TENANT, *folder], check=False, capture_output=True, env=environment)
    made = subprocess.run(
        [str(hub_command()), "token", "add", TENANT, "--role", "admin", "--json", *folder],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    token: str = json.loads(made.stdout)["token"]
    return token


@contextmanager
def _nodes(kept: str) -> Iterator[_Nodes]:
    nodes = _Nodes(kept)
    try:
        yield nodes
    finally:
        nodes.close()


def crossing(size: Size) -> Result:
    """See the module. The machine's load stands beside what is measured by the clock."""
    result = Result("crossing")
    seconds = max(size.seconds / 4, 0.1)
    for kept in ("everysec", "always"):
        with _nodes(kept) as nodes:
            _latency(result, nodes, size, kept, seconds)
            if kept == "everysec":
                _throughput(result, nodes, size, seconds)
                _nobody(result, nodes, size, seconds)
    return result


def _latency(result: Result, nodes: _Nodes, size: Size, kept: str, seconds: float) -> None:
    kinds = {f"log, appendfsync {kept}": ("l", f"{LOG}l")}
    if kept == "everysec":  # events leave nothing in Redis: how it keeps its data is the same to them
        kinds = {"event": ("e", "/bench/e"), **kinds}
    nodes.rate("ea", "/bench/e", seconds / 2)
    for kind, (group, channel) in kinds.items():
        runs = [(nodes.rate("ea", "/bench/e", seconds), nodes.rate(f"{group}b", channel, seconds)) for _ in range(size.runs)]
        result.detail[kind] = runs
        p50 = median(there["p50_ms"] - here["p50_ms"] for here, there in runs)
        p99 = median(there["p99_ms"] - here["p99_ms"] for here, there in runs)
        what = f"{kind}, {1_000_000 // INTERVAL_US:,} messages/s, load {os.getloadavg()[0]:.0f}"
        most = 5.0 if kept == "always" else 1.5
        late = Row(what, "p50 on the other node, above an event's on its own", p50, "ms")
        result.rows.append(goal(late, size, f"at most {most:g} ms", p50 <= most))
        latest = Row(what, "p99 on the other node, above an event's on its own", p99, "ms")
        result.rows.append(goal(latest, size, "at most 10 ms", p99 <= 10) if kept == "everysec" else latest)


def _throughput(result: Result, nodes: _Nodes, size: Size, seconds: float) -> None:
    every = BATCH * 1_000_000 // MANY
    for kind, group, channel in (("event", "eb", "/bench/e"), ("log", "lb", f"{LOG}l")):
        before = _cpu(nodes)
        runs = [nodes.rate(group, channel, seconds, batch=BATCH, interval_us=every) for _ in range(size.runs)]
        cost = [(now - was) / sum(run["published"] for run in runs) for now, was in zip(_cpu(nodes), before, strict=True)]
        rate = median(run["deliveries"] / run["seconds"] for run in runs)
        whole = all(run["deliveries"] == run["expected"] for run in runs)
        what = f"{kind}, {BATCH} messages a frame by Bayeux, load {os.getloadavg()[0]:.0f}"
        met = whole and rate >= 0.97 * MANY  # the last of them are waited for
        result.rows += [
            goal(Row(what, "messages/s that the other node delivers", rate, ""), size, f"at least {MANY:,}, none missing", met),
            Row(what, "CPU of the publishing node a message", cost[0], "us"),
            Row(what, "CPU of the receiving node a message", cost[1], "us"),
        ]
        result.detail[f"{kind} by Bayeux"] = runs
    for kind, group, channel in (("event", "eb", "/bench/e"), ("log", "lb", f"{LOG}l")):
        before = _cpu(nodes)
        rest = _by_rest(nodes, group, channel, seconds * 2)
        cost = [(now - was) / rest["published"] for now, was in zip(_cpu(nodes), before, strict=True)]
        rate = rest["deliveries"] / rest["seconds"]
        what = f"{kind}, {PER_REQUEST} messages a request by REST, load {os.getloadavg()[0]:.0f}"
        met = rest["deliveries"] == rest["published"] and rate >= MANY
        result.rows += [
            goal(Row(what, "messages/s that the other node delivers", rate, ""), size, f"at least {MANY:,}, none missing", met),
            Row(what, "messages/s of a core of the busier node", 1e6 / max(cost), ""),
        ]
        result.detail[f"{kind} by REST"] = rest


def _by_rest(nodes: _Nodes, group: str, channel: str, seconds: float) -> dict[str, Any]:
    hub = nodes.hubs[0]
    headers = {"Authorization": f"Bearer {nodes.token}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=30)
    data = {"t": f"@{0:016x}@", "p": "x" * 170}  # what the generator counts
    body = json.dumps([{"channel": channel, "data": data}] * PER_REQUEST).encode()

    def post() -> int:
        connection.request("POST", "/api/v1/publish", body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    if post() != 200:
        raise SystemExit("the hub takes no messages by REST")
    nodes.generator("idle", seconds=1.0)
    before = nodes.generator("count", group=group)["deliveries"]
    published, began = 0, time.monotonic()
    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(nodes.generator, "idle", seconds=seconds)
        while time.monotonic() - began < seconds:
            if post() != 200:
                raise SystemExit("the hub refused messages by REST")
            published += PER_REQUEST
        reading.result()
    while nodes.generator("count", group=group)["deliveries"] - before < published and time.monotonic() - began < seconds + 10:
        nodes.generator("idle", seconds=0.002)
    taken = time.monotonic() - began
    connection.close()
    return {"published": published, "deliveries": nodes.generator("count", group=group)["deliveries"] - before, "seconds": taken}


def _nobody(result: Result, nodes: _Nodes, size: Size, seconds: float) -> None:
    """Messages that the first node alone listens to, by a pattern; the second one listens to another pattern."""
    first, second = nodes.hubs
    nodes.generator("open", group="own", count=1, channel="/bench/quiet/**", **first.subscribers("bayeux-ws"))
    nodes.generator("open", group="other", count=1, channel="/bench/other/**", **second.subscribers("bayeux-ws"))
    costs = []
    for _ in range(size.runs):
        before, began = cpu_us(second.pid), time.monotonic()
        nodes.generator("idle", seconds=seconds)
        idle = (cpu_us(second.pid) - before) / (time.monotonic() - began)
        before, began = cpu_us(second.pid), time.monotonic()
        run = nodes.rate("own", "/bench/quiet/x", seconds)
        costs.append((cpu_us(second.pid) - before - idle * (time.monotonic() - began)) / run["published"])
    cost = median(costs)
    what = f"event that another node listens to, by a pattern, {1_000_000 // INTERVAL_US:,} messages/s"
    row = Row(what, "CPU of a node on which nobody does, beside idle, a message", cost, "us")
    result.rows.append(goal(row, size, "nothing: at most 1 us", cost <= 1))
    result.detail["nobody"] = costs


def _cpu(nodes: _Nodes) -> list[float]:
    return [cpu_us(hub.pid) for hub in nodes.hubs]
