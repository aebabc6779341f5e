"""What every bus does: each backend of tests/hub/bus/backends.py."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable

import pytest

from hub.bus.interface import Bus, BusError, Envelope, Gap
from hub.bus.memory import MemoryBus
from hub.core.delivery import DeliveryClass
from hub.core.message import Topic
from hub.eventlog.channel_log import ChannelLog
from hub.eventlog.interface import EventLogError
from tests.hub.bus.backends import NODES, ONE, Backend, Nodes, make_nodes
from tests.hub.bus.network import NetworkLog
from tests.support.redis_server import RedisServer
from tests.world import ManualClock

A, B, OTHER = Topic("t", "", "/a"), Topic("t", "", "/b"), Topic("u", "", "/a")
ALL = Topic("t", "", "/**")


class Received:
    """What a bus brings, in order."""

    def __init__(self) -> None:
        self.calls: list[Envelope | Gap | tuple[str, int] | str] = []

    def on_envelope(self, envelope: Envelope) -> None:
        self.calls.append(envelope)

    def on_position(self, tenant: str, position: int) -> None:
        self.calls.append((tenant, position))

    def on_gap(self, gap: Gap) -> None:
        self.calls.append(gap)

    def on_reset(self, tenant: str, seam: int) -> None:
        self.calls.append(f"seam {seam}")

    def of(self, topic: Topic) -> list[Envelope]:
        return [call for call in self.calls if isinstance(call, Envelope) and call.topic == topic]

    def data(self, topic: Topic = A) -> list[bytes]:
        return [envelope.data for envelope in self.of(topic)]


class Pair:
    """Two nodes, and what each is brought."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self.a, self.b, self.log = nodes.a, nodes.b, nodes.log
        self.at_a, self.at_b = Received(), Received()
        self.a.attach(self.at_a)
        self.b.attach(self.at_b)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=ONE)
async def backend(request: pytest.FixtureRequest, clock: ManualClock, shared_redis: Callable[[str], RedisServer]) -> AsyncIterator[Backend]:
    backend = ONE[request.param](clock, shared_redis)
    yield backend
    await backend.close()


@pytest.fixture
async def received(backend: Backend) -> Received:
    received = Received()
    backend.bus.attach(received)
    return received


@pytest.fixture
async def bus(backend: Backend, received: Received) -> Bus:
    return backend.bus


@pytest.fixture
def channel_log(backend: Backend) -> ChannelLog:
    return backend.log


@pytest.fixture(params=NODES)
async def pair(request: pytest.FixtureRequest, clock: ManualClock, shared_redis: Callable[[str], RedisServer]) -> AsyncIterator[Pair]:
    nodes = await make_nodes(request.param, clock, shared_redis)
    yield Pair(nodes)
    await nodes.close()


def log(topic: Topic, data: bytes = b"1") -> Envelope:
    return Envelope(topic, DeliveryClass.LOG, data)


def event(topic: Topic, data: bytes = b"1") -> Envelope:
    return Envelope(topic, DeliveryClass.EVENT, data)


# -- one node -------------------------------------------------------------------------------------------------------------


async def test_positions_rise_through_all_channels_of_a_tenant(bus: Bus, received: Received) -> None:
    await bus.subscribe([A], positions=True)
    positions = [await bus.append(log(topic)) or 0 for topic in (A, B, A, B, B)]
    assert all(left < right for left, right in itertools.pairwise([0, *positions]))


async def test_positions_follow_the_clock(bus: Bus, received: Received, clock: ManualClock) -> None:
    first = await bus.append(log(A)) or 0
    clock.now += 10
    assert await bus.append(log(A)) == first + 10_000_000


async def test_positions_rise_when_the_clock_goes_back(bus: Bus, received: Received, clock: ManualClock) -> None:
    first = await bus.append(log(A)) or 0
    clock.now -= 100
    assert await bus.append(log(A)) == first + 1


async def test_positions_fit_a_double(bus: Bus, received: Received, clock: ManualClock) -> None:
    clock.now = 4_102_444_800  # the year 2100
    assert 0 < (await bus.append(log(A)) or 0) < 2**53


async def test_tenants_count_for_themselves(bus: Bus, received: Received) -> None:
    assert await bus.append(log(A)) == await bus.append(log(OTHER))


async def test_appended_comes_back_with_its_position_and_the_one_before(bus: Bus, received: Received, channel_log: ChannelLog) -> None:
    await bus.subscribe([A, B], positions=True)
    floor = (await channel_log.span("t")).floor
    positions = [await bus.append(log(topic, b"%d" % number)) for number, topic in enumerate((A, B, A))]
    assert [(envelope.position, envelope.previous, envelope.data) for envelope in received.of(A)] == [
        (positions[0], floor, b"0"),
        (positions[2], positions[0], b"2"),
    ]
    assert {envelope.origin for envelope in received.of(A)} == {"node-1"}


async def test_what_the_log_has_by_its_name_reaches_nobody_again(bus: Bus, received: Received) -> None:
    await bus.subscribe([A], positions=True)
    position = await bus.append(log(A), idempotency_key="x")
    assert position is not None
    assert await bus.append(log(A), idempotency_key="x") in (None, position)
    assert received.data() == [b"1"]


