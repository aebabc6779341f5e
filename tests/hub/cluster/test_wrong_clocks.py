"""The clock of a node that runs goes wrong by an hour, as real processes see it: leases stay, events count, health tells."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.hub.cluster.processes import QUICK, NodeProcess, add_tenant, cloud_event, inbound_calls, known_calls, wait_until
from tests.hub.storage.backends import Postgres, postgres
from tests.support.redis_server import RedisServer

__all__ = ["postgres"]

pytestmark = pytest.mark.timeout(600)

HOUR_S = 3600


class ShiftedNode(NodeProcess):
    """A node whose time of day a test moves."""

    def start(self) -> NodeProcess:
        self._ahead = self.folder / "ahead"
        self.move(0)
        self.module = "tests.hub.cluster.shifted_hub"
        self.environment["AHEAD_FILE"] = str(self._ahead)
        super().start()
        return self

    def move(self, seconds: int) -> None:
        written = self.folder / "next"
        written.write_text(str(seconds))
        os.replace(written, self._ahead)


@pytest.fixture
def nodes(tmp_path: Path, postgres: Postgres, shared_redis: Callable[[str], RedisServer]) -> Iterator[tuple[ShiftedNode, NodeProcess]]:
    """The first one owns the tenant ``acme``."""
    database = postgres.url(asyncio.run(postgres.create()))
    token = add_tenant(tmp_path, database, "acme")
    environment = {"HUB_REDIS_PREFIX": secrets.token_hex(6), "HUB_OWNERSHIP__BALANCE_S": "0"}
    shifted = ShiftedNode(tmp_path / "shifted", database, shared_redis("redis").url, environment=environment)
    other = NodeProcess(tmp_path / "other", database, shared_redis("redis").url, environment=environment)
    for node in (shifted, other):
        node.token = token  # type: ignore[misc]
    try:
        shifted.start()
        shifted.feed(*call(0))
        other.start()
        yield shifted, other
    finally:
        shifted.close()
        other.close()


def call(number: int) -> list[dict[str, object]]:
    """A call of ana, whose events have no time."""
    data = {"interactionId": f"call-{number}", "agentId": "ana"}
    return [
        cloud_event(f"{number}-1", "cx.interaction.established", **data, callType="inbound"),
        cloud_event(f"{number}-2", "cx.interaction.released", **data),
    ]


def trouble(node: NodeProcess) -> str:
    """What ``/readyz`` says of the part ``cluster``, if the node is ready all the same; else nothing."""
    reply = node.get("/readyz")
    assert reply.status_code == httpx.codes.OK, reply.text
    assert node.get("/livez").status_code == httpx.codes.OK
    body = reply.json()
    return str(body["parts"]["cluster"].get("message", "")) if body["status"] == "degraded" else ""


@pytest.mark.parametrize("ahead_s", [HOUR_S, -HOUR_S])
def test_the_owner_s_clock_goes_wrong(nodes: tuple[ShiftedNode, NodeProcess], ahead_s: int) -> None:
    shifted, other = nodes
    assert inbound_calls(other) == 1
    shifted.move(ahead_s)
    assert "clock" in wait_until(lambda: trouble(shifted))
    wait_until(lambda: '"node_does_not_fit"' in other.log_path.read_text())
    assert trouble(other) == "", "its own clock is right"
    # two terms of its lease long it owns the tenant, and takes events from everywhere
    for number in range(1, 9):
        (shifted, other)[number % 2].feed(*call(number))
        wait_until(lambda number=number: known_calls(other) == known_calls(shifted) == number + 1)
        time.sleep(float(QUICK["HUB_OWNERSHIP__TERM_S"]) / 4)
    owners = [json.loads(line) for node in nodes for line in node.log_path.read_text().splitlines() if '"tenant_taken"' in line]
    assert [(line["tenant"], line["fence"]) for line in owners] == [("acme", 1)]
    assert not any('"lease_lost"' in node.log_path.read_text() for node in nodes)
    shifted.move(0)
    wait_until(lambda: trouble(shifted) == "")
    # the other one goes on where it was
    shifted.stop()
    wait_until(lambda: known_calls(other) == 9)


def test_a_node_starts_with_no_wrong_clock(nodes: tuple[ShiftedNode, NodeProcess]) -> None:
    shifted, other = nodes
    assert shifted.stop() == 0
    wait_until(lambda: known_calls(other) == 1)
    original = shifted.move

    def move(_seconds: int) -> None:
        original(HOUR_S)

    shifted.move = move  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match=r"ended with code 2[^$]*clock"):
        shifted.start()
    assert inbound_calls(other) == 1
