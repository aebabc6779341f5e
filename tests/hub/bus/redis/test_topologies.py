"""Sentinels with a failover, and a Cluster of three masters with a slot that moves and a master that ends, all under a load."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections.abc import Callable, Iterator

import pytest

from hub.bus.interface import Envelope
from hub.core.delivery import DeliveryClass
from hub.core.message import Topic
from hub.redis.cluster import slot_of
from tests.hub.bus.backends import until
from tests.hub.bus.redis.cluster import TOPICS, Cluster, MakeCluster
from tests.support.redis_server import RedisServer, why_no_redis
from tests.support.redis_topologies import RedisCluster, WatchedRedis

pytestmark = pytest.mark.repeated

Start = Callable[..., RedisServer]
LONG_ROUNDS = int(os.environ.get("HUB_TEST_KILLS", "200"))


@pytest.fixture(scope="module")
def three_masters() -> Iterator[RedisCluster]:
    """For the tests of this file that leave three masters behind."""
    if why := why_no_redis():
        pytest.skip(why)
    cluster = RedisCluster()
    yield cluster
    cluster.close()


async def check(cluster: Cluster) -> None:
    """I2, I3 and I4 of a server that may have lost something: who was there missed nothing, or was told; who comes back is not lied to."""
    await cluster.check(durable=False)
    span = await cluster.a.log.span("t")
    in_log = await cluster.in_log()
    acknowledged = sorted(cluster.a.acknowledged + cluster.b.acknowledged)
    for since in acknowledged:
        if max(span.floor, span.seam) <= since <= span.newest:
            assert not [position for position in acknowledged if position > since and position not in in_log]


# -- a Cluster ------------------------------------------------------------------------------------------------------------


async def test_a_slot_moves_under_load(three_masters: RedisCluster, make_cluster: MakeCluster) -> None:
    cluster = make_cluster(three_masters)
    slot = slot_of(cluster.names.of("t").meta)
    source = three_masters.owner(slot)
    target = next(master for master in three_masters.masters if master is not source)
    await cluster.b.bus.subscribe([Topic("u", "", "/u")], positions=False)
    async with cluster.under_load():
        before = sorted(cluster.a.acknowledged + cluster.b.acknowledged)
        moves = itertools.cycle(((target, source), (source, target)))
        # there and back at least; on a fast machine a move may pass between two publishes, and then nothing is missed
        for number in itertools.count(1):
            there, back = next(moves)
            await asyncio.to_thread(three_masters.move, slot, there, 0.02)
            await cluster.progress()
            assert three_masters.owner(slot) is there is not back
            if number >= 2 and cluster.b.bus.counters.repaired:
                break
    await check(cluster)
    in_log = await cluster.in_log()
    assert set(cluster.a.acknowledged + cluster.b.acknowledged) <= in_log.keys()  # nothing was lost on the way
    assert cluster.b.bus.counters.moved > 0
    assert cluster.b.bus.counters.repaired > 0
    assert (await cluster.a.log.span("t")).seam > max(before)  # nobody can know that
    # and it is heard: events, too
    heard = cluster.b.journal.events
    cluster.a.bus.publish(Envelope(TOPICS[0], DeliveryClass.EVENT, b"after"))
    await until(lambda: heard == [b"after"])


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
async def test_slots_move_hundreds_of_times(three_masters: RedisCluster, make_cluster: MakeCluster) -> None:
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    print(f"seed {seed}")
    for _ in range(LONG_ROUNDS):
        cluster = make_cluster(three_masters)
        slot = slot_of(cluster.names.of("t").meta)
        async with cluster.under_load():
            for _ in range(chance.randint(1, 4)):
                source = three_masters.owner(slot)
                target = chance.choice([master for master in three_masters.masters if master is not source])
                await asyncio.to_thread(three_masters.move, slot, target, chance.choice([0, 0.02]))
                await cluster.progress(chance.randint(1, 30))
                assert three_masters.owner(slot) is target
        await check(cluster)
        in_log = await cluster.in_log()
        assert set(cluster.a.acknowledged + cluster.b.acknowledged) <= in_log.keys()
        await cluster.close()


async def test_tenants_of_other_slots_do_not_notice(three_masters: RedisCluster, make_cluster: MakeCluster) -> None:
    cluster = make_cluster(three_masters)
    slot = slot_of(cluster.names.of("t").meta)
    source = three_masters.owner(slot)
    target = next(master for master in three_masters.masters if master is not source)
    # another tenant on the same master
    other = next(
        name
        for number in range(1000)
        if three_masters.owner(slot_of(cluster.names.of(name := f"other-{number}").meta)) is source
        and slot_of(cluster.names.of(name).meta) != slot
    )
    topic = Topic(other, "", "/log/1")
    async with cluster.under_load():
        await cluster.b.bus.subscribe([topic], positions=True)
        heard: list[Envelope] = []
        gaps: list[str] = []
        journal = cluster.b.journal
        take, gap = journal.on_envelope, journal.on_gap
        journal.on_envelope = lambda envelope: (heard.append if envelope.topic.tenant == other else take)(envelope)  # type: ignore
        journal.on_gap = lambda told: (gaps.append(told.tenant), gap(told))[1]  # type: ignore
        await asyncio.to_thread(three_masters.move, slot, target)
        for number in range(20):
            await cluster.a.bus.append(Envelope(topic, DeliveryClass.LOG, b"%d" % number))
        await cluster.progress()
    assert [int(envelope.data) for envelope in heard] == list(range(20))
    assert other not in gaps
    await check(cluster)
    assert cluster.b.bus.counters.connected == 3  # no connection was given up


async def test_a_master_of_a_cluster_ends_under_load(make_cluster: MakeCluster) -> None:
    if why := why_no_redis():
        pytest.skip(why)
    servers = await asyncio.to_thread(lambda: RedisCluster(replicas=True))
    cluster = make_cluster(servers)
    try:
        master = servers.owner(slot_of(cluster.names.of("t").meta))
        async with cluster.under_load():
            await asyncio.to_thread(master.kill)
        await check(cluster)
        assert cluster.b.bus.subscriber_of("t").server is not None
    finally:
        await cluster.close()
        servers.close()


# -- Sentinels ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["kill", "stall"])
async def test_sentinels_fail_over_under_load(make_cluster: MakeCluster, how: str) -> None:
    if why := why_no_redis():
        pytest.skip(why)
    watched = await asyncio.to_thread(lambda: WatchedRedis(sentinels=3, replicas=1))
    cluster = make_cluster(watched)
    try:
        async with cluster.under_load():
            before = max(cluster.a.acknowledged)
            await asyncio.to_thread(getattr(watched, how))
            await until(lambda: watched.master_port() != watched.port)
        await check(cluster)
        assert (await cluster.a.log.span("t")).seam > before
        assert cluster.a.bus.subscriber.server.server is not None
        assert not cluster.a.bus.subscriber.server.server.durable
    finally:
        await cluster.close()
        watched.close()