async def test_own_events_do_not_come_back(backend: Backend, bus: Bus, received: Received) -> None:
    await bus.subscribe([A], positions=False)
    bus.publish(event(A))
    bus.publish(Envelope(A, DeliveryClass.STATE, b"1"))
    bus.publish_to_logins(event(A), ["one", "two"])
    await backend.settle()
    assert received.of(A) == []


async def test_append_before_anybody_listens(bus: Bus) -> None:
    assert await bus.append(log(A))


async def test_unsubscribing_from_what_is_not_there_does_no_harm(bus: Bus, received: Received) -> None:
    bus.unsubscribe([A])
    await bus.subscribe([A, B], positions=True)
    bus.unsubscribe([A, B])
    bus.unsubscribe([A])
    await bus.close()


async def test_a_subscription_says_from_which_position_each_topic_is_in_force(bus: Bus, received: Received) -> None:
    before = await bus.append(log(B))
    assert await bus.subscribe([A, B], positions=True) == {A: before, B: before}
    assert ("t", before) in received.calls
    await bus.append(log(A, b"after"))
    assert received.data() == [b"after"]


async def test_nobody_subscribes_to_nothing(bus: Bus, received: Received) -> None:
    assert await bus.subscribe([], positions=True) == {}


async def test_the_log_is_not_asked_where_nobody_needs_a_position(clock: ManualClock) -> None:
    """Of a bus that has to ask the log by itself: a network confirms with a position in one and the same message."""
    channel_log = NetworkLog(clock)
    bus = MemoryBus(channel_log)
    await channel_log.close()
    assert await bus.subscribe([A], positions=False) == {}
    with pytest.raises(BusError, match="closed"):
        await bus.subscribe([A], positions=True)


async def test_closing_leaves_the_log_open(bus: Bus, received: Received, channel_log: ChannelLog) -> None:
    await bus.close()
    assert await channel_log.span("t")


# -- two nodes ------------------------------------------------------------------------------------------------------------


async def test_a_topic_is_in_force_from_its_own_position(pair: Pair) -> None:
    """A node that hears one topic has not received what came on another before it subscribed to that."""
    await pair.b.subscribe([B], positions=True)
    for number in range(3):
        last = await pair.a.append(log(A, b"%d" % number))
    assert await pair.b.subscribe([A], positions=True) == {A: last}
    await pair.a.append(log(A, b"after"))
    await pair.nodes.settle()
    assert pair.at_b.data() == [b"after"]


async def test_each_node_receives_what_it_is_subscribed_to_in_the_order_of_positions(pair: Pair) -> None:
    await pair.a.subscribe([A], positions=True)
    await pair.b.subscribe([A, B], positions=True)
    for number in range(6):
        await (pair.a, pair.b)[number % 2].append(log((A, B)[number % 2], b"%d" % number))
    await pair.nodes.settle()
    assert pair.at_a.data() == [b"0", b"2", b"4"]
    at_b = [call for call in pair.at_b.calls if isinstance(call, Envelope)]
    assert [envelope.data for envelope in at_b] == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert [envelope.position for envelope in at_b] == sorted({envelope.position or 0 for envelope in at_b})


async def test_events_reach_the_other_node_once_by_name_and_pattern(pair: Pair) -> None:
    await pair.b.subscribe([A, ALL], positions=False)
    pair.a.publish(event(A, b"1"))
    pair.a.publish(event(A, b"2"))
    await pair.a.append(log(A, b"3"))
    await pair.nodes.settle()
    assert pair.at_b.data() == [b"1", b"2", b"3"]


async def test_what_was_flushed_on_one_node_has_come_when_another_one_is_settled(pair: Pair) -> None:
    await pair.b.subscribe([A, B], positions=False)
    for turn in range(1, 6):
        before = pair.a.sequence
        for number in range(100):
            pair.a.publish(event((A, B)[number % 2], b"%d" % (turn * 1000 + number)))
        assert pair.a.sequence >= before + 100
        await pair.a.flush("t")
        await asyncio.gather(*(pair.b.settle("t") for _ in range(5)))
        assert len(pair.at_b.of(A)) + len(pair.at_b.of(B)) == turn * 100
        newest = max(envelope.sequence for envelope in (*pair.at_b.of(A), *pair.at_b.of(B)))
        assert newest == pair.a.sequence
        assert {envelope.origin for envelope in pair.at_b.of(A)} == {pair.a.node}


async def test_where_nothing_waits_and_nobody_listens_nothing_is_waited_for(pair: Pair) -> None:
    await pair.a.flush("t")
    await pair.a.settle("t")


async def test_a_node_that_is_cut_off_cannot_say_that_it_is_settled(pair: Pair) -> None:
    await pair.b.subscribe([A], positions=False)
    await pair.nodes.cut()
    with pytest.raises(BusError):
        await pair.b.settle("t")
    await pair.nodes.mend()


