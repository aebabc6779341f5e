"""The registry of nodes over a real Redis: who comes, who leaves, who is taken for dead, and who does not belong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from hub.cluster.checks import MisfitError
from hub.cluster.folders import MARKER, folder_id, known_id
from hub.cluster.ports import NodeRecord
from hub.cluster.registry import Registry, RegistryTuning
from hub.redis.commands import ServerCommands
from hub.redis.endpoint import UrlEndpoint
from hub.transports.runtime import SystemClock
from tests.hub.cluster.test_links import until
from tests.support.redis_server import RedisServer

QUICK = RegistryTuning(beat_s=0.03, suspect_s=0.01, lapse_s=0.3, look_at_clock_s=0.05)


PATIENT = RegistryTuning(beat_s=0.03, suspect_s=0.01, lapse_s=30, look_at_clock_s=0.05)
"""No node is forgotten while a test that has others refused runs, on a machine of any speed."""


class SkewedClock(SystemClock):
    """A clock whose time of day is wrong."""

    __slots__ = ("ahead_s",)

    def __init__(self, ahead_s: float = 0.0) -> None:
        self.ahead_s = ahead_s

    def wall_ms(self) -> int:
        return super().wall_ms() + round(self.ahead_s * 1000)


class House:
    """Nodes over one Redis."""

    def __init__(self, server: RedisServer, prefix: str, *, tuning: RegistryTuning = QUICK, timeout_s: float = 0.5) -> None:
        self.server = server
        self.tuning = tuning
        self.timeout_s = timeout_s
        self.prefix = prefix
        self.registries: list[Registry] = []
        self._commands: list[ServerCommands] = []

    def make(self, name: str, clock: SystemClock | None = None, beside: Sequence[RedisServer] = (), **record: Any) -> Registry:
        commands, *others = (ServerCommands(UrlEndpoint(server.url), timeout_s=self.timeout_s) for server in (self.server, *beside))
        self._commands += [commands, *others]
        fields: Any = {"machine": f"host-{name}", "secret": "same", "link": f"unix:/run/{name}.sock", **record}
        me = NodeRecord(incarnation=name * 12, version="test", **fields)
        registry = Registry(commands, self.prefix, me, clock or SystemClock(), beside=others, tuning=self.tuning)
        self.registries.append(registry)
        return registry

    async def start(self, name: str, clock: SystemClock | None = None, **record: Any) -> Registry:
        registry = self.make(name, clock, **record)
        await registry.start()
        await registry.join()
        return registry

    async def close(self) -> None:
        for registry in self.registries:
            await registry.stop()
        for commands in self._commands:
            await commands.close()


@pytest.fixture
async def house(shared_redis: Callable[[str], RedisServer], request: pytest.FixtureRequest) -> AsyncIterator[House]:
    made = House(shared_redis("redis"), request.node.name.replace("[", ".").replace("]", "")[-60:])
    yield made
    await made.close()


@pytest.fixture
async def patient(shared_redis: Callable[[str], RedisServer], request: pytest.FixtureRequest) -> AsyncIterator[House]:
    made = House(shared_redis("redis"), request.node.name[-60:], tuning=PATIENT, timeout_s=30)
    yield made
    await made.close()


def sees(registry: Registry, *names: str) -> Callable[[], bool]:
    """Whether a node's view is this."""
    return lambda: set(registry.live()) == {name * 12 for name in names}


async def test_nodes_see_each_other(house: House) -> None:
    changes: list[bool] = []
    a = await house.start("a")
    a.on_changed.append(lambda: changes.append(True))
    b = await house.start("b", role="edge")
    await until(sees(a, "a", "b"))
    await until(sees(b, "a", "b"))
    found = a.find("b" * 12)
    assert found is not None
    assert (found.role, found.link, found.machine) == ("edge", "unix:/run/b.sock", "host-b")
    assert changes
    assert await a.trouble() is None


