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
from tests.support.redis_server import KINDS, RedisServer
from tests.world import ManualClock, take_turns

LIMITS = Limits(sign_in_failures=4, sign_in_window_s=60)
ANA = ("1.2.3.4", "acme", "ana")

Make = Callable[[], SignInBrake]


@pytest.fixture(params=["memory", *KINDS])
async def make(request: pytest.FixtureRequest, clock: ManualClock, shared_redis: Callable[[str], RedisServer]) -> AsyncIterator[Make]:
    """Makes the brake of a node; those of one test share what they share."""
    if request.param == "memory":
        yield lambda: SignInBrake(clock, LIMITS)
        return
    commands, names = ServerCommands(UrlEndpoint(shared_redis(request.param).url)), Names(secrets.token_hex(8))
    redis = SharedRedis(lambda tenant: commands, names, Scripts(), "a")
    yield lambda: SharedSignInBrake(clock, redis, LIMITS)
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
    yield [SharedSignInBrake(clock, redis, LIMITS) for _ in range(3)]
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
    a, b = (SharedSignInBrake(clock, redis, LIMITS) for _ in range(2))
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
    brake = SharedSignInBrake(clock, SharedRedis(lambda tenant: commands, names, Scripts(), "a"), LIMITS)
    made_up = ("1.2.3.4", "\u00e9" * 1000, "ana")
    assert [await fails(brake, made_up) for _ in range(5)] == [0, 0, 0, 0, 60]
    assert await commands.call("KEYS", f"{names.prefix}*") == []
    await fails(brake)
    assert len(await commands.call("KEYS", f"{names.prefix}*")) == 3  # of the pair, of its address and of its user
    await commands.close()


# -- failures of one address, and of one user from all addresses -------------------------------------------------------

SUMS = Limits(
    sign_in_failures=100,
    sign_in_failures_per_address=6,
    sign_in_failures_per_user=4,
    sign_in_window_s=60,
    max_sign_ins_slowed=10,
    max_sign_ins_slowed_per_user=2,
)


class Sleeps:
    """Sleeps that end when the test says so."""

    def __init__(self) -> None:
        self.begun: list[float] = []
        self.end = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.begun.append(seconds)
        await self.end.wait()


@pytest.fixture(params=["memory", *KINDS])
async def two(
    request: pytest.FixtureRequest, clock: ManualClock, shared_redis: Callable[[str], RedisServer]
) -> AsyncIterator[tuple[SignInBrake, SignInBrake]]:
    """Two nodes that count together, or the same one twice."""
    if request.param == "memory":
        one = SignInBrake(clock, SUMS, Sleeps())
        yield one, one
        return
    commands, names = ServerCommands(UrlEndpoint(shared_redis(request.param).url)), Names(secrets.token_hex(8))
    redis = SharedRedis(lambda tenant: commands, names, Scripts(), "a")
    a, b = (SharedSignInBrake(clock, redis, SUMS, Sleeps()) for _ in range(2))
    yield a, b
    await commands.close()


async def test_an_address_that_fails_for_many_users_is_refused_for_all_of_them(two: tuple[SignInBrake, SignInBrake]) -> None:
    for number in range(6):
        assert await fails(two[number % 2], ("1.2.3.4", "acme", f"user{number}")) == 0
    for node in two:
        await fails(node, ("1.2.3.4", "acme", "another"))  # each node may have to hear it first
        assert await fails(node, ("1.2.3.4", "acme", "yet another")) > 0
        assert await succeeds(node, ("1.2.3.5", "acme", "ana"))
    assert sum(node.counters.refused_address for node in {*two}) >= 2


async def test_an_address_of_ipv6_is_its_network(clock: ManualClock) -> None:
    brake = SignInBrake(clock, SUMS)
    for number in range(6):
        assert await fails(brake, (f"2001:db8:1:2::{number:x}", "acme", f"user{number}")) == 0
    assert await fails(brake, ("2001:db8:1:2:ffff::1", "acme", "ana")) > 0
    assert await fails(brake, ("2001:db8:1:3::1", "acme", "ana")) == 0


