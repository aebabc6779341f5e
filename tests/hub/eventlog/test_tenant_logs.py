"""A tenant hears nothing of an earlier one of its name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from hub.core.message import Topic
from hub.eventlog.channel_log import Selection
from hub.eventlog.channel_log_memory import MemoryChannelLog
from hub.eventlog.tenant_logs import TenantLogs
from hub.families import migrations_of
from hub.storage.backends import backend_of
from hub.storage.transactions import Transactions
from tests.hub.storage.backends import Sqlite, opened, sqlite
from tests.world import ManualClock

__all__ = ["sqlite"]

START_MS = 1_795_956_000_000


class Hub:
    """Tenants in a real database, and the log of their channels."""

    def __init__(self, transactions: Transactions) -> None:
        self.transactions = transactions
        self.clock = ManualClock(wall=START_MS)
        self.log = MemoryChannelLog(self.clock)
        self.logs = TenantLogs(self.log, transactions, self.clock)

    async def add(self, tenant: str) -> None:
        self.clock.advance(1)
        now_ms = self.clock.wall_ms()
        await self.transactions.write(lambda tx: tx.run("INSERT INTO tenants (name, created_ms) VALUES (?, ?)", (tenant, now_ms)))
        self.clock.advance(1)

    async def remove(self, tenant: str) -> None:
        await self.transactions.write(lambda tx: tx.run("DELETE FROM tenants WHERE name = ?", (tenant,)))

    async def say(self, tenant: str, text: bytes) -> None:
        await self.log.append(Topic(tenant, "", "/log/a"), text, b"")

    async def heard(self, tenant: str) -> list[bytes]:
        page = await self.log.read(Selection(tenant, ("",), {"/log/a"}), 0, 2**20)
        return [record.data for record in page.records]


@pytest.fixture
async def hub(sqlite: Sqlite) -> AsyncIterator[Hub]:
    async with opened(await sqlite.migrated(migrations_of([]))) as database:
        transactions = Transactions(backend_of(database))
        await transactions.start()
        try:
            yield Hub(transactions)
        finally:
            await transactions.stop()


async def test_the_log_goes_with_the_tenant(hub: Hub) -> None:
    for tenant in ("acme", "other"):
        await hub.add(tenant)
        await hub.say(tenant, b"old")
    await hub.logs.look()
    assert (await hub.heard("acme"), await hub.heard("other")) == ([b"old"], [b"old"])
    await hub.remove("acme")
    await hub.logs.look()
    await hub.logs.look()
    assert (await hub.heard("acme"), await hub.heard("other"), hub.logs.forgotten) == ([], [b"old"], 1)


async def test_a_later_tenant_of_the_name_hears_its_own_alone(hub: Hub) -> None:
    await hub.add("acme")
    await hub.say("acme", b"of the earlier one")
    await hub.logs.look()
    await hub.remove("acme")
    await hub.add("acme")
    await hub.say("acme", b"of the later one")
    await hub.logs.look()  # nobody looked while there was none
    assert await hub.heard("acme") == [b"of the later one"]
    await hub.logs.look()
    assert await hub.heard("acme") == [b"of the later one"]


async def test_what_happened_while_the_hub_was_away_is_seen_at_its_start(hub: Hub) -> None:
    await hub.add("acme")
    await hub.say("acme", b"of the earlier one")
    await hub.remove("acme")
    await hub.add("acme")
    await hub.logs.start()
    try:
        assert await hub.heard("acme") == []
        await hub.say("acme", b"of the later one")
        await hub.remove("acme")
        hub.logs.changed()
        async with asyncio.timeout(30):
            while hub.logs.forgotten < 2:
                await asyncio.sleep(0.005)
        assert await hub.heard("acme") == []
    finally:
        await hub.logs.stop()
    assert hub.logs.forgotten == 2


async def test_a_log_that_fails_is_tried_again(hub: Hub) -> None:
    await hub.add("acme")
    await hub.logs.look()
    await hub.remove("acme")
    await hub.log.close()
    with capture_logs() as logs:
        await hub.logs.start()
        await hub.logs.stop()
    assert [line["event"] for line in logs] == ["tenants_not_looked_at"]
