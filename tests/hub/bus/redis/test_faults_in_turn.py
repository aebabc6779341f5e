"""The faults of ``test_failures.py`` in turn, at random moments of a load: a few in the short form, hundreds in the long one."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable

import pytest

from tests.hub.bus.redis.cluster import TUNING, Cluster
from tests.support.redis_server import RedisServer, free_port, persistence

Start = Callable[..., RedisServer]
Fault = Callable[[Cluster, RedisServer, random.Random], Awaitable[None]]

LONG_ROUNDS = int(os.environ.get("HUB_TEST_KILLS", "200"))
SHORT_ROUNDS = 2
FAULTS_A_ROUND = 3
LONGEST_S = 1.5
"""The longest that a fault lasts: longer than the bus waits until it takes a connection for deaf."""


async def ask(server: RedisServer, *command: object) -> None:
    """A command of an operator."""
    await asyncio.to_thread(server.ask, *command)


async def subscribers_are_killed(cluster: Cluster, server: RedisServer, chance: random.Random) -> None:
    await ask(server, "CLIENT", "KILL", "TYPE", "pubsub")


async def commands_are_killed(cluster: Cluster, server: RedisServer, chance: random.Random) -> None:
    await ask(server, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


async def it_is_killed(cluster: Cluster, server: RedisServer, chance: random.Random) -> None:
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(chance.uniform(0, LONGEST_S))
    await asyncio.to_thread(server.start)


async def it_stalls(cluster: Cluster, server: RedisServer, chance: random.Random) -> None:
    server.stall()
    try:
        await asyncio.sleep(chance.uniform(0, LONGEST_S))
    finally:
        server.wake()


async def it_is_demoted(cluster: Cluster, server: RedisServer, chance: random.Random) -> None:
    await ask(server, "REPLICAOF", "127.0.0.1", str(free_port()))
    await asyncio.sleep(chance.uniform(0, LONGEST_S))
    await ask(server, "REPLICAOF", "NO", "ONE")


async def it_forgets_scripts(cluster: Cluster, server: RedisServer, chance: random.Random) -> None:
    await ask(server, "SCRIPT", "FLUSH")


async def it_forgets_everything(cluster: Cluster, server: RedisServer, chance: random.Random) -> None:
    await ask(server, "FLUSHALL")


async def it_forgets_a_key(cluster: Cluster, server: RedisServer, chance: random.Random) -> None:
    names = cluster.names.of("t")
    await ask(server, "DEL", chance.choice([names.meta, names.stream]))


LOSE_NOTHING: list[Fault] = [
    subscribers_are_killed,
    commands_are_killed,
    it_is_killed,
    it_stalls,
    it_is_demoted,
    it_forgets_scripts,
]
"""With a server that writes each message to its disk before it acknowledges it."""

MAY_LOSE: list[Fault] = [*LOSE_NOTHING, it_forgets_everything, it_forgets_a_key]


async def faults(server: RedisServer, chance: random.Random, rounds: int, *, durable: bool) -> None:
    """Cause some faults in each round, then see that what is promised was kept."""
    for number in range(rounds):
        cluster = Cluster(server, tuning=TUNING)
        done: list[str] = []
        try:
            async with cluster.under_load():
                for fault in chance.sample(LOSE_NOTHING if durable else MAY_LOSE, FAULTS_A_ROUND):
                    done.append(fault.__name__)
                    await fault(cluster, server, chance)
                    await cluster.progress(chance.randint(1, 30))
            await cluster.check(durable=durable)
            await nobody_is_told_a_lie(cluster)
        except BaseException:
            print(f"round {number}: {', '.join(done)}")
            raise
        finally:
            await cluster.close()


async def nobody_is_told_a_lie(cluster: Cluster) -> None:
    """Whoever comes back with a position that counts as recovered lacks nothing that was acknowledged."""
    span = await cluster.a.log.span("t")
    in_log = await cluster.in_log()
    acknowledged = sorted(cluster.a.acknowledged + cluster.b.acknowledged)
    known = [position for position in acknowledged if max(span.floor, span.seam) <= position <= span.newest]
    assert not [position for position in acknowledged if known and position > known[0] and position not in in_log]


@pytest.mark.parametrize("kept", ["always", "everysec", "none"])
async def test_faults_one_after_the_other(redis_process: Start, kept: str) -> None:
    server = redis_process("redis", *persistence(kept), port=free_port())
    await faults(server, random.Random(kept), SHORT_ROUNDS, durable=kept == "always")


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("kept", ["always", "everysec", "none"])
async def test_faults_one_after_the_other_hundreds_of_times(redis_process: Start, kept: str) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    server = redis_process("redis", *persistence(kept), port=free_port())
    await faults(server, random.Random(seed), LONG_ROUNDS, durable=kept == "always")
