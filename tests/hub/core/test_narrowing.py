"""Channels whose subscribers need an operation: an exact name is refused without it, a wildcard narrowed, however messages come."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hub.core.delivery import ChannelDeclaration, DeliveryClass
from hub.core.errors import RefusedError, WireError
from hub.core.message import Topic
from hub.core.router import Router
from hub.core.subscriptions import EVERYTHING
from tests.hub.core.harness import Recorder, World

READ = "/messages/read"


async def _present(tenant: str, audience: str, pattern: str) -> Sequence[tuple[str, bytes]]:
    return [("/nexus/values/a", b"1")]


async def _open(tenant: str, audience: str, pattern: str) -> Sequence[tuple[str, bytes]]:
    return [("/nexus/open", b"2")]


def world() -> World:
    made = World(
        [
            ChannelDeclaration("/nexus/messages/**", DeliveryClass.LOG, "texts", operation=READ),
            ChannelDeclaration("/nexus/messages/public", DeliveryClass.LOG, "for all"),
            ChannelDeclaration("/nexus/events/*", DeliveryClass.LOG, "for all"),
            ChannelDeclaration("/nexus/values/**", DeliveryClass.STATE, "values", operation=READ, snapshot=_present),
            ChannelDeclaration("/nexus/open", DeliveryClass.STATE, "for all", snapshot=_open),
        ]
    )
    made.grants.denied = {READ}
    return made


async def publish_all(made: World) -> None:
    for channel in ("/nexus/messages/a", "/nexus/messages/public", "/nexus/events/a", "/nexus/values/a", "/nexus/free"):
        await made.hub.publisher.emit("t", channel, b"0")
    made.loop.tick()


HEARD = ["/nexus/messages/public", "/nexus/events/a", "/nexus/free"]


def channels(session: Recorder) -> list[str]:
    return [message.channel for message in session.received]


@pytest.mark.parametrize("name", ["/nexus/messages/a", "/nexus/messages/a/b", "/nexus/values/a"])
async def test_an_exact_name_is_refused_without_its_operation(name: str) -> None:
    made = world()
    session = made.session()
    with pytest.raises(RefusedError) as refused:
        await made.hub.subscriptions.subscribe(session, ["/free", name])
    assert (refused.value.error, refused.value.channel) == (WireError.SUBSCRIBE_DENIED, name)
    assert "its subscribers need the operation /messages/read, and no role of this credential allows it" in refused.value.detail
    assert session.subscriptions == {}
    assert made.hub.counters.denied == 1


async def test_an_exact_name_is_heard_with_its_operation() -> None:
    made = world()
    made.grants.denied.clear()
    session = made.session()
    await made.hub.subscriptions.subscribe(session, ["/nexus/messages/a", "/nexus/**"])
    await publish_all(made)
    assert len(channels(session)) == 5


@pytest.mark.parametrize("pattern", ["/nexus/**", "/nexus/messages/**", "/nexus/messages/*", "/nexus/values/**"])
async def test_a_wildcard_is_narrowed_to_what_may_be_heard(pattern: str) -> None:
    made = world()
    session, whole = made.session("narrow"), made.session("whole")
    await made.hub.subscriptions.subscribe(session, [pattern])
    made.grants.denied.clear()
    await made.hub.subscriptions.subscribe(whole, [pattern])
    await publish_all(made)
    in_part: dict[str, list[str]] = {"/nexus/**": HEARD, "/nexus/values/**": []}
    assert channels(session) == in_part.get(pattern, ["/nexus/messages/public"])
    assert {"/nexus/messages/a", "/nexus/values/a"} & set(channels(whole))
    assert made.hub.counters.narrowed == 1


async def test_who_asked_by_two_wildcards_hears_what_one_of_them_allows() -> None:
    made = world()
    session = made.session()
    await made.hub.subscriptions.subscribe(session, ["/nexus/messages/*", "/nexus/**"])
    await publish_all(made)
    assert channels(session) == HEARD


async def test_what_is_replayed_is_narrowed_alike() -> None:
    made = world()
    await publish_all(made)
    session = made.session()
    patterns = ["/nexus/**", "/nexus/messages/**"]
    await made.hub.subscriptions.subscribe(session, patterns, since=dict.fromkeys(patterns, EVERYTHING))
    assert session.recovery is not None
    session.recovery.resume()
    await made.loop.run()
    assert channels(session) == ["/nexus/messages/public", "/nexus/events/a"]
    await publish_all(made)
    assert channels(session)[2:] == HEARD


async def test_snapshots_are_narrowed_alike() -> None:
    made = world()
    session = made.session()
    await made.hub.subscriptions.subscribe(session, ["/nexus/**"])
    await made.hub.snapshots.send(session, ["/nexus/**"])
    made.hub.snapshots.resync(session)
    await made.loop.run()
    assert channels(session) == ["/nexus/open", "/nexus/open"]


async def test_messages_for_one_login_are_narrowed_alike() -> None:
    made = world()
    session = made.session()
    await made.hub.subscriptions.subscribe(session, ["/nexus/**"])
    login = session.principal.login
    await made.hub.publisher.emit("t", "/nexus/messages/a", b"0", audience=login)
    made.hub.publisher.emit_to_logins("t", "/nexus/values/a", b"0", (login,))
    await made.hub.publisher.emit("t", "/nexus/free", b"0", audience=login)
    made.loop.tick()
    assert channels(session) == ["/nexus/free"]


async def test_nothing_is_left_of_a_narrowed_subscription() -> None:
    made = world()
    first, second = made.session("a"), made.session("b")
    await made.hub.subscriptions.subscribe(first, ["/nexus/**"])
    await made.hub.subscriptions.subscribe(second, ["/nexus/**"])
    made.hub.subscriptions.unsubscribe(first, ["/nexus/**"])
    await publish_all(made)
    assert (channels(first), channels(second)) == ([], HEARD)
    assert first.narrowed == {}
    made.hub.sessions.detach(second)
    assert len(made.hub.router) == 0


def test_the_answer_is_kept_until_somebody_comes_or_goes() -> None:
    router: Router[str] = Router(lambda channel: "/secret/**" if channel.startswith("/secret") else "/**")
    everything = Topic("t", "", "/**")
    assert router.add(everything, "narrow", frozenset({"/secret/**"}))
    assert not router.add(everything, "whole")
    free, secret = Topic("t", "", "/free"), Topic("t", "", "/secret/a")
    both = router.match(free)
    assert both is not None
    assert list(both.subscribers) == ["whole", "narrow"]
    assert router.match(free) is both
    found = router.match(secret)
    assert found is not None
    assert list(found.subscribers) == ["whole"]
    assert (router.count(everything), len(router)) == (2, 1)
    assert not router.remove(everything, "narrow")  # it was not added so
    assert not router.remove(everything, "whole")
    assert router.remove(everything, "narrow", frozenset({"/secret/**"}))
    assert router.match(free) is None
