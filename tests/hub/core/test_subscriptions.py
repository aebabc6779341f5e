"""Subscribing and unsubscribing: all channels or none, what the bus is asked for, and values that families keep up to date."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import pytest

from hub.core.delivery import ChannelDeclaration, DeliveryClass
from hub.core.errors import RefusedError, WireError
from hub.core.limits import Limits
from hub.core.message import Topic
from hub.core.subscriptions import EVERYTHING
from tests.hub.core.harness import World, no_values, received, watchful

STATE, LOG, EVENT = DeliveryClass.STATE, DeliveryClass.LOG, DeliveryClass.EVENT


async def test_bus_is_asked_for_the_first_and_told_of_the_last() -> None:
    world, bus = watchful()
    one, two = world.session("1"), world.session("2")
    await world.hub.subscriptions.subscribe(one, ["/a"])
    await world.hub.subscriptions.subscribe(two, ["/a"])
    world.hub.subscriptions.unsubscribe(one, ["/a"])
    assert bus.asked == [("+", "/a")]
    world.hub.sessions.detach(two)
    assert bus.asked == [("+", "/a"), ("-", "/a")]


async def test_subscribing_twice_changes_nothing() -> None:
    world, bus = watchful()
    session = world.session()
    await world.hub.subscriptions.subscribe(session, ["/a", "/a"])
    await world.hub.subscriptions.subscribe(session, ["/a"])
    assert bus.asked == [("+", "/a")]
    world.hub.subscriptions.unsubscribe(session, ["/a", "/never"])
    assert bus.asked == [("+", "/a"), ("-", "/a")]


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ("/a/", WireError.SUBSCRIPTION_INVALID),
        ("/secret/x", WireError.SUBSCRIBE_DENIED),
        ("/meta/**", WireError.SUBSCRIBE_DENIED),
    ],
)
async def test_all_or_none(bad: str, error: WireError) -> None:
    world, bus = watchful()
    session = world.session()
    with pytest.raises(RefusedError) as refused:
        await world.hub.subscriptions.subscribe(session, ["/a", bad])
    assert (refused.value.error, refused.value.channel) == (error, bad)
    assert (session.subscriptions, bus.asked) == ({}, [])


async def test_subscriptions_are_bounded() -> None:
    world = World(limits=Limits(max_subscriptions=2))
    session = world.session()
    await world.hub.subscriptions.subscribe(session, ["/a", "/b"])
    with pytest.raises(RefusedError) as refused:
        await world.hub.subscriptions.subscribe(session, ["/b", "/c"])
    assert refused.value.error is WireError.RATE_LIMITED


async def test_bus_that_fails_leaves_nothing_behind() -> None:
    world, bus = watchful()
    bus.failing = "/b"
    session = world.session()
    with pytest.raises(ConnectionError):
        await world.hub.subscriptions.subscribe(session, ["/a", "/b", "/c"])
    assert (session.subscriptions, len(world.hub.router)) == ({}, 0)
    asked = ["/a", "/b", "/c"]
    assert bus.asked == [*(("+", channel) for channel in asked), *(("-", channel) for channel in asked)]


async def test_session_that_ends_while_the_bus_is_asked() -> None:
    world, bus = watchful()
    session = world.session()
    confirm = bus.subscribe

    class Ending:
        def __getattr__(self, name: str) -> Any:
            return getattr(bus, name)

        async def subscribe(self, topics: Sequence[Topic], *, positions: bool) -> Mapping[Topic, int]:
            confirmed = await confirm(topics, positions=positions)
            world.hub.sessions.detach(session)
            return confirmed

    world.hub.subscriptions.interest._bus = Ending()  # type: ignore[assignment]
    with pytest.raises(RefusedError) as refused:
        await world.hub.subscriptions.subscribe(session, ["/a", "/b"])
    assert refused.value.error is WireError.SESSION_UNKNOWN
    assert (session.subscriptions, len(world.hub.router)) == ({}, 0)


async def test_two_requests_of_one_session_at_once() -> None:
    world, bus = watchful()
    session = world.session()
    confirm = bus.subscribe

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(bus, name)

        async def subscribe(self, topics: Sequence[Topic], *, positions: bool) -> Mapping[Topic, int]:
            await asyncio.sleep(0)
            return await confirm(topics, positions=positions)

    world.hub.subscriptions.interest._bus = Slow()  # type: ignore[assignment]
    await asyncio.gather(world.hub.subscriptions.subscribe(session, ["/a", "/b"]), world.hub.subscriptions.subscribe(session, ["/b"]))
    assert set(session.subscriptions) == {"/a", "/b"}
    assert set(bus.asked) == {("+", "/a"), ("+", "/b")}
    world.hub.sessions.detach(session)
    assert set(bus.asked[-2:]) == {("-", "/a"), ("-", "/b")}


async def _refuse(tenant: str, channel: str) -> None:
    raise RefusedError(WireError.SUBSCRIBE_DENIED, channel=channel)


class Watched:
    """A family that opens something for the first subscriber and closes it after the last; ``gate`` makes opening take its time."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.open: set[str] = set()
        self.refuses = 0
        self.gate: asyncio.Event | None = None

    async def watch(self, tenant: str, channel: str) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if self.refuses:
            self.refuses -= 1
            raise RefusedError(WireError.SUBSCRIBE_DENIED, channel=channel)
        if channel not in self.open:
            self.open.add(channel)
            self.calls.append(f"+{channel}")

    def unwatch(self, tenant: str, channel: str) -> None:
        self.open.remove(channel)
        self.calls.append(f"-{channel}")

    def declaration(self) -> ChannelDeclaration:
        return ChannelDeclaration("/values/**", STATE, "x", snapshot=no_values, watch=self.watch, unwatch=self.unwatch)


