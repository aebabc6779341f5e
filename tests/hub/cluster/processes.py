"""Nodes of one hub as real processes, over a real PostgreSQL and a real Redis or Valkey."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.support.hub_process import HubProcess, clean_environment, run_hub

SECRET = "the same secret on every node of the hub"
WITHIN_S = 150.0

QUICK: Mapping[str, str] = {
    "HUB_OWNERSHIP__TERM_S": "6",
    "HUB_OWNERSHIP__RENEW_S": "0.5",
    "HUB_OWNERSHIP__GIVE_UP_S": "5",
    "HUB_OWNERSHIP__LOOK_S": "0.2",
    "HUB_OWNERSHIP__RANK_S": "0.1",
    "HUB_DRAIN_SECONDS": "1",
    "HUB_LOG_LEVEL": "info",
}
"""Terms of ownership that a test does not wait long for, and that a process keeps which gets no CPU for some seconds."""


class NodeProcess(HubProcess):
    """One node. Its tenant ``acme`` has the administrator's token ``token``."""

    def __init__(
        self, folder: Path, database: str, redis: str, *, flags: tuple[str, ...] = (), environment: Mapping[str, str] = {}
    ) -> None:
        folder.mkdir()
        super().__init__(
            folder,
            flags,
            {
                "HUB_DATABASE_URL": database,
                "HUB_REDIS_URL": redis,
                "HUB_SECRET": SECRET,
                "HUB_LINK_LISTEN": f"unix:{folder / 'link.sock'}",
                **QUICK,
                **environment,
            },
        )

        self.client = httpx.Client(verify=False, timeout=30)  # loopback; making a TLS context takes longer than a request
        """Requests to this node, by :meth:`post` and :meth:`get`."""

    def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        return self.client.post(f"{self.url}{path}", json=body, headers=self.headers, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.client.get(f"{self.url}{path}", headers=self.headers, **options)

    def wait_ready(self) -> None:
        def is_ready() -> bool:
            if self.process.poll() is not None:
                raise RuntimeError(f"hub serve ended with code {self.process.returncode}:\n{self.log()}")
            try:
                return self.client.get(f"{self.url}/readyz").status_code == httpx.codes.OK
            except httpx.TransportError:
                return False  # it does not listen yet

        wait_until(is_ready)

    def ingest(self, *events: dict[str, Any], client: httpx.Client | None = None) -> httpx.Response:
        """Send CloudEvents of the source ``load``; ``client`` is that of another thread."""
        body = "\n".join(json.dumps({"specversion": "1.0", "source": "load", **event}) for event in events)
        headers = {**self.headers, "Content-Type": "application/x-ndjson"}
        return (client or self.client).post(f"{self.url}/ingest/v1/events", content=body, headers=headers)

    def feed(self, *events: dict[str, Any]) -> None:
        reply = self.ingest(*events)
        assert reply.status_code == httpx.codes.OK, reply.text
        assert reply.json()["data"]["accepted"] == len(events), reply.text

    def close(self) -> None:
        self.client.close()
        super().close()

    def freeze(self) -> None:
        """Let the process stand still."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.process.pid, signal.SIGCONT)


def add_tenant(folder: Path, database: str, tenant: str) -> str:
    """Make a tenant with an administrator's token; returns the token."""
    environment = clean_environment({"HUB_DATABASE_URL": database, "HUB_DATA_DIR": str(folder / "admin")})

    def run(*arguments: str) -> str:
        done = run_hub(arguments, folder, environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("tenant", "add", tenant)
    return str(json.loads(run("token", "add", "ana", "--tenant", tenant, "--role", "admin", "--json"))["token"])


def wait_until(condition: Callable[[], Any], within_s: float = WITHIN_S) -> Any:
    """What ``condition`` returns, as soon as it is true."""
    until = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < until, "it did not become true in time"
        time.sleep(0.05)
    return found


def cloud_event(identifier: str, kind: str, **data: Any) -> dict[str, Any]:
    return {"id": identifier, "type": kind, "data": data}


def inbound_calls(node: NodeProcess, agent: str = "ana") -> int:
    """The agent's InboundCalls, as this node answers."""
    found = known_calls(node, agent)
    assert found is not None, "the node answers that it reaches no owner"
    return found


def known_calls(node: NodeProcess, agent: str = "ana") -> int | None:
    """The agent's InboundCalls, as this node answers; None while it reaches no owner of the tenant, as between two owners."""
    reply = node.get("/statistics/v3/statistic-values/InboundCalls", params={"objectId": agent, "objectType": "Agent"})
    if reply.status_code in (httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.GATEWAY_TIMEOUT):
        return None
    assert reply.status_code == httpx.codes.OK, reply.text
    return int(reply.json()["data"]["statistic"]["value"]["intValue"])
