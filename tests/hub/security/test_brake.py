"""The limit on failed sign-ins, of one process and of nodes that share a real server."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable

import pytest

from hub.core.limits import Limits
from hub.redis.commands import ServerCommands
from hub.redis.endpoint import UrlEndpoint
from hub.redis.names import Names
from hub.redis.scripts import Scripts
from hub.redis.shared import SharedRedis
from hub.security.brake import SignInBrake
from hub.security.brake_redis import SharedSignInBrake
from hub.security.passwords import FailureBrake
from tests.support.redis_server import KINDS, RedisServer
from tests.world import ManualClock

LIMITS = Limits(sign_in_failures=4, sign_in_window_s=60)
ANA = ("1.2.3.4", "acme", "ana")

Make = Callable[[], SignInBrake]


@pytest.fixture(params=["memory", *KINDS])
async def make(request: pytest.FixtureRequest, clock: ManualClock, shared_redis: Callable[[str], RedisServer]) -> AsyncIterator[Make]:
    """Makes the brake of a node; those of one test share what they share."""
    if request.param == "memory":
        yield lambda: SignInBrake(FailureBrake(clock, LIMITS))
        return
    commands, names = ServerCommands(UrlEndpoint(shared_redis(request.param).url)), Names(secrets.token_hex(8))
    redis = SharedRedis(lambda tenant: commands, names, Scripts(), "a")
    yield lambda: SharedSignInBrake(FailureBrake(clock, LIMITS), redis, LIMITS)
    await commands.close()


async def fails(brake: SignInBrake, who: tuple[str, str, str] = ANA) -> int:
    """One try that fails; the seconds to wait where it is not let through."""
    attempt = await brake.begin(*who)
    if not attempt.wait_s:
        await brake.failed(attempt)
    return attempt.wait_s


async def succeeds(brake: SignInBrake, who: tuple[str, str, str] = ANA) -> bool:
    attempt = await brake.begin(*who)
    if not attempt.wait_s:
        await brake.succeeded(attempt)
    return not attempt.wait_s


async def test_so_many_failures_and_then_the_user_waits_at_this_address(make: Make) -> None:
    brake = make()
    assert [await fails(brake) for _ in range(5)] == [0, 0, 0, 0, 60]
    assert not await succeeds(brake)
    for other in (("5.6.7.8", "acme", "ana"), ("1.2.3.4", "acme", "bob"), ("1.2.3.4", "rival", "ana")):
        assert await succeeds(brake, other)


async def test_a_success_forgets_the_failures(make: Make) -> None:
    brake = make()
    for _ in range(3):
        assert [await fails(brake) for _ in range(3)] == [0, 0, 0]
        assert await succeeds(brake)


async def test_tries_at_once_are_limited_too(make: Make) -> None:
    brake = make()
    attempts = await asyncio.gather(*(brake.begin(*ANA) for _ in range(20)))
    assert sum(not attempt.wait_s for attempt in attempts) in (4, 5)  # the first of a node is counted for all nodes when it has failed
    for attempt in attempts:
        if not attempt.wait_s:
            await brake.failed(attempt)
    assert not await succeeds(brake)


@pytest.fixture(params=KINDS)
async def nodes(
    request: pytest.FixtureRequest, clock: ManualClock, shared_redis: Callable[[str], RedisServer]
) -> AsyncIterator[list[SharedSignInBrake]]:
    commands, names = ServerCommands(UrlEndpoint(shared_redis(request.param).url)), Names(secrets.token_hex(8))
    redis = SharedRedis(lambda tenant: commands, names, Scripts(), "a")
    yield [SharedSignInBrake(FailureBrake(clock, LIMITS), redis, LIMITS) for _ in range(3)]
    await commands.close()


async def test_three_nodes_do_not_give_three_times_the_tries(nodes: list[SharedSignInBrake]) -> None:
    let_through = 0
    for number in range(60):
        let_through += await fails(nodes[number % 3]) == 0
    assert LIMITS.sign_in_failures <= let_through <= LIMITS.sign_in_failures + len(nodes) - 1
    for node in nodes:
        assert not await succeeds(node)


async def test_tries_at_once_on_three_nodes(nodes: list[SharedSignInBrake]) -> None:
    waits = await asyncio.gather(*(fails(node) for node in nodes * 20))
    assert waits.count(0) <= LIMITS.sign_in_failures + len(nodes)


async def test_a_sign_in_that_succeeds_at_once_asks_redis_nothing(nodes: list[SharedSignInBrake]) -> None:
    for node in nodes:
        for _ in range(3):
            assert await succeeds(node)
        assert node.counters.asked == 0


async def test_a_success_on_a_node_that_knows_of_failures_forgets_them_for_all(nodes: list[SharedSignInBrake]) -> None:
    a, b, c = nodes
    assert [await fails(node) for node in (a, b, c)] == [0, 0, 0]
    assert await succeeds(b)
    assert [await fails(node) for node in (a, b, c, a)] == [0, 0, 0, 0]


async def test_the_count_of_all_nodes_has_an_end(nodes: list[SharedSignInBrake]) -> None:
    a, b, _ = nodes
    for _ in range(5):
        await fails(a)
    await fails(b)
    wait_s = (await b.begin(*ANA)).wait_s
    assert 0 < wait_s <= LIMITS.sign_in_window_s


async def test_without_redis_each_node_counts_for_itself(redis_process: Callable[..., RedisServer], clock: ManualClock) -> None:
    server = redis_process("redis")
    commands = ServerCommands(UrlEndpoint(server.url))
    redis = SharedRedis(lambda tenant: commands, Names("x"), Scripts(), "a")
    a, b = (SharedSignInBrake(FailureBrake(clock, LIMITS), redis, LIMITS) for _ in range(2))
    await fails(a)
    server.kill()
    for _ in range(6):
        await fails(a)
    assert not await succeeds(a)
    assert await succeeds(b)
    assert a.counters.unavailable > 0
    await commands.close()


async def test_what_no_tenant_can_be_called_is_not_kept_in_redis(clock: ManualClock, shared_redis: Callable[[str], RedisServer]) -> None:
    commands, names = ServerCommands(UrlEndpoint(shared_redis(KINDS[0]).url)), Names(secrets.token_hex(8))
    brake = SharedSignInBrake(FailureBrake(clock, LIMITS), SharedRedis(lambda tenant: commands, names, Scripts(), "a"), LIMITS)
    made_up = ("1.2.3.4", "\u00e9" * 1000, "ana")
    assert [await fails(brake, made_up) for _ in range(5)] == [0, 0, 0, 0, 60]
    assert await commands.call("KEYS", f"{names.prefix}*") == []
    await fails(brake)
    assert len(await commands.call("KEYS", f"{names.prefix}*")) == 1
    await commands.close()
