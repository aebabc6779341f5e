"""What waits for all sessions of a process together, and who is turned on when it is too much."""

from __future__ import annotations

import random

from hub.core.budget import SESSIONS_PER_STEP, SHED_PER_ROUND, TURN_S
from hub.core.delivery import ChannelDeclaration, DeliveryClass
from hub.core.limits import Limits
from hub.core.message import Message
from hub.core.subscriptions import EVERYTHING
from tests.hub.core.harness import Recorder, World, principal

EVENT, STATE, LOG = DeliveryClass.EVENT, DeliveryClass.STATE, DeliveryClass.LOG
LIMITS = Limits(max_queue_bytes=10_000, max_process_queue_bytes=20_000)


class Stuck(Recorder):
    """A session whose client reads nothing: what is offered waits, and some bytes are with the transport."""

    __slots__ = ("reads", "unread")

    def __init__(self, world: World, identifier: str) -> None:
        super().__init__(world.hub, identifier)
        self.unread = 0
        self.reads = False
        world.hub.sessions.attach(self)

    def flush(self) -> None:
        if self.reads:
            super().flush()

    @property
    def unread_bytes(self) -> int:
        return self.unread


def fill(session: Recorder, size: int, delivery: DeliveryClass = EVENT) -> None:
    """Have ``size`` bytes wait for a session, in messages of 100."""
    for _ in range(size // 100):
        session.offer(Message("/a", b" " * 34, delivery))


def round_of(world: World) -> None:
    for _ in range(2 + len(world.hub.sessions) // SESSIONS_PER_STEP):
        world.hub.budget.step()


def test_nothing_happens_within_the_budget() -> None:
    world = World(limits=LIMITS)
    sessions = [Stuck(world, f"s{number}") for number in range(4)]
    for session in sessions:
        fill(session, 5_000)
    round_of(world)
    assert world.hub.budget.waiting_bytes == 20_000
    assert world.hub.counters.over_budget == 0
    assert [session.queued_bytes for session in sessions] == [5_000] * 4


def test_the_largest_are_turned_on_first_and_no_more_than_needed() -> None:
    world = World(limits=LIMITS)
    sizes = [1_000, 9_000, 3_000, 8_000, 2_000, 4_000]
    sessions = [Stuck(world, f"s{number}") for number in range(len(sizes))]
    for session, size in zip(sessions, sizes, strict=True):
        fill(session, size)
    round_of(world)
    assert [session.queued_bytes for session in sessions] == [1_000, 0, 3_000, 8_000, 2_000, 4_000]
    assert world.hub.counters.over_budget == 1
    assert world.hub.counters.dropped == sessions[1].dropped == 90
    assert not sessions[1].ended
    round_of(world)
    assert world.hub.budget.waiting_bytes == 18_000
    assert world.hub.counters.over_budget == 1


def test_who_hears_a_log_channel_has_to_come_back() -> None:
    world = World(limits=LIMITS)
    sessions = [Stuck(world, f"s{number}") for number in range(3)]
    for session, delivery in zip(sessions, (EVENT, LOG, EVENT), strict=True):
        fill(session, 7_000, EVENT)
        fill(session, 1_000 if delivery is LOG else 0, delivery)
    round_of(world)
    assert [session.ended for session in sessions] == [False, True, False]
    assert world.hub.counters.too_slow == 1
    assert world.hub.counters.dropped == 0


async def test_states_are_sent_anew_once_the_client_reads() -> None:
    async def snapshot(_tenant: str, _audience: str, _pattern: str) -> list[tuple[str, bytes]]:
        return [("/state/x", b'"now"')]

    world = World([ChannelDeclaration("/state/**", STATE, "state", snapshot=snapshot)], limits=LIMITS)
    one, other = Stuck(world, "one"), Stuck(world, "other")
    await world.hub.subscriptions.subscribe(one, ["/state/x"])
    fill(one, 9_900, STATE)
    fill(other, 9_000)
    third = Stuck(world, "third")
    fill(third, 5_000)
    round_of(world)
    assert (one.queued_bytes, world.hub.counters.conflated) == (0, 99)
    one.reads = True
    world.hub.flusher.mark(one) if not one.dirty else None
    await world.loop.run()
    assert [message.data for message in one.received] == [b'"now"']


async def test_who_reads_a_log_goes_on_reading_after_its_queue_was_given_up() -> None:
    world = World([ChannelDeclaration("/log/**", LOG, "log")], limits=LIMITS)
    first = world.session("first")
    await world.hub.subscriptions.subscribe(first, ["/log/a"])
    await world.hub.publisher.publish(principal(), "/log/a", b'"recorded"')
    reader, other, third = (Stuck(world, name) for name in ("reader", "other", "third"))
    fill(reader, 9_000)  # no room to read ahead
    result = await world.hub.subscriptions.subscribe(reader, ["/log/a"], since={"/log/a": EVERYTHING})
    await result.start()
    await world.loop.run()
    assert reader.recovery is not None
    fill(other, 8_000)
    fill(third, 5_000)
    round_of(world)
    assert (reader.dropped, reader.ended) == (90, False)
    await world.loop.run()
    assert [message.data for message in reader.queue] == [b'"recorded"']
    assert reader.recovery is None


def test_who_has_more_written_than_queued_has_to_go() -> None:
    world = World(limits=LIMITS)
    written, queued = Stuck(world, "written"), Stuck(world, "queued")
    written.unread = 15_000
    fill(written, 1_000)
    fill(queued, 9_000)
    round_of(world)
    assert written.ended
    assert queued.queued_bytes == 9_000


def test_what_is_kept_until_it_is_acknowledged_counts_as_sent() -> None:
    world = World(limits=LIMITS)
    sent, other = Stuck(world, "sent"), Stuck(world, "other")
    sent.reserved_bytes = sent.queued_bytes = 12_000
    fill(other, 9_000)
    round_of(world)
    assert sent.ended
    assert other.queued_bytes == 9_000


def test_who_is_being_sent_away_is_left_alone() -> None:
    world = World(limits=LIMITS)
    leaving, other = Stuck(world, "leaving"), Stuck(world, "other")
    fill(leaving, 10_000)
    fill(other, 9_000)
    third = Stuck(world, "third")
    fill(third, 5_000)
    leaving.closing = True
    round_of(world)
    assert leaving.queued_bytes == 10_000


def test_a_round_takes_some_sessions_a_step_and_turns_on_some_at_once() -> None:
    world = World(limits=Limits(max_process_queue_bytes=0))
    sessions = [Stuck(world, f"s{number}") for number in range(SESSIONS_PER_STEP + 200)]
    for session in sessions:
        fill(session, 200)
    world.hub.budget.step()  # begins
    world.hub.budget.step()
    assert world.hub.budget.waiting_bytes == 0
    world.hub.budget.step()
    assert world.hub.budget.waiting_bytes == 200 * len(sessions)
    assert sum(not session.queued_bytes for session in sessions) == SHED_PER_ROUND
    for _ in range(3 * len(sessions) // SHED_PER_ROUND):
        world.hub.budget.step()
    assert not any(session.queued_bytes for session in sessions)
    assert world.hub.counters.dropped == 2 * len(sessions)


class Gone(Stuck):
    """A session whose client has gone. To look at it takes a while."""

    __slots__ = ("_clock",)

    def __init__(self, world: World, identifier: str) -> None:
        super().__init__(world, identifier)
        self._clock = world.clock

    @property
    def unread_bytes(self) -> int:
        self._clock.advance(TURN_S / 190)
        return 7


def test_where_it_takes_long_a_step_goes_on_in_the_next_turn() -> None:
    world = World(limits=LIMITS)
    for number in range(SESSIONS_PER_STEP + 100):
        Gone(world, f"s{number}")
    assert not world.hub.budget.step()  # begins
    turns = []
    for _ in range(2):
        before = world.clock.monotonic()
        steps = 1
        while world.hub.budget.step():
            steps += 1
        turns.append(steps)
        assert world.clock.monotonic() - before <= 1.3 * steps * TURN_S
    assert turns == [5, 1]
    assert world.hub.budget.waiting_bytes == 7 * (SESSIONS_PER_STEP + 100)


def test_sessions_that_come_and_go_amid_a_round_do_no_harm() -> None:
    rng = random.Random(1)
    world = World(limits=LIMITS)
    sessions: list[Stuck] = []
    for number in range(3_000):
        if sessions and rng.random() < 0.4:
            world.hub.sessions.detach(sessions.pop(rng.randrange(len(sessions))))
        else:
            sessions.append(Stuck(world, f"s{number}"))
            fill(sessions[-1], 100 * rng.randrange(20))
        world.hub.budget.step()
        world.loop.tick()
        assert world.faults == []
    for _ in range(200):
        world.hub.budget.step()
    assert sum(session.queued_bytes for session in world.hub.sessions.by_id.values()) <= LIMITS.max_process_queue_bytes
