"""Files are claimed for the scanner by one hub at a time, and no tenant takes all places."""

from __future__ import annotations

from channels.files import store_scans
from channels.files.models import FileRecord
from tests.channels.files.support import World


async def waiting(world: World, tenant: str, count: int) -> None:
    """Let files of a tenant wait."""
    made = [(await world.start(tenant=tenant))[0].id for _ in range(count)]
    await world.transactions.write(
        lambda tx: [tx.run("UPDATE files SET state = 'scanning', checking_ms = 1 WHERE id = ?", (each,)) for each in made]
    )


async def claim(world: World, now_ms: int, limit: int = 10, share: int = 10, **under_way: int) -> list[FileRecord]:
    return await world.transactions.write(lambda tx: store_scans.claim(tx, now_ms, now_ms + 100, limit, share, under_way))


async def test_a_file_is_claimed_once_until_its_lease_ends(world: World) -> None:
    await waiting(world, "acme", 3)
    first = await claim(world, 1000, limit=2)
    second = await claim(world, 1000)
    assert (len(first), len(second)) == (2, 1)
    assert {each.id for each in first}.isdisjoint(each.id for each in second)
    assert await claim(world, 1099) == []
    assert len(await claim(world, 1100)) == 3
    await world.transactions.write(lambda tx: store_scans.give_back(tx, first))
    assert {each.id for each in await claim(world, 1101)} == {each.id for each in first}
    await world.transactions.write(store_scans.end_leases)
    assert len(await claim(world, 1102)) == 3


async def test_tenants_take_turns_and_have_a_share(world: World) -> None:
    await waiting(world, "acme", 6)
    await waiting(world, "other", 2)
    tenants = [each.tenant for each in await claim(world, 1000, limit=4, share=4)]
    assert sorted(tenants) == ["acme", "acme", "other", "other"]
    assert [each.tenant for each in await claim(world, 1000, share=4, acme=2)] == ["acme", "acme"], "with two under way it has its share"
    assert await claim(world, 1000, share=4, acme=4) == []
    assert len(await claim(world, 1000, share=4)) == 2, "what was beyond the share waits on"