async def test_a_node_is_not_seen_before_it_joins_or_after_it_leaves(house: House) -> None:
    left: list[str] = []
    a = await house.start("a")
    a.on_left.append(left.append)
    b = house.make("b")
    await b.start()
    await until(sees(b, "a", "b"))  # it sees itself, and who is there
    assert set(a.live()) == {"a" * 12}
    await b.join()
    await until(sees(a, "a", "b"))
    await b.drain()
    await until(lambda: (record := a.find("b" * 12)) is not None and record.draining)
    await b.leave()
    await until(lambda: left == ["b" * 12])
    assert a.counters.said == 1
    assert set(b.live()) == {"a" * 12, "b" * 12}  # it still calls the others


SELDOM = RegistryTuning(beat_s=30, lapse_s=120)
"""After the first beats nobody hears of others by itself while a test runs."""


async def test_a_node_that_has_just_come_is_found_when_a_client_names_it(shared_redis: Callable[[str], RedisServer]) -> None:
    house = House(shared_redis("redis"), "just-come", tuning=SELDOM)
    try:
        a, b = await house.start("a"), await house.start("b")
        beats = a.counters.beats
        assert a.find("b" * 12) is None
        records = await asyncio.gather(*(a.look_for(name * 12) for name in "bbcb"))
        assert [record and record.incarnation for record in records] == ["b" * 12, "b" * 12, None, "b" * 12]
        assert (a.counters.looks, a.counters.beats) == (1, beats + 1)  # one for all who asked at once
        assert await a.look_for("c" * 12) is None
        assert a.counters.looks == 2  # it may have come meanwhile
        await b.leave()
        assert await a.look_for("c" * 12) is None
        assert await a.look_for("b" * 12) is None
        assert a.counters.looks == 3  # nobody looks for a node that is known to have left
    finally:
        await house.close()


async def test_while_redis_is_away_nobody_is_looked_for(redis_process: Callable[..., RedisServer]) -> None:
    server = redis_process()
    house = House(server, "away")
    try:
        a = await house.start("a")
        server.kill()
        await until(lambda: a.lag_s > 2 * QUICK.beat_s)
        assert await a.look_for("b" * 12) is None
        assert a.counters.looks == 0
    finally:
        await house.close()


async def test_a_node_that_ends_without_a_word_is_forgotten(house: House) -> None:
    left: list[str] = []
    a, b = await house.start("a"), await house.start("b")
    a.on_left.append(left.append)
    await until(sees(a, "a", "b"))
    await b.stop()
    await until(lambda: left == ["b" * 12])
    assert a.counters.lapsed == 1
    assert a.find("b" * 12) is None


async def test_a_node_to_which_there_is_a_link_lives(house: House) -> None:
    """It may have lost Redis alone."""
    left: list[str] = []
    a, b = await house.start("a"), await house.start("b")
    linked = {"b" * 12}
    a.vouch = linked.__contains__
    a.on_left.append(left.append)
    await until(sees(a, "a", "b"))
    await b.stop()
    expiries = f"{house.prefix}:{{nodes}}:t"
    await until(lambda: house.server.ask("ZCARD", expiries) == 1)
    beats = a.counters.beats
    await until(lambda: a.counters.beats > beats + 20)
    assert left == []
    linked.clear()
    a.suspect("b" * 12)
    await until(lambda: left == ["b" * 12])


async def test_while_redis_is_away_nobody_is_taken_for_dead(redis_process: Callable[..., RedisServer]) -> None:
    """It comes back empty, after longer than a node's silence may last."""
    house = House(redis_process("redis"), "hub")
    left: list[str] = []
    a, b = await house.start("a"), await house.start("b")
    for registry in (a, b):
        registry.on_left.append(left.append)
    await until(sees(a, "a", "b"))
    await until(sees(b, "a", "b"))
    house.server.kill()
    await until(lambda: min(a.lag_s, b.lag_s) > 3 * QUICK.lapse_s)
    assert await a.trouble() is not None
    assert set(a.live()) == {"a" * 12, "b" * 12}
    house.server.start()
    seen = a.counters.beats + b.counters.beats
    await until(lambda: a.counters.beats + b.counters.beats > seen + 40)
    assert left == []
    await until(sees(a, "a", "b"))
    assert await a.trouble() is None
    assert a.counters.beats_failed > 0
    await house.close()


