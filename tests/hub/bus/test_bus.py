"""What every bus does; each backend adds itself to :func:`bus`."""

from __future__ import annotations

import itertools

import pytest

from hub.bus.interface import Bus, Envelope
from hub.bus.memory import MemoryBus
from hub.core.delivery import DeliveryClass
from hub.core.message import Topic
from hub.eventlog.channel_log import Selection
from tests.hub.core.harness import ManualClock

A, B, OTHER = Topic("t", "", "/a"), Topic("t", "", "/b"), Topic("u", "", "/a")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["memory"])
def bus(request: pytest.FixtureRequest, clock: ManualClock) -> Bus:
    backends = {"memory": lambda: MemoryBus(clock, "node-1")}
    made: Bus = backends[request.param]()
    return made


def log(topic: Topic, data: bytes = b"1") -> Envelope:
    return Envelope(topic, DeliveryClass.LOG, data)


async def test_positions_rise_through_all_channels_of_a_tenant(bus: Bus) -> None:
    await bus.subscribe(A)
    positions = [await bus.append(log(topic)) for topic in (A, B, A, B, B)]
    assert all(left < right for left, right in itertools.pairwise(positions))


async def test_positions_follow_the_clock(bus: Bus, clock: ManualClock) -> None:
    first = await bus.append(log(A))
    clock.now += 10
    assert await bus.append(log(A)) == first + 10_000_000


async def test_positions_rise_when_the_clock_goes_back(bus: Bus, clock: ManualClock) -> None:
    first = await bus.append(log(A))
    clock.now -= 100
    assert await bus.append(log(A)) == first + 1


async def test_positions_fit_a_double(bus: Bus, clock: ManualClock) -> None:
    clock.now = 4_102_444_800  # the year 2100
    assert await bus.append(log(A)) < 2**53


async def test_tenants_count_for_themselves(bus: Bus) -> None:
    assert await bus.append(log(A)) == await bus.append(log(OTHER))


async def test_appended_comes_back_with_its_position_and_the_one_before(bus: Bus) -> None:
    received: list[Envelope] = []
    bus.on_envelope(received.append)
    await bus.subscribe(A)
    floor = (await bus.log.span("t")).floor
    positions = [await bus.append(log(topic, b"%d" % number)) for number, topic in enumerate((A, B, A))]
    of_a = [envelope for envelope in received if envelope.topic == A]
    assert [(envelope.position, envelope.previous, envelope.data) for envelope in of_a] == [
        (positions[0], floor, b"0"),
        (positions[2], positions[0], b"2"),
    ]
    assert {envelope.origin for envelope in received} == {"node-1"}


async def test_own_events_do_not_come_back(bus: Bus) -> None:
    received: list[Envelope] = []
    bus.on_envelope(received.append)
    await bus.subscribe(A)
    bus.publish(Envelope(A, DeliveryClass.EVENT, b"1"))
    bus.publish(Envelope(A, DeliveryClass.STATE, b"1"))
    assert received == []


async def test_append_before_anybody_listens(bus: Bus) -> None:
    assert await bus.append(log(A)) > 0


async def test_unsubscribing_from_what_is_not_there_does_no_harm(bus: Bus) -> None:
    bus.unsubscribe(A)
    await bus.subscribe(A)
    bus.unsubscribe(A)
    bus.unsubscribe(A)
    await bus.close()


async def test_appended_can_be_read_again(bus: Bus) -> None:
    position = await bus.append(log(A, b"verbatim"))
    (record,) = (await bus.log.read(Selection("t", ("",), {"/a"}), 0, 1000)).records
    assert (record.position, record.data) == (position, b"verbatim")
