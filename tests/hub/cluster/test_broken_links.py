"""Links between nodes that break, are cut, or lose the node at their other end: in memory and over sockets."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from hub.cluster.ports import Call, NodeGoneError, UnreachableError
from tests.hub.cluster.test_links import WITHIN_S, asked_until_it_lives, cluster, echo, hang, until

__all__ = ["cluster"]

LONG_ROUNDS = int(os.environ.get("HUB_TEST_KILLS", "200"))


async def test_when_a_node_dies_its_calls_end_at_once(cluster: Any) -> None:
    a, b, c = cluster.nodes
    b.links.serve("hang", hang)
    broken: list[str] = []
    left: list[str] = []
    a.links.on_broken.append(broken.append)
    a.nodes.on_left.append(left.append)
    call = await a.links.open(b.incarnation, "hang")
    cluster.kill(b)
    with pytest.raises(UnreachableError):
        async with asyncio.timeout(WITHIN_S):
            await call.receive()
    await until(lambda: broken == [b.incarnation] and left == [b.incarnation])
    with pytest.raises(NodeGoneError):
        await a.links.ask(b.incarnation, "hang", timeout_s=WITHIN_S)
    assert set(c.nodes.live()) == {a.incarnation, c.incarnation}


async def test_a_dead_node_that_still_counts_as_alive_is_unreachable(cluster: Any) -> None:
    a, b, _ = cluster.nodes
    b.links.serve("echo", echo)
    cluster.kill(b, lapse=False)
    with pytest.raises(UnreachableError):
        await a.links.ask(b.incarnation, "echo", timeout_s=WITHIN_S)
    cluster.lapse(b)
    with pytest.raises(NodeGoneError):
        await a.links.ask(b.incarnation, "echo", timeout_s=WITHIN_S)


async def cut_and_mend(cluster: Any, *, both: bool) -> None:
    """Cut the link of two nodes, in one direction or both, and mend it."""
    a, b, _ = cluster.nodes
    broken: list[tuple[str, str]] = []
    a.links.on_broken.append(lambda node: broken.append(("a", node)))
    b.links.on_broken.append(lambda node: broken.append(("b", node)))
    calls = [await a.links.open(b.incarnation, "hang"), await b.links.open(a.incarnation, "hang")]
    cluster.cut(a, b, both=both)
    for call in calls:
        with pytest.raises(UnreachableError):
            async with asyncio.timeout(WITHIN_S):
                await call.receive()
    await until(lambda: sorted(broken) == [("a", b.incarnation), ("b", a.incarnation)])
    with pytest.raises(UnreachableError):
        await a.links.ask(b.incarnation, "echo", timeout_s=WITHIN_S)
    cluster.mend(a, b)
    assert await asked_until_it_lives(a, b) == b"|"
    for node in (a, b):
        node.links.on_broken.pop()


def serve_both(cluster: Any) -> None:
    a, b, _ = cluster.nodes
    a.links.serve("hang", hang)
    b.links.serve("echo", echo)
    b.links.serve("hang", hang)


@pytest.mark.parametrize("both", [True, False])
async def test_a_link_that_is_cut_breaks_at_both_ends(cluster: Any, both: bool) -> None:
    serve_both(cluster)
    await cut_and_mend(cluster, both=both)


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
async def test_a_link_is_cut_hundreds_of_times(cluster: Any) -> None:
    serve_both(cluster)
    for number in range(LONG_ROUNDS):
        await cut_and_mend(cluster, both=number % 2 == 0)


async def test_after_a_broken_link_the_next_call_makes_another(cluster: Any) -> None:
    a, b, _ = cluster.nodes
    b.links.serve("echo", echo)
    b.links.serve("hang", hang)
    call = await a.links.open(b.incarnation, "hang")
    cluster.drop(a, b)
    with pytest.raises(UnreachableError):
        async with asyncio.timeout(WITHIN_S):
            await call.receive()
    assert await a.links.ask(b.incarnation, "echo", b"again", timeout_s=WITHIN_S) == b"again|"


async def test_what_came_before_a_break_can_be_read(cluster: Any) -> None:
    a, b, _ = cluster.nodes

    async def speak(call: Call) -> None:
        await call.send(b"one")
        await call.send(b"two")
        await call.confirmed(WITHIN_S)

    b.links.serve("speak", speak)
    b.links.serve("echo", echo)
    call = await a.links.open(b.incarnation, "speak")
    assert await call.receive() == b"one"
    await a.links.ask(b.incarnation, "echo", timeout_s=WITHIN_S)
    cluster.drop(a, b)
    assert await call.receive() == b"two"
    with pytest.raises(UnreachableError):
        await call.receive()


async def test_when_the_link_breaks_a_reply_counts_as_not_written(cluster: Any) -> None:
    a, b, _ = cluster.nodes
    told: list[bool] = []

    async def careful(call: Call) -> None:
        await call.send(b"reply", last=True)
        told.append(await call.confirmed(WITHIN_S))

    b.links.serve("careful", careful)
    call = await a.links.open(b.incarnation, "careful")
    assert await call.receive() == b"reply"
    cluster.drop(a, b)
    await until(lambda: bool(told))
    assert told == [False]
    call.confirm(written=True)  # does nothing
