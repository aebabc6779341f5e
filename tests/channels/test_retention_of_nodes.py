"""Several nodes delete what is old from one PostgreSQL at the same time: each row goes once, and no job fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from channels.interactions import store as interactions
from channels.messaging import store_media
from hub.storage.migrations import HUB
from hub.storage.transactions import Transactions
from tests.hub.storage.backends import Postgres, postgres, running_at

__all__ = ["postgres"]

NODES = 3
ROWS = 3_000
OLD_MS = 1_000_000
KEPT = 7
"""Rows that are not old."""


@pytest.fixture
async def nodes(postgres: Postgres) -> AsyncIterator[list[Transactions]]:
    """The database as each node has it, with old rows in the tables."""
    packages = (*HUB, "channels.interactions.migrations", "channels.messaging.migrations")
    url = postgres.url(await postgres.migrated(packages))
    async with AsyncExitStack() as stack:
        made = [await stack.enter_async_context(running_at(url)) for _ in range(NODES)]
        await made[0].write(
            lambda tx: (
                tx.run("INSERT INTO tenants (name, created_ms) VALUES ('acme', 1)"),
                # ids in an order of their own: rows are found in another order than they lie
                tx.run(
                    "INSERT INTO interactions (tenant, id, service, media, subtype, state, user_data, created_ms, stopped_ms)"
                    " SELECT 'acme', md5(n::text), 's', 'chat', 'x', 'stopped', '{}', n, n FROM generate_series(1, ?) n",
                    (ROWS,),
                ),
                tx.run(
                    "INSERT INTO interactions (tenant, id, service, media, subtype, state, user_data, created_ms, stopped_ms)"
                    " SELECT 'acme', 'new ' || n, 's', 'chat', 'x', 'stopped', '{}', ?, ? FROM generate_series(1, ?) n",
                    (OLD_MS, OLD_MS, KEPT),
                ),
            )
        )
        yield made


async def test_interactions(nodes: list[Transactions]) -> None:
    async def trim(node: Transactions) -> int:
        total = 0
        for _ in range(3):  # rounds of the job: one that met another node's is shorter
            while deleted := await node.write(lambda tx: interactions.trim(tx, OLD_MS, 100)):
                total += deleted
        return total

    assert sum(await asyncio.gather(*map(trim, nodes))) == ROWS
    assert await nodes[0].read(lambda tx: tx.rows("SELECT count(*) FROM interactions", ())) == [(KEPT,)]


async def test_media_are_told_to_the_one_node_that_removes_their_files(nodes: list[Transactions]) -> None:
    await nodes[0].write(
        lambda tx: (
            tx.run("INSERT INTO messaging_channels (tenant, id, type, endpoint, created_ms) VALUES ('acme', 'c', 'x', 'e', 1)"),
            tx.run(
                "INSERT INTO messaging_media (id, channel, filename, mimetype, length, created_ms)"
                " SELECT md5(n::text), (SELECT number FROM messaging_channels), 'f', 'text/plain', 1, n FROM generate_series(1, ?) n",
                (ROWS,),
            ),
        )
    )

    async def trim(node: Transactions) -> list[str]:
        removed: list[str] = []
        for _ in range(3):
            while found := await node.write(lambda tx: store_media.trim(tx, OLD_MS, 100)):
                removed += found
        return removed

    removed = [identifier for of_node in await asyncio.gather(*map(trim, nodes)) for identifier in of_node]
    assert len(removed) == len(set(removed)) == ROWS