async def test_first_opens_and_last_closes() -> None:
    watched = Watched()
    world = World([watched.declaration()])
    one, two = world.session("1"), world.session("2")
    await world.hub.subscriptions.subscribe(one, ["/values/a", "/values/**"])
    await world.hub.subscriptions.subscribe(two, ["/values/a"])
    world.hub.sessions.detach(one)
    assert watched.calls == ["+/values/a"]
    world.hub.subscriptions.unsubscribe(two, ["/values/a"])
    assert watched.calls == ["+/values/a", "-/values/a"]


async def test_refused_opening_refuses_the_subscription() -> None:
    watched = Watched()
    watched.refuses = 1
    world = World([watched.declaration()])
    session = world.session()
    with pytest.raises(RefusedError):
        await world.hub.subscriptions.subscribe(session, ["/a", "/values/a"])
    assert session.subscriptions == {}
    assert not list(world.hub.router.topics())
    await world.hub.subscriptions.subscribe(session, ["/values/a"])
    assert watched.calls == ["+/values/a"]


async def _side_by_side(watched: Watched, *subscribing: Coroutine[Any, Any, object]) -> list[BaseException | None]:
    """Begin all of them before any opening is done."""
    watched.gate = asyncio.Event()
    running = asyncio.gather(*subscribing, return_exceptions=True)
    await asyncio.sleep(0)
    watched.gate.set()
    return [result if isinstance(result, BaseException) else None for result in await running]


async def test_two_requests_of_one_session_open_once_and_close_once() -> None:
    watched = Watched()
    world = World([watched.declaration()])
    session = world.session()
    results = await _side_by_side(
        watched,
        world.hub.subscriptions.subscribe(session, ["/values/a"]),
        world.hub.subscriptions.subscribe(session, ["/values/a", "/values/b"]),
    )
    assert results == [None, None]
    assert set(session.subscriptions) == {"/values/a", "/values/b"}
    world.hub.sessions.detach(session)
    assert watched.open == set()


async def test_refusal_of_one_session_is_not_that_of_another() -> None:
    watched = Watched()
    watched.refuses = 1
    world = World([watched.declaration()])
    one, two = world.session("1"), world.session("2")
    first, second = await _side_by_side(
        watched, world.hub.subscriptions.subscribe(one, ["/values/a"]), world.hub.subscriptions.subscribe(two, ["/values/a"])
    )
    assert isinstance(first, RefusedError)
    assert second is None
    assert watched.open == {"/values/a"}
    world.hub.sessions.detach(one)
    assert watched.open == {"/values/a"}
    world.hub.sessions.detach(two)
    assert watched.open == set()


