"""Present values come over a link, changes of them over the bus: neither overtakes the other at a client of another node."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import msgspec
import pytest

from channels.statistics.service.interface import ServiceState
from channels.statistics.service.wire import Done, Values, decode_piece, encode
from hub.core.fetches import Stamp
from tests.channels.statistics.service.nodes import StatNode, StatNodes, until
from tests.channels.statistics.support import Listener, agent_item, items_of, login

VALUE = "/statistics/v3/values/Agent/ana/InboundCalls"
VALUES = "/statistics/v3/values/**"
UPDATES = "/statistics/v3/updates"


def values(taken: list[tuple[str, Any]]) -> list[int]:
    return [int(data["value"]["intValue"]) for channel, data in taken if channel == VALUE]


def updates(taken: list[tuple[str, Any]]) -> list[int]:
    return [int(item["value"]["intValue"]) for item in items_of([each for each in taken if each[0] == UPDATES])]


async def one_more(nodes: StatNodes) -> None:
    """Another call, of which every subscriber is told."""
    await nodes[0].sink.accept("t", nodes.call())
    await nodes.tick(11)


async def listening(nodes: StatNodes, pattern: str) -> Listener:
    """A client of the second node, with a subscription of its own; the first node is the owner. Another client has the value open."""
    await nodes.give(0)
    await nodes[1].server.open_subscription(login(), "op", [agent_item()])
    await nodes[1].subscribe(VALUE, identifier="s2")
    listener = await nodes[1].subscribe(pattern)
    await one_more(nodes)
    assert heard(listener) == [0, 1]
    return listener


def heard(listener: Listener) -> list[int]:
    """What the client heard of the value, by whichever channel."""
    return [*values(listener.received), *updates(listener.received)]


def ask(node: StatNode, listener: Listener, *patterns: str) -> asyncio.Task[None]:
    """The node sends the client what it has at present, as after every loss."""
    return asyncio.ensure_future(node.hub.snapshots.send(listener, patterns))


@pytest.mark.parametrize("pattern", [VALUE, VALUES, UPDATES])
async def test_an_older_change_does_not_come_behind_the_present_value(pattern: str) -> None:
    """The bus is slow, the link is not."""
    async with StatNodes(2) as nodes:
        listener = await listening(nodes, pattern)
        nodes[1].bus.delay("answers")
        await one_more(nodes)
        await nodes[0].sink.accept("t", nodes.call())  # the present value is of three calls, the change of two
        before = nodes[0].node.links.counters.calls_in
        asking = ask(nodes[1], listener, pattern)
        await until(lambda: nodes[0].node.links.counters.calls_in > before)
        await asyncio.sleep(0.02)
        nodes[1].bus.hurry()
        await asking
        await nodes[1].settle()
        assert heard(listener) == [0, 1, 2, 3]


@pytest.mark.parametrize("pattern", [VALUE, VALUES, UPDATES])
async def test_an_older_present_value_does_not_come_behind_a_change(pattern: str) -> None:
    """The link is slow, the bus is not."""
    async with StatNodes(2) as nodes:
        listener = await listening(nodes, pattern)
        nodes.cluster.hold(nodes[0].node, nodes[1].node)
        before = nodes[0].node.links.counters.calls_in
        asking = ask(nodes[1], listener, pattern)
        await until(lambda: nodes[0].node.links.counters.calls_in > before)
        await one_more(nodes)
        assert heard(listener) == [0, 1, 2]
        nodes.cluster.release(nodes[0].node, nodes[1].node)
        await asking
        await nodes[1].settle()
        assert heard(listener) == [0, 1, 2]
        assert nodes[1].server.counters.overtaken == 1


@pytest.mark.parametrize("pattern", [VALUE, VALUES])
async def test_between_unavailable_and_available_no_value_is_heard_and_then_the_present_one(pattern: str) -> None:
    """Another node watches the same value: its owner has it open already, and does not send it for those who come later."""
    async with StatNodes(3) as nodes:
        await nodes.give(0)
        states = "/statistics/v3/service"
        listeners = [await node.subscribe(states, VALUE) for node in nodes.nodes[:2]]
        listeners.append(await nodes[2].subscribe(states, pattern))
        await one_more(nodes)
        nodes[2].bus.delay("answers")
        await one_more(nodes)
        await nodes.owners.release("t")
        await until(lambda: all(node.server.service_state("t") is ServiceState.UNAVAILABLE for node in nodes.nodes))
        nodes[2].bus.hurry()  # what the last owner had said comes now
        nodes.cluster.hold(nodes[1].node, nodes[2].node)  # and the state of the next one comes late
        await nodes.give(1)
        await until(lambda: all(node.server.service_state("t") is ServiceState.AVAILABLE for node in nodes.nodes[:2]))
        await nodes[2].settle()
        nodes.cluster.release(nodes[1].node, nodes[2].node)
        await until(lambda: all(node.server.service_state("t") is ServiceState.AVAILABLE for node in nodes.nodes))
        await until(lambda: all(values(listener.received)[-1:] == [2] for listener in listeners))
        for listener in listeners:
            told = [
                data["data"]["serviceState"] if channel == states else values([(channel, data)])[0] for channel, data in listener.received
            ]
            away = told[told.index("UNAVAILABLE") : len(told) - told[::-1].index("AVAILABLE")]
            assert away == ["UNAVAILABLE", "AVAILABLE"]
            assert told[-1] == 2
        assert nodes[2].server.counters.withheld >= 1


async def test_what_the_last_owner_had_said_does_not_come_behind_what_the_next_one_gives() -> None:
    async with StatNodes(3) as nodes:
        await nodes.give(0)
        listener = await nodes[2].subscribe(VALUE)
        await one_more(nodes)
        nodes[2].bus.delay("answers")
        await one_more(nodes)
        await nodes.owners.release("t")
        await nodes.give(1)
        await nodes[1].sink.accept("t", nodes.call())
        asking = ask(nodes[2], listener, VALUE)
        await asyncio.sleep(0.02)
        nodes[2].bus.hurry()
        await asking
        await until(lambda: heard(listener)[-1] == 3)
        assert heard(listener) == sorted(heard(listener))


class OldValues(msgspec.Struct, tag="values", frozen=True, array_like=True):
    """Frozen: as nodes sent and read values that knew no stamps."""

    pairs: list[tuple[str, bytes]]


class OldDone(msgspec.Struct, tag="done", frozen=True, array_like=True):
    """Frozen, as :class:`OldValues`."""

    result: Any = None
    refusals: list[Any] = []
    subscription_id: str = ""


def test_nodes_with_and_without_stamps_understand_one_another() -> None:
    pairs = [(VALUE, b"1")]
    stamp = Stamp("owner", 5, 7)
    old = msgspec.msgpack.Decoder(OldValues | OldDone)
    assert old.decode(encode(Values(pairs, stamp))) == OldValues(pairs)
    assert old.decode(encode(Done(b"1", stamp=stamp))) == OldDone(b"1")
    assert decode_piece(encode(OldValues(pairs))) == Values(pairs, None)
    assert decode_piece(encode(OldDone(b"1"))) == Done(b"1")
    assert decode_piece(encode(Values(pairs, stamp))) == Values(pairs, stamp)
    assert decode_piece(encode(Done(b"1", stamp=stamp))) == Done(b"1", stamp=stamp)


async def test_a_bus_that_does_not_answer_delays_present_values_and_does_not_keep_them() -> None:
    async with StatNodes(2) as nodes:
        listener = await listening(nodes, VALUE)
        listener.taken()
        nodes[1].bus.delay("answers")
        before = nodes[0].node.links.counters.calls_in
        asking = ask(nodes[1], listener, VALUE)
        await until(lambda: nodes[0].node.links.counters.calls_in > before)
        await asyncio.sleep(0.02)
        assert not asking.done()
        nodes[1].bus.cut()
        await asking
        await nodes[1].settle()
        assert heard(listener) == [1]
        assert nodes[1].server.counters.unsettled == 1
        nodes[1].bus.hurry()
        nodes[1].bus.mend()
        await until(lambda: heard(listener) == [1, 1])


async def test_statistics_that_did_not_change_are_not_left_out_with_one_that_did() -> None:
    async with StatNodes(2) as nodes:
        await nodes.give(0)
        await nodes[1].server.open_subscription(login(), "op", [agent_item("calls"), agent_item("ben", agent="ben")])
        listener = await nodes[1].subscribe(UPDATES)
        listener.taken()
        nodes.cluster.hold(nodes[0].node, nodes[1].node)
        before = nodes[0].node.links.counters.calls_in
        asking = ask(nodes[1], listener, UPDATES)
        await until(lambda: nodes[0].node.links.counters.calls_in > before)
        await one_more(nodes)
        nodes.cluster.release(nodes[0].node, nodes[1].node)
        await asking
        await nodes[1].settle()
        found = [(item["statisticId"], item["value"]["intValue"]) for item in items_of(listener.taken())]
        assert found == [("calls", 1), ("ben", 0)]


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_crosses_values_never_go_back_and_the_last_one_is_heard(seed: int) -> None:
    await cross(seed)


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_many_random_interleavings() -> None:
    for seed in range(1000, 1800):
        await cross(seed)


async def cross(seed: int) -> None:
    """A random interleaving of calls, ticks, requests for present values, slow buses, slow links, and changes of the owner."""
    drawn = random.Random(seed)
    async with StatNodes(3, answer_s=20) as nodes:
        await nodes.give(0)
        edge = nodes[2]
        listeners = [await edge.subscribe(VALUE, identifier="v"), await edge.subscribe(VALUES, identifier="w")]
        calls = 0
        asked: list[asyncio.Task[None]] = []
        for _ in range(60):
            match drawn.randrange(8):
                case 0 | 1:
                    await nodes[drawn.randrange(2)].sink.accept("t", nodes.call())
                    calls += 1
                case 2 | 3:
                    nodes.clock.advance(11)
                    for node in nodes.nodes:
                        await node.local.tick()
                case 4:
                    listener = drawn.choice(listeners)
                    asked.append(ask(edge, listener, *listener.subscriptions))
                case 5:
                    (edge.bus.delay if drawn.random() < 0.6 else edge.bus.hurry)("answers")
                case 6:
                    for node in nodes.nodes[:2]:
                        nodes.cluster.delay(node.node, edge.node, drawn.choice([0.0, 0.003, 0.01]))
                case 7 if drawn.random() < 0.3:
                    now = 0 if nodes.owners.owners["t"].node == nodes[0].name else 1
                    edge.bus.hurry()  # what Redis refuses of a deposed owner is tried with Redis itself
                    await nodes.owners.release("t")
                    await nodes.give(1 - now)
            for _ in range(drawn.randrange(4)):
                await asyncio.sleep(0)
            if drawn.random() < 0.2:
                await asyncio.sleep(drawn.choice([0.001, 0.004]))
        edge.bus.hurry()
        await asyncio.gather(*asked)
        await nodes.tick(11)
        for listener in listeners:
            await until(lambda listener=listener: heard(listener)[-1] == calls)  # type: ignore[misc]
            assert heard(listener) == sorted(heard(listener))
        await until(lambda: not edge.hub.fetches._watched)
