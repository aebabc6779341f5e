"""The scripts, on real servers: positions, repeated messages, lost records, and epochs."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable

import pytest

from hub.eventlog.channel_log_redis import GUARD_US
from hub.redis.commands import Argument, RedisRefusedError
from hub.redis.names import Names
from hub.redis.server import ServerInfo
from tests.support.redis_server import CLOCKED, KINDS, ClockedCommands, RedisServer
from tests.world import ManualClock

HEADER = b'{"t":["","/a"],"x":0,"o":"n","s":1,"d":"log"}'
GUARD = 2_000_000


class Log:
    """The log of one tenant, used by its scripts alone."""

    def __init__(self, server: RedisServer, clock: ManualClock) -> None:
        self.commands = ClockedCommands(server.url, clock)
        self.clock = clock
        names = Names(secrets.token_hex(8)).of("t")
        self.names = names
        self.keys = [names.meta, names.stream, names.last, names.idempotency_keys]
        self.run = "first"
        self.durable = 0
        self.known: int | str = 0
        self.guard = GUARD

    async def open(self) -> tuple[int, int, int]:
        answer = await self.commands.run(CLOCKED.open, self.keys, lambda _: [self.run, self.durable, self.guard, self.known])
        top, floor, seam = map(int, answer)
        return top, floor, seam

    async def publish(
        self, *messages: tuple[str, str], batch: int = 1, again: int = 0, epoch: int | str = "", node: str = "n", channels: int = 0
    ) -> list[int]:
        """Append log messages, each given by a topic and an idempotency key. Returns their positions."""

        def arguments(_: ServerInfo) -> list[Argument]:
            sent: list[Argument] = [self.run, self.durable, self.guard, self.known, epoch, "PUBLISH", "NUMSUB", batch, again, 2, channels]
            sent += [f"test:{self.names.meta.decode()}:{number}" for number in range(channels)]
            for topic, once in messages:
                sent += ["l", topic, once, channels, *range(1, channels + 1), HEADER, b"1"]
            return sent

        answer = await self.commands.run(CLOCKED.publish, [*self.keys, self.names.batch(node)], arguments)
        return [int(position) for position in answer]

    async def meta(self, field: str) -> int:
        return int(await self.commands.call("HGET", self.names.meta, field))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_764_000_000.0)


@pytest.fixture(params=KINDS)
async def log(request: pytest.FixtureRequest, shared_redis: Callable[[str], RedisServer], clock: ManualClock) -> AsyncIterator[Log]:
    log = Log(shared_redis(request.param), clock)
    yield log
    await log.commands.close()


# -- how far a log reaches ------------------------------------------------------------------------------------------------


async def test_a_new_log_begins_after_now(log: Log, clock: ManualClock) -> None:
    before = clock.wall_us() - 1 + GUARD
    assert await log.open() == (before, before, 0)
    clock.advance(10)
    assert await log.open() == (before, before, 0)


async def test_a_new_log_begins_after_what_anybody_knows(log: Log, clock: ManualClock) -> None:
    log.known = clock.wall_us() + 60_000_000
    assert await log.open() == (log.known + GUARD, log.known + GUARD, 0)


async def test_another_server_makes_a_seam(log: Log, clock: ManualClock) -> None:
    (position,) = await log.publish(("/a", ""))
    clock.advance(10)
    log.run = "second"
    top, floor, seam = await log.open()
    assert top == seam == clock.wall_us() + GUARD
    assert floor < position < seam
    assert await log.open() == (top, floor, seam)
    assert await log.publish(("/a", ""), batch=2) == [seam + 1]


async def test_a_seam_lies_after_all_positions_though_the_clock_goes_back(log: Log, clock: ManualClock) -> None:
    (position,) = await log.publish(("/a", ""))
    clock.advance(-3600)
    log.run = "second"
    top, _, seam = await log.open()
    assert top == seam == position + GUARD


async def test_the_same_data_on_a_durable_server_need_no_seam(log: Log) -> None:
    log.durable = 1
    (position,) = await log.publish(("/a", ""))
    log.run = "second"
    top, _, seam = await log.open()
    assert (top, seam) == (position, 0)
    assert await log.commands.call("HGET", log.names.meta, "run") == b"second"


async def test_a_log_that_has_less_than_a_node_knows_has_a_seam_also_on_a_durable_server(log: Log) -> None:
    log.durable = 1
    (position,) = await log.publish(("/a", ""))
    log.known = position + 5
    top, _, seam = await log.open()
    assert top == seam > log.known


async def test_a_log_without_its_hash_begins_anew_above_all_positions(log: Log, clock: ManualClock) -> None:
    positions = await log.publish(("/a", "x"), ("/b", ""))
    await log.commands.call("DEL", log.names.meta)
    clock.advance(0.5)
    top, floor, seam = await log.open()
    assert (floor, seam) == (top, 0)
    assert top > max(position or 0 for position in positions)
    assert await log.commands.call("EXISTS", *log.keys[1:]) == 0
    assert await log.publish(("/a", "x"), batch=2) == [top + 1]


async def test_a_log_without_its_stream_vouches_for_nothing(log: Log) -> None:
    (position,) = await log.publish(("/a", "x"))
    await log.commands.call("DEL", log.names.stream)
    assert await log.open() == (position, position, 0)
    assert await log.publish(("/a", "x"), batch=2) == [position + 1]
    assert await log.meta("floor") == position


async def test_positions_are_whole_numbers(log: Log, clock: ManualClock) -> None:
    clock.now = 4_102_444_800.0  # the year 2100
    (position,) = await log.publish(("/a", ""))
    assert await log.meta("top") == position == clock.wall_us() + GUARD


# -- publishing -----------------------------------------------------------------------------------------------------------


async def test_positions_of_a_batch_lie_side_by_side(log: Log) -> None:
    first, *rest = await log.publish(("/a", ""), ("/b", ""), ("/a", ""))
    assert rest == [first + 1, first + 2]
    entries = await log.commands.call("XRANGE", log.names.stream, "-", "+")
    assert [entry[0] for entry in entries] == [b"%d-0" % position for position in (first, *rest)]
    assert [entry[1][1] for entry in entries] == [b"%d" % position for position in (first - 1, first - 1, first)]
    assert await log.meta("bytes") == 3


async def test_what_has_a_key_that_is_known_is_not_recorded_and_keeps_its_position(log: Log) -> None:
    first, twice, other = await log.publish(("/a", "x"), ("/a", "x"), ("/b", "x"))
    assert (twice, other) == (first, first + 1)
    assert await log.publish(("/a", "x"), ("/a", ""), batch=2) == [first, first + 2]
    assert await log.commands.call("XLEN", log.names.stream) == 3


async def test_a_batch_that_was_executed_is_answered_as_then(log: Log) -> None:
    (old,) = await log.publish(("/a", "old"))
    batch = (("/a", "old"), ("/a", ""), ("/b", "new"), ("/b", "new"), ("/b", ""))
    answered = await log.publish(*batch, batch=2)
    assert answered == [old, old + 1, old + 2, old + 2, old + 3]
    assert await log.publish(*batch, batch=2, again=1) == answered
    assert await log.commands.call("XLEN", log.names.stream) == 4
    assert await log.publish(("/a", ""), batch=3, again=1) == [answered[-1] + 1]  # this script was not executed


async def test_a_batch_of_another_node_is_another(log: Log) -> None:
    (first,) = await log.publish(("/a", ""))
    assert await log.publish(("/a", ""), again=1, node="other") == [first + 1]


async def test_a_deposed_owner_publishes_nothing(log: Log) -> None:
    assert await log.commands.run(CLOCKED.claim, [log.names.meta], lambda _: [7]) == b"7"
    assert await log.commands.run(CLOCKED.claim, [log.names.meta], lambda _: [6]) == b"7"
    assert len(await log.publish(("/a", ""), epoch=7)) == 1
    with pytest.raises(RedisRefusedError, match="FENCED 7"):
        await log.publish(("/a", ""), batch=2, epoch=6)
    assert await log.commands.call("XLEN", log.names.stream) == 1


async def test_the_claim_of_an_owner_makes_no_log(log: Log) -> None:
    await log.commands.run(CLOCKED.claim, [log.names.meta], lambda _: [7])
    top, floor, _ = await log.open()
    assert top == floor > 0
    assert await log.meta("epoch") == 7


async def test_as_many_channels_as_a_call_may_name(log: Log) -> None:
    assert len(await log.publish(*[("/a", "")] * 3, channels=2000)) == 3


async def test_a_script_that_the_server_forgot_is_loaded_again(log: Log) -> None:
    (first,) = await log.publish(("/a", ""))
    await log.commands.call("SCRIPT", "FLUSH")
    assert await log.publish(("/a", ""), batch=2) == [first + 1]


# -- nodes ----------------------------------------------------------------------------------------------------------------


async def test_nodes_live_as_long_as_they_say_so(log: Log, clock: ManualClock) -> None:
    keys = [log.names.meta + b":r", log.names.meta + b":t"]

    async def beat(incarnation: str, ttl_ms: int = 5000) -> set[bytes]:
        answer = await log.commands.run(CLOCKED.beat, keys, lambda _: [incarnation, f"record of {incarnation}", ttl_ms])
        return set(answer[::2])

    assert await beat("a") == {b"a"}
    clock.advance(3)
    assert await beat("b") == {b"a", b"b"}
    clock.advance(3)
    assert await beat("b") == {b"b"}
    assert await beat("b", 0) == set()


# -- what other servers lost ----------------------------------------------------------------------------------------------


async def test_what_was_seen_on_a_server_that_was_replaced_makes_a_seam(log: Log, clock: ManualClock) -> None:
    """It went on after another one had taken the log over, so its positions say nothing of this one's."""
    (shared,) = await log.publish(("/a", ""))
    clock.advance(10)
    log.run = "second"
    (_, _, seam) = await log.open()
    clock.advance(10)
    (position,) = await log.publish(("/a", ""))
    assert position is not None
    assert shared is not None
    log.known = f"{shared} first"  # from before
    assert (await log.open())[2] == seam
    log.known = f"{position - 1} first"  # another message, from the first server
    top, _, again = await log.open()
    assert again == top > position
    log.known = f"{again} second"
    assert (await log.open())[2] == again