async def test_while_redis_stands_still_nobody_is_taken_for_dead(redis_process: Callable[..., RedisServer]) -> None:
    """It comes back with expiries that have passed meanwhile."""
    house = House(redis_process("redis"), "hub")
    left: list[str] = []
    a, b = await house.start("a"), await house.start("b")
    for registry in (a, b):
        registry.on_left.append(left.append)
    await until(sees(a, "a", "b"))
    await until(sees(b, "a", "b"))
    house.server.stall()
    await until(lambda: min(a.lag_s, b.lag_s) > 3 * QUICK.lapse_s)
    house.server.wake()
    seen = a.counters.beats + b.counters.beats
    await until(lambda: a.counters.beats + b.counters.beats > seen + 40)
    assert left == []
    await house.close()


async def test_after_flushall_nobody_is_taken_for_dead(redis_process: Callable[..., RedisServer]) -> None:
    house = House(redis_process("redis"), "hub")
    left: list[str] = []
    a, b = await house.start("a"), await house.start("b")
    for registry in (a, b):
        registry.on_left.append(left.append)
    await until(sees(a, "a", "b"))
    await until(sees(b, "a", "b"))
    for _ in range(5):
        house.server.ask("FLUSHALL")
        seen = a.counters.beats
        await until(lambda seen=seen: a.counters.beats > seen + 3)  # type: ignore[misc]
    assert left == []
    await house.close()


async def test_a_redis_that_is_not_there_yet_is_waited_for(redis_process: Callable[..., RedisServer]) -> None:
    house = House(redis_process("redis"), "hub")
    house.server.kill()
    a = await house.start("a")
    assert set(a.live()) == {"a" * 12}
    house.server.start()
    b = await house.start("b")
    await until(sees(a, "a", "b"))
    await until(sees(b, "a", "b"))
    await house.close()


# -- who does not belong -----------------------------------------------------------------------------------------------


async def refused(house: House, name: str, clock: SystemClock | None = None, **record: Any) -> str:
    """What a node that does not belong is told when it starts."""
    with pytest.raises(MisfitError) as caught:
        await house.start(name, clock, **record)
    return str(caught.value)


async def test_a_node_of_another_hub_is_refused(house: House) -> None:
    a = await house.start("a", hub="one")
    for other in ("two", ""):
        said = await refused(house, "b", hub=other)
        assert said.startswith(f"database_url: expected the database of the nodes that share redis_prefix {house.prefix}")
        assert "aaaaaaaaaaaa on host-a" in said
        assert "redis_prefix of its own" in said
    assert set(a.live()) == {"a" * 12}


async def test_hubs_that_have_no_common_database_share_a_redis(house: House) -> None:
    a, _ = await house.start("a", hub=""), await house.start("b", hub="")
    await until(sees(a, "a", "b"))


async def test_a_node_with_another_secret_is_refused(house: House) -> None:
    await house.start("a")
    said = await refused(house, "b", secret="another")
    assert said.startswith("secret: expected the same HUB_SECRET on all nodes")


async def test_a_node_that_is_reached_where_another_is_is_refused(house: House) -> None:
    await house.start("a", link="ws://10.0.0.1:9080")
    said = await refused(house, "b", link="ws://10.0.0.1:9080")
    assert said.startswith("link_url: expected one by which other nodes reach this one alone, got ws://10.0.0.1:9080")


