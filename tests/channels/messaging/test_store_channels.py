"""Rows of channels that two hubs change at the same moment."""

from __future__ import annotations

import asyncio
import threading

from channels.messaging import store_channels
from channels.messaging.family import family
from channels.messaging.models import Channel
from hub.families import migrations_of
from hub.storage.backends import backend_of
from hub.storage.transactions import Transaction, Transactions
from tests.hub.storage.backends import Postgres, opened


async def test_two_changes_of_one_channel_at_once_lose_nothing(postgres: Postgres) -> None:
    """On PostgreSQL, where two transactions run at the same time: the second one reads when the first has ended."""
    async with opened(postgres.url(await postgres.migrated(migrations_of([family])))) as database:
        first, second = Transactions(backend_of(database)), Transactions(backend_of(database))
        await first.start()
        await second.start()
        await first.write(lambda tx: tx.run("INSERT INTO tenants (name, created_ms) VALUES ('twice', 0)"))
        await first.write(lambda tx: store_channels.add(tx, Channel(0, "twice", "sms", "sms", None, None, "ep_twice", 0)))
        read, written = threading.Event(), threading.Event()

        def name_it(tx: Transaction) -> None:
            found = store_channels.find(tx, "twice", "sms", to_change=True)
            assert found is not None
            read.set()
            written.wait(0.3)  # without the lock the other one is through by then
            store_channels.change(tx, found._replace(sender_name="Support"))

        def retype_it(tx: Transaction) -> None:
            found = store_channels.find(tx, "twice", "sms", to_change=True)
            assert found is not None
            store_channels.change(tx, found._replace(type="whatsapp"))

        naming = asyncio.create_task(first.write(name_it))
        await asyncio.to_thread(read.wait)
        await second.write(retype_it)
        written.set()
        await naming
        found = await first.read(lambda tx: store_channels.find(tx, "twice", "sms"))
        assert found is not None
        assert (found.type, found.sender_name) == ("whatsapp", "Support")
        await first.stop()
        await second.stop()
