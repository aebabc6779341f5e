"""Interactions created and stopped over REST, and the webhooks of them: how many a second, how soon, and what endpoints that hang cost.

Hub and benchmark share this machine's cores: the benchmark is both the client of the REST API and every receiver.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from rich.console import Console
from rich.progress import Progress

from bench.receivers import HANG, Receivers
from tests.hub.storage.backends import Postgres
from tests.support.hub_process import HubProcess, clean_environment, hub_command

TENANT = "bench"
LOOPBACK = '["127.0.0.0/8"]'
DRAIN_WITHIN_S = 120.0

Figures = dict[str, Any]


class Hub:
    """A hub with a tenant, an API key, and endpoints."""

    def __init__(self, folder: Path, database_url: str | None) -> None:
        flags = ("--database-url", database_url) if database_url else ()
        self._process = HubProcess(folder, flags, {"HUB_LOG_LEVEL": "warning", "HUB_OUTBOX__ALLOWED_NETWORKS": LOOPBACK})
        self._database = flags
        self._command("tenant", "add", TENANT)
        self.key = json.loads(self._command("key", "add", "bench", "--role", "admin", "--json"))["key"]

    def _command(self, *words: str) -> str:
        command = [str(hub_command()), *words, "--data-dir", str(self._process.data_dir), *self._database]
        environment = clean_environment({"HUB_OUTBOX__ALLOWED_NETWORKS": LOOPBACK})
        return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout

    @property
    def url(self) -> str:
        """The base URL."""
        return self._process.url.replace("localhost", "127.0.0.1")

    @property
    def headers(self) -> dict[str, str]:
        """Credentials."""
        return {"x-api-key": self.key}

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.process.pid

    def start(self) -> None:
        """Start it."""
        self._process.start()

    def close(self) -> None:
        """End it."""
        self._process.close()


class Load:
    """Creates interactions and stops them."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = f"{url}/nexus/v3/openmedia/bench/interactions"
        self.sent: dict[tuple[str, str], float] = {}
        self.done = 0

    async def one(self) -> None:
        """One interaction from beginning to end."""
        began = time.monotonic()
        async with self._session.post(self._url, json={"data": {"userData": {"customer": "4711"}}}) as answer:
            answer.raise_for_status()
            identifier: str = (await answer.json())["data"]["id"]
        self.sent[identifier, "STARTED"] = began
        began = time.monotonic()
        async with self._session.post(f"{self._url}/{identifier}/stop", json={}) as answer:
            answer.raise_for_status()
            await answer.read()
        self.sent[identifier, "FINISHED"] = began
        self.done += 1

    async def flat_out(self, workers: int, interactions: int, progress: Progress) -> float:
        """As many as possible at once; returns seconds."""
        left = iter(range(interactions))
        task = progress.add_task("create and stop", total=interactions)

        async def work() -> None:
            for _ in left:
                await self.one()
                progress.advance(task)

        began = time.monotonic()
        await asyncio.gather(*(work() for _ in range(workers)))
        progress.remove_task(task)
        return time.monotonic() - began

    async def at_rate(self, rate: float, interactions: int, progress: Progress) -> float:
        """At a rate, whatever the answers take; returns seconds."""
        task = progress.add_task(f"{rate:.0f} interactions/s", total=interactions)
        running: set[asyncio.Task[None]] = set()
        began = time.monotonic()
        for number in range(interactions):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            one = asyncio.ensure_future(self.one())
            running.add(one)
            one.add_done_callback(running.discard)
            progress.advance(task)
        await asyncio.gather(*running)
        progress.remove_task(task)
        return time.monotonic() - began


async def add_endpoints(session: aiohttp.ClientSession, hub: Hub, port: int, answering: int, hanging: int) -> None:
    """Endpoints on the receivers' port."""
    paths = [f"/e/{number}" for number in range(answering)] + [f"{HANG}{number}" for number in range(hanging)]
    for path in paths:
        async with session.post(f"{hub.url}/api/v1/endpoints", json={"url": f"http://127.0.0.1:{port}{path}"}) as answer:
            answer.raise_for_status()


async def drained(receivers: Receivers, wanted: int, progress: Progress) -> float:
    """Wait until as many deliveries came; returns seconds."""
    began = time.monotonic()
    task = progress.add_task("deliveries", total=wanted, completed=receivers.total)
    while receivers.total < wanted:
        if time.monotonic() - began > DRAIN_WITHIN_S:
            raise SystemExit(f"{wanted - receivers.total} deliveries did not come within {DRAIN_WITHIN_S:.0f} s")
        await asyncio.sleep(0.02)
        progress.update(task, completed=receivers.total)
    progress.remove_task(task)
    return time.monotonic() - began


def latencies(load: Load, receivers: Receivers) -> list[float]:
    """Milliseconds from sending the request that changed the state to the first POST of it, sorted."""
    return sorted((receivers.first[key] - sent) * 1000 for key, sent in load.sent.items())


