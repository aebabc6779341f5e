"""Behind a pooler in transaction mode, which lends out another server connection with each transaction: Debian's PgBouncer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import httpx
import pytest

from hub.audit.log import AuditLog, Recorder
from hub.security.store import Store
from hub.storage.backends import backend_of
from hub.storage.migrations import migrate
from hub.storage.transactions import Transaction, Transactions
from tests.conftest import HubFactory
from tests.hub.storage.backends import Postgres, opened, running, running_at
from tests.support.cheap_secrets import QUICK
from tests.support.hub_process import clean_environment, run_hub
from tests.support.pgbouncer import PgBouncer, why_no_pgbouncer


@pytest.fixture
def pooler(postgres: Postgres) -> Iterator[PgBouncer]:
    if why := why_no_pgbouncer():
        pytest.skip(why)
    made = PgBouncer(postgres.socket_dir)
    yield made
    made.close()


async def test_writers_and_readers_share_server_connections(postgres: Postgres, pooler: PgBouncer) -> None:
    """More than five runs of each statement, after which a driver prepares it, by more clients than there are server connections."""
    name = await postgres.create()
    async with opened(pooler.url(name)) as database:
        stores = [Transactions(backend_of(database)) for _ in range(4)]
        for store in stores:
            await store.start()
        await stores[0].write(lambda tx: tx.run("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT)"))

        async def work(which: int, store: Transactions) -> None:
            for turn in range(20):
                number = which * 100 + turn

                def add(tx: Transaction, number: int = number) -> None:
                    tx.run("INSERT INTO things (id, name) VALUES (?, ?)", (number, "x"))

                await store.write(add)
                assert await store.read(lambda tx, number=number: tx.row("SELECT name FROM things WHERE id = ?", (number,))) == ("x",)  # type: ignore[misc]

        await asyncio.gather(*(work(which, store) for which, store in enumerate(stores)))
        assert await stores[0].read(lambda tx: tx.row("SELECT count(*) FROM things")) == (80,)
        assert [store.counters.faults for store in stores] == [0] * 4
        for store in stores:
            await store.stop()


async def test_processes_that_start_at_once_migrate_one_after_the_other(postgres: Postgres, pooler: PgBouncer) -> None:
    url = pooler.url(await postgres.create())

    async def start(name: str) -> None:
        async with opened(url) as database:
            await migrate(database)
            async with running(database) as transactions:
                store = Store(transactions, lambda: 1, Recorder(AuditLog(b"a secret", lambda: 1)), QUICK)
                for turn in range(10):
                    await store.add_tenant(f"{name}-{turn}")

    await asyncio.gather(*(start(name) for name in ("a", "b")))
    async with running_at(url) as transactions:
        assert len(await Store(transactions, lambda: 1, Recorder(AuditLog(b"a secret", lambda: 1)), QUICK).tenants()) == 20


async def test_a_hub_behind_a_pooler(postgres: Postgres, pooler: PgBouncer, hub_process: HubFactory) -> None:
    """Credentials, endpoints and third-party channels, each call more often than a statement runs before it is prepared."""
    url = pooler.url(await postgres.create())
    hub = hub_process("--open", "--database-url", url)
    added = run_hub(["token", "add", "a", "-t", "demo", "-r", "admin", "--json", "--database-url", url], hub.folder, clean_environment())
    assert added.returncode == 0, added.stderr
    headers = {"Authorization": f"Bearer {json.loads(added.stdout)['token']}"}

    async def calls(client: httpx.AsyncClient, number: int) -> list[int]:
        made = await client.post("/api/v1/endpoints", json={"url": f"https://example.com/{number}"})
        listed = await client.get("/api/v1/endpoints")
        shown = await client.get(f"/api/v1/endpoints/{made.json()['data']['id']}")
        stranger = await client.get("/api/v1/me", headers={"Authorization": f"Bearer hubt_{number:043}"})
        return [made.status_code, listed.status_code, shown.status_code, stranger.status_code]

    async with httpx.AsyncClient(base_url=hub.url, headers=headers, timeout=60) as client:
        while (await client.get("/api/v1/me")).status_code != 200:  # a running hub follows within 2 s
            await asyncio.sleep(0.1)
        for _ in range(5):
            answers = await asyncio.gather(*(calls(client, number) for number in range(8)))
            assert {tuple(answer) for answer in answers} == {(200, 200, 200, 401)}
