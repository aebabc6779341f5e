"""Which sessions there are, page by page."""

import json
from collections.abc import Awaitable
from dataclasses import replace

import pytest

from hub.core.errors import RefusedError
from hub.core.principal import Principal
from hub.core.subscriber import Subscriber
from hub.presence.roster import Roster, Wanted, describe
from tests.hub.core.harness import Recorder, World, principal

EVERYBODY = Wanted()


class Guest(Recorder):
    """A session that says how it is connected, and that can be sent away."""

    __slots__ = ("door_now",)

    def __init__(self, world: World, identifier: str, who: Principal | None = None, *, door: str = "ws") -> None:
        super().__init__(world.hub, identifier, who)
        self.door_now = door
        world.hub.sessions.attach(self)

    @property
    def door(self) -> str:
        return self.door_now

    def disconnect(self) -> None:
        self.ended = True
        self.hub.sessions.detach(self)


class House:
    """A world, its roster, and guests who come."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()
        self.roster = Roster(self.world.hub)

    async def guest(self, identifier: str, *patterns: str, who: Principal | None = None, door: str = "ws") -> Guest:
        guest = Guest(self.world, identifier, who, door=door)
        await self.world.hub.subscriptions.subscribe(guest, patterns)
        return guest

    async def names(self, tenant: str = "t", limit: int = 100, **chosen: str) -> list[tuple[str, int]]:
        """All channels, by as many pages as it takes."""
        found: list[tuple[str, int]] = []
        after: str | None = ""
        while after is not None:
            page = await self.roster.channels(tenant, limit=limit, after=after, **chosen)
            assert len(page.items) <= limit
            found += page.items
            after = page.after
        return found

    async def ids(self, wanted: Wanted = EVERYBODY, tenant: str = "t", limit: int = 100) -> list[str]:
        """All sessions, by as many pages as it takes."""
        found: list[str] = []
        after: int | None = 0
        while after is not None:
            page = await self.roster.sessions(tenant, wanted, limit=limit, after=after)
            assert len(page.items) <= limit
            found += [item["id"] for item in page.items]
            after = page.after
        return found


@pytest.fixture
def house() -> House:
    return House()


# -- channels -----------------------------------------------------------------------------------------------------------


async def test_channels_come_with_the_number_of_their_sessions(house: House) -> None:
    await house.guest("1", "/b", "/a")
    await house.guest("2", "/b", "/a/**")
    assert await house.names() == [("/a", 1), ("/a/**", 1), ("/b", 2)]


async def test_a_channel_that_is_left_is_gone(house: House) -> None:
    first = await house.guest("1", "/a", "/b")
    await house.guest("2", "/a")
    house.world.hub.subscriptions.unsubscribe(first, ["/b"])
    assert await house.names() == [("/a", 2)]
    house.world.hub.sessions.detach(first)
    assert await house.names() == [("/a", 1)]


async def test_subscribing_twice_counts_once(house: House) -> None:
    guest = await house.guest("1", "/a")
    await house.world.hub.subscriptions.subscribe(guest, ["/a"])
    assert house.roster.count("t", "/a") == 1


async def test_a_subscribe_that_is_refused_counts_nothing(house: House) -> None:
    with pytest.raises(RefusedError):
        await house.guest("1", "/a", "/secret/b")
    assert await house.names() == []


@pytest.mark.parametrize("limit", [1, 2, 3, 99, 1000])
async def test_pages_of_channels_have_each_name_once_and_in_order(house: House, limit: int) -> None:
    expected = sorted(f"/n/{number * 7919 % 500}" for number in range(500))
    await house.guest("1", *(f"/n/{number * 7919 % 500}" for number in range(500)))
    assert [name for name, _ in await house.names(limit=limit)] == expected


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"prefix": "/a"}, ["/a/*", "/a/b", "/a/b/c", "/ab"]),
        ({"prefix": "/a/b/"}, ["/a/b/c"]),
        ({"within": "/a/*"}, ["/a/*", "/a/b"]),
        ({"within": "/a/**"}, ["/a/*", "/a/b", "/a/b/c"]),
        ({"within": "/ab"}, ["/ab"]),
        ({"within": "/a/**", "prefix": "/a/b"}, ["/a/b", "/a/b/c"]),
        ({"prefix": "/z"}, []),
    ],
)
async def test_channels_are_chosen_by_prefix_and_by_pattern(house: House, chosen: dict[str, str], expected: list[str]) -> None:
    await house.guest("1", "/ab", "/a/b", "/a/b/c", "/a/*", "/b")
    assert [name for name, _ in await house.names(limit=2, **chosen)] == expected


async def test_another_tenants_channels_are_not_there(house: House) -> None:
    await house.guest("1", "/a", who=principal(tenant="rival"))
    assert await house.names() == []
    assert await house.names("rival") == [("/a", 1)]


# -- sessions -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
async def test_pages_of_sessions_have_each_once_in_the_order_of_their_coming(house: House, limit: int) -> None:
    for number in range(7):
        await house.guest(f"guest-{number}")
    assert await house.ids(limit=limit) == [f"guest-{number}" for number in range(7)]


async def test_who_comes_and_goes_between_two_pages_does_not_disturb_the_others(house: House) -> None:
    guests = [await house.guest(f"guest-{number}") for number in range(6)]
    first = await house.roster.sessions("t", EVERYBODY, limit=3)
    for gone in (0, 2, 3):
        house.world.hub.sessions.detach(guests[gone])
    await house.guest("late")
    assert first.after is not None
    second = await house.roster.sessions("t", EVERYBODY, limit=3, after=first.after)
    assert [item["id"] for item in second.items] == ["guest-4", "guest-5", "late"]
    assert second.after is None


async def test_a_page_of_a_hub_that_was_started_again_begins_at_its_beginning(house: House) -> None:
    await house.guest("before")
    old = house.world.hub.sessions.by_id["before"].serial
    house.world.pass_time(60)
    later = House(World(clock=house.world.clock))
    await later.guest("after")
    page = await later.roster.sessions("t", EVERYBODY, limit=10, after=old)
    assert [item["id"] for item in page.items] == ["after"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(subject="ann"), ["1", "3"]),
        (Wanted(subject="nobody"), []),
        (Wanted(door="sse"), ["2"]),
        (Wanted(channel="/a/b"), ["1"]),
        (Wanted(channel="/a/**"), ["2"]),
        (Wanted(hears="/a/b"), ["1", "2"]),
        (Wanted(hears="/a/b", subject="ann"), ["1"]),
        (Wanted(hears="/c"), ["3"]),
    ],
)
async def test_sessions_are_chosen(house: House, wanted: Wanted, expected: list[str]) -> None:
    await house.guest("1", "/a/b")
    await house.guest("2", "/a/**", who=principal("bob"), door="sse")
    await house.guest("3", "/c", door="long-polling")
    assert await house.ids(wanted, limit=1) == expected


async def test_another_tenants_sessions_are_not_there(house: House) -> None:
    await house.guest("1", who=principal(tenant="rival"))
    assert await house.ids() == []
    assert await house.roster.find("t", "1") is None
    assert await house.roster.disconnect("t", "ann") == 0
    assert await house.ids(tenant="rival") == ["1"]


async def test_a_description_shows_the_state_and_hides_the_clientid(house: House) -> None:
    secret = "0123456789abcdef0123456789ab" + "f" * 32
    guest = await house.guest(secret, "/a", "/b", who=replace(principal("ann"), roles=frozenset({"b", "a"})))
    await house.world.hub.publisher.emit("t", "/a", b'"waits"')
    guest.dropped = 3
    described = describe(guest)
    assert described == {
        "id": "0123456789abcdef0123456789ab",
        "door": "ws",
        "subject": "ann",
        "roles": ["a", "b"],
        "login": "token-ann",
        "connectedAt": 1_000_000,
        "subscriptions": 2,
        "queuedBytes": guest.queued_bytes,
        "dropped": 3,
    }
    assert guest.queued_bytes > 0
    assert secret not in json.dumps(described)


async def test_a_session_is_found_by_its_public_id_alone(house: House) -> None:
    guest = await house.guest("0123456789abcdef0123456789ab-and-a-secret")
    assert await house.roster.find("t", "0123456789abcdef0123456789ab") is guest
    assert await house.roster.find("t", "0123456789abcdef0123456789ab-and-a-secret") is None
    assert await house.roster.find("t", "") is None


async def test_a_subject_is_sent_away_and_nobody_else(house: House) -> None:
    await house.guest("1", "/a")
    await house.guest("2", "/a", who=principal("bob"))
    await house.guest("3")
    assert await house.roster.disconnect("t", "ann") == 2
    assert await house.ids() == ["2"]
    assert house.roster.count("t", "/a") == 1
    assert await house.roster.disconnect("t", "ann") == 0


async def test_who_was_sent_away_and_has_still_to_hear_of_it_is_not_here(house: House) -> None:
    guest = await house.guest("1")
    guest.closing = True
    assert await house.ids() == []
    assert await house.roster.find("t", "1") is None
    assert await house.roster.disconnect("t", "ann") == 0


async def test_long_lists_give_way_to_others(house: House) -> None:
    for number in range(600):
        Guest(house.world, str(number), principal("bob"))
    await house.guest("last", *(f"/n/{number}" for number in range(500)))
    loop, clock = house.world.loop, house.world.clock
    clock.step = 0.003  # with each look at the clock: every slice is used up by then

    async def breaths_of(work: Awaitable[object]) -> int:
        before = loop.breaths
        await work
        return loop.breaths - before

    assert await breaths_of(house.roster.sessions("t", Wanted(subject="nobody"), limit=10)) == 5
    assert await breaths_of(house.roster.find("t", "nobody")) == 5
    assert await breaths_of(house.roster.channels("t", limit=10)) > 4
    assert await breaths_of(house.roster.disconnect("t", "nobody")) == 5


async def test_who_leaves_while_a_list_is_made_is_not_in_it(house: House) -> None:
    guests: list[Subscriber] = [Guest(house.world, str(number)) for number in range(300)]
    house.world.clock.step = 1.0  # every look at the clock finds the slice used up

    async def leave() -> None:
        house.world.loop.breaths += 1
        for guest in guests[200:]:
            house.world.hub.sessions.detach(guest)

    house.world.loop.breathe = leave  # type: ignore[method-assign]
    page = await house.roster.sessions("t", EVERYBODY, limit=1000)
    assert house.world.loop.breaths > 0
    assert [item["id"] for item in page.items] == [str(number) for number in range(200)]
