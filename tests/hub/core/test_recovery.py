"""Replay: what a session missed comes from the log, and then what is published now, without a gap, a repeat or a message out of order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.core.delivery import ChannelDeclaration, DeliveryClass
from hub.core.errors import RefusedError, WireError
from hub.core.limits import Limits
from hub.core.message import Topic
from hub.core.subscriptions import EVERYTHING, Subscribed
from hub.core.time_slice import SLICE_S
from hub.eventlog.channel_log import SCAN, Page, Retention, Selection, Span
from hub.eventlog.channel_log_memory import MemoryChannelLog
from tests.hub.core.harness import Recorder, World
from tests.world import ManualClock

DECLARATIONS = [ChannelDeclaration("/log/**", DeliveryClass.LOG, "a log")]


class Slow(MemoryChannelLog):
    """A log in memory; something may happen while it is asked or a page is read, and its answer to an append may be late."""

    __slots__ = ("asked", "meanwhile", "recorded", "waits")

    def __init__(self, clock: ManualClock, retention: Retention | None = None) -> None:
        super().__init__(clock, retention)
        self.meanwhile: Callable[[], Awaitable[object]] | None = None
        self.asked: Callable[[], object] = lambda: None
        self.recorded: asyncio.Event | None = None
        self.waits = 0

    async def span(self, tenant: str) -> Span:
        self.asked()
        return await super().span(tenant)

    async def append(self, topic: Topic, data: bytes, extra: bytes, idempotency_key: str = "") -> tuple[int, int] | None:
        appended = await super().append(topic, data, extra, idempotency_key)
        if self.recorded is not None:
            self.waits += 1
            await self.recorded.wait()
        return appended

    async def read(self, selection: Selection, after: int, max_bytes: int) -> Page:
        page = await super().read(selection, after, max_bytes)
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return page


class Logged(World):
    """A world with a log."""

    def __init__(self, *, limits: Limits | None = None, retention: Retention | None = None) -> None:
        clock = ManualClock()
        self.log: Slow = Slow(clock, retention)
        super().__init__(DECLARATIONS, limits=limits, log=self.log, clock=clock)

    async def publish(self, *numbers: int, channel: str = "/log/a") -> int:
        """Publish numbers; returns the position of the last."""
        for number in numbers:
            await self.hub.publisher.emit("t", channel, b"%d" % number)
        position = self.hub.positions.newest("t")
        assert position is not None
        return position

    async def since(self, session: Recorder, position: int, *patterns: str) -> list[Subscribed]:
        patterns = patterns or ("/log/a",)
        result = await self.hub.subscriptions.subscribe(session, patterns, since=dict.fromkeys(patterns, position))
        await result.start()
        return result.outcomes


def heard(session: Recorder) -> list[int]:
    return [int(message.data) for message in session.received]


async def test_what_was_missed_comes_first() -> None:
    world = Logged()
    await world.publish(1, 2)
    position = await world.publish(3)
    await world.publish(4, 5)
    session = world.session()
    assert await world.since(session, position) == [Subscribed("/log/a", position, recovered=True)]
    await world.loop.run()
    await world.publish(6)
    await world.loop.run()
    assert heard(session) == [4, 5, 6]
    assert session.recovery is None


async def test_messages_have_their_positions() -> None:
    world = Logged()
    session = world.session()
    await world.hub.subscriptions.subscribe(session, ["/log/a"])
    position = await world.publish(1)
    await world.loop.run()
    assert [message.position for message in session.received] == [position]


async def test_without_since_the_position_is_where_the_session_begins() -> None:
    world = Logged()
    position = await world.publish(1)
    session = world.session()
    assert (await world.hub.subscriptions.subscribe(session, ["/log/a", "/free"])).outcomes == [
        Subscribed("/log/a", position),
        Subscribed("/free"),
    ]
    await world.loop.run()
    assert heard(session) == []


async def test_nothing_published_yet_is_a_position_too() -> None:
    world = Logged()
    (outcome,) = (await world.hub.subscriptions.subscribe(world.session(), ["/log/a"])).outcomes
    await world.publish(1)
    session = world.session("later")
    assert outcome.position is not None
    assert (await world.since(session, outcome.position))[0].recovered
    await world.loop.run()
    assert heard(session) == [1]


async def test_everything_is_all_that_is_kept() -> None:
    world = Logged()
    await world.publish(1, 2)
    session = world.session()
    (outcome,) = await world.since(session, EVERYTHING)
    await world.loop.run()
    assert heard(session) == [1, 2]
    assert not outcome.recovered


async def test_a_wildcard_replays_all_its_channels_in_order() -> None:
    world = Logged()
    for number in range(6):
        await world.publish(number, channel=f"/log/{number % 3}")
    session = world.session()
    await world.since(session, EVERYTHING, "/log/**", "/log/1")
    await world.loop.run()
    assert heard(session) == list(range(6))


async def test_what_is_gone_is_said_to_be_missing() -> None:
    world = Logged(retention=Retention(max_messages=2))
    position = await world.publish(1)
    await world.publish(2, 3, 4)
    await world.log.trim()
    session = world.session()
    (outcome,) = await world.since(session, position)
    await world.loop.run()
    assert not outcome.recovered
    assert outcome.position > position
    assert heard(session) == [3, 4]
    assert (world.hub.counters.recovered, world.hub.counters.not_recovered) == (0, 1)


async def test_a_quiet_channel_is_recovered_although_others_were_trimmed() -> None:
    world = Logged(retention=Retention(max_messages=2))
    position = await world.publish(1, channel="/log/quiet")
    await world.publish(2, channel="/log/a")
    await world.publish(3, channel="/log/quiet")
    await world.publish(4, channel="/log/a")
    await world.log.trim()
    session = world.session()
    (outcome,) = await world.since(session, position, "/log/quiet")
    await world.loop.run()
    assert outcome.recovered
    assert heard(session) == [3]


async def test_a_position_of_the_future_is_not_recovered() -> None:
    world = Logged()
    position = await world.publish(1)
    session = world.session()
    assert await world.since(session, position + 1) == [Subscribed("/log/a", position)]
    await world.publish(2)
    await world.loop.run()
    assert heard(session) == [2]


@pytest.mark.parametrize("wrong", [-10, 10])
async def test_strict_refuses_what_is_not_recovered_and_subscribes_to_nothing(wrong: int) -> None:
    world = Logged(retention=Retention(max_messages=1))
    position = await world.publish(1, 2, 3)
    await world.log.trim()
    session = world.session()
    with pytest.raises(RefusedError) as refused:
        await world.hub.subscriptions.subscribe(session, ["/log/b", "/log/a"], since={"/log/a": position + wrong}, strict=True)
    assert (refused.value.error, refused.value.channel) == (WireError.REPLAY_INVALID, "/log/a")
    assert session.subscriptions == {}


async def test_what_is_published_while_a_page_is_read_comes_once_and_in_order() -> None:
    world = Logged()
    await world.publish(1)
    session = world.session()

    async def meanwhile() -> None:
        await world.publish(2)

    world.log.meanwhile = meanwhile
    await world.since(session, EVERYTHING)
    await world.loop.run()
    await world.publish(3)
    await world.loop.run()
    assert heard(session) == [1, 2, 3]


async def test_what_is_heard_directly_waits_for_its_turn_in_the_log() -> None:
    """Log channels come in the order of positions; a channel that is no log does not wait."""
    world = Logged()
    await world.publish(1)
    session = world.session()
    await world.hub.subscriptions.subscribe(session, ["/log/other", "/free"])
    result = await world.hub.subscriptions.subscribe(session, ["/log/a"], since={"/log/a": EVERYTHING})
    await world.publish(2, channel="/log/other")
    await world.hub.publisher.emit("t", "/free", b"3")
    await world.publish(4)
    await result.start()
    await world.loop.run()
    assert heard(session) == [3, 1, 2, 4]


async def test_patterns_with_different_positions_are_one_replay_in_order() -> None:
    world = Logged()
    positions = [await world.publish(number, channel=f"/log/{'ab'[number % 2]}") for number in range(6)]
    session = world.session()
    since = {"/log/a": positions[0], "/log/**": positions[2]}
    result = await world.hub.subscriptions.subscribe(session, list(since), since=since)
    await result.start()
    await world.publish(6)
    await world.loop.run()
    assert heard(session) == [2, 3, 4, 5, 6]


async def test_each_pattern_begins_at_its_own_position() -> None:
    world = Logged()
    positions = [await world.publish(number, channel=f"/log/{'ab'[number % 2]}") for number in range(6)]
    session = world.session()
    since = {"/log/a": positions[3], "/log/b": positions[0]}
    result = await world.hub.subscriptions.subscribe(session, list(since), since=since)
    await result.start()
    await world.loop.run()
    assert heard(session) == [1, 3, 4, 5]


@pytest.mark.parametrize("second", ["/log/a", "/log/**"])
async def test_two_subscribes_from_one_position_are_one_replay(second: str) -> None:
    world = Logged()
    await world.publish(1, 2)
    session = world.session()
    await world.since(session, EVERYTHING, "/log/**")
    await world.since(session, EVERYTHING, second)
    await world.publish(3)
    await world.loop.run()
    assert heard(session) == [1, 2, 3]


async def test_asked_again_before_it_begins_the_lower_position_counts() -> None:
    world = Logged()
    first = await world.publish(1)
    second = await world.publish(2)
    await world.publish(3)
    session = world.session()
    for position in (second, first, second):
        await world.since(session, position)
    await world.loop.run()
    assert heard(session) == [2, 3]


async def test_a_wider_pattern_that_is_asked_for_amid_a_replay_brings_only_what_is_new() -> None:
    world = Logged()
    for number in range(6):
        await world.publish(number, channel=f"/log/{'ab'[number % 2]}")
    session = world.session()

    async def meanwhile() -> None:
        async def again() -> None:
            await world.since(session, EVERYTHING, "/log/**")

        world.log.meanwhile = again  # while the second page is read, of which there is one because of this:
        await world.publish(6)

    world.log.meanwhile = meanwhile
    await world.since(session, EVERYTHING, "/log/a")
    await world.loop.run()
    assert heard(session) == [0, 2, 4, 6, 1, 3, 5]


async def test_asked_again_amid_a_replay_it_comes_again() -> None:
    """A page that is loaded anew within its session does not have what the one before was sent."""
    world = Logged(limits=Limits(max_queue_bytes=200))
    for number in range(4):
        await world.publish(number)
    session = world.session()
    await world.since(session, EVERYTHING, "/log/a", "/log/**")
    await world.loop.work.pop(0)
    session.flush()
    sent = len(session.received)
    assert 0 < sent < 4
    await world.since(session, EVERYTHING, "/log/a", "/log/**")
    await world.loop.run()
    assert heard(session)[sent:] == [0, 1, 2, 3]


async def test_a_wider_subscription_misses_nothing_when_the_one_that_catches_up_ends() -> None:
    world = Logged()
    await world.publish(1)
    session = world.session()
    await world.hub.subscriptions.subscribe(session, ["/log/**"])
    result = await world.hub.subscriptions.subscribe(session, ["/log/a"], since={"/log/a": EVERYTHING})
    await world.publish(2)
    world.hub.subscriptions.unsubscribe(session, ["/log/a"])
    await result.start()
    await world.loop.run()
    await world.publish(3)
    await world.loop.run()
    assert heard(session) == [2, 3]
    assert session.recovery is None


async def test_what_begins_amid_a_replay_begins_at_its_own_position() -> None:
    world = Logged()
    await world.publish(1, 2)
    session = world.session()
    result = await world.hub.subscriptions.subscribe(session, ["/log/a"], since={"/log/a": EVERYTHING})
    position = await world.publish(3)
    assert (await world.hub.subscriptions.subscribe(session, ["/log/**"])).outcomes == [Subscribed("/log/**", position)]
    await world.publish(4)
    world.hub.subscriptions.unsubscribe(session, ["/log/a"])
    await result.start()
    await world.loop.run()
    assert heard(session) == [4]


async def test_what_is_in_the_log_and_has_not_been_received_comes_once() -> None:
    world = Logged()
    await world.publish(1)
    session = world.session()
    world.log.recorded = asyncio.Event()
    publishing = asyncio.ensure_future(world.publish(2))
    while not world.log.waits:
        await asyncio.sleep(0)
    await world.since(session, EVERYTHING)
    await world.loop.run()
    assert heard(session) == [1]
    assert session.recovery is None
    world.log.recorded.set()
    await publishing
    await world.loop.run()
    assert heard(session) == [1, 2]


async def test_a_replay_in_which_nothing_matches_gives_way_between_pages() -> None:
    world = Logged(retention=Retention(max_messages=10 * SCAN))
    await world.publish(*range(5 * SCAN))
    session = world.session()
    await world.since(session, EVERYTHING, *(f"/log/nobody/{number}/**" for number in range(490)))
    before = world.loop.breaths
    world.clock.step = 2 * SLICE_S  # each look at the clock finds the slice used up
    await world.loop.run()
    assert world.loop.breaths - before >= 5
    assert heard(session) == []
    assert session.recovery is None


async def test_a_session_that_the_server_ends_while_the_log_is_asked_is_not_subscribed() -> None:
    world = Logged()
    session = world.session()

    def end() -> None:
        session.closing = True

    world.log.asked = end
    with pytest.raises(RefusedError) as refused:
        await world.hub.subscriptions.subscribe(session, ["/log/a"])
    assert refused.value.error is WireError.SESSION_UNKNOWN
    assert session.subscriptions == {}
    assert len(world.hub.router) == 0


async def test_what_a_concurrent_request_takes_back_meanwhile_is_subscribed_anew() -> None:
    world = Logged()
    await world.publish(1)
    session = world.session()
    await world.hub.subscriptions.subscribe(session, ["/log/a"])
    world.log.asked = lambda: world.hub.subscriptions.unsubscribe(session, ["/log/a"])
    await world.since(session, EVERYTHING)
    await world.loop.run()
    assert list(session.subscriptions) == ["/log/a"]
    assert heard(session) == [1]


async def test_a_channel_of_another_pattern_keeps_its_order() -> None:
    """The session hears /log/a by a wildcard already: while it catches up by name, what is new must not overtake what is old."""
    world = Logged()
    await world.publish(1)
    session = world.session()
    await world.hub.subscriptions.subscribe(session, ["/log/*"])
    result = await world.hub.subscriptions.subscribe(session, ["/log/a"], since={"/log/a": EVERYTHING})
    await world.publish(2)
    await result.start()
    await world.loop.run()
    assert heard(session) == [1, 2]


async def test_unsubscribing_ends_the_replay() -> None:
    world = Logged()
    await world.publish(1, 2)
    await world.publish(3, channel="/log/b")
    session = world.session()
    result = await world.hub.subscriptions.subscribe(session, ["/log/a", "/log/b"], since={"/log/a": EVERYTHING, "/log/b": EVERYTHING})
    world.hub.subscriptions.unsubscribe(session, ["/log/a"])
    await result.start()
    await world.loop.run()
    assert heard(session) == [3]


async def test_a_session_that_ends_meanwhile_is_forgotten() -> None:
    world = Logged()
    await world.publish(1)
    session = world.session()

    async def meanwhile() -> None:
        world.hub.sessions.detach(session)

    world.log.meanwhile = meanwhile
    await world.since(session, EVERYTHING)
    await world.loop.run()
    assert heard(session) == []
    assert session.recovery is None
    assert len(world.hub.router) == 0


async def test_a_slow_reader_is_read_ahead_for_by_half_a_queue() -> None:
    world = Logged(limits=Limits(max_queue_bytes=4000))
    for number in range(200):
        await world.publish(number)
    session = world.session()
    result = await world.hub.subscriptions.subscribe(session, ["/log/a"], since={"/log/a": EVERYTHING})
    session.dirty = True  # it cannot be flushed
    await result.start()
    while world.loop.work:
        await world.loop.work.pop(0)
    assert 0 < session.queued_bytes <= 4000 + 200
    waiting = len(session.queue)
    assert waiting < 200
    session.dirty = False
    session.flush()
    await world.loop.run()
    assert heard(session) == list(range(200))
    assert world.hub.counters.replayed == 200


async def test_what_is_trimmed_before_it_is_read_ends_the_session() -> None:
    """It must come back and be told that something is missing, not miss it in silence."""
    world = Logged(retention=Retention(max_messages=2))
    position = await world.publish(1)
    await world.publish(2, 3)
    session = world.session()
    result = await world.hub.subscriptions.subscribe(session, ["/log/a"], since={"/log/a": position})
    (outcome,) = result.outcomes
    assert outcome.recovered
    await world.publish(4, 5)
    await world.log.trim()
    await result.start()
    await world.loop.run()
    assert session.ended
    assert world.hub.counters.replays_broken == 1


async def test_a_log_that_fails_ends_the_replay() -> None:
    world = Logged()
    await world.publish(1)
    session = world.session()
    result = await world.hub.subscriptions.subscribe(session, ["/log/a"], since={"/log/a": EVERYTHING})
    await world.log.close()
    await result.start()
    await world.loop.run()
    assert session.ended
    assert world.hub.counters.replays_broken == 1


async def test_a_log_that_fails_refuses_subscribe_and_publish() -> None:
    world = Logged()
    await world.log.close()
    session = world.session()
    for attempt in (world.hub.subscriptions.subscribe(session, ["/log/a"]), world.hub.publisher.publish(session.principal, "/log/a", b"1")):
        with pytest.raises(RefusedError) as refused:
            await attempt
        assert refused.value.error is WireError.UNAVAILABLE


async def test_somebody_elses_personal_messages_are_not_replayed() -> None:
    world = Logged()
    await world.hub.publisher.emit("t", "/log/a", b"1", audience="token-bob")
    await world.hub.publisher.emit("t", "/log/a", b"2", audience="token-ann")
    await world.hub.publisher.emit("u", "/log/a", b"3")
    session = world.session()
    await world.since(session, EVERYTHING, "/log/*")
    await world.loop.run()
    assert heard(session) == [2]


@given(
    script=st.lists(st.sampled_from(["a", "b", "page", "flush", "join"]), max_size=40),
    queue=st.sampled_from([300, 1000, 1_000_000]),
)
@settings(max_examples=150, deadline=None)
async def test_nothing_is_missed_repeated_or_out_of_order(script: list[str], queue: int) -> None:
    world = Logged(limits=Limits(max_queue_bytes=queue))
    session = world.session()
    published: list[int] = []
    joined = False
    for step in [*script, "join"]:
        if step in "ab":
            published.append(len(published))
            await world.publish(published[-1], channel=f"/log/{step}")
        elif step == "page" and world.loop.work:
            await world.loop.work.pop(0)
        elif step == "flush":
            world.loop.tick()
        elif step == "join" and not joined:
            joined = True
            await world.since(session, EVERYTHING, "/log/**")
        if session.ended:  # a queue of 300 bytes overflows as it should
            return
    await world.loop.run()
    assert heard(session) == published
    assert session.recovery is None
