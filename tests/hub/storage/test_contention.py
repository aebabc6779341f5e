"""Two nodes that write the same rows of PostgreSQL in different orders."""

from __future__ import annotations

import asyncio
import threading

from hub.storage.backends import backend_of
from hub.storage.database import Database
from hub.storage.transactions import Transaction, Transactions
from tests.hub.storage.backends import Postgres, opened

WITHIN_S = 60


async def test_a_deadlock_of_two_groups_is_over_without_an_error(postgres: Postgres) -> None:
    """A group holds the locks of all its operations; when it is in the way of another process, each runs for itself."""
    async with opened(postgres.url(await postgres.migrated())) as database:
        one, two = await _node(database), await _node(database)
        for name in ("a", "b"):
            await one.write(lambda tx, name=name: tx.run("INSERT INTO tenants (name, created_ms) VALUES (?, 0)", (name,)))  # type: ignore[misc]
        has_a, has_b = threading.Event(), threading.Event()

        def raise_(tx: Transaction, name: str) -> None:
            tx.run("UPDATE tenants SET created_ms = created_ms + 1 WHERE name = ?", (name,))

        def a_of_group(tx: Transaction) -> None:
            raise_(tx, "a")
            has_a.set()

        def b_of_group(tx: Transaction) -> None:
            assert has_b.wait(WITHIN_S)
            raise_(tx, "b")

        def b_then_a(tx: Transaction) -> None:
            raise_(tx, "b")
            has_b.set()
            assert has_a.wait(WITHIN_S)
            raise_(tx, "a")

        def first(_: Transaction) -> None:
            """Holds the writer until the others wait, so that they become one group."""
            assert waiting.wait(WITHIN_S)

        waiting = threading.Event()
        held = asyncio.ensure_future(one.write(first))
        group = [asyncio.ensure_future(one.write(each)) for each in (a_of_group, b_of_group)]
        await asyncio.sleep(0)
        waiting.set()
        await asyncio.gather(held, *group, two.write(b_then_a))
        assert await one.read(lambda tx: tx.rows("SELECT name, created_ms FROM tenants ORDER BY name")) == [("a", 2), ("b", 2)]
        assert one.counters.retried + two.counters.retried > 0
        await one.stop()
        await two.stop()


async def _node(database: Database) -> Transactions:
    transactions = Transactions(backend_of(database))
    await transactions.start()
    return transactions
