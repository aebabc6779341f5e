"""One test file for every backend of the log of ``log`` channels."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.core.channels import matches
from hub.core.message import Topic
from hub.eventlog.channel_log import PAGE_RECORDS, SCAN, ChannelLog, Record, Retention, Selection
from hub.eventlog.channel_log_memory import MemoryChannelLog
from hub.eventlog.channel_log_redis import RedisChannelLog
from hub.eventlog.channel_log_sqlite import SqliteChannelLog
from hub.eventlog.interface import EventLogError, LogInUseError
from hub.redis.commands import ServerCommands
from hub.redis.names import Names
from hub.steady_clock import SteadyClock
from tests.support.redis_server import CLOCKED, ClockedCommands, RedisServer
from tests.world import ManualClock

A, B, DEEP, OTHER = Topic("t", "", "/log/a"), Topic("t", "", "/log/b"), Topic("t", "", "/log/a/deep"), Topic("u", "", "/log/a")
OWN = Topic("t", "ann", "/log/a")
MIB = 1024 * 1024

Make = Callable[..., ChannelLog]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["memory", "sqlite", "redis", "valkey"])
async def make(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock, shared_redis: Callable[[str], RedisServer]
) -> AsyncIterator[Make]:
    made: list[ChannelLog] = []
    commands: list[ServerCommands] = []

    def build(**retention: int) -> ChannelLog:
        kept = Retention(**retention)
        log: ChannelLog
        if request.param == "memory":
            log = MemoryChannelLog(clock, kept)
        elif request.param == "sqlite":
            log = SqliteChannelLog(tmp_path / str(len(made)), clock, kept)
        else:
            commands.append(ClockedCommands(shared_redis(request.param).url, clock))
            log = RedisChannelLog(commands[-1], Names(secrets.token_hex(8)), kept, scripts=CLOCKED, guard_us=0)
        made.append(log)
        return log

    yield build
    for log in made:
        await log.close()
    for each in commands:
        await each.close()


@pytest.fixture
def log(make: Make) -> ChannelLog:
    return make()


async def fill(log: ChannelLog, *topics: Topic) -> list[int]:
    """Append one message to each topic; its data is its number."""
    return [(await log.append(topic, b"%d" % number, b""))[0] for number, topic in enumerate(topics)]


async def read(log: ChannelLog, *patterns: str, after: int = 0, audiences: tuple[str, ...] = ("",), tenant: str = "t") -> list[Record]:
    """All pages from a position on."""
    found: list[Record] = []
    while True:
        page = await log.read(Selection(tenant, audiences, frozenset(patterns)), after, MIB)
        assert all(after < record.position <= page.end_position for record in page.records)
        found += page.records
        after = page.end_position
        if not page.more:
            return found


async def test_positions_rise_and_follow_the_clock(log: ChannelLog, clock: ManualClock) -> None:
    first = await fill(log, A, B, A)
    clock.now += 10
    (later,) = await fill(log, B)
    assert all(left < right for left, right in itertools.pairwise(first))
    assert later == int(clock.now * 1_000_000)


async def test_what_was_appended_is_read_verbatim(log: ChannelLog) -> None:
    position, _ = await log.append(A, b'{"n":1.10}', b',"ext":{}')
    assert await read(log, "/log/a") == [Record(position, "/log/a", b'{"n":1.10}', b',"ext":{}')]


@pytest.mark.parametrize(
    ("pattern", "numbers"),
    [("/log/a", "02"), ("/log/*", "0123"), ("/log/**", "01234"), ("/log/a/*", "4"), ("/**", "01234"), ("/log/c", ""), ("/lo/**", "")],
)
async def test_patterns(log: ChannelLog, pattern: str, numbers: str) -> None:
    await fill(log, A, B, A, B, DEEP)
    assert "".join(record.data.decode() for record in await read(log, pattern)) == numbers


async def test_several_patterns_are_merged_without_repeats(log: ChannelLog) -> None:
    positions = await fill(log, A, B, DEEP)
    assert [record.position for record in await read(log, "/log/**", "/log/a", "/log/*")] == positions


async def test_as_many_patterns_as_a_session_may_hold(log: ChannelLog) -> None:
    await fill(log, A, B, DEEP)
    patterns = [f"/x/{number}/**" for number in range(500)]
    assert [record.data for record in await read(log, *patterns, "/log/b")] == [b"1"]


async def test_a_channel_whose_name_sorts_beside_the_pattern(log: ChannelLog) -> None:
    await fill(log, Topic("t", "", "/log0"), Topic("t", "", "/log-a"), Topic("t", "", "/log/~"))
    assert [record.channel for record in await read(log, "/log/**")] == ["/log/~"]


async def test_reading_goes_on_after_a_position(log: ChannelLog) -> None:
    positions = await fill(log, A, A, A)
    assert [record.position for record in await read(log, "/log/a", after=positions[0])] == positions[1:]


async def test_records_of_a_topic_are_erased_and_the_others_stay(log: ChannelLog) -> None:
    positions = await fill(log, A, B, OWN, A, DEEP, A)
    await log.append(OTHER, b"0", b"")
    assert await log.erase(A, lambda data: data in (b"0", b"5")) == 2
    assert await log.erase(A, lambda data: data == b"5") == 0
    assert [record.data for record in await read(log, "/log/**")] == [b"1", b"3", b"4"]
    assert [record.data for record in await read(log, "/log/a", audiences=("ann",))] == [b"2"]
    assert [record.data for record in await read(log, "/log/a", tenant="u")] == [b"0"]
    span = await log.span("t")
    assert (span.newest, span.seam) == (positions[-1], 0)
    assert await log.complete_since([A, B], positions[0]), "what is gone is told to nobody as a gap"
    later, previous = await log.append(A, b"new", b"")
    assert later > positions[-1]
    assert positions[3] <= previous < later
    assert [record.data for record in await read(log, "/log/a", after=positions[3])] == [b"new"]
    assert await log.span("t") == (span.floor, later, 0)


async def test_everything_is_erased(log: ChannelLog) -> None:
    positions = await fill(log, *[A] * (2 * PAGE_RECORDS))
    floor = (await log.span("t")).floor
    assert await log.erase(A, lambda _: True) == len(positions)
    assert await read(log, "/log/**") == []
    assert (await log.span("t")).floor == floor
    assert await log.complete_since([A], positions[0])
    assert await log.trim() == 0
    later = (await log.append(A, b"new", b""))[0]
    assert [(record.position, record.data) for record in await read(log, "/log/a")] == [(later, b"new")]
    assert (await log.span("t")).floor == floor


async def test_what_was_erased_takes_no_room(make: Make) -> None:
    log = make(max_messages=3)
    await log.append(A, b"x", b"", "once")
    await log.erase(A, lambda _: True)
    positions = await fill(log, B, B, B)
    await log.trim()
    assert [record.position for record in await read(log, "/log/b")] == positions


async def test_pages_are_bounded_by_records(log: ChannelLog) -> None:
    positions = await fill(log, *[A] * (PAGE_RECORDS + 1))
    page = await log.read(Selection("t", ("",), {"/log/a"}), 0, MIB)
    assert (len(page.records), page.end_position, page.more) == (PAGE_RECORDS, positions[-2], True)
    assert len(await read(log, "/log/a")) == PAGE_RECORDS + 1


async def test_pages_are_bounded_by_bytes_but_never_empty(log: ChannelLog) -> None:
    for _ in range(3):
        await log.append(A, b"x" * 100, b"")
    page = await log.read(Selection("t", ("",), {"/log/a"}), 0, 50)
    assert len(page.records) == 1
    assert page.more


async def test_a_page_looks_at_a_bounded_number_of_records(log: ChannelLog) -> None:
    await fill(log, *[B] * (SCAN + 10), A)
    assert [record.data for record in await read(log, "/log/a")] == [b"%d" % (SCAN + 10)]


async def test_tenants_and_audiences_do_not_mix(log: ChannelLog) -> None:
    await log.append(A, b"1", b"")
    await log.append(OTHER, b"2", b"")
    await log.append(OWN, b"3", b"")
    assert [record.data for record in await read(log, "/**")] == [b"1"]
    assert [record.data for record in await read(log, "/**", audiences=("", "ann"))] == [b"1", b"3"]
    assert [record.data for record in await read(log, "/**", audiences=("", "bob"))] == [b"1"]


async def test_an_empty_log_vouches_from_its_first_moment_on(log: ChannelLog, clock: ManualClock) -> None:
    span = await log.span("t")
    assert span.floor == span.newest == int(clock.now * 1_000_000) - 1
    clock.now += 5
    assert await log.span("t") == span


async def test_previous_is_the_last_of_the_same_topic(log: ChannelLog) -> None:
    floor = (await log.span("t")).floor
    first, before_first = await log.append(A, b"", b"")
    await log.append(B, b"", b"")
    assert before_first == floor
    assert (await log.append(A, b"", b""))[1] == first


async def test_old_records_are_trimmed_by_count(make: Make) -> None:
    log = make(max_messages=3)
    positions = await fill(log, *[A] * 5)
    assert await log.trim() == 2
    assert [record.position for record in await read(log, "/log/a")] == positions[2:]
    assert (await log.span("t")).floor == positions[1]
    assert await log.trim() == 0


async def test_the_records_of_one_tenant_are_forgotten_by_age_or_all(log: ChannelLog, clock: ManualClock) -> None:
    old = await fill(log, A, B)
    clock.now += 60
    new = await fill(log, A)
    await log.append(OTHER, b"x", b"")
    assert await log.forget("t", 120) == 0
    assert await log.forget("t", 30) == 2
    assert [record.position for record in await read(log, "/log/a")] == new
    assert not await log.complete_since([B], old[0] - 1)
    assert await log.forget("t", None) == 1
    assert (await read(log, "/log/a"), await log.forget("t", None), await log.forget("nobody", None)) == ([], 0, 0)
    page = await log.read(Selection("u", ("",), {"/log/a"}), 0, MIB)
    assert len(page.records) == 1
    (again,) = await fill(log, A)
    assert again > new[0]
    assert [record.position for record in await read(log, "/log/a")] == [again]


async def test_old_records_are_trimmed_by_age(make: Make, clock: ManualClock) -> None:
    log = make(max_age_s=60)
    await fill(log, A, A)
    clock.now += 61
    (kept,) = await fill(log, A)
    assert await log.trim() == 2
    assert [record.position for record in await read(log, "/log/a")] == [kept]


async def test_old_records_are_trimmed_by_bytes(make: Make) -> None:
    log = make(max_bytes=250)
    for _ in range(4):
        await log.append(A, b"x" * 90, b"y" * 10)
    assert await log.trim() == 2
    assert len(await read(log, "/log/a")) == 2


async def test_everything_may_be_trimmed(make: Make, clock: ManualClock) -> None:
    log = make(max_age_s=1)
    positions = await fill(log, A, B)
    clock.now += 10
    await log.trim()
    assert (await log.span("t"))[:2] == (positions[-1], positions[-1])
    assert (await fill(log, A))[0] > positions[-1]


async def test_a_quiet_channel_is_complete_where_the_whole_log_is_not(make: Make) -> None:
    log = make(max_messages=3)
    first, *_, last = await fill(log, A, B, B, B, A)
    await log.trim()
    assert (await log.span("t")).floor > first
    assert await log.complete_since([A], first)
    assert not await log.complete_since([A], first - 1)
    assert await log.complete_since([A], last)


async def test_a_channel_of_which_nothing_is_left_cannot_vouch(make: Make) -> None:
    log = make(max_messages=1)
    first, *_ = await fill(log, A, A, B)
    await log.trim()
    assert not await log.complete_since([A], first)
    assert await log.complete_since([A], (await log.span("t")).floor)


async def test_the_first_message_after_a_trim_does_not_vouch_for_what_was_trimmed(make: Make) -> None:
    log = make(max_messages=1)
    first, second, _ = await fill(log, A, A, B)
    await log.trim()
    await log.append(A, b"", b"")
    assert not await log.complete_since([A], first)
    assert await log.complete_since([A], (await log.span("t")).floor)
    assert second <= (await log.span("t")).floor


async def test_a_closed_log_says_so(log: ChannelLog) -> None:
    await log.close()
    with pytest.raises(EventLogError):
        await log.append(A, b"", b"")


# -- the file alone ---------------------------------------------------------------------------------------------------


async def test_a_log_outlives_its_process(tmp_path: Path, clock: ManualClock) -> None:
    log = SqliteChannelLog(tmp_path, clock)
    positions = await fill(log, A, A)
    span = await log.span("t")
    await log.close()
    clock.now -= 3600
    again = SqliteChannelLog(tmp_path, clock)
    assert await again.span("t") == span
    assert (await again.append(A, b"", b""))[0] > positions[-1]
    assert len(await read(again, "/log/a")) == 3
    await again.close()


async def test_a_new_file_does_not_vouch_for_the_old_one(tmp_path: Path, clock: ManualClock) -> None:
    log = SqliteChannelLog(tmp_path / "old", clock)
    (position,) = await fill(log, A)
    await log.close()
    clock.now += 1
    fresh = SqliteChannelLog(tmp_path / "new", clock)
    await fresh.span("t")
    assert not await fresh.complete_since([A], position)
    await fresh.close()


async def test_a_file_serves_one_process(tmp_path: Path, clock: ManualClock) -> None:
    log = SqliteChannelLog(tmp_path, clock)
    with pytest.raises(LogInUseError):
        SqliteChannelLog(tmp_path, clock)
    await log.close()


async def test_reading_uses_the_index(tmp_path: Path, clock: ManualClock) -> None:
    log = SqliteChannelLog(tmp_path, clock)
    await fill(log, A)
    plan = await log.file.rows(
        "EXPLAIN QUERY PLAN SELECT max(position) FROM records WHERE log = 1 AND channel = '/a' AND audience = ''", ()
    )
    assert "records_of_topic" in str([tuple(row) for row in plan])
    await log.close()


# -- both agree with a list -------------------------------------------------------------------------------------------

_TOPICS = st.sampled_from([A, B, DEEP, OWN])
_PATTERNS = st.lists(st.sampled_from(["/log/a", "/log/b", "/log/*", "/log/**", "/log/a/*", "/**"]), min_size=1, max_size=3)


@given(appended=st.lists(_TOPICS, max_size=30), patterns=_PATTERNS, keep=st.integers(1, 30), start=st.integers(0, 30))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_log_is_a_list(make: Make, appended: list[Topic], patterns: list[str], keep: int, start: int) -> None:
    log = make(max_messages=keep)
    positions = await fill(log, *appended)
    await log.trim()
    after = positions[start] if start < len(positions) else 0
    kept = list(zip(positions, appended, strict=True))[-keep:]
    expected = [p for p, topic in kept if p > after and not topic.audience and any(matches(pattern, topic.channel) for pattern in patterns)]
    assert [record.position for record in await read(log, *patterns, after=after)] == expected
    for topic in (A, B, DEEP):
        of_topic = [p for p, appended_to in zip(positions, appended, strict=True) if appended_to == topic and p > after]
        if await log.complete_since([topic], after):  # it may be unsure, it may never be wrong
            assert of_topic == [record.position for record in await read(log, topic.channel, after=after)]


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
async def test_a_clock_that_is_set_makes_no_record_old(kind: str, tmp_path: Path) -> None:
    clock = ManualClock(wall=1_795_956_000_000)
    steady = SteadyClock(clock)
    retention = Retention(max_age_s=3600)
    log: ChannelLog = (
        SqliteChannelLog(tmp_path, clock, retention, steady=steady)
        if kind == "sqlite"
        else MemoryChannelLog(clock, retention, steady=steady)
    )
    try:
        positions = await fill(log, A, A)
        assert clock.wall is not None
        clock.wall += 86_400_000
        assert await log.trim() == 0
        clock.advance(3601)
        assert [record.position for record in await read(log, "/log/a")] == positions
        assert await log.trim() == 2, "time that has passed counts"
    finally:
        await log.close()
