"""Publishing: who may, whom a message reaches, and which way it takes."""

from __future__ import annotations

import pytest

from hub.bus.interface import Envelope
from hub.core.delivery import ChannelDeclaration, DeliveryClass
from hub.core.errors import RefusedError, WireError
from hub.core.message import Message, Topic
from tests.hub.core.harness import World, no_values, principal, received, watchful

STATE, LOG, EVENT = DeliveryClass.STATE, DeliveryClass.LOG, DeliveryClass.EVENT


PERSONAL = ChannelDeclaration("/mine/**", STATE, "personal", personal=True, snapshot=no_values)


@pytest.mark.parametrize("pattern", ["/mine/a", "/mine/*", "/mine/**"])
async def test_personal_messages_reach_their_login_alone(pattern: str) -> None:
    world = World([PERSONAL])
    ann, eve = world.session("ann", principal("ann")), world.session("eve", principal("eve"))
    for session in (ann, eve):
        await world.hub.subscriptions.subscribe(session, [pattern])
    await world.hub.publisher.emit("t", "/mine/a", b"1", audience="token-ann")
    world.loop.tick()
    assert (received(ann), received(eve)) == ([b"1"], [])


async def test_who_has_a_cookie_also_hears_what_is_for_the_token() -> None:
    world = World([PERSONAL])
    session = world.session("s", principal("ann", cookie="c"))
    await world.hub.subscriptions.subscribe(session, ["/mine/a"])
    for audience in ("login-c", "token-ann", "login-other"):
        await world.hub.publisher.emit("t", "/mine/a", audience.encode(), audience=audience)
    world.loop.tick()
    assert received(session) == [b"login-c", b"token-ann"]


async def test_the_same_for_several_logins_reaches_each_of_them_once_and_nobody_else() -> None:
    world, bus = watchful(PERSONAL)
    sessions = {name: world.session(name, principal(name)) for name in ("ann", "bob", "eve")}
    twice = world.session("twice", principal("ann", cookie="c"))
    for session in (*sessions.values(), twice):
        await world.hub.subscriptions.subscribe(session, ["/mine/a"])
    world.hub.publisher.emit_to_logins("t", "/mine/a", b"1", ("token-ann", "login-c", "token-bob", "token-nobody"))
    world.loop.tick()
    assert {name: received(session) for name, session in sessions.items()} == {"ann": [b"1"], "bob": [b"1"], "eve": []}
    assert received(twice) == [b"1"]
    assert [envelope.topic.audience for envelope in bus.published] == ["token-ann", "login-c", "token-bob", "token-nobody"]
    assert (world.hub.counters.published, world.hub.counters.delivered) == (4, 3)


async def test_the_same_for_several_logins_passes_who_looks_at_what_is_published() -> None:
    world = World([PERSONAL])
    session = world.session("ann", principal("ann"))
    await world.hub.subscriptions.subscribe(session, ["/mine/a"])
    world.hub.publisher.filter = lambda channel, data, extra: None if data == b"1" else (b'"other"', extra)
    for data in (b"1", b"2"):
        world.hub.publisher.emit_to_logins("t", "/mine/a", data, ("token-ann",))
    world.loop.tick()
    assert received(session) == [b'"other"']


def test_each_message_of_a_log_channel_has_to_be_emitted_by_itself() -> None:
    world = World([ChannelDeclaration("/log/**", LOG, "log")])
    with pytest.raises(ValueError, match="is a log channel"):
        world.hub.publisher.emit_to_logins("t", "/log/a", b"1", ("ann",))


async def test_message_for_all_does_not_reach_a_personal_channel() -> None:
    world = World([PERSONAL])
    session = world.session()
    await world.hub.subscriptions.subscribe(session, ["/mine/a"])
    await world.hub.publisher.emit("t", "/mine/a", b"1")
    world.loop.tick()
    assert received(session) == []


async def test_tenants_are_apart() -> None:
    world = World()
    session = world.session("s", principal(tenant="other"))
    await world.hub.subscriptions.subscribe(session, ["/a", "/*"])
    await world.hub.publisher.emit("t", "/a", b"1")
    world.loop.tick()
    assert received(session) == []


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
        await world.hub.publisher.publish(principal(), channel, b"1")
    assert refused.value.error is error
    assert bus.published == []


async def test_service_channels_are_not_broadcast() -> None:
    world, bus = watchful()
    session = world.session()
    await world.hub.subscriptions.subscribe(session, ["/service/a"])
    await world.hub.publisher.publish(principal(), "/service/a", b"1")
    assert (bus.published, world.hub.counters.published) == ([], 0)


async def test_event_goes_to_local_subscribers_and_the_bus() -> None:
    world, bus = watchful()
    session = world.session()
    await world.hub.subscriptions.subscribe(session, ["/a"])
    await world.hub.publisher.publish(principal(), "/a", b"1", extra=b',"x":2')
    world.loop.tick()
    assert session.received[0].bayeux() == b'{"channel":"/a","data":1,"x":2}'
    assert bus.published == [Envelope(Topic("t", "", "/a"), EVENT, b"1", b',"x":2')]
    assert (world.hub.counters.published, world.hub.counters.delivered) == (1, 1)


async def test_log_travels_through_the_log_alone() -> None:
    world, bus = watchful(ChannelDeclaration("/log", LOG, "log"))
    session = world.session()
    await world.hub.subscriptions.subscribe(session, ["/log"])
    await world.hub.publisher.emit("t", "/log", b"1")
    world.loop.tick()
    assert bus.published == []
    assert [message.position for message in session.received] == [1_000_000_000]


async def test_message_is_shared_by_all_subscribers() -> None:
    world = World()
    one, two = world.session("1"), world.session("2")
    for session in (one, two):
        await world.hub.subscriptions.subscribe(session, ["/a"])
    await world.hub.publisher.emit("t", "/a", b"1")
    world.loop.tick()
    assert one.received[0] is two.received[0]
    assert one.received[0].bayeux() is two.received[0].bayeux()


def test_dashboard_form_has_the_position() -> None:
    assert Message("/a", b"1").dashboard() == b'{"type":"event","channel":"/a","data":1}'
    positioned = Message("/a", b"1", position=7)
    assert positioned.dashboard() == b'{"type":"event","channel":"/a","data":1,"position":7}'
    assert positioned.dashboard() is positioned.dashboard()