async def guess(nodes: tuple[SignInBrake, SignInBrake]) -> None:
    """Guess ana's password from more addresses than the count lets through."""
    for number in range(8):
        attempt = await nodes[number % 2].begin(f"198.51.100.{number}", "acme", "ana")
        assert not attempt.wait_s
        await nodes[number % 2].failed(attempt)


async def test_guesses_from_many_addresses_are_slowed_down_and_never_refused_for_good(two: tuple[SignInBrake, SignInBrake]) -> None:
    await guess(two)
    for node in two:
        attempt = await node.begin("203.0.113.1", "acme", "ana")
        assert (attempt.wait_s, attempt.slowed) == (0, True)
        other = await node.begin("203.0.113.1", "acme", "bob")
        assert not other.slowed


async def test_the_user_at_a_known_address_or_browser_is_not_slowed_down(two: tuple[SignInBrake, SignInBrake]) -> None:
    assert await succeeds(two[0], ("192.0.2.1", "acme", "ana"))
    await guess(two)
    assert not (await two[0].begin("192.0.2.1", "acme", "ana")).slowed
    for node in two:  # the cookie is known by every node
        assert not (await node.begin("203.0.113.9", "acme", "ana", device="0123")).slowed


async def test_a_browser_that_is_known_has_tries_of_its_own_wherever_it_is(clock: ManualClock) -> None:
    """A cookie that was stolen lets nobody guess without an end."""
    brake = SignInBrake(clock, LIMITS)
    for number in range(4):
        attempt = await brake.begin(f"198.51.100.{number}", "acme", "ana", device="0123")
        assert not attempt.wait_s
    assert (await brake.begin("198.51.100.77", "acme", "ana", device="0123")).wait_s > 0


async def test_a_known_address_is_let_in_while_its_neighbours_guess(clock: ManualClock) -> None:
    """Many people behind one address: one of them guesses, the others have signed in before."""
    brake = SignInBrake(clock, SUMS)
    assert await succeeds(brake, ("192.0.2.1", "acme", "ana"))
    for number in range(6):
        await fails(brake, ("192.0.2.1", "acme", f"user{number}"))
    assert await fails(brake, ("192.0.2.1", "acme", "bob")) > 0
    assert await succeeds(brake, ("192.0.2.1", "acme", "ana"))


async def test_few_slowed_tries_wait_and_the_others_are_sent_away_at_once(clock: ManualClock) -> None:
    sleeps = Sleeps()
    brake = SignInBrake(clock, SUMS, sleeps)
    await guess((brake, brake))
    attempts = [await brake.begin(f"203.0.113.{number}", "acme", "ana") for number in range(4)]
    waiting = [asyncio.create_task(brake.slow_down(attempt)) for attempt in attempts]
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert {task.result() for task in done} == {False}
    assert len(brake.slow) == len(sleeps.begun) == 2
    assert sleeps.begun == [5.0, 5.0]
    sleeps.end.set()
    assert sorted(await asyncio.gather(*waiting)) == [False, False, True, True]
    assert len(brake.slow) == 0
    assert (brake.counters.slowed, brake.counters.refused_slowed) == (2, 2)


async def test_a_tenant_has_its_share_of_those_that_wait(clock: ManualClock) -> None:
    sleeps = Sleeps()
    limits = Limits(sign_in_failures_per_user=1, max_sign_ins_slowed=10, max_sign_ins_slowed_per_user=1, tenant_share_percent=50)
    brake = SignInBrake(clock, limits, sleeps)
    waiting = []
    for tenant, users in (("acme", 8), ("rival", 1)):
        for number in range(users):
            await fails(brake, (f"198.51.100.{number}", tenant, f"user{number}"))
            attempt = await brake.begin(f"203.0.113.{number}", tenant, f"user{number}")
            assert attempt.slowed
            waiting.append(asyncio.create_task(brake.slow_down(attempt)))
    await take_turns()
    assert len(brake.slow) == 6  # five of acme, one of rival
    sleeps.end.set()
    assert (await asyncio.gather(*waiting)).count(False) == 3
