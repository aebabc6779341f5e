"""The present values of state channels."""

from __future__ import annotations

from hub.core.delivery import ChannelDeclaration, DeliveryClass
from tests.hub.core.harness import World, principal, received

STATE, LOG = DeliveryClass.STATE, DeliveryClass.LOG


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
    await world.hub.subscriptions.subscribe(session, ["/a", "/*", "/state/a", "/mine"])
    for pattern, expected in [("/a", []), ("/state/a", [b""]), ("/mine", [b"login-c", b"token-ann"]), ("/*", [b"login-c", b"token-ann"])]:
        await world.hub.snapshots.send(session, [pattern])
        world.loop.tick()
        assert received(session) == expected
        session.received.clear()


async def test_snapshot_of_what_is_not_subscribed_any_more_is_not_sent() -> None:
    async def snapshot(tenant: str, audience: str, pattern: str) -> list[tuple[str, bytes]]:
        world.hub.subscriptions.unsubscribe(session, [pattern])
        return [("/state/a", b"1")]

    world = World([ChannelDeclaration("/state/a", STATE, "x", snapshot=snapshot)])
    session = world.session()
    await world.hub.subscriptions.subscribe(session, ["/state/a"])
    await world.hub.snapshots.send(session, ["/state/a"])
    assert not session.queue
