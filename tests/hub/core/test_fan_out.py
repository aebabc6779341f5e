"""Large fan-outs: in slices, in order, and in few frames."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from functools import lru_cache

import pytest

from hub.bus.interface import Envelope
from hub.bus.memory import MemoryBus
from hub.core import fan_out
from hub.core.delivery import ChannelDeclaration, DeliveryClass
from hub.core.errors import RefusedError, WireError
from hub.core.fan_out import AT_ONCE, MAX_JOBS
from hub.core.hub import Hub
from hub.core.limits import Limits
from hub.core.message import Message, Topic
from hub.core.time_slice import SLICE_S
from hub.eventlog.channel_log_memory import MemoryChannelLog
from tests.hub.core.harness import Recorder, World, principal
from tests.robustness.direct_way import payloads
from tests.world import ManualClock

MANY = AT_ONCE + 100
WHO = principal()


class Direct(Recorder):
    """A session with a direct way: frames are written to it, and what is queued is kept beside them."""

    __slots__ = ("frames", "order")

    def __init__(self, hub: Hub, identifier: str) -> None:
        super().__init__(hub, identifier)
        self.frames: list[bytes] = []
        self.order: list[str] = []
        self.direct_write = self._write

    def _write(self, frames: bytes) -> None:
        self.frames.append(frames)
        self.order += data_in(frames)  # equal strings are one object: hundreds of sessions hear the same large ones

    def flush(self) -> None:
        taken = self.take()
        self.received.extend(taken)
        self.order += [sys.intern(json.loads(message.data)) for message in taken]


@lru_cache(maxsize=64)
def data_in(frames: bytes) -> list[str]:
    """The data of the messages of WebSocket frames: read once for the hundreds of sessions that get the same ones."""
    return [sys.intern(each["data"]) for payload in payloads(frames) for each in json.loads(payload)]


async def crowd(world: World, count: int = MANY, channel: str = "/a", prefix: str = "s") -> list[Direct]:
    sessions = []
    for number in range(count):
        session = Direct(world.hub, f"{prefix}{number}")
        world.hub.sessions.attach(session)
        await world.hub.subscriptions.subscribe(session, [channel])
        sessions.append(session)
    return sessions


async def publish(world: World, data: str, channel: str = "/a") -> None:
    await world.hub.publisher.publish(WHO, channel, json.dumps(data).encode())


async def test_a_message_for_many_goes_directly_and_in_shared_bytes() -> None:
    world = World()
    sessions = await crowd(world)
    await publish(world, "x")
    await world.loop.run()
    assert {len(session.frames) for session in sessions} == {1}
    assert len({id(session.frames[0]) for session in sessions}) == 1, "built once"
    assert data_in(sessions[0].frames[0]) == ["x"]
    assert world.hub.counters.delivered == MANY


async def test_what_is_published_before_anybody_was_served_leaves_in_one_frame() -> None:
    world = World()
    sessions = await crowd(world)
    for data in "xyz":
        await publish(world, data)
    await world.loop.run()
    assert [data_in(frame) for frame in sessions[7].frames] == [["x", "y", "z"]]


async def test_a_large_fan_out_gives_way_every_slice() -> None:
    clock = ManualClock()
    world = World(clock=clock)
    sessions = await crowd(world, 1000)
    await publish(world, "x")
    clock.step = SLICE_S / 2
    ticks = 0
    served = []
    while world.loop.callbacks:
        world.loop.tick()
        ticks += 1
        served.append(sum(bool(session.frames) for session in sessions))
    assert ticks > 5
    assert served == sorted(set(served)), "each tick serves some more"
    assert served[-1] == 1000


async def test_a_message_for_a_few_overtakes_one_for_many() -> None:
    clock = ManualClock()
    world = World(clock=clock)
    sessions = await crowd(world, 1000)
    (other,) = await crowd(world, 1, "/b", "other")
    await publish(world, "x")
    clock.step = SLICE_S
    world.loop.tick()
    await publish(world, "y", "/b")
    world.loop.tick()
    assert other.order == ["y"]
    assert not all(session.frames for session in sessions)
    await world.loop.run()
    assert all(session.order == ["x"] for session in sessions)


async def test_large_fan_outs_take_turns() -> None:
    clock = ManualClock()
    world = World(clock=clock)
    first, second = await crowd(world, 1000, "/a"), await crowd(world, 200, "/b", "b")
    await publish(world, "x", "/a")
    await publish(world, "y", "/b")
    clock.step = SLICE_S
    while not all(session.frames for session in second):
        world.loop.tick()
    assert not all(session.frames for session in first)
    await world.loop.run()
    assert all(session.order == ["x"] for session in first)


async def test_who_is_in_several_fan_outs_gets_all_in_one_frame_and_in_order() -> None:
    world = World()
    sessions = await crowd(world)
    for session in sessions:
        await world.hub.subscriptions.subscribe(session, ["/b"])
    for data, channel in (("x", "/a"), ("y", "/b"), ("z", "/a")):
        await publish(world, data, channel)
    await world.loop.run()
    assert [data_in(frame) for frame in sessions[5].frames] == [["x", "y", "z"]]
    assert {tuple(session.order) for session in sessions} == {("x", "y", "z")}


async def test_a_message_reaches_all_in_one_round_however_fast_others_follow() -> None:
    """A session that was served is served again when all others have been, and then gets all that was published meanwhile in one frame."""
    world = World()
    sessions = await crowd(world)
    fan_outs = world.hub.flusher.fan_outs
    turns = -(-MANY // fan_out._TURN)
    for number in range(turns):
        await publish(world, str(number))
        fan_outs.advance(0.0)  # one turn
    assert all("0" in session.order for session in sessions)
    assert {len(session.frames) for session in sessions} <= {1, 2}
    await world.loop.run()
    assert all(session.order == [str(number) for number in range(turns)] for session in sessions)


async def test_who_leaves_has_what_was_published_before() -> None:
    clock = ManualClock()
    world = World(clock=clock)
    sessions = await crowd(world, 1000)
    await publish(world, "x")
    world.hub.subscriptions.unsubscribe(sessions[0], ["/a"])
    await publish(world, "y")
    await world.loop.run()
    assert sessions[0].order == ["x"]
    assert sessions[1].order == ["x", "y"]


async def test_who_is_gone_gets_nothing_and_ends_no_other() -> None:
    world = World()
    sessions = await crowd(world)
    await publish(world, "x")
    for session in sessions[:-1]:
        world.hub.sessions.detach(session)
    await world.loop.run()
    assert [session.order for session in sessions] == [[]] * (MANY - 1) + [["x"]]
    assert world.hub.fan_outs.jobs == []
    await publish(world, "y")
    for session in sessions:
        world.hub.sessions.detach(session)
    await world.loop.run()
    assert world.hub.fan_outs.jobs == []


async def test_the_queue_has_what_fan_outs_have_for_the_session() -> None:
    world = World()
    sessions = await crowd(world)
    await publish(world, "x")
    await publish(world, "y")
    assert [message.data for message in sessions[0].queue] == [b'"x"', b'"y"']
    sessions[0].offer(Message("/own", b'"z"'))
    await publish(world, "late")
    await world.loop.run()
    assert sessions[0].order == ["x", "y", "z", "late"]
    assert sessions[1].order == ["x", "y", "late"]


async def test_a_session_whose_queue_is_not_empty_or_whose_way_is_not_direct_queues() -> None:
    world = World(limits=Limits(max_queue_bytes=1024))
    sessions = await crowd(world)
    sessions[0].direct_write = None
    sessions[1].waiting.append(Message("/own", b'"first"'))
    await publish(world, "x")
    await world.loop.run()
    assert [message.data for message in sessions[0].received] == [b'"x"']
    assert (sessions[1].order, sessions[1].frames) == (["first", "x"], [])


def lost(_: bytes) -> None:
    raise RuntimeError("unable to perform operation on <TCPTransport closed=True>")


async def test_a_connection_that_was_lost_this_moment_costs_the_others_nothing() -> None:
    world = World()
    sessions = await crowd(world)
    sessions[3].direct_write = lost
    await publish(world, "x")
    await world.loop.run()
    assert sessions[3].direct_write is None
    assert sessions[3].order == ["x"], "it waits in the queue, and goes as the endpoint says"
    assert sum(session.order == ["x"] for session in sessions) == MANY


async def test_the_fault_of_one_is_told_and_ends_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    sessions = await crowd(world)

    def broken(_: Direct) -> None:
        raise KeyError("flush")

    sessions[3].direct_write = None
    monkeypatch.setattr(Direct, "flush", broken)
    await publish(world, "x")
    await world.loop.run()
    assert [type(fault) for _, fault in world.faults] == [KeyError]
    assert world.hub.counters.faults == 1
    assert sum(bool(session.frames) for session in sessions) == MANY - 1


async def crowd_of_all(world: World, channels: int) -> list[Direct]:
    """Sessions that are each subscribed to ``/c/0``, ``/c/1`` and so on."""
    sessions = await crowd(world, MANY, "/c/0")
    for session in sessions:
        await world.hub.subscriptions.subscribe(session, [f"/c/{number}" for number in range(1, channels)])
    return sessions


async def test_clients_that_publish_wait_in_line_while_there_are_too_many_jobs() -> None:
    world = World()
    count = MAX_JOBS + 5
    sessions = await crowd_of_all(world, count)
    (other,) = await crowd(world, 1, "/few", "other")
    publishing = []
    for number in range(count):
        publishing.append(asyncio.ensure_future(publish(world, str(number), f"/c/{number}")))
        await asyncio.sleep(0)
    assert [task.done() for task in publishing] == [True] * MAX_JOBS + [False] * 5
    assert len(world.hub.fan_outs.jobs) == MAX_JOBS
    await publish(world, "y", "/few")  # one for a few never waits
    publishing[-4].cancel()
    await asyncio.sleep(0)
    while not all(task.done() for task in publishing):
        await world.loop.run()
        await asyncio.sleep(0)
        assert len(world.hub.fan_outs.jobs) <= MAX_JOBS
    await world.loop.run()
    heard = [str(number) for number in range(count) if number != count - 4]
    assert {tuple(session.order) for session in sessions} == {tuple(heard)}
    assert other.order == ["y"]


async def test_who_comes_later_does_not_pass_by_the_line() -> None:
    world = World()
    await crowd_of_all(world, MAX_JOBS + 3)
    for number in range(MAX_JOBS):
        await publish(world, str(number), f"/c/{number}")
    order: list[str] = []

    async def client(name: str, channel: str, count: int) -> None:
        for _ in range(count):  # without giving way between
            await publish(world, name, channel)
            order.append(name)

    early = [asyncio.ensure_future(client(name, f"/c/{MAX_JOBS + place}", 5)) for place, name in enumerate("abc")]
    while not all(task.done() for task in early):
        await asyncio.sleep(0)
        world.loop.tick()
    for turn in range(0, 15, 3):
        assert sorted(order[turn : turn + 3]) == ["a", "b", "c"]


async def test_what_is_on_its_way_through_the_log_counts_too() -> None:
    committed = asyncio.Event()

    class SlowBus(MemoryBus):
        async def append(self, envelope: Envelope, *, idempotency_key: str = "") -> int | None:
            await committed.wait()
            return await super().append(envelope, idempotency_key=idempotency_key)

    clock = ManualClock()
    log = MemoryChannelLog(clock)
    world = World([ChannelDeclaration("/c/**", DeliveryClass.LOG, "log")], log=log, bus=SlowBus(log), clock=clock)
    sessions = await crowd(world, MANY, "/c/**")
    publishing = [asyncio.ensure_future(publish(world, str(number), f"/c/{number}")) for number in range(3 * MAX_JOBS)]
    await asyncio.sleep(0)
    committed.set()
    while not all(task.done() for task in publishing):
        await asyncio.sleep(0)
        assert len(world.hub.fan_outs.jobs) <= MAX_JOBS
        world.loop.tick()
    await world.loop.run()
    assert {len(session.order) for session in sessions} == {3 * MAX_JOBS}


async def test_sessions_that_get_many_messages_by_their_queues_do_not_hold_the_loop() -> None:
    """Each message that is queued is work, too: a turn is not so many sessions however much they get."""
    clock = ManualClock()
    world = World(clock=clock)
    sessions = await crowd(world)
    for session in sessions:
        session.direct_write = None
    for number in range(fan_out.AT_ONCE * 8):
        await publish(world, str(number))
    assert len(world.hub.fan_outs.jobs) == 1
    clock.step = SLICE_S
    world.loop.tick()
    assert 0 < sum(bool(session.received) for session in sessions) <= 2
    await world.loop.run()
    assert {len(session.received) for session in sessions} == {fan_out.AT_ONCE * 8}


async def test_what_is_published_from_within_waits_for_nothing_and_still_goes_in_slices() -> None:
    clock = ManualClock()
    world = World(clock=clock)
    count = MAX_JOBS + 8
    sessions = await crowd_of_all(world, count)
    for number in range(count):
        await world.hub.publisher.emit("t", f"/c/{number}", b'"%d"' % number)
    assert len(world.hub.fan_outs.jobs) == count
    assert not any(session.order or session.waiting for session in sessions)
    clock.step = SLICE_S
    world.loop.tick()
    assert 0 < sum(bool(session.order) for session in sessions) < MANY
    await world.loop.run()
    assert {tuple(session.order) for session in sessions} == {tuple(map(str, range(count)))}


async def test_what_several_patterns_ask_for_joins_a_job_too() -> None:
    world = World()
    sessions = await crowd(world, MANY, "/w/1")
    await world.hub.subscriptions.subscribe(sessions[0], ["/w/*"])
    for number in range(5):
        await publish(world, str(number), "/w/1")
    assert len(world.hub.fan_outs.jobs) == 1
    await world.loop.run()
    assert {tuple(session.order) for session in sessions} == {tuple("01234")}


async def test_what_sessions_get_of_several_jobs_is_bounded_in_one_piece_and_kept_in_bounds() -> None:
    clock = ManualClock()
    world = World(clock=clock)
    chance = random.Random(1)
    channels = [f"/c/{number}" for number in range(12)]
    sessions = [Direct(world.hub, f"s{number}") for number in range(400)]
    expected: dict[Direct, list[str]] = {}
    for session in sessions:
        world.hub.sessions.attach(session)
        heard = chance.sample(channels, 8)  # hundreds of different sets
        await world.hub.subscriptions.subscribe(session, heard)
        expected[session] = [channel for channel in channels if channel in heard]
    filler = "x" * (fan_out.JOB_BYTES // 6)
    clock.step = SLICE_S
    for channel in channels:
        await publish(world, channel + filler, channel)
    while world.loop.callbacks:
        world.loop.tick()
        assert len(world.hub.fan_outs._joined) <= fan_out._MAX_JOINED
    assert {session.id: [data[: -len(filler)] for data in session.order] for session in sessions} == {s.id: e for s, e in expected.items()}
    assert max(len(frames) for session in sessions for frames in session.frames) < fan_out.JOB_BYTES + len(filler) + 1024
    assert world.hub.fan_outs._joined == {}


def some_of_a_log(count: int, size: int) -> list[Message]:
    return [Message("/log/a", b'"%d%b"' % (number, b"x" * size), DeliveryClass.LOG) for number in range(count)]


async def with_too_much_under_way(world: World) -> list[Direct]:
    """Sessions for which a job has more of a log than their queues have room for."""
    sessions = await crowd(world, MANY, "/log/a")
    members = world.hub.router.match(Topic("t", "", "/log/a"))
    assert members is not None
    for message in some_of_a_log(4, 500):
        world.hub.fan_outs.begin(message, members)
    return sessions


TOO_MUCH = Limits(max_queue_bytes=1200)


async def test_a_session_that_ends_as_it_subscribes_leaves_nothing_behind() -> None:
    world = World(limits=TOO_MUCH)
    sessions = await with_too_much_under_way(world)
    slow = sessions[0]
    with pytest.raises(RefusedError) as refused:
        await world.hub.subscriptions.subscribe(slow, ["/other"])
    assert refused.value.error is WireError.SESSION_UNKNOWN
    assert (slow.ended, slow.subscriptions) == (True, {})
    assert world.hub.router.count(Topic("t", "", "/other")) == 0
    assert "/other" not in {topic.channel for topic in world.hub.subscriptions.interest.topics}


@pytest.mark.parametrize("look", ["queue", "send_directly", "offer", "offer_anyway", "take"])
async def test_a_session_that_ends_as_its_queue_is_looked_at_gets_and_keeps_nothing_more(look: str) -> None:
    world = World(limits=TOO_MUCH)
    sessions = await with_too_much_under_way(world)
    slow = sessions[0]
    own = Message("/own", b'"own"')
    if look == "queue":
        assert slow.queue == []
    elif look == "offer":
        slow.offer(own)
    elif look == "offer_anyway":
        slow.offer_anyway(own)
    else:
        getattr(slow, look)()
    assert slow.ended
    assert world.hub.counters.too_slow == 1
    assert (slow.waiting, slow.queued_bytes, slow.dirty) == ([], 0, False)
    await world.loop.run()
    assert (slow.frames, slow.received) == ([], [])
    assert {len(session.order) for session in sessions[1:]} == {4}


async def test_a_session_that_ends_as_it_is_handed_messages_gets_no_more_of_them() -> None:
    world = World(limits=TOO_MUCH)
    session = Direct(world.hub, "slow")
    world.hub.sessions.attach(session)
    session.hand_over(some_of_a_log(6, 500))
    assert session.ended
    assert (session.waiting, session.received, session.frames) == ([], [], [])
    assert world.hub.counters.too_slow == 1


async def test_a_fault_of_one_of_a_few_is_told_and_ends_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    sessions = await crowd(world, 3)
    broken = sessions[1]
    offer = Direct.offer

    def failing(self: Direct, message: Message) -> None:
        if self is broken:
            raise KeyError("offer")
        offer(self, message)

    monkeypatch.setattr(Direct, "offer", failing)
    await publish(world, "x")
    await world.loop.run()
    assert [session.order for session in sessions] == [["x"], [], ["x"]]
    assert [type(fault) for _, fault in world.faults] == [KeyError]


async def test_one_job_gathers_no_more_than_its_share() -> None:
    world = World()
    sessions = await crowd(world)
    large = "x" * (fan_out.JOB_BYTES // 2)
    for number in range(4):
        await publish(world, f"{number}{large}")
    assert len(world.hub.fan_outs.jobs) > 1
    await world.loop.run()
    assert [data[0] for data in sessions[0].order] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_happens_each_session_hears_its_channels_in_the_order_of_publishing(seed: int) -> None:
    """Random publishes, subscribes, unsubscribes, departures and ticks; each session's record is checked against the plain list."""
    chance = random.Random(seed)
    clock = ManualClock()
    world = World(clock=clock, limits=Limits(max_queue_bytes=1 << 30))
    channels = ["/a", "/b", "/w/1", "/w/2"]
    patterns = ["/a", "/b", "/w/*", "/w/1"]
    sessions = [Direct(world.hub, f"s{number}") for number in range(300)]
    subscribed: dict[Direct, set[str]] = {}
    expected: dict[Direct, list[str]] = {session: [] for session in sessions}
    for session in sessions:
        world.hub.sessions.attach(session)
        subscribed[session] = set(chance.sample(patterns, chance.randint(1, 4)))
        await world.hub.subscriptions.subscribe(session, sorted(subscribed[session]))
        if chance.random() < 0.2:
            session.direct_write = None
    clock.step = SLICE_S / chance.choice([1, 3, 10])
    for number in range(200):
        match chance.choice(["publish"] * 6 + ["tick"] * 3 + ["subscribe", "unsubscribe", "leave", "flow"]):
            case "publish":
                channel = chance.choice(channels)
                data = str(number) + "x" * chance.choice([0, 0, 0, 0, 0, fan_out.JOB_BYTES // 3])
                await world.hub.publisher.emit("t", channel, json.dumps(data).encode())
                for session, has in subscribed.items():
                    if channel in has or (channel.startswith("/w/") and "/w/*" in has):
                        expected[session].append(data)
            case "tick":
                world.loop.tick()
            case "subscribe":
                session, pattern = chance.choice(sorted(subscribed, key=lambda s: s.id)), chance.choice(patterns)
                await world.loop.turn_until(world.hub.subscriptions.subscribe(session, [pattern]))
                subscribed[session].add(pattern)
            case "unsubscribe":
                session = chance.choice(sorted(subscribed, key=lambda s: s.id))
                pattern = chance.choice(sorted(subscribed[session]) or patterns)
                world.hub.subscriptions.unsubscribe(session, [pattern])
                subscribed[session].discard(pattern)
            case "leave":
                session = chance.choice(sorted(subscribed, key=lambda s: s.id))
                world.hub.sessions.detach(session)
                del subscribed[session], expected[session]
            case "flow":
                session = chance.choice(sorted(subscribed, key=lambda s: s.id))
                session.direct_write = session._write if session.direct_write is None else None
    await world.loop.run()
    assert {session.id: session.order for session in expected} == {session.id: order for session, order in expected.items()}
    assert world.hub.fan_outs.jobs == []
    assert world.faults == []


async def test_how_long_messages_for_a_few_took_is_measured_from_the_first_of_a_tick() -> None:
    world = World()
    await crowd(world, 2)
    await publish(world, "first")
    world.clock.now += 0.02
    await publish(world, "second")
    world.clock.now += 0.01
    await world.loop.run()
    latency = world.hub.flusher.direct_latency
    assert latency.count == 2
    assert latency.sum == pytest.approx(2 * 0.03)
    assert world.hub.fan_outs.latency.count == 0


async def test_how_long_messages_for_many_took_is_measured_until_the_last_is_served() -> None:
    world = World()
    await crowd(world, 10 * AT_ONCE)
    world.clock.step = SLICE_S
    await publish(world, "first")
    world.loop.tick()  # a slice
    assert world.hub.fan_outs.jobs
    while world.hub.fan_outs.jobs:
        world.clock.now += 0.1
        assert world.hub.fan_outs.latency.count == 0
        world.loop.tick()
    latency = world.hub.fan_outs.latency
    assert latency.count == 1
    assert latency.sum >= 0.1
    assert world.hub.flusher.direct_latency.count == 0


async def test_snapshots_and_empty_flushes_are_no_deliveries() -> None:
    world = World()
    (session,) = await crowd(world, 1)
    session.offer_anyway(Message("/a", b"1"))
    await world.loop.run()
    assert world.hub.flusher.direct_latency.count == 0
