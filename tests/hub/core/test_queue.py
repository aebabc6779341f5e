"""What a session's queue does when it is full, by delivery class; and the flush behind it."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Sequence

import pytest

from hub.core.delivery import ChannelDeclaration, DeliveryClass
from hub.core.limits import Limits
from hub.core.message import Message
from hub.core.subscriber import Subscriber
from hub.core.time_slice import SLICE_S
from tests.hub.core.harness import Recorder, World
from tests.robustness.direct_way import payloads

EVENT, STATE, LOG = DeliveryClass.EVENT, DeliveryClass.STATE, DeliveryClass.LOG
SMALL = Limits(max_queue_bytes=300)


def message(number: int, delivery: DeliveryClass = EVENT, size: int = 100) -> Message:
    """A message that counts ``size`` bytes against the limit."""
    made = Message("/a", b"%d" % number, delivery)
    return Message("/a", b"%d" % number + b" " * (size - made.size), delivery)


def numbers(messages: Sequence[Message]) -> list[int]:
    return [int(each.data) for each in messages]


async def _nothing(tenant: str, audience: str, pattern: str) -> list[tuple[str, bytes]]:
    return []


def test_size_counts_all_of_it() -> None:
    assert Message("/abc", b"12345", extra=b',"x":1').size == 4 + 5 + 6 + 64


def test_flush_comes_once_a_tick() -> None:
    world = World()
    session = world.session()
    for number in range(3):
        session.offer(message(number))
    assert len(world.loop.callbacks) == 1
    world.loop.tick()
    assert numbers(session.received) == [0, 1, 2]


def test_queue_up_to_its_limit() -> None:
    world = World(limits=SMALL)
    session = world.session()
    for number in range(3):
        session.offer(message(number))
    assert (len(session.queue), session.queued_bytes, session.dropped) == (3, 300, 0)


def test_event_over_the_limit_is_dropped_and_counted() -> None:
    world = World(limits=SMALL)
    session = world.session()
    for number in range(5):
        session.offer(message(number))
    assert numbers(session.take()) == [0, 1, 2]
    assert (session.dropped, world.hub.counters.dropped) == (2, 2)


def test_after_reading_there_is_room_again() -> None:
    world = World(limits=SMALL)
    session = world.session()
    for number in range(4):
        session.offer(message(number))
    session.take()
    session.offer(message(9))
    assert numbers(session.take()) == [9]


def test_log_over_the_limit_ends_the_session() -> None:
    world = World(limits=SMALL)
    session = world.session()
    for number in range(4):
        session.offer(message(number, LOG))
    assert session.ended
    assert world.hub.counters.too_slow == 1


def test_state_over_the_limit_gives_up_what_waits_for_a_snapshot() -> None:
    world = World(limits=SMALL)
    session = world.session()
    for number in range(4):
        session.offer(message(number, STATE))
    assert (len(session.queue), session.resync_due, world.hub.counters.conflated) == (0, True, 4)


@pytest.mark.parametrize("delivery", [EVENT, LOG])
def test_state_makes_room_for_others(delivery: DeliveryClass) -> None:
    world = World(limits=SMALL)
    session = world.session()
    session.offer(message(0, delivery))
    session.offer(message(1, STATE))
    session.offer(message(2, STATE))
    session.offer(message(3, delivery))
    assert numbers(session.queue) == [0, 3]
    assert (session.resync_due, session.ended, session.dropped) == (True, False, 0)


def test_state_does_not_push_others_out() -> None:
    world = World(limits=SMALL)
    session = world.session()
    for number in range(3):
        session.offer(message(number))
    session.offer(message(3, STATE))
    assert numbers(session.queue) == [0, 1, 2]
    assert session.resync_due


def test_a_full_queue_without_states_is_not_searched_for_each_message() -> None:
    world = World(limits=SMALL)
    session = world.session()
    for number in range(3):
        session.offer(message(number))

    class Untouched(list[Message]):
        def __getitem__(self, key: object) -> None:  # type: ignore[override]
            raise AssertionError("the queue was searched")

        def __iter__(self) -> Iterator[Message]:
            raise AssertionError("the queue was searched")

    session.waiting = Untouched(session.waiting)
    for number in range(3, 6):
        session.offer(message(number))
    assert session.dropped == 3


@pytest.mark.parametrize("seed", range(10))
async def test_states_are_found_wherever_they_stand(seed: int) -> None:
    """Whatever was offered and taken before: what waits after an overflow are the messages that are no states, in their order."""
    chance = random.Random(seed)
    world = World(limits=Limits(max_queue_bytes=1000))
    session = world.session()
    expected: list[Message] = []
    for number in range(400):
        if chance.random() < 0.1:
            assert session.take() == expected
            expected = []
            continue
        made = message(number, chance.choice([EVENT, EVENT, STATE]))
        if chance.random() < 0.2:
            session.offer_anyway(made)
            expected.append(made)
            continue
        session.offer(made)
        if sum(each.size for each in expected) + made.size > 1000:
            expected = [each for each in expected if each.delivery is not STATE]
            if made.delivery is STATE or sum(each.size for each in expected) + made.size > 1000:
                continue
        expected.append(made)
    assert session.queue == expected
    await world.loop.run()


async def test_messages_that_a_lost_connection_did_not_take_are_not_mistaken_for_what_follows() -> None:
    """What is encoded for a session is kept by its list: one that goes on growing would be sent as it was."""
    world = World()
    session = world.session()
    session.offer(message(0))
    session.direct_write = gone
    assert not session.send_directly()
    session.offer(message(1))
    written: list[bytes] = []
    session.direct_write = written.append
    assert session.send_directly()
    assert [each["data"] for payload in payloads(written[0]) for each in json.loads(payload)] == [0, 1]


def gone(_: bytes) -> None:
    raise OSError("gone")


def test_state_that_was_given_up_asks_for_a_flush() -> None:
    world = World(limits=SMALL)
    session = world.session()
    session.offer(message(0, STATE, 400))
    assert (len(session.queue), len(world.loop.callbacks)) == (0, 1)


async def test_snapshot_follows_the_overflow() -> None:
    async def snapshot(tenant: str, audience: str, pattern: str) -> list[tuple[str, bytes]]:
        return [("/state/a", b"7")]

    world = World([ChannelDeclaration("/state/*", STATE, "x", snapshot=snapshot)], limits=SMALL)
    session = world.session()
    await world.hub.subscriptions.subscribe(session, ["/state/*"])
    for number in range(4):
        session.offer(message(number, STATE))
    await world.loop.run()
    assert numbers(session.received) == [7]
    assert not session.resync_due


async def test_snapshot_is_queued_whatever_the_limit() -> None:
    async def snapshot(tenant: str, audience: str, pattern: str) -> list[tuple[str, bytes]]:
        return [(f"/state/{number}", b'"%b"' % (b"x" * 200)) for number in range(5)]

    world = World([ChannelDeclaration("/state/*", STATE, "x", snapshot=snapshot)], limits=SMALL)
    session = world.session()
    await world.hub.subscriptions.subscribe(session, ["/state/*"])
    await world.hub.snapshots.send(session, ["/state/*"])
    assert (len(session.queue), session.resync_due) == (5, False)
    await world.hub.snapshots.send(session, ["/state/*"])  # who asks again without reading waits for it
    assert (len(session.queue), session.resync_due) == (5, True)


# -- flushing -----------------------------------------------------------------------------------------------------------


def test_fault_of_one_session_does_not_end_the_flush_of_others() -> None:
    world = World()
    broken, well = world.session("broken"), world.session("well")
    broken.fault = KeyError("x")
    for session in (broken, well):
        session.offer(message(1))
    world.loop.tick()
    assert numbers(well.received) == [1]
    assert world.faults == [(broken, broken.fault)]
    assert world.hub.counters.faults == 1


def test_session_is_flushed_again_after_its_fault() -> None:
    world = World()
    session = world.session()
    session.fault = KeyError("x")
    session.offer(message(1))
    world.loop.tick()
    session.fault = None
    session.offer(message(2))
    world.loop.tick()
    assert numbers(session.received) == [1, 2]


def test_long_flush_is_cut_into_slices() -> None:
    world = World()
    sessions = [world.session(str(number)) for number in range(100)]
    for session in sessions:
        session.offer(message(1))
    world.clock.step = SLICE_S
    served = []
    while world.loop.callbacks:
        world.loop.tick()
        served.append(sum(1 for session in sessions if session.received))
    assert served[-1] == 100
    assert all(after - before <= 32 for before, after in itertools.pairwise([0, *served]))
    assert len(served) > 3


def test_message_that_comes_between_two_slices_is_not_lost() -> None:
    world = World()
    sessions = [world.session(str(number)) for number in range(40)]
    for session in sessions:
        session.offer(message(1))
    world.clock.step = SLICE_S
    world.loop.tick()
    sessions[0].offer(message(2))
    while world.loop.callbacks:
        world.loop.tick()
    assert numbers(sessions[0].received) == [1, 2]


def test_flush_that_offers_again_is_served() -> None:
    world = World()
    first, second = world.session("1"), world.session("2")
    original = Recorder.flush

    class Chain(Recorder):
        __slots__ = ()

        def flush(self) -> None:
            original(self)
            second.offer(message(5))

    chain = Chain(world.hub, "chain")
    chain.offer(message(1))
    first.offer(message(1))
    world.loop.tick()
    assert numbers(second.received) == [5]


@pytest.mark.parametrize("method", ["flush", "end_too_slow", "end_revoked"])
def test_session_of_an_endpoint_must_say_how(method: str) -> None:
    world = World()
    with pytest.raises(AssertionError):
        getattr(Subscriber(world.hub, "x", world.session().principal), method)()
