"""Joins and leaves as events."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from hub.core.delivery import ChannelDeclaration, DeliveryClass
from hub.core.principal import Principal
from hub.presence.announcer import Announcer, presence_channel
from hub.presence.counts import LocalCounts, SessionCounts
from hub.presence.roster import Roster
from tests.hub.core.harness import Recorder, World, principal


class Watch:
    """A hub that tells of joins and leaves, and one who listens."""

    def __init__(
        self,
        *patterns: str,
        events_per_second: int = 20,
        world: World | None = None,
        counts: Callable[[Roster], SessionCounts] = lambda roster: LocalCounts(),
    ) -> None:
        self.world = world or World()
        roster = Roster(self.world.hub)
        self.announcer = Announcer(self.world.hub, roster, patterns, events_per_second=events_per_second, counts=counts(roster))
        self.listener = self.world.session("listener")

    async def listen(self, *channels: str) -> None:
        await self.world.hub.subscriptions.subscribe(self.listener, channels or ("/hub/presence/**",))

    async def guest(self, identifier: str, *patterns: str, who: Principal | None = None) -> Recorder:
        guest = self.world.session(identifier, who)
        await self.world.hub.subscriptions.subscribe(guest, patterns)
        return guest

    async def heard(self) -> list[tuple[str, Any]]:
        """Channel and data of what the listener was sent since the last call."""
        await self.world.loop.run()
        received, self.listener.received = self.listener.received, []
        return [(message.channel, json.loads(message.data)) for message in received]


async def test_a_join_and_a_leave_are_told_with_who_and_how_many() -> None:
    watch = Watch("/rooms/**")
    await watch.listen()
    guest = await watch.guest("0123456789abcdef0123456789ab-secret", "/rooms/1")
    await watch.guest("other", "/rooms/1", who=principal("bob"))
    watch.world.hub.subscriptions.unsubscribe(guest, ["/rooms/1"])
    about = {"channel": "/rooms/1", "subject": "ann", "session": "0123456789abcdef0123456789ab"}
    assert await watch.heard() == [
        ("/hub/presence/rooms/1", {"type": "join", **about, "sessions": 1}),
        ("/hub/presence/rooms/1", {"type": "join", "channel": "/rooms/1", "subject": "bob", "session": "other", "sessions": 2}),
        ("/hub/presence/rooms/1", {"type": "leave", **about, "sessions": 1}),
    ]
    assert watch.announcer.counters.told == 3


async def test_a_session_that_ends_leaves_all_its_channels() -> None:
    watch = Watch("/rooms/**")
    await watch.listen()
    guest = await watch.guest("g", "/rooms/1", "/rooms/2")
    await watch.heard()
    watch.world.hub.sessions.detach(guest)
    assert [(data["type"], data["channel"], data["sessions"]) for _, data in await watch.heard()] == [
        ("leave", "/rooms/1", 0),
        ("leave", "/rooms/2", 0),
    ]


async def test_what_is_not_watched_is_not_told() -> None:
    watch = Watch("/rooms/*", "/lobby")
    await watch.listen()
    await watch.guest("g", "/rooms/1/2", "/rooms/**", "/lobby/1", "/elsewhere", "/lobby")
    assert [data["channel"] for _, data in await watch.heard()] == ["/lobby"]


async def test_listening_to_presence_is_never_told_even_where_all_is_watched() -> None:
    watch = Watch("/**")
    await watch.listen("/hub/presence/**", "/hub/presence/a")
    assert await watch.heard() == []
    await watch.guest("g", "/a")
    assert [data["channel"] for _, data in await watch.heard()] == ["/a"]


async def test_joins_are_told_to_their_tenant_alone() -> None:
    watch = Watch("/**")
    await watch.listen()
    await watch.guest("g", "/a", who=principal(tenant="rival"))
    assert await watch.heard() == []
    assert watch.announcer.counters.told == 1


async def test_a_storm_is_summed_up_at_the_end_of_the_second() -> None:
    watch = Watch("/rooms/**", events_per_second=2)
    await watch.listen()
    guests = [await watch.guest(f"g{number}", "/rooms/1") for number in range(5)]
    await watch.guest("h", "/rooms/2")  # a storm on one channel is none on another
    watch.world.hub.sessions.detach(guests[0])
    told = await watch.heard()
    assert [(data["type"], data["channel"], data["sessions"]) for _, data in told] == [
        ("join", "/rooms/1", 1),
        ("join", "/rooms/1", 2),
        ("join", "/rooms/2", 1),
    ]
    watch.world.pass_time(1.1)
    assert await watch.heard() == [
        ("/hub/presence/rooms/1", {"type": "changes", "channel": "/rooms/1", "joined": 3, "left": 1, "sessions": 4})
    ]
    assert (watch.announcer.counters.told, watch.announcer.counters.summed_up) == (3, 4)


async def test_after_a_second_joins_are_told_one_by_one_again() -> None:
    watch = Watch("/rooms/**", events_per_second=1)
    await watch.listen()
    for second in range(3):
        await watch.guest(f"g{second}", "/rooms/1")
        assert [data["type"] for _, data in await watch.heard()] == ["join"]
        watch.world.pass_time(1.1)
        assert await watch.heard() == []
    assert len(watch.world.hub.timers) == 0


@pytest.mark.parametrize(
    ("pattern", "channel"),
    [
        ("/a/b", "/hub/presence/a/b"),
        ("/a/*", "/hub/presence/a"),
        ("/a/**", "/hub/presence/a"),
        ("/**", "/hub/presence"),
        ("/" + "a" * 242, None),
        ("/a" * 15, None),
    ],
)
def test_where_a_subscription_is_told(pattern: str, channel: str | None) -> None:
    assert presence_channel(pattern) == channel


async def test_a_name_without_room_in_front_is_counted_not_told() -> None:
    watch = Watch("/**", events_per_second=1)
    await watch.listen()
    for identifier in "gh":
        await watch.guest(identifier, "/" + "a" * 250)
    watch.world.pass_time(1.1)
    assert await watch.heard() == []
    assert (watch.announcer.counters.told, watch.announcer.counters.too_long) == (0, 2)


async def test_joins_are_not_kept_even_where_all_channels_are() -> None:
    watch = Watch("/rooms/**", world=World([ChannelDeclaration("/**", DeliveryClass.LOG, "all")]))
    await watch.listen("/hub/presence/rooms/1")
    await watch.guest("g", "/rooms/1")
    await watch.world.loop.run()
    assert [(message.delivery, message.position) for message in watch.listener.received] == [(DeliveryClass.EVENT, None)]


async def test_a_storm_gives_way_to_others() -> None:
    watch = Watch("/rooms/**", events_per_second=1)
    guest = watch.world.session("g")
    for number in range(100):
        await watch.world.hub.subscriptions.subscribe(guest, [f"/rooms/{number}"])
        watch.world.hub.subscriptions.unsubscribe(guest, [f"/rooms/{number}"])
    watch.world.clock.step = 0.001
    await watch.world.loop.run()
    sent = watch.world.loop.breaths
    assert sent > 0
    watch.world.pass_time(1.1)
    await watch.world.loop.run()
    assert watch.world.loop.breaths > sent
    assert watch.announcer.counters.summed_up == 100
