"""Sessions and channels of several nodes, asked for on one of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from hub.core.principal import Principal
from hub.http.application import create_app
from hub.ops.health import Health
from hub.ops.metrics import Metrics
from hub.presence.questions import ChannelsQuestion, SessionsQuestion
from hub.presence.roster import Roster
from hub.presence.routes import create_router
from hub.presence.survey import Place, Survey
from hub.security.cookies import CookieSigner
from hub.security.demo import DemoLookup
from hub.security.directory import Directory
from hub.security.gate import Gate
from tests.hub.core.harness import World, principal
from tests.hub.presence.test_roster import Guest
from tests.support.cluster import MemoryCluster, MemoryNode


class Node:
    """A node of a cluster, with sessions of its own."""

    def __init__(self, member: MemoryNode, timeout_s: float) -> None:
        self.member = member
        self.world = World()
        self.survey = Survey(Roster(self.world.hub), member.incarnation, member, timeout_s=timeout_s)

    async def guest(self, name: str, *patterns: str, who: Principal | None = None) -> Guest:
        guest = Guest(self.world, f"{self.member.incarnation}{name:>016}", who)
        await self.world.hub.subscriptions.subscribe(guest, patterns)
        return guest


class Nodes(MemoryCluster):
    """Three nodes with sessions, and one that takes none."""

    def __init__(self, timeout_s: float = 5.0) -> None:
        super().__init__(3)
        self.houses = [Node(member, timeout_s) for member in self.nodes]
        self.add(role="stat-server")

    async def sessions(self, limit: int, at: int = 0, **wanted: str) -> list[str]:
        """The names of all sessions, by as many pages as it takes, each asked for on another node."""
        names: list[str] = []
        after: Place | None = None
        while True:
            house = self.houses[at % len(self.houses)]
            (items, after), missing = await house.survey.sessions(SessionsQuestion("t", limit, **wanted), after)
            assert len(items) <= limit
            assert missing == ()
            names += [item["id"][-2:] for item in items]
            at += 1
            if after is None:
                return names

    async def channels(self, limit: int, **wanted: str) -> list[tuple[str, int]]:
        names: list[tuple[str, int]] = []
        after: str | None = ""
        while after is not None:
            (items, after), missing = await self.houses[1].survey.channels(ChannelsQuestion("t", limit, after, **wanted))
            assert len(items) <= limit
            assert missing == ()
            names += items
        return names


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    made = Nodes()
    yield made
    await made.close()


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_sessions_of_all_nodes_come_node_by_node(nodes: Nodes, limit: int) -> None:
    a, b, c = nodes.houses
    for house, name in ((c, "c1"), (a, "a1"), (c, "c2"), (a, "a2"), (c, "c3"), (a, "a3")):
        await house.guest(name, "/x")
    await b.guest("b1", "/x", who=principal("b", tenant="other"))
    assert await nodes.sessions(limit) == ["a1", "a2", "a3", "c1", "c2", "c3"]


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_channels_of_all_nodes_come_by_name_with_the_sum_of_their_sessions(nodes: Nodes, limit: int) -> None:
    a, b, c = nodes.houses
    await a.guest("a1", "/b", "/d", "/f")
    await b.guest("b1", "/a", "/b", "/z")
    await c.guest("c1", "/b", "/c", "/d", "/e")
    await c.guest("c2", "/b", who=principal("b", tenant="other"))
    expected = [("/a", 1), ("/b", 3), ("/c", 1), ("/d", 2), ("/e", 1), ("/f", 1), ("/z", 1)]
    assert await nodes.channels(limit) == expected
    assert await nodes.channels(limit, prefix="/b") == [("/b", 3)]
    assert await a.survey.count("t", "/b") == (3, ())


async def test_who_comes_or_goes_moves_nobody_else_from_page_to_page(nodes: Nodes) -> None:
    a, _, c = nodes.houses
    guests = [await a.guest(f"a{number}", "/x") for number in range(3)]
    await c.guest("c1", "/x")
    (items, after), _ = await c.survey.sessions(SessionsQuestion("t", 2), None)
    assert [item["id"][-2:] for item in items] == ["a0", "a1"]
    guests[0].disconnect()
    await a.guest("a9", "/x")
    (items, after), _ = await a.survey.sessions(SessionsQuestion("t", 9), after)
    assert ([item["id"][-2:] for item in items], after) == (["a2", "a9", "c1"], None)


async def test_a_page_goes_on_behind_a_node_that_has_ended(nodes: Nodes) -> None:
    a, b, c = nodes.houses
    for house in nodes.houses:
        for number in range(2):
            await house.guest(f"n{number}", "/x")
    (_, after), _ = await c.survey.sessions(SessionsQuestion("t", 3), None)
    assert after is not None
    assert after.node == b.member.incarnation
    nodes.kill(b.member)
    (items, after), missing = await a.survey.sessions(SessionsQuestion("t", 9), after)
    assert ([item["id"][:12] for item in items], after, missing) == ([c.member.incarnation] * 2, None, ())


async def test_a_session_is_found_and_ended_on_whatever_node_it_is(nodes: Nodes) -> None:
    a, b, _ = nodes.houses
    guest = await b.guest("b1", "/x", "/y")
    other = await b.guest("b2", "/x", who=principal("z", tenant="other"))
    found, _ = await a.survey.find("t", guest.public_id)
    assert found is not None
    assert (found["id"], found["channels"]) == (guest.public_id, ["/x", "/y"])
    assert await a.survey.find("t", other.public_id) == (None, ())
    assert await a.survey.disconnect("t", other.public_id) == (None, ())
    assert await a.survey.disconnect("t", guest.public_id) == (guest.principal.subject, ())
    assert (guest.ended, other.ended) == (True, False)
    assert await a.survey.disconnect("t", guest.public_id) == (None, ())


async def test_a_subject_is_sent_away_on_all_nodes_and_its_namesake_stays(nodes: Nodes) -> None:
    guests = [await house.guest(name, "/x") for house in nodes.houses for name in ("n1", "n2")]
    namesakes = [await house.guest("n3", "/x", who=principal(guests[0].principal.subject, tenant="other")) for house in nodes.houses]
    assert await nodes.houses[2].survey.disconnect_subject("t", guests[0].principal.subject) == (6, ())
    assert all(guest.ended for guest in guests)
    assert not any(guest.ended for guest in namesakes)


async def test_a_node_that_does_not_answer_is_named_and_the_others_are_told() -> None:
    nodes = Nodes(timeout_s=0.05)
    a, b, c = nodes.houses
    for house in nodes.houses:
        guest = await house.guest("n1", "/x")
    lost = b.member.incarnation
    nodes.delay(a.member, b.member, 60)
    assert await a.survey.count("t", "/x") == (2, (lost,))
    (channels, after), missing = await a.survey.channels(ChannelsQuestion("t", 9))
    assert (channels, after, missing) == ([("/x", 2)], None, (lost,))
    (first, place), missing = await a.survey.sessions(SessionsQuestion("t", 9), None)
    assert ([item["id"][:12] for item in first], missing) == ([a.member.incarnation], (lost,))
    assert place == (c.member.incarnation, 0)  # the time of the page was over
    (second, place), missing = await a.survey.sessions(SessionsQuestion("t", 9), place)
    assert ([item["id"] for item in second], place, missing) == ([guest.public_id], None, ())
    assert await a.survey.find("t", f"{lost}{'n1':>016}") == (None, (lost,))
    assert await a.survey.disconnect_subject("t", guest.principal.subject) == (2, (lost,))
    await nodes.close()


# -- by REST ------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def rest(house: Node) -> AsyncIterator[httpx.AsyncClient]:
    """The REST interface of a node, called by an administrator of the tenant ``demo``."""
    clock = house.world.clock
    gate = Gate(Directory(DemoLookup(), clock), clock, CookieSigner(b"secret", clock, lifetime_s=60))
    app = create_app(gate=gate, metrics=Metrics(), health=Health(), routers=[create_router(house.survey)])
    headers = {"Authorization": "Bearer demo-token"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hub.test/api/v1", headers=headers) as client:
        yield client


async def test_the_cursor_of_one_node_is_understood_by_another(nodes: Nodes) -> None:
    who = principal("ana", tenant="demo")
    ids = [(await house.guest(name, "/x", who=who)).public_id for house in nodes.houses for name in ("n1", "n2")]
    found: list[str] = []
    query: dict[str, str] = {}
    for house in nodes.houses:
        async with rest(house) as client:
            answer = (await client.get("/channels/x", params={"limit": "2", **query})).json()
        assert (answer["status"], answer["data"]["count"]) == ({"code": 0}, 6)
        found += [session["id"] for session in answer["data"]["sessions"]]
        query = {"cursor": answer["data"].get("cursor", "")}
    assert (found, query) == (ids, {"cursor": ""})


async def test_an_answer_that_lacks_a_node_names_it() -> None:
    nodes = Nodes(timeout_s=0.05)
    a, b, _ = nodes.houses
    guests = [await house.guest("n1", "/x", who=principal("ana", tenant="demo")) for house in nodes.houses]
    nodes.delay(a.member, b.member, 60)
    lost = b.member.incarnation
    error = {"status": {"code": 503, "message": f"a node of the hub did not answer in time: {lost}", "detail": {"node": lost}}}
    async with rest(a) as client:
        for path in ("/channels", "/channels/x", "/sessions"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["status"]["code"], answer.json()["errors"]) == (200, 2, [error])
        for method in ("GET", "DELETE"):
            answer = await client.request(method, f"/sessions/{guests[1].public_id}")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.json() == error
        answer = await client.delete(f"/sessions/{guests[2].public_id}")
        assert answer.json() == {"status": {"code": 0}, "data": {"disconnected": 1}}
        answer = await client.delete("/sessions", params={"subject": "ana"})
        assert (answer.json()["data"], answer.json()["errors"]) == ({"disconnected": 1}, [error])
    assert [guest.ended for guest in guests] == [True, False, True]
    await nodes.close()