async def test_refused_request_takes_nothing_back_from_another_of_the_same_session() -> None:
    watched = Watched()
    world = World([watched.declaration(), ChannelDeclaration("/no", EVENT, "x", watch=_refuse)])
    session = world.session()
    refused, taken = await _side_by_side(
        watched, world.hub.subscriptions.subscribe(session, ["/values/a", "/no"]), world.hub.subscriptions.subscribe(session, ["/values/a"])
    )
    assert isinstance(refused, RefusedError)
    assert taken is None
    assert set(session.subscriptions) == {"/values/a"}
    assert watched.open == {"/values/a"}
    await world.hub.publisher.emit("t", "/values/a", b"1")
    await world.loop.run()
    assert [message.data for message in session.received] == [b"1"]


async def test_session_that_ended_while_a_value_was_opened_leaves_nothing() -> None:
    watched = Watched()
    world = World([watched.declaration()])
    session = world.session()

    async def end() -> None:
        world.hub.sessions.detach(session)

    result, _ = await _side_by_side(watched, world.hub.subscriptions.subscribe(session, ["/values/a", "/b"]), end())
    assert isinstance(result, RefusedError)
    assert result.error is WireError.SESSION_UNKNOWN
    assert watched.open == set()
    assert not list(world.hub.router.topics())


async def test_limit_holds_for_requests_side_by_side() -> None:
    watched = Watched()
    world = World([watched.declaration()], limits=Limits(max_subscriptions=2))
    session = world.session()
    results = await _side_by_side(
        watched,
        world.hub.subscriptions.subscribe(session, ["/values/a", "/values/b"]),
        world.hub.subscriptions.subscribe(session, ["/values/c"]),
    )
    assert sorted(result is None for result in results) == [False, True]
    assert len(session.subscriptions) <= 2
    assert watched.open == set(session.subscriptions)


async def test_long_subscribing_gives_way() -> None:
    world = World()
    world.clock.step = 0.0015
    session = world.session()
    await world.loop.turn_until(world.hub.subscriptions.subscribe(session, [f"/a/{n}" for n in range(20)]))
    assert world.loop.breaths >= 10


async def test_watch_without_unwatch() -> None:
    watched = Watched()
    world = World([ChannelDeclaration("/v", EVENT, "x", watch=watched.watch)])
    session = world.session()
    await world.hub.subscriptions.subscribe(session, ["/v"])
    world.hub.sessions.detach(session)
    assert watched.calls == ["+/v"]


async def test_start_sends_present_values_before_what_is_replayed() -> None:
    async def snapshot(tenant: str, audience: str, pattern: str) -> list[tuple[str, bytes]]:
        await asyncio.sleep(0)
        return [("/state/a", b'"now"')]

    world = World([ChannelDeclaration("/state/**", STATE, "x", snapshot=snapshot), ChannelDeclaration("/log/**", LOG, "x")])
    await world.hub.subscriptions.subscribe(world.session("first"), ["/log/a"])
    await world.hub.publisher.emit("t", "/log/a", b'"before"')
    session = world.session()
    patterns = ["/log/a", "/state/a"]
    result = await world.hub.subscriptions.subscribe(session, patterns, since=dict.fromkeys(patterns, EVERYTHING))
    await world.loop.run()
    assert received(session) == [], "nothing is sent before it is started"
    await result.start()
    await world.loop.run()
    assert received(session) == [b'"now"', b'"before"']


async def test_start_that_fails_undoes_what_its_subscribe_added() -> None:
    async def broken(tenant: str, audience: str, pattern: str) -> list[tuple[str, bytes]]:
        raise KeyError("x")

    world = World([ChannelDeclaration("/state/**", STATE, "x", snapshot=broken), ChannelDeclaration("/log/**", LOG, "x")])
    session = world.session()
    await world.hub.subscriptions.subscribe(session, ["/a"])
    result = await world.hub.subscriptions.subscribe(session, ["/a", "/log/a", "/state/a"], since={"/log/a": EVERYTHING})
    with pytest.raises(KeyError):
        await result.start()
    assert set(session.subscriptions) == {"/a"}
    assert [topic.channel for topic in world.hub.router.topics()] == ["/a"]
