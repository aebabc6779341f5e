"""One test file for every backend of the event log."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hub.eventlog.interface import EventLog, EventLogError
from hub.eventlog.memory import MemoryEventLog
from hub.eventlog.postgresql import PostgresEventLog
from hub.eventlog.sqlite import SqliteEventLog
from hub.storage.url import DatabaseUrl
from tests.hub.eventlog.test_postgresql import PACKAGES
from tests.hub.storage.backends import Postgres, postgres

__all__ = ["postgres"]


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EventLog]:
    made: EventLog
    if request.param == "memory":
        made = MemoryEventLog()
    elif request.param == "sqlite":
        made = SqliteEventLog(tmp_path / "data")
    else:
        server: Postgres = request.getfixturevalue("postgres")
        made = PostgresEventLog(DatabaseUrl.parse(server.url(await server.migrated(PACKAGES))))
    yield made
    await made.close()


async def read(log: EventLog, tenant: str = "t", stream: str = "s", after: int = 0) -> list[tuple[int, bytes]]:
    return [record async for chunk in log.read(tenant, stream, after) for record in chunk]


async def test_positions_begin_at_one_and_rise_by_one(log: EventLog) -> None:
    assert await log.append("t", "s", [b"a", b"b"]) == 2
    assert await log.append("t", "s", [b"c"]) == 3
    assert await read(log) == [(1, b"a"), (2, b"b"), (3, b"c")]


async def test_append_of_nothing_returns_the_present_position(log: EventLog) -> None:
    await log.append("t", "s", [b"a"])
    assert await log.append("t", "s", []) == 1


async def test_streams_and_tenants_do_not_mix(log: EventLog) -> None:
    await log.append("t", "s", [b"a"])
    await log.append("u", "s", [b"b"])
    await log.append("t", "other", [b"c"])
    assert await read(log) == [(1, b"a")]
    assert await read(log, "u") == [(1, b"b")]
    assert await read(log, "t", "other") == [(1, b"c")]


async def test_read_begins_after_a_position(log: EventLog) -> None:
    await log.append("t", "s", [b"a", b"b", b"c"])
    assert await read(log, after=2) == [(3, b"c")]
    assert await read(log, after=3) == []


async def test_read_of_an_unknown_stream_yields_nothing(log: EventLog) -> None:
    assert await read(log, "nobody") == []
    assert await log.last("nobody", "s") == 0


async def test_read_comes_in_chunks_of_up_to_a_thousand(log: EventLog) -> None:
    await log.append("t", "s", [b"%d" % i for i in range(2500)])
    sizes = [len(chunk) async for chunk in log.read("t", "s")]
    assert sizes == [1000, 1000, 500]
    assert (await read(log))[-1] == (2500, b"2499")


async def test_read_goes_on_with_what_was_appended_meanwhile(log: EventLog) -> None:
    await log.append("t", "s", [b"a"])
    seen = []
    async for chunk in log.read("t", "s"):
        seen += [record for _, record in chunk]
        if len(seen) == 1:
            await log.append("t", "s", [b"b"])
    assert seen == [b"a", b"b"]


async def test_records_are_any_bytes(log: EventLog) -> None:
    records = [b"", bytes(range(256)), b"x" * 100_000]
    await log.append("t", "s", records)
    assert [record for _, record in await read(log)] == records


async def test_trim_forgets_up_to_and_with_a_position(log: EventLog) -> None:
    await log.append("t", "s", [b"a", b"b", b"c"])
    await log.trim("t", "s", 2)
    assert await read(log) == [(3, b"c")]


async def test_positions_go_on_after_everything_was_trimmed(log: EventLog) -> None:
    await log.append("t", "s", [b"a", b"b"])
    await log.trim("t", "s", 100)
    assert await read(log) == []
    assert await log.last("t", "s") == 2
    assert await log.append("t", "s", [b"c"]) == 3
    assert await read(log) == [(3, b"c")]


async def test_trim_of_more_than_one_piece(log: EventLog) -> None:
    await log.append("t", "s", [b"r"] * 10_001)
    await log.trim("t", "s", 10_000)
    assert await read(log) == [(10_001, b"r")]


async def test_trim_leaves_other_streams_alone(log: EventLog) -> None:
    await log.append("t", "s", [b"a"])
    await log.append("u", "s", [b"b"])
    await log.trim("t", "s", 1)
    assert await read(log, "u") == [(1, b"b")]


async def test_snapshot_is_replaced_by_the_next(log: EventLog) -> None:
    await log.save_snapshot("t", "s", "owner", 5, b"five")
    await log.save_snapshot("t", "s", "owner", 7, b"seven")
    assert await log.load_snapshot("t", "s", "owner") == (7, b"seven")


async def test_snapshots_of_owners_and_streams_do_not_mix(log: EventLog) -> None:
    await log.save_snapshot("t", "s", "one", 1, b"1")
    await log.save_snapshot("t", "s", "two", 2, b"2")
    assert await log.load_snapshot("t", "s", "one") == (1, b"1")
    assert await log.load_snapshot("t", "s", "three") is None
    assert await log.load_snapshot("u", "s", "one") is None


async def test_tenants_are_those_that_appended(log: EventLog) -> None:
    await log.append("b", "s", [b"x"])
    await log.append("a", "s", [b"x"])
    await log.append("c", "other", [b"x"])
    await log.save_snapshot("d", "s", "owner", 0, b"")
    await log.append("e", "s", [])
    assert await log.tenants("s") == ["a", "b"]


async def test_concurrent_appends_each_get_positions_of_their_own(log: EventLog) -> None:
    last = await asyncio.gather(*(log.append("t", "s", [b"%d" % i, b"%d" % i]) for i in range(100)))
    assert sorted(last) == list(range(2, 201, 2))
    by_position = dict(await read(log))
    for i, position in enumerate(last):
        assert by_position[position - 1] == by_position[position] == b"%d" % i


async def test_positions_go_on_behind_another_stream_in_one_group(log: EventLog) -> None:
    """What waits for the writer becomes one transaction, with streams that it makes."""
    found = await asyncio.gather(*(log.append(tenant, "s", [tenant.encode()]) for tenant in "abcabcaa"))
    assert found == [1, 1, 1, 2, 2, 2, 3, 4]
    assert await log.tenants("s") == ["a", "b", "c"]


async def test_a_closed_log_refuses(log: EventLog) -> None:
    await log.close()
    with pytest.raises(EventLogError, match="closed"):
        await log.append("t", "s", [b"a"])
    with pytest.raises(EventLogError, match="closed"):
        await log.last("t", "s")
    with pytest.raises(EventLogError, match="closed"):
        await log.tenants("s")


async def test_close_twice_does_no_harm(log: EventLog) -> None:
    await log.close()
    await log.close()
