"""Three hubs over one Redis and one PostgreSQL, behind nginx and HAProxy with the files of deploy/: what several machines would run."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from hub.core.session_ids import INCARNATION_CHARACTERS
from tests.hub.storage.backends import Postgres
from tests.support.balancer import PROGRAMS, Balancer
from tests.support.hub_process import HubProcess, clean_environment, free_port, run_hub
from tests.support.redis_server import RedisServer, persistence

SECRET = "of the cluster's tests, 32 bytes."
TENANTS = ("acme", "globex")
DRAIN_S = 2

ENVIRONMENT = {
    "HUB_SECRET": SECRET,
    "HUB_LOG_LEVEL": "warning",
    "HUB_DRAIN_SECONDS": str(DRAIN_S),
    "HUB_REPLAY__CHANNELS": "/log/**",
    "HUB_LIMITS__TIMEOUT_MS": "5000",  # several holds within a test
    "HUB_LIMITS__HANDSHAKES_PER_S_PER_ADDRESS": "0",  # here all clients are of one address
}


class Tenant:
    """One tenant, and what its clients show."""

    def __init__(self, name: str, token: str, key: str) -> None:
        self.name = name
        self.token = token
        self.key = key

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def authentication(self) -> dict[str, str]:
        """Of a Bayeux handshake."""
        return {"token": self.token}


class HubCluster:
    """Hubs, what is beneath them, and what is in front of them. Hubs may be killed, stopped and started; each keeps its ports."""

    def __init__(self, folder: Path, postgres: Postgres, *, hubs: int = 3, balancers: Sequence[str] = PROGRAMS) -> None:
        self.folder = folder
        self.redis = RedisServer("redis", *persistence("always"))
        self.database = postgres.url(asyncio.run(postgres.create())).replace("+psycopg", "")
        self.flags = ("--database-url", self.database, "--redis-url", self.redis.url)
        self.command("tenant", "add", TENANTS[0])  # makes the tables
        self.hubs = [self.make_hub() for _ in range(hubs)]
        self.balancers: dict[str, Balancer] = {}
        with ThreadPoolExecutor() as threads:
            starts = [threads.submit(hub.start) for hub in self.hubs]
            self.tenants = dict(zip(TENANTS, threads.map(self._add_tenant, TENANTS), strict=True))
            for start in starts:
                start.result()
        for program in balancers:
            (folder / program).mkdir()
            self.balancers[program] = Balancer(program, folder / program, [hub.port for hub in self.hubs])

    def make_hub(self, environment: Mapping[str, str] = {}, *, redis_url: str | None = None) -> HubProcess:
        """One more hub, which is not started; ``redis_url``: its own way to Redis."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        port = free_port()
        link = {"HUB_LINK_LISTEN": f"127.0.0.1:{port}", "HUB_LINK_URL": f"ws://127.0.0.1:{port}"}
        flags = self.flags if redis_url is None else (*self.flags[:2], "--redis-url", redis_url)
        return HubProcess(folder, flags, {**ENVIRONMENT, **link, **environment})

    def command(self, *words: str) -> str:
        """Run a ``hub`` command on the cluster's database; returns what it printed."""
        done = run_hub([*words, *self.flags[:2], "--data-dir", str(self.folder)], self.folder, clean_environment())
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _add_tenant(self, name: str) -> Tenant:
        if name != TENANTS[0]:
            self.command("tenant", "add", name)
        token = json.loads(self.command("token", "add", "boss", "--tenant", name, "--role", "admin", "--json"))["token"]
        key = json.loads(self.command("key", "add", "client", "--tenant", name, "--role", "admin", "--json"))["key"]
        return Tenant(name, token, key)

    @property
    def acme(self) -> Tenant:
        return self.tenants["acme"]

    @property
    def globex(self) -> Tenant:
        return self.tenants["globex"]

    @property
    def urls(self) -> list[str]:
        """Of the balancers: clients take one of them each."""
        return [balancer.url for balancer in self.balancers.values()]

    def incarnation(self, hub: HubProcess) -> str:
        """The name of a hub's process: each clientId of its sessions begins with it."""
        handshake = {"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["long-polling"]}
        (reply,) = httpx.post(f"{hub.url}/cometd", json=[handshake], headers=self.acme.headers, timeout=20).json()
        return str(reply["clientId"][:INCARNATION_CHARACTERS])

    def metrics(self, hub: HubProcess) -> dict[str, float]:
        """A hub's metrics, by name with labels."""
        text = httpx.get(f"{hub.url}/metrics", headers=self.acme.headers, timeout=20).raise_for_status().text
        lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def log(self) -> str:
        """The ends of all logs."""
        parts = [f"--- hub {number}\n{hub.log()}" for number, hub in enumerate(self.hubs, 1)]
        return "\n".join([*parts, *(f"--- {name}\n{balancer.log()}" for name, balancer in self.balancers.items())])

    def close(self) -> None:
        """End everything, the balancers first: what is held ends with the hubs."""
        for balancer in self.balancers.values():
            balancer.close()
        for hub in self.hubs:
            hub.close()
        self.redis.close()


def until(what: str, holds: Any, *, within_s: float, pause_s: float = 0.05) -> Any:
    """Wait for a condition; returns what it gave.

    Raises:
        AssertionError: it did not hold in time; the text has what it gave last.
    """
    end = time.monotonic() + within_s
    while not (found := holds()):
        assert time.monotonic() < end, f"{what}: not within {within_s:.0f} s, but {found!r}"
        time.sleep(pause_s)
    return found
