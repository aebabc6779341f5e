"""A WebSocket at a node that does not have the session."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from hub.core.limits import Limits
from tests.hub.cluster.relay.world import Node, nodes
from tests.hub.transports.bayeux_house import BY_TOKEN, HANDSHAKE, STATISTICS, listen, talk, until
from tests.hub.transports.endpoint_house import BEARER

pytestmark = pytest.mark.repeated

UNKNOWN = "402::session_unknown"


def connect(client_id: str, **members: Any) -> dict[str, Any]:
    return {"id": "c", "channel": "/meta/connect", "clientId": client_id, "connectionType": "websocket", **members}


def message(client_id: str, channel: str, **members: Any) -> dict[str, Any]:
    return {"id": "m", "channel": channel, "clientId": client_id, **members}


async def opened(socket: ClientConnection, handshake: dict[str, Any] = BY_TOKEN) -> str:
    """Shake hands, connect once, and subscribe to /a, over a socket."""
    (reply,) = await talk(socket, handshake)
    client_id: str = reply["clientId"]
    await talk(socket, connect(client_id))
    (reply,) = await talk(socket, message(client_id, "/meta/subscribe", subscription="/a"))
    assert reply["successful"]
    return client_id


async def code_of(socket: ClientConnection) -> int | None:
    async with asyncio.timeout(30):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed:
            return socket.close_code


def cookie_of(socket: ClientConnection) -> str:
    assert socket.response is not None
    return str(socket.response.headers.get_all("set-cookie")[-1]).split(";")[0]


async def test_a_new_socket_goes_on_with_the_session_on_any_node() -> None:
    async with nodes(3) as hub:
        async with hub[0].connect() as old:
            client_id = await opened(old)
            cookie = cookie_of(old)
        session = hub[0].server.sessions[client_id]
        await until(lambda: session.websocket is None)
        await hub[0].emit("/a", b"1")
        async with hub[1].connect(Cookie=cookie) as new:
            (event,) = await talk(new, connect(client_id))
            assert (event["channel"], event["data"]) == ("/a", 1)
            await until(lambda: session.held is not None)
            assert session._deadline == math.inf
            await hub[0].emit("/a", b"2")
            (event,) = await listen(new)
            assert event["data"] == 2
            (own, reply) = [*await talk(new, message(client_id, "/a", data="x")), None][:2]
            assert own is not None
            assert hub[1].relay.counters.sockets_out == hub[0].relay.counters.sockets_in == 1
            assert hub[1].server.sessions == {}
            assert reply is None or reply["successful"]
        await until(lambda: session.websocket is None)  # the clock starts at once
        assert session._deadline < math.inf
        assert session.held is None
        async with hub[2].connect(Cookie=cookie) as again:
            (gone,) = await talk(again, message(client_id, "/meta/disconnect"))
            assert gone["successful"]
        assert hub[0].server.sessions == {}


async def test_a_socket_and_polling_at_two_other_nodes_are_one_session() -> None:
    async with nodes(3) as hub, hub[0].client(at=hub[1]) as client, hub[0].client() as own:
        await own.opened("/a")
        client.id = own.id
        client.http.cookies = own.http.cookies
        session = hub[0].server.sessions[own.id]
        cookie = f"BAYEUX_BROWSER={own.http.cookies['BAYEUX_BROWSER']}"
        async with hub[2].connect(Cookie=cookie) as socket:
            await socket.send(json.dumps([connect(own.id)]))
            await until(lambda: session.websocket is not None and session.held is not None)
            held = await client.hold()  # the client turns to long-polling
            assert session.websocket is None
            await hub[0].emit("/a", b"1")
            assert (await held).json()[0]["data"] == 1


@pytest.mark.parametrize("credential", [{}, BEARER])
async def test_a_socket_of_somebody_else_gets_nothing(credential: dict[str, str]) -> None:
    async with nodes(3) as hub, hub[0].connect(STATISTICS, **credential) as own:
        handshake = HANDSHAKE if credential else BY_TOKEN
        client_id = await opened(own, handshake)
        session = hub[0].server.sessions[client_id]
        if credential:  # a session of a credential needs that, whatever cookie comes
            thieves = [hub[1].connect(Cookie=cookie_of(own)), hub[1].connect()]
        else:
            async with hub[1].connect() as other:
                await opened(other)
                stranger = cookie_of(other)
                async with hub[2].connect(Cookie=stranger) as thief:
                    (reply,) = await talk(thief, connect(client_id))
                    assert reply["error"] == UNKNOWN
            thieves = [hub[2].connect(Authorization="Bearer wrong")]
        for way in thieves:
            async with way as thief:
                (reply,) = await talk(thief, connect(client_id))
                assert reply["error"] == UNKNOWN
        assert session.websocket is not None
        await hub[0].emit("/a", b"1")
        assert (await listen(own))[0]["data"] == 1


async def test_a_socket_without_cookie_and_credential_goes_on_by_the_client_id_alone() -> None:
    async with nodes() as hub, hub[0].client() as client:
        await client.opened("/a")
        session = hub[0].server.sessions[client.id]
        async with hub[1].connect() as socket:  # Faye opens its socket before it has a cookie
            await socket.send(json.dumps([connect(client.id)]))
            await until(lambda: session.websocket is not None)
            assert cookie_of(socket).removeprefix("BAYEUX_BROWSER=") in session.browsers
            await hub[0].emit("/a", b"1")
            assert (await listen(socket))[0]["data"] == 1


@pytest.mark.parametrize("noticed", ["at_once", "later"])
async def test_when_the_owner_ends_the_client_shakes_hands_on_the_same_socket(noticed: str) -> None:
    async with nodes() as hub, hub[0].client() as client:
        await client.opened("/a")
        session = hub[0].server.sessions[client.id]
        cookie = f"BAYEUX_BROWSER={client.http.cookies['BAYEUX_BROWSER']}"
        async with hub[1].connect(Cookie=cookie) as socket:
            await socket.send(json.dumps([connect(client.id)]))
            await until(lambda: session.held is not None)
            (reply,) = await talk(socket, message(client.id, "/meta/subscribe", subscription="/b"))
            assert reply["successful"]
            hub[0].cluster.kill(hub[0].node, lapse=noticed == "at_once")
            if noticed == "later":
                asyncio.get_running_loop().call_later(0.5, hub[0].cluster.lapse, hub[0].node)
            (reply,) = await listen(socket)  # to what was not answered, and to nothing else
            assert (reply["id"], reply["channel"], reply["error"]) == ("c", "/meta/connect", UNKNOWN)
            assert reply["advice"]["reconnect"] == "handshake"
            assert 0 < reply["advice"]["interval"] <= 5000
            (reply,) = await talk(socket, message(client.id, "/a", data=1))
            assert reply["error"] == UNKNOWN
            new = await opened(socket)
            assert new.startswith(hub[1].incarnation)
            await hub[1].emit("/a", b"2")
            assert (await listen(socket))[0]["data"] == 2


async def test_a_message_of_a_node_that_has_ended_leaves_the_lead_to_a_living_one() -> None:
    async with nodes() as hub, hub[0].client() as client:
        await client.opened("/a")
        session = hub[0].server.sessions[client.id]
        cookie = f"BAYEUX_BROWSER={client.http.cookies['BAYEUX_BROWSER']}"
        ended = "0" * 12 + client.id[12:]
        async with hub[1].connect(Cookie=cookie) as socket:
            await socket.send(json.dumps([connect(client.id)]))
            await until(lambda: session.held is not None)
            (reply,) = await talk(socket, message(ended, "/meta/subscribe", subscription="/b"))
            assert reply["error"] == UNKNOWN
            await hub[0].emit("/a", b"1")
            assert (await listen(socket))[0]["data"] == 1
            (reply,) = await talk(socket, message(client.id, "/meta/unsubscribe", subscription="/a"))
            assert reply["successful"]
            assert hub[1].relay.counters.sockets_out == 1


async def test_a_socket_is_closed_when_the_owner_cannot_be_reached_and_the_session_stays() -> None:
    async with nodes() as hub, hub[0].client() as client:
        await client.opened("/a")
        session = hub[0].server.sessions[client.id]
        cookie = f"BAYEUX_BROWSER={client.http.cookies['BAYEUX_BROWSER']}"
        async with hub[1].connect(Cookie=cookie) as socket:
            await socket.send(json.dumps([connect(client.id)]))
            await until(lambda: session.held is not None)
            hub[0].cluster.drop(hub[0].node, hub[1].node)
            assert await code_of(socket) == 1013
        hub[0].cluster.cut(hub[0].node, hub[1].node)
        async with hub[1].connect(Cookie=cookie) as socket:
            await socket.send(json.dumps([connect(client.id)]))
            assert await code_of(socket) == 1013
        hub[0].cluster.mend(hub[0].node, hub[1].node)
        await hub[0].emit("/a", b"1")
        async with hub[1].connect(Cookie=cookie) as socket:
            assert (await talk(socket, connect(client.id)))[0]["data"] == 1


async def test_a_client_that_reads_nothing_makes_the_owner_keep_its_messages() -> None:
    limits = Limits(max_queue_bytes=200_000)
    async with nodes(limits=limits) as hub, hub[0].client() as client:
        await client.opened("/a")
        session = hub[0].server.sessions[client.id]
        cookie = f"BAYEUX_BROWSER={client.http.cookies['BAYEUX_BROWSER']}"
        async with hub[1].connect(Cookie=cookie) as socket:
            await socket.send(json.dumps([connect(client.id)]))
            await until(lambda: session.websocket is not None)
            socket.transport.pause_reading()
            sent = 0
            while not session.dropped:
                await hub[0].emit("/a", b'"%s"' % (b"x" * 50_000))
                await asyncio.sleep(0)
                sent += 1
                assert sent < 2000
            assert session.unread_bytes > 0
            dropped = session.dropped
            socket.transport.resume_reading()
            got = 0
            while got < sent - dropped:
                got += sum("data" in each for each in await listen(socket))
            await hub[0].emit("/a", b'"last"')
            assert (await listen(socket))[0]["data"] == "last"


async def test_a_socket_that_led_to_a_session_here_leads_to_no_other_node() -> None:
    async with nodes() as hub, hub[0].client() as client, hub[1].connect() as socket:
        await client.opened("/a")
        here = await opened(socket)
        (reply,) = await talk(socket, connect(client.id))
        assert (reply["error"], reply["advice"]["reconnect"]) == (UNKNOWN, "handshake")
        (reply,) = await talk(socket, message(here, "/b", data=1))
        assert reply["successful"]


async def test_a_socket_turns_from_another_nodes_session_to_one_here() -> None:
    async with nodes() as hub, hub[0].client() as client:
        await client.opened("/a")
        session = hub[0].server.sessions[client.id]
        cookie = f"BAYEUX_BROWSER={client.http.cookies['BAYEUX_BROWSER']}"
        async with hub[1].connect(Cookie=cookie) as socket:
            await socket.send(json.dumps([connect(client.id)]))
            await until(lambda: session.held is not None)
            here = await opened(socket)
            await until(lambda: session.websocket is None)
            assert session._deadline < math.inf
            await hub[1].emit("/a", b"1")
            assert (await listen(socket))[0]["data"] == 1
            assert here in hub[1].server.sessions


@pytest.mark.parametrize("here", [False, True], ids=["to another node", "to the node of the socket"])
async def test_a_socket_that_turns_to_another_session_still_gets_the_replies_under_way(here: bool) -> None:
    async with nodes(3) as hub, hub[0].connect() as first, hub[1].connect() as second:
        one, other = await opened(first), await opened(second)
        cookies = f"{cookie_of(first)}; {cookie_of(second)}"
        at = hub[1] if here else hub[2]
        async with at.connect(Cookie=cookies) as socket:
            await talk(socket, message(one, "/meta/subscribe", subscription="/b"))
            hub[0].cluster.delay(hub[0].node, at.node, 0.2)  # its replies are under way when the socket turns
            await socket.send(json.dumps([message(one, "/meta/subscribe", subscription="/c", id="to the first")]))
            await socket.send(json.dumps([message(other, "/meta/subscribe", subscription="/d", id="to the second")]))
            got: list[str] = []
            while len(got) < 2:
                got += [reply["id"] for reply in await listen(socket)]
            assert got == ["to the second", "to the first"]
            if not here:
                (back,) = await talk(socket, message(one, "/meta/subscribe", subscription="/e", id="back"))
                assert (back["id"], back["successful"]) == ("back", True)
        for node in (hub[0], hub[1]):
            await until(lambda node=node: all(not end.calls for end in node.node.links.ends.values()))  # type: ignore[misc]


async def test_a_socket_that_turns_to_and_fro_takes_one_way_to_each_node() -> None:
    async with nodes(3) as hub, hub[0].connect() as first, hub[1].connect() as second:
        ids = [await opened(first), await opened(second)]
        async with hub[2].connect(Cookie=f"{cookie_of(first)}; {cookie_of(second)}") as socket:
            for number in (0, 1):
                await talk(socket, message(ids[number], "/meta/subscribe", subscription="/b"))
                hub[0].cluster.delay(hub[number].node, hub[2].node, 0.2)
            before = hub[2].relay.counters.sockets_out
            for number in range(6):
                await socket.send(json.dumps([message(ids[number % 2], "/meta/subscribe", subscription="/c", id=str(number))]))
            got: list[str] = []
            while len(got) < 6:
                got += [reply["id"] for reply in await listen(socket)]
            assert sorted(got) == ["0", "1", "2", "3", "4", "5"]
            assert hub[2].relay.counters.sockets_out == before + 2  # one to each node


async def test_a_node_that_stops_sends_the_client_away_and_the_socket_goes_on() -> None:
    async with nodes() as hub, hub[0].client() as client:
        await client.opened("/a")
        session = hub[0].server.sessions[client.id]
        cookie = f"BAYEUX_BROWSER={client.http.cookies['BAYEUX_BROWSER']}"
        async with hub[1].connect(Cookie=cookie) as socket:
            await socket.send(json.dumps([connect(client.id)]))
            await until(lambda: session.held is not None)
            await hub[0].endpoint.drain(0.1)
            (reply,) = await listen(socket)
            assert (reply["error"], reply["advice"]["reconnect"]) == (UNKNOWN, "handshake")
            assert 0 < reply["advice"]["interval"] <= 5000
            (reply,) = await talk(socket, connect(client.id))  # whoever asks again before it shakes hands is told the same
            assert (reply["error"], reply["advice"]["reconnect"]) == (UNKNOWN, "handshake")
            assert (await opened(socket)).startswith(hub[1].incarnation)


async def test_a_node_that_stops_closes_its_sockets_and_the_session_goes_on_by_another() -> None:
    async with nodes(3) as hub, hub[0].client() as client:
        await client.opened("/a")
        session = hub[0].server.sessions[client.id]
        cookie = f"BAYEUX_BROWSER={client.http.cookies['BAYEUX_BROWSER']}"
        async with hub[1].connect(Cookie=cookie) as socket:
            await socket.send(json.dumps([connect(client.id)]))
            await until(lambda: session.held is not None)
            await hub[1].endpoint.drain(0.1)
            assert await code_of(socket) == 1012
        await until(lambda: session.websocket is None)
        await hub[0].emit("/a", b"1")
        async with hub[2].connect(Cookie=cookie) as socket:
            assert (await talk(socket, connect(client.id)))[0]["data"] == 1


async def test_what_ends_a_session_ends_the_socket_at_the_other_node() -> None:
    async with nodes(limits=Limits(hello_timeout_s=1)) as hub:
        async with hub[0].connect(STATISTICS, **BEARER) as first:
            client_id = await opened(first, HANDSHAKE)
        async with hub[1].connect(STATISTICS, **BEARER) as socket:
            await socket.send(json.dumps([connect(client_id)]))
            session = hub[0].server.sessions[client_id]
            await until(lambda: session.held is not None)
            await all_revoked(hub[0])
            assert await code_of(socket) == 4401


async def all_revoked(node: Node) -> None:
    for _ in node.server.revoke(lambda principal: True):
        pass