def memory_mb(pid: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024


@contextlib.contextmanager
def databases(kinds: Sequence[str]) -> Iterator[dict[str, Postgres | None]]:
    """The servers that are needed."""
    if "postgresql" not in kinds:
        yield dict.fromkeys(kinds)
        return
    folder = Path(tempfile.mkdtemp(prefix="hub-bench-pg-"))
    folder.chmod(0o755)
    server = Postgres(folder)
    try:
        yield {kind: server if kind == "postgresql" else None for kind in kinds}
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def house(server: Postgres | None) -> Any:
    """A fresh hub, receivers, and a session of HTTP."""
    with tempfile.TemporaryDirectory() as folder:
        url = None if server is None else server.url(await server.create())
        hub = await asyncio.to_thread(Hub, Path(folder), url)
        await asyncio.to_thread(hub.start)
        receivers = Receivers()
        await receivers.start()
        connector = aiohttp.TCPConnector(limit=0)
        try:
            async with aiohttp.ClientSession(headers=hub.headers, connector=connector) as session:
                yield hub, receivers, session
        finally:
            receivers.stop()
            await asyncio.to_thread(hub.close)


async def throughput(server: Postgres | None, workers: int, interactions: int, progress: Progress) -> Figures:
    """Flat out, one endpoint that takes everything."""
    async with house(server) as (hub, receivers, session):
        await add_endpoints(session, hub, receivers.port, 1, 0)
        load = Load(session, hub.url)
        seconds = await load.flat_out(workers, interactions, progress)
        behind = 2 * interactions - receivers.total
        rest = await drained(receivers, 2 * interactions, progress)
        return {
            "interactions/s": interactions / seconds,
            "deliveries/s": 2 * interactions / (seconds + rest),
            "behind at the end": behind,
            "memory MB": memory_mb(hub.pid),
        }


async def latency(server: Postgres | None, rate: float, seconds: float, progress: Progress) -> Figures:
    """At a steady rate, one endpoint."""
    interactions = max(1, round(rate * seconds))
    async with house(server) as (hub, receivers, session):
        await add_endpoints(session, hub, receivers.port, 1, 0)
        load = Load(session, hub.url)
        await load.at_rate(rate, interactions, progress)
        await drained(receivers, 2 * interactions, progress)
        taken = latencies(load, receivers)
        cuts = statistics.quantiles(taken, n=100, method="inclusive")
        return {"p50 ms": cuts[49], "p99 ms": cuts[98], "longest ms": taken[-1]}


async def isolation(server: Postgres | None, answering: int, hanging: int, interactions: int, progress: Progress) -> Figures:
    """A burst to many endpoints, some of which hang on every request: what the others get a second."""
    async with house(server) as (hub, receivers, session):
        await add_endpoints(session, hub, receivers.port, answering, hanging)
        load = Load(session, hub.url)
        began = time.monotonic()
        await load.flat_out(8, interactions, progress)
        await drained(receivers, 2 * interactions * answering, progress)
        return {"deliveries/s": 2 * interactions * answering / (time.monotonic() - began)}


async def soak(server: Postgres | None, rate: float, minutes: float, console: Console, progress: Progress) -> Figures:
    """A steady rate for long: the hub's memory every minute, from the second one on."""
    async with house(server) as (hub, receivers, session):
        await add_endpoints(session, hub, receivers.port, 1, 0)
        sizes: list[float] = []
        for minute in range(max(2, round(minutes))):
            load = Load(session, hub.url)  # a new one each minute: what it notes must not grow either
            await load.at_rate(rate, round(rate * 60), progress)
            await drained(receivers, 2 * load.done, progress)
            receivers.first.clear()
            receivers.by_path.clear()
            sizes.append(memory_mb(hub.pid))
            console.print(f"  minute {minute + 1:>3}   {sizes[-1]:,.1f} MB", highlight=False)
        warm = sizes[1:]
        return {"minutes": len(sizes), "first MB": warm[0], "last MB": warm[-1], "most MB": max(warm)}


def show(console: Console, title: str, figures: Figures) -> None:
    """Print figures on one line."""
    shown = "   ".join(f"{name} {value:,.1f}" if isinstance(value, float) else f"{name} {value:,}" for name, value in figures.items())
    console.print(f"  {title:<34}{shown}", highlight=False)


async def run(given: argparse.Namespace) -> None:
    """Run what was asked for."""
    console = Console()
    with databases(given.databases) as servers, Progress(console=console, transient=True, disable=not sys.stdout.isatty()) as progress:
        console.print("interactions over REST and their webhooks; hub, client and receivers share this machine", highlight=False)
        for kind, server in servers.items():
            if given.soak:
                show(console, f"{kind}, {given.rate:.0f} interactions/s", await soak(server, given.rate, given.soak, console, progress))
                continue
            flat = await throughput(server, given.workers, given.interactions, progress)
            show(console, f"{kind}, {given.workers} clients", flat)
            slow = await latency(server, given.rate, given.seconds, progress)
            show(console, f"{kind}, {given.rate:.0f} interactions/s", slow)
            # the same endpoints that answer, without and with others that hang
            alone = await isolation(server, 80, 0, given.burst, progress)
            beside = await isolation(server, 80, 20, given.burst, progress)
            show(console, f"{kind}, 80 endpoints", alone)
            show(console, f"{kind}, beside 20 that hang", {**beside, "ratio": beside["deliveries/s"] / alone["deliveries/s"]})


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.webhooks", description=__doc__)
    parser.add_argument("--databases", nargs="+", choices=["sqlite", "postgresql"], default=["sqlite", "postgresql"])
    parser.add_argument("--workers", type=int, default=32, help="clients at once")
    parser.add_argument("--interactions", type=int, default=4_000)
    parser.add_argument("--rate", type=float, default=200.0, help="interactions/s of the measurement of latency")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long that takes")
    parser.add_argument("--soak", type=float, default=0.0, metavar="MINUTES", help="nothing but the steady rate, and the hub's memory")
    parser.add_argument("--burst", type=int, default=50, help="interactions that go to many endpoints")
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
