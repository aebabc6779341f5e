"""Two hubs over one log: whatever a client missed it is sent, or told that it is missing, by whichever node and endpoint it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from hub.core.delivery import ChannelDeclaration, DeliveryClass
from hub.core.errors import RefusedError, WireError
from hub.core.principal import subject_audience
from hub.core.subscriptions import Subscribed
from hub.core.time_slice import TimeSlice
from tests.hub.bayeux.harness import Bayeux, Client, handshake
from tests.hub.bayeux.test_extensions_of_the_protocol import BY_TOKEN
from tests.hub.bus.backends import NODES, Nodes, make_nodes
from tests.hub.core.harness import Recorder, World, principal
from tests.hub.dashboard.harness import Dashboard
from tests.hub.dashboard.test_stream import Stream, block
from tests.support.redis_server import RedisServer
from tests.world import ManualClock

DECLARATIONS = [
    ChannelDeclaration("/log/**", DeliveryClass.LOG, "log"),
]


class Hubs:
    """Node A, and what node B is made of."""

    def __init__(self, nodes: Nodes, clock: ManualClock) -> None:
        self.clock = clock
        self.nodes = nodes
        self.log = nodes.log
        self.a = World(DECLARATIONS, log=self.log, bus=nodes.a, clock=clock)
        self.bus_b = nodes.b

    async def publish(self, *numbers: int, channel: str = "/log/orders") -> int:
        """Publish on node A; returns the log's newest position."""
        for number in numbers:
            await self.a.hub.publisher.emit("t", channel, b"%d" % number)
        return (await self.log.span("t")).newest

    def b(self) -> World:
        return World(DECLARATIONS, log=self.log, bus=self.bus_b, clock=self.clock)

    async def arrived(self, world: World) -> None:
        """Everything that was published has come to node B and to its sessions."""
        await self.nodes.settle()
        await world.loop.run()


@pytest.fixture(params=NODES)
async def hubs(request: pytest.FixtureRequest, shared_redis: Callable[[str], RedisServer]) -> AsyncIterator[Hubs]:
    clock = ManualClock()
    nodes = await make_nodes(request.param, clock, shared_redis)
    yield Hubs(nodes, clock)
    await nodes.close()


def heard(session: Recorder) -> list[int]:
    return [int(message.data) for message in session.received]


async def resume(world: World, session: Recorder, since: int, *patterns: str) -> list[Subscribed]:
    result = await world.hub.subscriptions.subscribe(session, patterns, since=dict.fromkeys(patterns, since))
    await result.start()
    await world.loop.run()
    return result.outcomes


# -- a topic that the node was not subscribed to ------------------------------------------------------------------------


async def test_bayeux_replays_what_another_node_published_before_the_topic_was_in_force(hubs: Hubs) -> None:
    node = Bayeux(log=hubs.log, bus=hubs.bus_b)
    before = (await hubs.log.span("t")).newest
    other = await node.client()
    await other.post(other.subscribe("/log/other"))
    await hubs.publish(1, 2, 3)
    client = Client(node, message=handshake(ext={**BY_TOKEN, "replay": True}))
    await client.shake()
    replies = await client.post(client.subscribe("/log/orders", ext={"replay": {"/log/orders": before}}))
    assert replies[-1]["ext"] == {"replay": {"/log/orders": before}}
    await node.loop.run()
    messages = await client.post(client.connect(timeout=0))
    assert [message["data"] for message in messages if message["channel"] == "/log/orders"] == [1, 2, 3]


async def test_the_dashboard_is_sent_what_another_node_published_before_the_topic_was_in_force(hubs: Hubs) -> None:
    node = Dashboard(log=hubs.log, bus=hubs.bus_b)
    before = (await hubs.log.span("t")).newest
    await node.send({"type": "hello", "token": "ann"})
    other = Recorder(node.hub, "other")
    node.hub.sessions.attach(other)
    await node.hub.subscriptions.subscribe(other, ["/log/other"])
    await hubs.publish(1, 2, 3)
    answers = await node.send({"type": "subscribe", "channels": ["/log/orders"], "since": before})
    await node.loop.run()
    answers += await node.read()
    (subscribed,) = [answer for answer in answers if answer["type"] == "subscribed"]
    assert subscribed["channels"] == [{"channel": "/log/orders", "position": before, "recovered": True}]
    assert [answer["data"] for answer in answers if answer["type"] == "event"] == [1, 2, 3]


async def test_a_stream_is_sent_what_another_node_published_before_the_topic_was_in_force(hubs: Hubs) -> None:
    node = Stream(log=hubs.log, bus=hubs.bus_b)
    before = (await hubs.log.span("t")).newest
    other = Recorder(node.hub, "other")
    node.hub.sessions.attach(other)
    await node.hub.subscriptions.subscribe(other, ["/log/other"])
    last = await hubs.publish(1, 2, 3)
    opening = await node.open("/log/orders", since=before)
    assert b"event: gap" not in opening
    assert b"".join(node.read()) == b"".join(block("/log/orders", str(n), last - 3 + n) for n in (1, 2, 3))