async def test_a_second_copy_is_recognised(pair: Pair) -> None:
    await pair.b.subscribe([A], positions=True)
    await pair.nodes.repeat()
    pair.a.publish(event(A, b"1"))
    await pair.a.append(log(A, b"2"))
    await pair.nodes.settle()
    assert pair.at_b.data() == [b"1", b"2"]


async def test_what_comes_while_a_confirmation_is_under_way_comes_after_its_position(pair: Pair) -> None:
    await pair.log.span("t")  # it is there already
    await pair.nodes.hold("answers")
    subscribing = asyncio.ensure_future(pair.b.subscribe([A], positions=True))
    await pair.nodes.asked(A)
    appended = await pair.a.append(log(A, b"1")) or 0
    assert pair.at_b.calls == []
    await pair.nodes.release()
    position = (await subscribing)[A]
    await pair.nodes.settle()
    assert position < appended
    assert pair.at_b.calls[0] == ("t", position)
    assert pair.at_b.data() == [b"1"]


async def test_what_was_appended_before_a_request_arrives_lies_before_its_position(pair: Pair) -> None:
    await pair.nodes.hold("requests")
    subscribing = asyncio.ensure_future(pair.b.subscribe([A], positions=True))
    await asyncio.sleep(0)
    appended = await pair.a.append(log(A, b"1"))
    await pair.nodes.release()
    assert await subscribing == {A: appended}
    assert pair.at_b.data() == []


async def test_unsubscribing_takes_effect_between_the_subscriptions_around_it(pair: Pair) -> None:
    await pair.nodes.hold("requests")
    first = asyncio.ensure_future(pair.b.subscribe([A], positions=True))
    await asyncio.sleep(0)
    pair.b.unsubscribe([A])
    second = asyncio.ensure_future(pair.b.subscribe([A], positions=True))
    await asyncio.sleep(0)
    await pair.nodes.release()
    await first
    await second
    await pair.a.append(log(A))
    await pair.nodes.settle()
    assert pair.at_b.data() == [b"1"]
    pair.b.unsubscribe([A])
    await pair.nodes.settle()
    await pair.a.append(log(A))
    await pair.nodes.settle()
    assert pair.at_b.data() == [b"1"]


async def test_a_subscription_that_its_caller_gave_up_ends_with_unsubscribing(pair: Pair) -> None:
    await pair.nodes.hold("answers")
    subscribing = asyncio.ensure_future(pair.b.subscribe([A], positions=True))
    await asyncio.sleep(0)
    subscribing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await subscribing
    pair.b.unsubscribe([A])
    await pair.nodes.release()
    await pair.nodes.settle()
    await pair.a.append(log(A))
    await pair.nodes.settle()
    assert pair.at_b.data() == []


async def test_a_node_without_a_connection_says_so(pair: Pair) -> None:
    await pair.nodes.cut()
    with pytest.raises(BusError):
        await pair.b.subscribe([A], positions=True)
    with pytest.raises(EventLogError):
        await pair.b.append(log(A))


async def test_a_connection_that_breaks_ends_the_subscription_under_way(pair: Pair) -> None:
    pair.nodes.end_patience()
    await pair.nodes.hold("answers")
    subscribing = asyncio.ensure_future(pair.b.subscribe([A], positions=True))
    await asyncio.sleep(0)
    await pair.nodes.cut()
    with pytest.raises(BusError):
        await subscribing


async def test_what_the_log_has_of_a_broken_connection_is_handed_over(pair: Pair) -> None:
    await pair.b.subscribe([A, B], positions=True)
    await pair.a.append(log(A, b"1"))
    await pair.nodes.cut()
    await pair.a.append(log(B, b"2"))
    await pair.a.append(log(A, b"3"))
    await pair.nodes.mend()
    await pair.a.append(log(A, b"4"))
    await pair.nodes.settle()
    assert (pair.at_b.data(A), pair.at_b.data(B)) == ([b"1", b"3", b"4"], [b"2"])
    assert Gap("t") in pair.at_b.calls  # events may be lost


async def test_a_gap_that_the_log_does_not_fill_is_told(pair: Pair) -> None:
    await pair.b.subscribe([A], positions=True)
    heard = await pair.a.append(log(A, b"1"))
    await pair.nodes.settle()
    await pair.nodes.cut()
    for _ in range(3):
        last = await pair.a.append(log(A))
    await pair.nodes.forget("t")
    await pair.nodes.mend()
    await pair.nodes.settle()
    assert Gap("t", heard, last) in pair.at_b.calls
    assert pair.at_b.calls[-1] == ("t", last)


async def test_a_log_that_lost_its_end_is_told_with_the_seam(pair: Pair) -> None:
    await pair.b.subscribe([A], positions=True)
    kept = await pair.a.append(log(A, b"1")) or 0
    lost = await pair.a.append(log(A, b"lost")) or 0
    await pair.nodes.cut()
    await pair.nodes.lose_end("t", kept)
    await pair.nodes.mend()
    await pair.nodes.settle()
    seam = (await pair.log.span("t")).seam
    assert seam > lost
    assert f"seam {seam}" in pair.at_b.calls
    assert (await pair.a.append(log(A))) > seam  # type: ignore[operator]
