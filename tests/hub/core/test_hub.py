"""Subscribe, publish, snapshots and logins."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import pytest

from hub.bus.interface import Envelope
from hub.bus.memory import MemoryBus
from hub.core.delivery import ChannelDeclaration, ChannelRegistry, DeliveryClass
from hub.core.errors import CloseCode, RefusedError, WireError
from hub.core.hub import Subscribed
from hub.core.limits import Limits
from hub.core.message import Message, Topic
from hub.core.principal import login_key
from hub.eventlog.channel_log_memory import MemoryChannelLog
from tests.hub.core.harness import Recorder, World, principal
from tests.world import ManualClock

STATE, LOG, EVENT = DeliveryClass.STATE, DeliveryClass.LOG, DeliveryClass.EVENT


async def _nothing(tenant: str, audience: str, pattern: str) -> list[tuple[str, bytes]]:
    return []


class WatchfulBus(MemoryBus):
    """A memory bus that remembers what was asked of it, and can fail."""

    __slots__ = ("asked", "failing", "published")

    def __init__(self, log: MemoryChannelLog) -> None:
        super().__init__(log)
        self.asked: list[tuple[str, str]] = []
        self.published: list[Envelope] = []
        self.failing: str | None = None

    async def subscribe(self, topics: Sequence[Topic], *, positions: bool) -> Mapping[Topic, int]:
        self.asked += [("+", topic.channel) for topic in topics]
        if any(topic.channel == self.failing for topic in topics):
            raise ConnectionError
        return await super().subscribe(topics, positions=positions)

    def unsubscribe(self, topics: Sequence[Topic]) -> None:
        self.asked += [("-", topic.channel) for topic in topics]
        super().unsubscribe(topics)

    def publish(self, envelope: Envelope) -> None:
        self.published.append(envelope)
        super().publish(envelope)

    def publish_to_logins(self, envelope: Envelope, logins: Sequence[str]) -> None:
        self.published.extend(envelope._replace(topic=envelope.topic._replace(audience=login)) for login in logins)
        super().publish_to_logins(envelope, logins)


def watchful(*declarations: ChannelDeclaration) -> tuple[World, WatchfulBus]:
    clock = ManualClock()
    log = MemoryChannelLog(clock)
    bus = WatchfulBus(log)
    return World(declarations, log=log, bus=bus, clock=clock), bus


def received(session: Recorder) -> list[bytes]:
    return [message.data for message in session.received]


# -- subscribing --------------------------------------------------------------------------------------------------------


async def test_bus_is_asked_for_the_first_and_told_of_the_last() -> None:
    world, bus = watchful()
    one, two = world.session("1"), world.session("2")
    await world.hub.subscribe(one, ["/a"])
    await world.hub.subscribe(two, ["/a"])
    world.hub.unsubscribe(one, ["/a"])
    assert bus.asked == [("+", "/a")]
    world.hub.detach(two)
    assert bus.asked == [("+", "/a"), ("-", "/a")]


async def test_subscribing_twice_changes_nothing() -> None:
    world, bus = watchful()
    session = world.session()
    await world.hub.subscribe(session, ["/a", "/a"])
    await world.hub.subscribe(session, ["/a"])
    assert bus.asked == [("+", "/a")]
    world.hub.unsubscribe(session, ["/a", "/never"])
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
        await world.hub.subscribe(session, ["/a", bad])
    assert (refused.value.error, refused.value.channel) == (error, bad)
    assert (session.subscriptions, bus.asked) == ({}, [])


async def test_subscriptions_are_bounded() -> None:
    world = World(limits=Limits(max_subscriptions=2))
    session = world.session()
    await world.hub.subscribe(session, ["/a", "/b"])
    with pytest.raises(RefusedError) as refused:
        await world.hub.subscribe(session, ["/b", "/c"])
    assert refused.value.error is WireError.RATE_LIMITED


async def test_bus_that_fails_leaves_nothing_behind() -> None:
    world, bus = watchful()
    bus.failing = "/b"
    session = world.session()
    with pytest.raises(ConnectionError):
        await world.hub.subscribe(session, ["/a", "/b", "/c"])
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
            world.hub.detach(session)
            return confirmed

    world.hub._interest._bus = Ending()  # type: ignore[assignment]
    with pytest.raises(RefusedError) as refused:
        await world.hub.subscribe(session, ["/a", "/b"])
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

    world.hub._interest._bus = Slow()  # type: ignore[assignment]
    await asyncio.gather(world.hub.subscribe(session, ["/a", "/b"]), world.hub.subscribe(session, ["/b"]))
    assert set(session.subscriptions) == {"/a", "/b"}
    assert set(bus.asked) == {("+", "/a"), ("+", "/b")}
    world.hub.detach(session)
    assert set(bus.asked[-2:]) == {("-", "/a"), ("-", "/b")}


async def test_sessions_are_bounded() -> None:
    world = World(limits=Limits(max_sessions=1))
    world.session("1")
    with pytest.raises(RefusedError) as refused:
        world.session("2")
    assert refused.value.error is WireError.RATE_LIMITED


async def test_detaching_twice_does_no_harm() -> None:
    world = World()
    session = world.session()
    session.offer(Message("/a", b"1"))
    world.hub.detach(session)
    world.hub.detach(session)
    assert (world.hub.subscribers, session.queued_bytes) == ({}, 0)


# -- topics: who may hear what ------------------------------------------------------------------------------------------

PERSONAL = ChannelDeclaration("/mine/**", STATE, "personal", personal=True, snapshot=_nothing)


@pytest.mark.parametrize("pattern", ["/mine/a", "/mine/*", "/mine/**"])
async def test_personal_messages_reach_their_login_alone(pattern: str) -> None:
    world = World([PERSONAL])
    ann, eve = world.session("ann", principal("ann")), world.session("eve", principal("eve"))
    for session in (ann, eve):
        await world.hub.subscribe(session, [pattern])
    await world.hub.emit("t", "/mine/a", b"1", audience="token-ann")
    world.loop.tick()
    assert (received(ann), received(eve)) == ([b"1"], [])


async def test_who_has_a_cookie_also_hears_what_is_for_the_token() -> None:
    world = World([PERSONAL])
    session = world.session("s", principal("ann", cookie="c"))
    await world.hub.subscribe(session, ["/mine/a"])
    for audience in ("login-c", "token-ann", "login-other"):
        await world.hub.emit("t", "/mine/a", audience.encode(), audience=audience)
    world.loop.tick()
    assert received(session) == [b"login-c", b"token-ann"]


async def test_the_same_for_several_logins_reaches_each_of_them_once_and_nobody_else() -> None:
    world, bus = watchful(PERSONAL)
    sessions = {name: world.session(name, principal(name)) for name in ("ann", "bob", "eve")}
    twice = world.session("twice", principal("ann", cookie="c"))
    for session in (*sessions.values(), twice):
        await world.hub.subscribe(session, ["/mine/a"])
    world.hub.emit_to_logins("t", "/mine/a", b"1", ("token-ann", "login-c", "token-bob", "token-nobody"))
    world.loop.tick()
    assert {name: received(session) for name, session in sessions.items()} == {"ann": [b"1"], "bob": [b"1"], "eve": []}
    assert received(twice) == [b"1"]
    assert [envelope.topic.audience for envelope in bus.published] == ["token-ann", "login-c", "token-bob", "token-nobody"]
    assert (world.hub.counters.published, world.hub.counters.delivered) == (4, 3)


async def test_the_same_for_several_logins_passes_who_looks_at_what_is_published() -> None:
    world = World([PERSONAL])
    session = world.session("ann", principal("ann"))
    await world.hub.subscribe(session, ["/mine/a"])
    world.hub.on_publish = lambda channel, data, extra: None if data == b"1" else (b'"other"', extra)
    for data in (b"1", b"2"):
        world.hub.emit_to_logins("t", "/mine/a", data, ("token-ann",))
    world.loop.tick()
    assert received(session) == [b'"other"']


def test_each_message_of_a_log_channel_has_to_be_emitted_by_itself() -> None:
    world = World([ChannelDeclaration("/log/**", LOG, "log")])
    with pytest.raises(ValueError, match="is a log channel"):
        world.hub.emit_to_logins("t", "/log/a", b"1", ("ann",))


async def test_message_for_all_does_not_reach_a_personal_channel() -> None:
    world = World([PERSONAL])
    session = world.session()
    await world.hub.subscribe(session, ["/mine/a"])
    await world.hub.emit("t", "/mine/a", b"1")
    world.loop.tick()
    assert received(session) == []


async def test_tenants_are_apart() -> None:
    world = World()
    session = world.session("s", principal(tenant="other"))
    await world.hub.subscribe(session, ["/a", "/*"])
    await world.hub.emit("t", "/a", b"1")
    world.loop.tick()
    assert received(session) == []


# -- publishing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "error"),
    [
        ("/a/*", WireError.CHANNEL_INVALID),
        ("a", WireError.CHANNEL_INVALID),
        ("/meta/x", WireError.PUBLISH_DENIED),
        ("/secret/x", WireError.PUBLISH_DENIED),
    ],
)
async def test_refused_publish(channel: str, error: WireError) -> None:
    world, bus = watchful()
    with pytest.raises(RefusedError) as refused:
        await world.hub.publish(principal(), channel, b"1")
    assert refused.value.error is error
    assert bus.published == []


async def test_service_channels_are_not_broadcast() -> None:
    world, bus = watchful()
    session = world.session()
    await world.hub.subscribe(session, ["/service/a"])
    await world.hub.publish(principal(), "/service/a", b"1")
    assert (bus.published, world.hub.counters.published) == ([], 0)


async def test_event_goes_to_local_subscribers_and_the_bus() -> None:
    world, bus = watchful()
    session = world.session()
    await world.hub.subscribe(session, ["/a"])
    await world.hub.publish(principal(), "/a", b"1", extra=b',"x":2')
    world.loop.tick()
    assert session.received[0].bayeux() == b'{"channel":"/a","data":1,"x":2}'
    assert bus.published == [Envelope(Topic("t", "", "/a"), EVENT, b"1", b',"x":2')]
    assert (world.hub.counters.published, world.hub.counters.delivered) == (1, 1)


async def test_log_travels_through_the_log_alone() -> None:
    world, bus = watchful(ChannelDeclaration("/log", LOG, "log"))
    session = world.session()
    await world.hub.subscribe(session, ["/log"])
    await world.hub.emit("t", "/log", b"1")
    world.loop.tick()
    assert bus.published == []
    assert [message.position for message in session.received] == [1_000_000_000]


async def test_message_is_shared_by_all_subscribers() -> None:
    world = World()
    one, two = world.session("1"), world.session("2")
    for session in (one, two):
        await world.hub.subscribe(session, ["/a"])
    await world.hub.emit("t", "/a", b"1")
    world.loop.tick()
    assert one.received[0] is two.received[0]
    assert one.received[0].bayeux() is two.received[0].bayeux()


def test_dashboard_form_has_the_position() -> None:
    assert Message("/a", b"1").dashboard() == b'{"type":"event","channel":"/a","data":1}'
    positioned = Message("/a", b"1", position=7)
    assert positioned.dashboard() == b'{"type":"event","channel":"/a","data":1,"position":7}'
    assert positioned.dashboard() is positioned.dashboard()


# -- snapshots and watching ---------------------------------------------------------------------------------------------


async def test_snapshot_is_of_what_the_pattern_touches() -> None:
    async def snapshot(tenant: str, audience: str, pattern: str) -> list[tuple[str, bytes]]:
        return [("/state/a", audience.encode())]

    world = World(
        [
            ChannelDeclaration("/state/**", STATE, "x", snapshot=snapshot),
            ChannelDeclaration("/mine", STATE, "x", personal=True, snapshot=snapshot),
            ChannelDeclaration("/log", LOG, "x"),
        ]
    )
    session = world.session("s", principal("ann", cookie="c"))
    await world.hub.subscribe(session, ["/a", "/*", "/state/a", "/mine"])
    for pattern, expected in [("/a", []), ("/state/a", [b""]), ("/mine", [b"login-c", b"token-ann"]), ("/*", [b"login-c", b"token-ann"])]:
        await world.hub.send_snapshots(session, [pattern])
        world.loop.tick()
        assert received(session) == expected
        session.received.clear()


async def test_snapshot_of_what_is_not_subscribed_any_more_is_not_sent() -> None:
    async def snapshot(tenant: str, audience: str, pattern: str) -> list[tuple[str, bytes]]:
        world.hub.unsubscribe(session, [pattern])
        return [("/state/a", b"1")]

    world = World([ChannelDeclaration("/state/a", STATE, "x", snapshot=snapshot)])
    session = world.session()
    await world.hub.subscribe(session, ["/state/a"])
    await world.hub.send_snapshots(session, ["/state/a"])
    assert not session.queue


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
        return ChannelDeclaration("/values/**", STATE, "x", snapshot=_nothing, watch=self.watch, unwatch=self.unwatch)


async def test_first_opens_and_last_closes() -> None:
    watched = Watched()
    world = World([watched.declaration()])
    one, two = world.session("1"), world.session("2")
    await world.hub.subscribe(one, ["/values/a", "/values/**"])
    await world.hub.subscribe(two, ["/values/a"])
    world.hub.detach(one)
    assert watched.calls == ["+/values/a"]
    world.hub.unsubscribe(two, ["/values/a"])
    assert watched.calls == ["+/values/a", "-/values/a"]


async def test_refused_opening_refuses_the_subscription() -> None:
    watched = Watched()
    watched.refuses = 1
    world = World([watched.declaration()])
    session = world.session()
    with pytest.raises(RefusedError):
        await world.hub.subscribe(session, ["/a", "/values/a"])
    assert session.subscriptions == {}
    assert not list(world.hub.router.topics())
    await world.hub.subscribe(session, ["/values/a"])
    assert watched.calls == ["+/values/a"]


async def _side_by_side(watched: Watched, *subscribing: Coroutine[Any, Any, list[Subscribed]]) -> list[BaseException | None]:
    """Begin all of them before any opening is done."""
    watched.gate = asyncio.Event()
    running = asyncio.gather(*subscribing, return_exceptions=True)
    await asyncio.sleep(0)
    watched.gate.set()
    return [None if isinstance(result, list) else result for result in await running]


async def test_two_requests_of_one_session_open_once_and_close_once() -> None:
    watched = Watched()
    world = World([watched.declaration()])
    session = world.session()
    results = await _side_by_side(
        watched, world.hub.subscribe(session, ["/values/a"]), world.hub.subscribe(session, ["/values/a", "/values/b"])
    )
    assert results == [None, None]
    assert set(session.subscriptions) == {"/values/a", "/values/b"}
    world.hub.detach(session)
    assert watched.open == set()


async def test_refusal_of_one_session_is_not_that_of_another() -> None:
    watched = Watched()
    watched.refuses = 1
    world = World([watched.declaration()])
    one, two = world.session("1"), world.session("2")
    first, second = await _side_by_side(watched, world.hub.subscribe(one, ["/values/a"]), world.hub.subscribe(two, ["/values/a"]))
    assert isinstance(first, RefusedError)
    assert second is None
    assert watched.open == {"/values/a"}
    world.hub.detach(one)
    assert watched.open == {"/values/a"}
    world.hub.detach(two)
    assert watched.open == set()


async def test_refused_request_takes_nothing_back_from_another_of_the_same_session() -> None:
    watched = Watched()
    world = World([watched.declaration(), ChannelDeclaration("/no", EVENT, "x", watch=_refuse)])
    session = world.session()
    refused, taken = await _side_by_side(
        watched, world.hub.subscribe(session, ["/values/a", "/no"]), world.hub.subscribe(session, ["/values/a"])
    )
    assert isinstance(refused, RefusedError)
    assert taken is None
    assert set(session.subscriptions) == {"/values/a"}
    assert watched.open == {"/values/a"}
    await world.hub.emit("t", "/values/a", b"1")
    await world.loop.run()
    assert [message.data for message in session.received] == [b"1"]


async def test_session_that_ended_while_a_value_was_opened_leaves_nothing() -> None:
    watched = Watched()
    world = World([watched.declaration()])
    session = world.session()

    async def end() -> None:
        world.hub.detach(session)

    result, _ = await _side_by_side(watched, world.hub.subscribe(session, ["/values/a", "/b"]), end())
    assert isinstance(result, RefusedError)
    assert result.error is WireError.SESSION_UNKNOWN
    assert watched.open == set()
    assert not list(world.hub.router.topics())


async def test_limit_holds_for_requests_side_by_side() -> None:
    watched = Watched()
    world = World([watched.declaration()], limits=Limits(max_subscriptions=2))
    session = world.session()
    results = await _side_by_side(
        watched, world.hub.subscribe(session, ["/values/a", "/values/b"]), world.hub.subscribe(session, ["/values/c"])
    )
    assert sorted(result is None for result in results) == [False, True]
    assert len(session.subscriptions) <= 2
    assert watched.open == set(session.subscriptions)


async def test_long_subscribing_gives_way() -> None:
    world = World()
    world.clock.step = 0.0015
    session = world.session()
    await world.hub.subscribe(session, [f"/a/{n}" for n in range(20)])
    assert world.loop.breaths >= 10


async def test_watch_without_unwatch() -> None:
    watched = Watched()
    world = World([ChannelDeclaration("/v", EVENT, "x", watch=watched.watch)])
    session = world.session()
    await world.hub.subscribe(session, ["/v"])
    world.hub.detach(session)
    assert watched.calls == ["+/v"]


# -- logins -------------------------------------------------------------------------------------------------------------


def test_login_is_gone_after_its_last_session() -> None:
    world = World()
    gone: list[tuple[str, str]] = []
    world.hub.on_login_gone.append(lambda tenant, audience: gone.append((tenant, audience)))
    with_cookie, without = principal("ann", cookie="c"), principal("ann")
    for who in (with_cookie, without):
        world.hub.login_arrived(who)
    world.hub.login_left(with_cookie)
    assert gone == [("t", "login-c")]
    assert world.hub.has_login("t", "token-ann")
    world.hub.login_left(without)
    assert gone == [("t", "login-c"), ("t", "token-ann")]
    assert not world.hub.has_login("t", "token-ann")


def test_login_key_tells_its_parts_apart() -> None:
    keys = {login_key("t", "a", "b"), login_key("t", "ab", ""), login_key("ta", "", "b"), login_key("t", "a", "c")}
    assert len(keys) == 4


def test_same_caller() -> None:
    assert principal("ann").same_caller(principal("ann", cookie="c"))
    assert not principal("ann").same_caller(principal("ann", tenant="u"))
    assert not principal("ann").same_caller(principal("eve"))


# -- declarations -------------------------------------------------------------------------------------------------------


def test_most_exact_declaration_counts() -> None:
    deep, wide = ChannelDeclaration("/a/b", LOG, "deep"), ChannelDeclaration("/a/**", EVENT, "wide")
    registry = ChannelRegistry([wide])
    assert registry.of("/a/b") is wide
    registry.declare(deep)
    assert (registry.of("/a/b"), registry.of("/a/c"), registry.of("/x").delivery) == (deep, wide, EVENT)
    assert registry.overlapping("/a/*") == [wide, deep]
    assert registry.overlapping("/a/b") == [deep]
    assert list(registry) == [wide, deep]


def test_declared_twice() -> None:
    registry = ChannelRegistry([ChannelDeclaration("/a", LOG, "x")])
    with pytest.raises(ValueError, match="/a"):
        registry.declare(ChannelDeclaration("/a", EVENT, "y"))


def test_state_needs_a_snapshot() -> None:
    with pytest.raises(ValueError, match="snapshot"):
        ChannelDeclaration("/a", STATE, "x")


def test_names_of_clients_do_not_fill_the_memory() -> None:
    registry = ChannelRegistry()
    for number in range(65_537):
        registry.of(f"/{number}")
    assert len(registry._by_channel) <= 65_536


def test_wire_errors_are_bayeux_errors() -> None:
    for error in WireError:
        code, arguments, text = error.text.split(":")
        assert (int(code), text.isidentifier()) == (error.code, True)
        assert arguments in {"", "denied"}
        assert error.reason
    assert RefusedError(WireError.TOO_LARGE).detail == WireError.TOO_LARGE.reason


def test_close_codes_are_those_that_are_documented() -> None:
    assert {4400, 4401, 4403, 4408, 4429, 1009, 1012} <= {code.value for code in CloseCode}


def test_limits_have_reasons() -> None:
    table = Limits.table()
    assert ("timeout_ms", 20_000) in [(name, default) for name, default, _ in table]
    assert all(reason for _, _, reason in table)