async def test_between_the_confirmation_and_the_answer_nothing_is_missed_or_repeated(hubs: Hubs) -> None:
    world = hubs.b()
    before = await hubs.publish(1, 2)
    await hubs.publish(3)
    session = world.session()
    confirm = hubs.bus_b.subscribe

    async def publish_before(*args: object, **kwargs: object) -> object:
        await hubs.publish(4)
        confirmed = await confirm(*args, **kwargs)  # type: ignore[arg-type]
        await hubs.publish(5)
        return confirmed

    hubs.bus_b.subscribe = publish_before  # type: ignore[method-assign, assignment]
    outcomes = await resume(world, session, before, "/log/orders")
    assert outcomes == [Subscribed("/log/orders", before, recovered=True)]
    await hubs.publish(6)
    await hubs.arrived(world)
    assert heard(session) == [3, 4, 5, 6]
    assert session.recovery is None


# -- positions that this node has not come to ---------------------------------------------------------------------------


async def test_what_the_client_heard_on_another_node_does_not_come_again(hubs: Hubs) -> None:
    world = hubs.b()
    first = world.session("first")
    await world.hub.subscriptions.subscribe(first, ["/log/orders"])
    await hubs.nodes.hold("answers")
    known = await hubs.publish(1, 2)  # on its way to node B
    second = world.session("second")
    assert await resume(world, second, known, "/log/orders") == [Subscribed("/log/orders", known, recovered=True)]
    await hubs.publish(3)
    await hubs.nodes.release()
    await hubs.arrived(world)
    assert (heard(first), heard(second)) == ([1, 2, 3], [3])
    assert second.recovery is None


async def test_a_position_that_no_node_ever_gave_is_not_recovered(hubs: Hubs) -> None:
    world = hubs.b()
    last = await hubs.publish(1)
    (outcome,) = await resume(world, world.session(), last + 1, "/log/orders")
    assert not outcome.recovered


# -- what is lost between nodes -----------------------------------------------------------------------------------------


async def test_a_connection_that_breaks_costs_no_message_of_a_log_channel(hubs: Hubs) -> None:
    world = hubs.b()
    session = world.session()
    await world.hub.subscriptions.subscribe(session, ["/log/orders"])
    await hubs.publish(1)
    await hubs.nodes.cut()
    await hubs.publish(2, 3)
    await hubs.nodes.mend()
    await hubs.publish(4)
    await hubs.arrived(world)
    assert heard(session) == [1, 2, 3, 4]
    assert not session.ended


async def test_who_hears_a_log_channel_comes_back_after_a_gap_and_is_told(hubs: Hubs) -> None:
    world = hubs.b()
    session, plain = world.session("log"), world.session("plain")
    await world.hub.subscriptions.subscribe(session, ["/log/orders"])
    await world.hub.subscriptions.subscribe(plain, ["/free"])
    heard_until = await hubs.publish(1)
    await hubs.nodes.cut()
    await hubs.publish(2, 3)
    await hubs.nodes.forget("t")
    await hubs.nodes.mend()
    await hubs.arrived(world)
    assert (session.ended, plain.ended) == (True, False)
    assert world.hub.counters.gaps >= 2  # and one of events and states for each connection that B lost, or left for another server
    (outcome,) = await resume(world, world.session("again"), heard_until, "/log/orders")
    assert not outcome.recovered


async def test_after_a_seam_nobody_has_recovered_with_a_position_before_it(hubs: Hubs) -> None:
    world = hubs.b()
    session = world.session()
    await world.hub.subscriptions.subscribe(session, ["/log/orders"])
    kept = await hubs.publish(1)
    lost = await hubs.publish(2)
    await hubs.nodes.cut()
    await hubs.nodes.lose_end("t", kept)
    await hubs.nodes.mend()
    await hubs.arrived(world)
    assert session.ended
    assert world.hub.counters.resets == 1
    await hubs.publish(3)
    for position in (kept, lost):
        (outcome,) = await resume(world, world.session(str(position)), position, "/log/orders")
        assert not outcome.recovered


async def test_without_a_connection_a_subscribe_is_refused_and_leaves_nothing_behind(hubs: Hubs) -> None:
    world = hubs.b()
    session = world.session()
    await hubs.nodes.cut()
    with pytest.raises(RefusedError) as refused:
        await world.hub.subscriptions.subscribe(session, ["/log/orders", "/free"])
    assert refused.value.error is WireError.UNAVAILABLE
    assert (session.subscriptions, len(world.hub.router), world.hub.subscriptions.interest.topics) == ({}, 0, {})


# -- subjects -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channel", ["/log/orders", "/free/news"])
async def test_what_is_for_a_subject_reaches_its_sessions_on_every_node(hubs: Hubs, channel: str) -> None:
    world = hubs.b()
    ann, again, bob = (
        world.session("1", who=principal("ann")),
        world.session("2", who=principal("ann")),
        world.session("3", who=principal("bob")),
    )
    await world.hub.subscriptions.subscribe(ann, [channel])
    await world.hub.subscriptions.subscribe(again, ["/log/**", "/free/*"])
    await world.hub.subscriptions.subscribe(bob, [channel])
    for number in (1, 2):
        async with hubs.a.hub.subjects.addressed("t", "ann", lambda: TimeSlice(hubs.clock, hubs.a.loop)):
            await hubs.a.hub.publisher.emit("t", channel, b"%d" % number, audience=subject_audience("ann"))
    await hubs.arrived(world)
    assert (heard(ann), heard(again), heard(bob)) == ([1, 2], [1, 2], [])