async def test_a_node_that_was_killed_starts_again_at_once(house: House) -> None:
    """Its last word is still there, from the same machine."""
    a = await house.start("a", link="ws://10.0.0.1:9080", machine="here")
    await a.stop()
    await house.start("b", link="ws://10.0.0.1:9080", machine="here")


async def test_a_node_with_another_list_of_redis_is_refused(patient: House) -> None:
    await patient.start("a", redis="2 aaaa")
    assert (await refused(patient, "b", redis="3 bbbb")).startswith(
        "redis_url: expected the list of node aaaaaaaaaaaa on host-a, since each"
    )
    assert "got 3 where that has 2: write the same URLs on all nodes" in await refused(patient, "b", redis="3 bbbb")
    assert "got 2, of which some have other names there" in await refused(patient, "b", redis="2 bbbb")
    await patient.start("b", redis="2 aaaa")
    await patient.start("c")  # an earlier version does not tell


async def test_a_node_whose_list_has_its_registry_on_another_server_is_refused(
    patient: House, redis_process: Callable[..., RedisServer]
) -> None:
    """The lists have one server in common, and it is the home of the registry in one of them alone."""
    there = House(redis_process("redis"), patient.prefix, tuning=PATIENT, timeout_s=30)
    one = await patient.start("a", redis="1")
    assert "got 2 where that has 1" in await refused(there, "b", beside=[patient.server], redis="2 bbbb")
    await one.leave()
    await there.start("c", beside=[patient.server], redis="2 bbbb")
    assert "got 1 where that has 2" in await refused(patient, "d", redis="1")
    await there.close()


async def test_nodes_with_different_lists_that_start_at_once_tell_it(patient: House, redis_process: Callable[..., RedisServer]) -> None:
    there = House(redis_process("redis"), patient.prefix, tuning=PATIENT, timeout_s=30)
    one, two = patient.make("a", redis="1"), there.make("b", beside=[patient.server], redis="2 bbbb")
    for registry in (one, two):
        await registry.start()
    for registry in (one, two):
        await registry.join()
    for registry in (one, two):
        await until_told(registry, "redis_url: expected the list of node")
    assert set(two.live()) == {"b" * 12}
    await there.close()


async def test_a_list_is_looked_at_before_anything_is_written(patient: House) -> None:
    await patient.start("a", redis="2 aaaa")
    with pytest.raises(MisfitError, match="redis_url: expected the list"):
        await patient.make("b", redis="3 bbbb").look_at_list()
    with_same = patient.make("c", redis="2 aaaa", secret="another")
    await with_same.look_at_list()  # what else does not fit is found when it starts


# -- folders -----------------------------------------------------------------------------------------------------------


async def test_nodes_that_share_a_folder(patient: House, tmp_path: Path) -> None:
    for name in ("a", "b"):
        registry = patient.make(name)
        registry.share("messaging.media_dir", tmp_path / "media")
        await registry.start()
        await registry.join()
    assert await registry.trouble() is None
    assert (tmp_path / "media" / MARKER).exists()


async def test_a_node_with_another_folder_is_refused(patient: House, tmp_path: Path) -> None:
    first, second = patient.make("a"), patient.make("b")
    first.share("messaging.media_dir", tmp_path / "one")
    second.share("messaging.media_dir", tmp_path / "two")
    await first.start()
    await first.join()
    with pytest.raises(
        MisfitError, match=r"messaging\.media_dir: expected the folder of node aaaaaaaaaaaa on host-a, got one that is another"
    ):
        await second.start()


async def test_a_folder_that_one_node_has_alone_is_told_and_refused_to_none(patient: House, tmp_path: Path) -> None:
    """So nodes can be restarted one by one with a new setting."""
    first, second = patient.make("a"), patient.make("b")
    first.share("messaging.media_dir", None)
    second.share("messaging.media_dir", tmp_path)
    for registry in (first, second):
        await registry.start()
        await registry.join()
    for registry in (first, second):
        await until_told(registry, "messaging.media_dir: expected the same folder on all nodes, got none on node aaaaaaaaaaaa on host-a")
    await patient.start("c")  # a stat server, or an earlier version, has no such folder
    await first.leave()
    await until(lambda: "a" * 12 not in second.live())
    assert await second.trouble() is None


