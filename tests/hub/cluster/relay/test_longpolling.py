"""Long-polling and callback-polling through a node that does not have the session."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from hub.core.limits import Limits
from tests.hub.cluster.relay.world import Node, move, nodes
from tests.hub.transports.bayeux_house import BY_TOKEN, HANDSHAKE, PATH, STATISTICS, Client, talk, until
from tests.hub.transports.endpoint_house import BEARER

pytestmark = pytest.mark.repeated

UNKNOWN = "402::session_unknown"


def data_of(messages: list[dict[str, Any]]) -> list[Any]:
    return [message["data"] for message in messages if "data" in message]


async def test_every_request_may_go_to_any_node() -> None:
    async with nodes(3) as hub, hub[0].client() as client:
        way = itertools.cycle([hub[1], hub[0], hub[2]])

        async def post(*messages: dict[str, Any]) -> list[dict[str, Any]]:
            move(client, next(way))
            return await client.post(*messages)

        await client.shake()
        session = hub[0].server.sessions[client.id]
        (first,) = await post(client.connect())
        assert first["successful"]
        (subscribed,) = await post(client.message("/meta/subscribe", subscription="/a"))
        assert subscribed["successful"]
        for number in range(6):
            before = session.connect_seq
            held = asyncio.create_task(post(client.connect()))
            await until(lambda before=before: session.connect_seq > before and session.held is not None)  # type: ignore[misc]
            await hub[0].emit("/a", b"%d" % number)
            *events, reply = await held
            assert (data_of(events), reply["channel"], reply["successful"]) == ([number], "/meta/connect", True)
        published = await post(client.message("/a", data="x"))
        assert data_of(published) == ["x"]
        assert published[-1]["successful"]
        (gone,) = await post(client.message("/meta/disconnect"))
        assert gone["successful"]
        assert hub[0].server.sessions == {}
        assert hub[1].relay.counters.requests_out + hub[2].relay.counters.requests_out == hub[0].relay.counters.requests_in == 7
        assert hub[0].relay.counters.unconfirmed == 0


async def test_a_client_that_leaves_lets_go_of_its_connect_at_the_owner() -> None:
    async with nodes() as hub, hub[0].client() as client:
        await client.opened("/a")
        session = hub[0].server.sessions[client.id]
        move(client, hub[1])
        held = await client.hold()
        assert session._deadline == float("inf")
        held.cancel()
        await until(lambda: session.held is None)
        assert session._deadline < float("inf")  # the maxInterval clock runs
        await hub[0].emit("/a", b"1")
        assert data_of(await client.post(client.connect())) == [1]
        assert hub[0].server.registry.connects_held == 0


async def test_a_relayed_connect_takes_one_task_at_each_node() -> None:
    """That of the request. There are thousands, and each task costs as much as a delivery."""
    made: list[str] = []

    def counting(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        made.append(work.__qualname__)
        return asyncio.Task(work, loop=loop, **options)

    async with nodes() as hub, hub[0].client() as client:
        await client.opened("/a")
        move(client, hub[1])
        loop = asyncio.get_running_loop()
        loop.set_task_factory(counting)
        try:
            held = await client.hold()
            await hub[0].emit("/a", b"1")
            assert data_of((await held).json()) == [1]
            await until(lambda: hub[0].node.links.ends[hub[1].incarnation].calls == 0)
        finally:
            loop.set_task_factory(None)
        ours = [
            name for name in made if name.startswith(("HttpRelay", "_Watch", "_Held", "_Ending", "Multiplexer", "RequestResponseCycle"))
        ]
        assert sorted(ours) == ["Multiplexer._answer", "RequestResponseCycle.run_asgi"]
        assert hub[0].relay.counters.unconfirmed == 0


@pytest.mark.parametrize("way", ["not_written", "no_word", "killed"])
async def test_what_did_not_reach_the_client_comes_again(way: str) -> None:
    async with nodes(3) as hub, hub[0].client() as client:
        await client.opened("/a")
        session = hub[0].server.sessions[client.id]
        move(client, hub[1])
        held = await client.hold()
        if way == "not_written":  # the client has gone, and the relay finds out when it writes
            hub[0].cluster.delay(hub[1].node, hub[0].node, 0.2)
            held.cancel()
            with pytest.raises(asyncio.CancelledError):
                await held
            await hub[0].emit("/a", b"1")
        else:
            hub[0].cluster.dead_s = 60
            hub[0].cluster.cut(hub[1].node, hub[0].node, both=False)
            await hub[0].emit("/a", b"1")
            assert data_of((await held).json()) == [1]  # written, and the owner is not told
            if way == "killed":
                hub[0].cluster.kill(hub[1].node)
        await until(lambda: hub[0].relay.counters.unconfirmed == 1)
        await until(lambda: len(session.queue) == 1)
        await hub[0].emit("/a", b"2")
        move(client, hub[2])
        assert data_of(await client.post(client.connect())) == [1, 2]


@pytest.mark.parametrize("way", ["no_word", "killed", "stopping"])
async def test_nothing_overtakes_an_answer_of_which_nobody_knows_whether_it_was_written(way: str) -> None:
    async with nodes(3) as hub, hub[0].client() as client:
        await client.opened("/a")
        session = hub[0].server.sessions[client.id]
        move(client, hub[1])
        held = await client.hold()
        hub[0].cluster.dead_s = 60
        heard: list[Any] = []
        if way == "stopping":  # it lets go of the connect while the answer is on its way, and the owner hears of that late
            hub[0].cluster.delay(hub[1].node, hub[0].node, 0.4)
            hub[0].cluster.delay(hub[0].node, hub[1].node, 0.4)
            await hub[0].emit("/a", b"1")
            await hub[1].endpoint.drain(0.1)
            assert data_of((await held).json()) == []
        else:
            hub[0].cluster.cut(hub[1].node, hub[0].node, both=False)
            await hub[0].emit("/a", b"1")
            heard += data_of((await held).json())  # written, and the owner is not told
            assert heard == [1]
        move(client, hub[2])
        connect = await client.hold()
        await hub[0].emit("/a", b"2")
        if way == "killed":
            hub[0].cluster.kill(hub[1].node)
        await until(lambda: hub[0].relay.counters.unconfirmed == 1)
        await until(lambda: not session.queue)
        heard += data_of((await connect).json())
        await hub[0].emit("/a", b"3")
        heard += data_of(await client.post(client.connect()))
        assert heard == ([1, 2, 3] if way == "stopping" else [1, 1, 2, 3])


async def test_a_confirmation_that_comes_after_the_next_connect_starts_no_clock() -> None:
    async with nodes(3) as hub, hub[0].client() as client:
        await client.opened("/a")
        session = hub[0].server.sessions[client.id]
        move(client, hub[1])
        held = await client.hold()
        hub[0].cluster.delay(hub[1].node, hub[0].node, 0.3)
        await hub[0].emit("/a", b"1")
        assert data_of((await held).json()) == [1]
        move(client, hub[2])
        again = await client.hold()
        await until(lambda: hub[0].node.links.ends[hub[1].incarnation].calls == 0)  # the confirmation has come
        assert session._deadline == float("inf")
        assert session.held is not None
        await hub[0].emit("/a", b"2")
        assert data_of((await again).json()) == [2]


async def test_a_node_that_has_ended_took_its_sessions_with_it() -> None:
    async with nodes() as hub, hub[0].client() as client:
        await client.opened()
        move(client, hub[1])
        held = await client.hold()
        hub[0].cluster.kill(hub[0].node, lapse=False)
        cut_short = await held
        assert cut_short.status_code == 503  # nobody knows yet whether it is the node or the link
        assert cut_short.headers["retry-after"] == "1"
        hub[0].cluster.lapse(hub[0].node)
        intervals = set()
        for _ in range(5):
            (reply,) = await client.post(client.connect())
            assert (reply["error"], reply["successful"]) == (UNKNOWN, False)
            assert reply["advice"]["reconnect"] == "handshake"
            intervals.add(reply["advice"]["interval"])
        assert len(intervals) > 1
        assert all(0 < interval <= 5000 for interval in intervals)
        (reply,) = await client.post(client.message("/a", data=1))
        assert (reply["error"], "advice" in reply) == (UNKNOWN, False)
        await client.shake()  # the cookie's home has ended: here
        assert list(hub[1].server.sessions) == [client.id]


async def test_a_session_survives_that_its_node_cannot_be_reached_for_a_while() -> None:
    async with nodes() as hub, hub[0].client() as client:
        await client.opened("/a")
        move(client, hub[1])
        held = await client.hold()
        hub[0].cluster.cut(hub[0].node, hub[1].node)
        assert (await held).status_code == 503
        refused = await client.raw(json.dumps([client.connect()]))
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        await hub[0].emit("/a", b"1")
        hub[0].cluster.mend(hub[0].node, hub[1].node)
        assert data_of(await client.post(client.connect())) == [1]


async def test_a_newer_connect_by_another_node_takes_the_place_of_the_held_one() -> None:
    async with nodes(3) as hub, hub[0].client() as client:
        await client.opened("/a")
        move(client, hub[1])
        older = await client.hold()
        move(client, hub[2])
        newer = await client.hold()
        assert (await older).status_code == 500
        await hub[0].emit("/a", b"1")
        assert data_of((await newer).json()) == [1]


# -- whose a session is ---------------------------------------------------------------------------------------------------


async def test_anothers_client_id_is_of_no_use_on_any_node() -> None:
    async with nodes(3) as hub, hub[0].client() as client, hub[1].client() as thief, hub[2].client() as nobody:
        await client.opened("/a")
        session = hub[0].server.sessions[client.id]
        await thief.opened()
        move(client, hub[1])
        held = await client.hold()
        theft = {"id": "1", "channel": "/meta/connect", "clientId": client.id, "connectionType": "long-polling"}
        for each in (thief, nobody):
            for node in hub:
                move(each, node)
                (reply,) = await each.post(theft)
                assert reply["error"] == UNKNOWN, node.incarnation
                (reply,) = await each.post({**theft, "channel": "/meta/disconnect"})
                assert reply["error"] == UNKNOWN
        assert session.held is not None
        await hub[0].emit("/a", b"1")
        assert data_of((await held).json()) == [1]


async def test_a_cookie_that_a_socket_at_another_node_was_offered_goes_on_with_the_session() -> None:
    async with nodes(3) as hub, hub[0].client() as client, hub[1].connect() as socket:
        # a client opens a socket beside its handshake, each answer brings a cookie, and it keeps the later one
        await client.shake()
        assert socket.response is not None
        later = str(socket.response.headers["set-cookie"]).split(";")[0]
        client.http.cookies.clear()
        client.http.headers["Cookie"] = later
        for node in (hub[2], hub[0]):
            move(client, node)
            (reply,) = await client.post(client.connect(timeout=0))
            assert reply["successful"], node.incarnation
        assert hub[0].server.counters.resumed_by_id == 1  # from then on the cookie is the session's


async def test_without_the_word_of_a_node_a_cookie_may_be_that_of_a_session_there() -> None:
    async with nodes(3) as hub, hub[0].client() as client:
        await client.opened()
        foreign = {"Cookie": "BAYEUX_BROWSER=" + "f" * 32}  # of another hub on the same host
        async with hub[0].connect(**foreign) as socket:
            (reply,) = await talk(socket, client.connect(timeout=0))
            assert reply["successful"]
        hub[0].cluster.cut(hub[0].node, hub[2].node)
        async with hub[0].connect(**foreign) as socket:
            (reply,) = await talk(socket, client.connect(timeout=0))
            assert reply["error"] == UNKNOWN


async def test_a_session_of_a_credential_answers_to_that_alone_on_any_node() -> None:
    async with nodes() as hub, hub[0].client(STATISTICS, **BEARER) as client:
        await client.opened(message=HANDSHAKE)
        move(client, hub[1])
        (reply,) = await client.post(client.message("/a", data=1))
        assert reply["successful"]
        client.http.headers["Authorization"] = "Bearer wrong"
        assert (await client.raw(json.dumps([client.connect()]))).status_code == 401
        assert hub[0].relay.counters.requests_in == 1  # the wrong one was refused before
        del client.http.headers["Authorization"]
        (reply,) = await client.post(client.message("/a", data=1))
        assert reply["error"] == UNKNOWN


async def test_a_client_cannot_say_that_it_was_relayed() -> None:
    async with nodes() as hub, hub[0].client(PATH, **{"hub.hops": "1", "Hub-Hops": "1"}) as client:
        await client.opened()
        move(client, hub[1])
        (reply,) = await client.post(client.connect(timeout=0))
        assert reply["successful"]
        assert hub[1].relay.counters.requests_out == 1


async def test_an_id_that_no_node_made_is_unknown_here() -> None:
    async with nodes() as hub, hub[0].client() as client:
        for made_up in ("x", "f" * 60, hub[0].incarnation + "0" * 48):
            (reply,) = await client.post({"channel": "/meta/connect", "clientId": made_up, "connectionType": "long-polling"})
            assert reply["error"] == UNKNOWN
        (reply,) = await client.post(
            {"channel": "/meta/connect", "clientId": hub[1].incarnation + "0" * 48, "connectionType": "long-polling"}
        )
        assert (reply["error"], reply["advice"]["interval"]) == (UNKNOWN, 0)
        assert hub[0].relay.counters.failed_gone == 1


async def test_the_headers_of_the_answer_are_the_owners() -> None:
    async with nodes() as hub, hub[0].client(STATISTICS, Origin="https://wallboard.example", **BEARER) as client:
        await client.opened(message=HANDSHAKE)
        move(client, hub[1])
        answer = await client.raw(json.dumps([client.connect(timeout=0)]))
        assert answer.headers["access-control-allow-origin"] == "https://wallboard.example"
        assert answer.headers["cache-control"] == "no-cache, no-store"
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
        assert "set-cookie" not in answer.headers


# -- callback-polling -----------------------------------------------------------------------------------------------------


def script(node: Node, *messages: dict[str, Any]) -> str:
    return f"http://127.0.0.1:{node.port}/cometd?jsonp=f&message={quote(json.dumps(messages))}"


def replies_of(answer: httpx.Response) -> list[dict[str, Any]]:
    text = answer.text
    assert text.startswith("/**/f("), text
    replies: list[dict[str, Any]] = json.loads(text[len("/**/f(") : -2])
    return replies


async def test_callback_polling_goes_to_any_node() -> None:
    async with nodes() as hub, httpx.AsyncClient(timeout=10, trust_env=False) as http:
        (opened,) = replies_of(await http.get(script(hub[0], BY_TOKEN)))
        own = {"clientId": opened["clientId"], "id": "2"}
        connect = {**own, "channel": "/meta/connect", "connectionType": "callback-polling"}
        (first,) = replies_of(await http.get(script(hub[1], connect)))
        assert first["successful"]
        (subscribed,) = replies_of(await http.get(script(hub[1], {**own, "channel": "/meta/subscribe", "subscription": "/a"})))
        assert subscribed["successful"]
        session = hub[0].server.sessions[opened["clientId"]]
        held = asyncio.create_task(http.get(script(hub[1], connect)))
        await until(lambda: session.held is not None)
        await hub[0].emit("/a", b"1")
        assert data_of(replies_of(await held)) == [1]
        hub[0].cluster.cut(hub[0].node, hub[1].node)
        refused = await http.get(script(hub[1], connect))
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        hub[0].cluster.kill(hub[0].node)
        (lost,) = replies_of(await http.get(script(hub[1], connect)))
        assert (lost["error"], lost["advice"]["reconnect"]) == (UNKNOWN, "handshake")


# -- drain ----------------------------------------------------------------------------------------------------------------


async def test_head_of_callback_polling_says_no_length() -> None:
    """Nobody knows how long the answer to a GET would be (RFC 9110 section 8.6): 0 would be wrong."""
    async with nodes() as hub, httpx.AsyncClient() as client:
        answer = await client.head(script(hub[0], HANDSHAKE))
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/javascript;charset=UTF-8")
        assert "content-length" not in answer.headers
        assert hub[0].server.sessions == {}


async def test_a_node_that_stops_sends_away_the_clients_of_other_nodes_too() -> None:
    async with nodes() as hub, hub[0].client() as client:
        await client.opened("/a")
        move(client, hub[1])
        held = await client.hold()
        await hub[0].endpoint.drain(0.1)
        (reply,) = (await held).json()
        assert (reply["error"], reply["advice"]["reconnect"]) == (UNKNOWN, "handshake")
        assert 0 < reply["advice"]["interval"] <= 5000


async def test_a_node_that_stops_lets_go_of_what_others_hold() -> None:
    async with nodes(3) as hub, hub[0].client() as client:
        await client.opened("/a")
        session = hub[0].server.sessions[client.id]
        move(client, hub[1])
        held = await client.hold()
        await hub[1].endpoint.drain(0.1)
        answer = await held
        (reply,) = answer.json()
        assert (reply["successful"], reply["advice"]["reconnect"]) == (True, "retry")
        assert answer.headers["connection"] == "close"
        await until(lambda: session.held is None)
        (again,) = await client.post(client.connect())  # still to the node that stops: answered at once
        assert again["successful"]
        (published,) = await client.post(client.message("/b", data=1))
        assert published["successful"]
        move(client, hub[2])
        held = await client.hold()
        await hub[0].emit("/a", b"1")
        assert data_of((await held).json()) == [1]


# -- the home of a browser ------------------------------------------------------------------------------------------------


async def browser_of(node: Node) -> str:
    """A cookie that a node has given to a browser."""
    async with node.client() as client:
        await client.shake()
        return str(client.http.cookies["BAYEUX_BROWSER"])


async def test_all_tabs_of_a_browser_have_their_sessions_on_one_node() -> None:
    async with nodes(3, limits=Limits(max_held_per_browser=2)) as hub:
        browser = await browser_of(hub[0])
        tabs: list[Client] = []
        for node in hub:
            tab = hub[0].client(at=node, Cookie=f"BAYEUX_BROWSER={browser}")
            reply = await tab.shake()
            assert reply["successful"]
            assert tab.id.startswith(hub[0].incarnation)
            tabs.append(tab)
        for tab in tabs:
            await tab.post(tab.connect())
        held = [await tabs[0].hold(), await tabs[1].hold()]
        (reply,) = await tabs[2].post(tabs[2].connect())
        assert reply["advice"]["multiple-clients"] is True
        for task in held:
            task.cancel()
        for tab in tabs:
            await tab.http.aclose()


async def test_a_new_browser_is_given_a_cookie_whose_home_is_the_node_that_it_came_to() -> None:
    async with nodes(3) as hub:
        for node in hub:
            assert node.relay.sessions.home_of(await browser_of(node)) is None
            for _ in range(20):
                assert node.relay.sessions.home_of(node.relay.sessions.new_browser()) is None
        assert sum(node.relay.counters.requests_out for node in hub) == 0


@pytest.mark.parametrize("way", ["cut", "gone", "draining"])
async def test_without_its_home_a_browser_has_its_session_where_it_asks(way: str) -> None:
    async with nodes() as hub:
        browser = await browser_of(hub[0])
        if way == "cut":
            hub[0].cluster.cut(hub[0].node, hub[1].node)
        elif way == "gone":
            hub[0].cluster.kill(hub[0].node)
        else:
            hub[0].cluster.change(hub[0].node, draining=True)
        async with hub[1].client(Cookie=f"BAYEUX_BROWSER={browser}") as client:
            reply = await client.shake()
            assert reply["successful"]
            assert client.id.startswith(hub[1].incarnation)


async def test_a_relayed_handshake_counts_for_its_address_where_it_came() -> None:
    async with nodes(limits=Limits(handshakes_per_s_per_address=1)) as hub:
        browser = await browser_of(hub[0])
        async with hub[1].client(Cookie=f"BAYEUX_BROWSER={browser}") as client:
            replies = [(await client.post(BY_TOKEN))[0] for _ in range(4)]
        assert replies[0]["successful"]
        assert {reply.get("error") for reply in replies[1:]} >= {"429::rate_limited"}
        assert hub[1].hub.counters.refused_by_address_rate > 0
        assert hub[0].hub.counters.refused_by_address_rate == 0
