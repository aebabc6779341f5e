"""Two hubs on one database and one store: tokens, quotas and completions are decided once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from channels.files.errors import QuotaExceeded
from channels.files.state_machine import FileStatus
from hub.storage.backends import backend_of
from hub.storage.transactions import Transactions
from tests.channels.files.conftest import PACKAGES
from tests.channels.files.support import NOW, TENANTS, World
from tests.hub.storage.backends import Postgres, opened
from tests.world import ManualClock

SETTINGS = {"resource_files": 10}


@pytest.fixture
async def two(postgres: Postgres, tmp_path: Path) -> AsyncIterator[tuple[World, World]]:
    """Two hubs, each with its own connections."""
    async with opened(postgres.url(await postgres.migrated(PACKAGES))) as database:
        made = [Transactions(backend_of(database)) for _ in range(2)]
        for each in made:
            await each.start()
        for tenant in TENANTS:
            await made[0].write(lambda tx, name=tenant: tx.run("INSERT INTO tenants (name, created_ms) VALUES (?, 0)", (name,)))  # type: ignore[misc]
        clock = ManualClock(wall=NOW)
        first, second = (World(each, tmp_path, clock, dict(SETTINGS)) for each in made)
        async with first.running(), second.running():
            yield first, second
        for each in made:
            await each.stop()


async def test_of_one_token_at_two_hubs_at_once_there_is_one_file(two: tuple[World, World]) -> None:
    for token in range(10):
        made = await asyncio.gather(*(two[each % 2].start(client_token=str(token)) for each in range(6)))
        assert len({file.id for file, _ in made}) == 1
        await two[0].files.delete("acme", made[0][0].id)


async def test_two_hubs_together_take_no_more_than_a_resource_may_have(two: tuple[World, World]) -> None:
    made = await asyncio.gather(*(two[each % 2].start() for each in range(30)), return_exceptions=True)
    assert sum(isinstance(each, QuotaExceeded) for each in made) == 20
    assert not [each for each in made if isinstance(each, BaseException) and not isinstance(each, QuotaExceeded)]


async def test_a_file_is_uploaded_at_one_hub_completed_at_both_and_read_at_the_other(two: tuple[World, World]) -> None:
    first, second = two
    for _ in range(5):
        file, link = await first.start()
        there = link._replace(url=link.url.replace(first.base, second.base))
        answers = await asyncio.gather(first.put(link), second.put(there))
        assert [each.status_code for each in answers] == [200, 200]
        await asyncio.gather(*(each.complete(file) for each in (first, second, first, second)))
        found = await second.now(file)
        assert found is not None
        assert found.status is FileStatus.APPROVED
        assert (await second.read(found)).content == b"hello"
        assert len(await first.keys()) == 1
        await first.files.delete("acme", file.id)
    await first.until(lambda: sum(len(world.heard.on("/hub/operations")) for world in two) == 15)
    told = [each["event"] for world in two for each in world.heard.on("/hub/operations")]
    assert sorted(told) == sorted(["UPLOADED", "APPROVED", "DELETED"] * 5), "one of the hubs tells, once"