def test_a_folder_has_one_id(tmp_path: Path) -> None:
    assert known_id(tmp_path / "x") is None
    found = folder_id(tmp_path / "x")
    assert (folder_id(tmp_path / "x"), known_id(tmp_path / "x")) == (found, found)
    assert folder_id(tmp_path / "y") != found
    (tmp_path / "x" / MARKER).write_text("something else")
    with pytest.raises(OSError, match="holds no id of a folder"):
        folder_id(tmp_path / "x")


async def until_told(registry: Registry, beginning: str) -> None:
    """Wait until a node tells a trouble that begins like this."""
    async with asyncio.timeout(30):
        while not (await registry.trouble() or "").startswith(beginning):
            await asyncio.sleep(0.01)


async def test_a_redis_of_the_list_that_is_away_keeps_no_node_from_living(house: House, redis_process: Callable[..., RedisServer]) -> None:
    other = redis_process("redis")
    other.kill()
    a = await house.start("a", beside=[other], redis="2 aaaa")
    beats = a.counters.beats
    await until(lambda: a.counters.beats > beats + 5)
    assert await a.trouble() is None
    assert a.counters.beats_failed == 0


@pytest.mark.parametrize("ahead_s", [3600, -3600])
async def test_a_node_whose_clock_is_wrong_is_refused(house: House, ahead_s: int) -> None:
    said = await refused(house, "b", SkewedClock(ahead_s))
    assert said.startswith("the clock of this machine: expected at most 60 s between it and Redis's, got 3600 s")
    assert ("ahead of" if ahead_s > 0 else "behind") in said


async def test_a_clock_that_goes_wrong_later_is_told_and_does_no_harm(patient: House) -> None:
    clock = SkewedClock()
    left: list[str] = []
    a, b = await patient.start("a", clock), await patient.start("b")
    for registry in (a, b):
        registry.on_left.append(left.append)
    await until(sees(a, "a", "b"))
    for ahead_s in (3600, -3600):
        clock.ahead_s = ahead_s
        await until(lambda ahead_s=ahead_s: abs((a.clock_offset_s or 0) - ahead_s) < 30)  # type: ignore[misc]
        assert "3600 s" in str(await a.trouble())
        assert await b.trouble() is None
        seen = b.counters.beats
        await until(lambda seen=seen: b.counters.beats > seen + 15)  # type: ignore[misc]
        assert set(b.live()) == {"a" * 12, "b" * 12}
    assert left == []
    clock.ahead_s = 0
    await until(lambda: abs(a.clock_offset_s or 3600) < 30)
    assert await a.trouble() is None


async def test_a_node_whose_clock_is_wrong_keeps_nobody_out(house: House) -> None:
    """Redis and the newcomer agree, and so do most others."""
    clock = SkewedClock()
    await house.start("a")
    await house.start("b", clock)
    clock.ahead_s = 3600
    await asyncio.sleep(2 * QUICK.beat_s)
    await house.start("c")


async def test_records_of_a_newer_version_are_read_and_rubbish_is_ignored(house: House) -> None:
    a = await house.start("a")
    records, expiries = f"{house.prefix}:{{nodes}}:r", f"{house.prefix}:{{nodes}}:t"
    house.server.ask("ZADD", expiries, 9_999_999_999_999, "b" * 12, 9_999_999_999_999, "c" * 12)
    house.server.ask("HSET", records, "b" * 12, '{"incarnation":"bbbbbbbbbbbb","version":"9","later":[1]}', "c" * 12, "{")
    await until(sees(a, "a", "b"))