async def test_a_log_that_is_lost_again_and_again_gives_no_position_twice(log: Log, clock: ManualClock) -> None:
    """Whoever comes first may have seen nothing; positions do not run away from the clock."""
    given: set[int] = set()
    for number in range(20):
        log.run = f"run-{number}"
        log.known = max(given, default=0) if number % 3 == 0 else 0
        clock.advance(0.001)
        for _ in range(3):
            (position,) = await log.publish(("/a", ""), batch=number)
            assert position is not None
            assert position > max(given, default=0)
            assert position <= clock.wall_us() + GUARD + 3
            given.add(position)
        if number % 2:
            await log.commands.call("DEL", *log.keys)


async def test_a_replica_that_lags_with_a_clock_that_is_behind_gives_no_position_again(log: Log, clock: ManualClock) -> None:
    """Nobody who comes first has seen what is lost; the guard is the hub's own."""
    log.guard = GUARD_US
    await log.open()
    clock.advance(20)
    kept = (await log.publish(("/a", "")))[0] or 0
    lost = [position or 0 for position in await log.publish(*[("/a", "")] * 50, batch=2)]
    clock.advance(0.5)
    lost += [position or 0 for position in await log.publish(("/a", ""), batch=3)]
    entries = await log.commands.call("XRANGE", log.names.stream, f"({kept}-0", "+")
    await log.commands.call("XDEL", log.names.stream, *[entry[0] for entry in entries])
    await log.commands.call("HSET", log.names.meta, "top", kept, "last", kept)
    clock.advance(-3)
    log.run = "replica"
    (position,) = await log.publish(("/a", ""), batch=4)
    assert position > max(lost)
    (_, _, seam) = await log.open()
    assert max(lost) < seam < position
