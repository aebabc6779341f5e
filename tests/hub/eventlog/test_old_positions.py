"""Positions of a hub that was alone are below those of the log that it has with others, whatever its clock said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from hub.core.message import Topic
from hub.eventlog.channel_log_redis import RedisChannelLog
from hub.eventlog.channel_log_sqlite import FILE_NAME, SqliteChannelLog
from hub.eventlog.interface import EventLogError
from hub.eventlog.old_positions import OldPositions
from tests.hub.bus.backends import NodesOverRedis
from tests.support.redis_server import RedisServer
from tests.world import ManualClock

TOPIC = Topic("acme", "", "/orders")
HOUR_S = 3600


@pytest.fixture
def clock() -> ManualClock:
    """That of Redis."""
    return ManualClock()


@pytest.fixture
async def nodes(clock: ManualClock, shared_redis: Callable[[str], RedisServer]) -> AsyncIterator[NodesOverRedis]:
    made = await NodesOverRedis.make(shared_redis("redis"), clock)
    yield made
    await made.close()


async def alone(folder: Path, clock: ManualClock) -> int:
    """The newest position of a hub that was alone."""
    log = SqliteChannelLog(folder, clock)
    position = 0
    for number in range(3):
        position, _ = await log.append(TOPIC, b"%d" % number, b"") or (0, 0)
    await log.close()
    return position


async def lift(folder: Path, log: RedisChannelLog) -> None:
    service = OldPositions(folder, log, again_s=0.01)
    await service.start()
    await service.stop()


async def is_recovered(log: RedisChannelLog, since: int) -> bool:
    """As a subscribe finds out (hub/core/subscriptions.py)."""
    span = await log.span(TOPIC.tenant)
    if max(span.floor, span.seam) <= since <= span.newest:
        return True
    return span.seam <= since < span.floor and await log.complete_since([TOPIC], since)


@pytest.mark.parametrize("ahead_s", [0, -HOUR_S, HOUR_S])
async def test_the_log_begins_above_them(tmp_path: Path, nodes: NodesOverRedis, clock: ManualClock, ahead_s: float) -> None:
    other = ManualClock(wall=clock.wall_ms() + round(ahead_s * 1000))
    last = await alone(tmp_path, other)
    await lift(tmp_path, nodes.log)
    for _ in range(3):
        clock.advance(HOUR_S)  # the positions of the log pass those of the file
        assert (await nodes.log.append(TOPIC, b"new", b"") or (0, 0))[0] > last
        assert not await is_recovered(nodes.log, last)
        assert not await is_recovered(nodes.log, last - 1)


async def test_a_log_that_has_begun_below_them_gets_a_seam_once(tmp_path: Path, nodes: NodesOverRedis, clock: ManualClock) -> None:
    """Another node came first, and the clock of the hub that was alone was ahead."""
    last = await alone(tmp_path, ManualClock(wall=clock.wall_ms() + HOUR_S * 1000))
    await nodes.log.append(TOPIC, b"1", b"")
    clock.advance(2 * HOUR_S)
    await nodes.log.append(TOPIC, b"2", b"")
    assert await is_recovered(nodes.log, last), "without more it would be told so"
    await lift(tmp_path, nodes.log)
    assert not await is_recovered(nodes.log, last)
    position, _ = await nodes.log.append(TOPIC, b"3", b"") or (0, 0)
    seam = (await nodes.log.span("acme")).seam
    assert last < seam < position
    await lift(tmp_path, nodes.log)
    assert (await nodes.log.span("acme")).seam == seam
    assert await is_recovered(nodes.log, position)


async def test_while_redis_is_away_it_waits(tmp_path: Path, nodes: NodesOverRedis, clock: ManualClock) -> None:
    last = await alone(tmp_path, ManualClock(wall=clock.wall_ms() + HOUR_S * 1000))
    await nodes.log.span("acme")
    nodes.gate.cut()
    service = OldPositions(tmp_path, nodes.log_b, again_s=0.01)
    await service.start()
    assert (await nodes.log.span("acme")).newest < last
    nodes.gate.mend()
    async with asyncio.timeout(60):
        while (await nodes.log.span("acme")).seam <= last:
            await asyncio.sleep(0.01)
    await service.stop()


async def test_a_folder_without_the_file_changes_nothing_and_one_that_cannot_be_read_is_told(tmp_path: Path, nodes: NodesOverRedis) -> None:
    before = await nodes.log.span("acme")
    await lift(tmp_path, nodes.log)
    assert await nodes.log.span("acme") == before
    (tmp_path / FILE_NAME).write_bytes(b"no database, but as long as a page would have to be" * 100)
    with pytest.raises(EventLogError, match=r"channels\.db cannot be read"):
        await lift(tmp_path, nodes.log)
