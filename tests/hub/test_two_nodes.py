"""Two whole nodes over one PostgreSQL and one Redis: what one of them knows of a caller, the other knows too; tenants are apart."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as ws_connect
from websockets.exceptions import ConnectionClosed

from hub.cluster.settings import ClusterSettings
from hub.node import Node
from hub.ops.channel_settings import PresenceSettings
from hub.ops.settings import Settings
from tests.hub.storage.backends import Postgres, postgres
from tests.hub.transports.harness import listening
from tests.support.redis_server import RedisServer

__all__ = ["postgres"]

BOUND_S = 30.0
SECRET = "the secret of both nodes"


class Server:
    """A node that is served."""

    def __init__(self, node: Node, port: int) -> None:
        self.node = node
        self.url = f"http://127.0.0.1:{port}"

    async def call(self, method: str, path: str, token: str = "", **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with httpx.AsyncClient(timeout=BOUND_S, headers=headers) as client:
            return await client.request(method, f"{self.url}{path}", **options)

    async def ticket(self, token: str) -> str:
        answer = await self.call("POST", "/api/v1/tickets", token)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["data"]["ticket"])


class Pair:
    """Two nodes, and the tenants ``one`` and ``two``, each with an administrator ``ana``."""

    def __init__(self, servers: list[Server], stack: AsyncExitStack) -> None:
        self.servers = servers
        self.stack = stack
        self.tokens: dict[str, str] = {}

    @property
    def store(self) -> Any:
        return self.servers[0].node.security.store

    async def dashboard(self, server: Server, *channels: str, query: str = "", **headers: str) -> ClientConnection:
        """A connection to ``/ws`` that has subscribed."""
        url = f"{server.url.replace('http', 'ws')}/ws{query}"
        connection = await self.stack.enter_async_context(ws_connect(url, additional_headers=headers))
        await connection.send(json.dumps({"type": "subscribe", "id": 1, "channels": list(channels)}))
        async with asyncio.timeout(BOUND_S):
            async for frame in connection:
                if any(part["type"] == "subscribed" for part in json.loads(frame)):
                    return connection
        raise AssertionError("it ended before it had subscribed")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def read_on(connection: ClientConnection) -> None:
    """Drop what comes, until the connection is closed."""
    async with asyncio.timeout(BOUND_S):
        while True:
            await connection.recv()


async def close_code(connection: ClientConnection) -> int:
    """Return with what a connection is closed."""
    with pytest.raises(ConnectionClosed) as closed:
        await read_on(connection)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


async def heard(connection: ClientConnection, last: str) -> list[Any]:
    """The data of all events up to the one whose data is ``last``."""
    found: list[Any] = []
    async with asyncio.timeout(BOUND_S):
        while last not in found:
            found += [part["data"] for part in json.loads(await connection.recv()) if part["type"] == "event"]
    return found


@pytest.fixture
async def pair(tmp_path: Path, postgres: Postgres, shared_redis: Callable[[str], RedisServer]) -> AsyncIterator[Pair]:
    database = postgres.url(await postgres.migrated()).replace("+psycopg", "")
    prefix = secrets.token_hex(8)
    async with AsyncExitStack() as stack:
        sockets = stack.enter_context(TemporaryDirectory(prefix="hub-"))  # not pytest's folder: the name of a socket is short
        servers = []
        for name in ("a", "b"):
            settings = Settings(
                data_dir=tmp_path / name,
                database_url=database,
                redis_url=shared_redis("redis").url,
                redis_prefix=prefix,
                secret=SECRET,
                link_listen=f"unix:{sockets}/{name}",
                cluster=ClusterSettings(beat_s=0.1, lapse_s=1.0),
                presence=PresenceSettings(channels=("/rooms/**",)),
            )
            node = Node(settings, [])
            servers.append(Server(node, await stack.enter_async_context(listening(node.app, lifespan=True))))
        async with asyncio.timeout(BOUND_S):
            while not all(server.node.cluster and len(server.node.cluster.registry.live()) == 2 for server in servers):
                await asyncio.sleep(0.02)
        made = Pair(servers, stack)
        for tenant in ("one", "two"):
            await made.store.add_tenant(tenant)
            made.tokens[tenant] = (await made.store.add_token(tenant, "ana", ["admin"]))[1]
        async with AsyncExitStack() as connections:
            made.stack = connections
            yield made


async def test_what_a_removed_credential_opened_ends_on_both_nodes(pair: Pair) -> None:
    a, b = pair.servers
    _, token = await pair.store.add_token("one", "bob", ["admin"])
    await pair.store.add_user("one", "eve", "long enough", ["admin"])
    signed_in = await a.call("POST", "/api/v1/sign-in", json={"tenant": "one", "username": "eve", "password": "long enough"})
    cookie = signed_in.headers["set-cookie"].partition(";")[0]
    # the cookie of one node, and its ticket, open something on the other
    sockets = [
        await pair.dashboard(a, "/x", **bearer(token)),
        await pair.dashboard(b, "/x", **bearer(token)),
        await pair.dashboard(b, "/x", query=f"?ticket={await a.ticket(token)}"),
        await pair.dashboard(b, "/x", Cookie=cookie, Origin=b.url),
        await pair.dashboard(a, "/x", Cookie=cookie, Origin=a.url),
    ]
    stays = await pair.dashboard(b, "/x", **bearer(pair.tokens["one"]))
    waiting = await a.ticket(token)
    await pair.store.remove_token("bob")
    await pair.store.change_user("one", "eve", password="another one")
    assert await asyncio.gather(*(close_code(each) for each in sockets)) == [4401] * 5
    for server in pair.servers:
        assert (await server.call("GET", "/api/v1/me", token)).status_code == 401
        assert (await server.call("GET", "/events", params={"channel": "/x", "ticket": waiting})).status_code == 401
        assert (await server.call("GET", "/api/v1/me", headers={"Cookie": cookie})).status_code == 401
    await a.call("POST", "/api/v1/publish", pair.tokens["one"], json={"channel": "/x", "data": "last"})
    assert await heard(stays, "last") == ["last"]


async def test_two_tenants_with_the_same_names_hear_nothing_of_each_other(pair: Pair) -> None:
    """The same subject, channels, ids of messages, and rooms, on the same nodes."""
    a, b = pair.servers
    channels = ("/x", "/rooms/1", "/hub/presence/**")
    listeners = {tenant: await pair.dashboard(b, *channels, **bearer(token)) for tenant, token in pair.tokens.items()}
    here = {tenant: await pair.dashboard(a, "/x", **bearer(token)) for tenant, token in pair.tokens.items()}
    for number in range(3):
        for tenant, token in pair.tokens.items():
            messages = [
                {"channel": "/x", "data": f"{tenant}-{number}", "id": f"id-{number}"},
                {"channel": "/x", "data": f"{tenant}-{number}-to-ana", "id": f"to-{number}", "subject": "ana"},
            ]
            for server in (a, b):  # the second node has published them already, as far as it is concerned
                answer = await server.call("POST", "/api/v1/publish", token, json=messages)
                assert (answer.status_code, answer.json()["status"]) == (200, {"code": 0}), answer.text
    for tenant, token in pair.tokens.items():
        await a.call("POST", "/api/v1/publish", token, json={"channel": "/x", "data": "last"})
        expected = [f"{tenant}-{number}{to}" for number in range(3) for to in ("", "-to-ana")]
        for connection in (here[tenant], listeners[tenant]):
            found = [data for data in await heard(connection, "last") if isinstance(data, str)]
            assert sorted(found) == sorted([*expected, "last"])
    # nobody finds, or ends, a session of the other tenant
    sessions = {
        tenant: (await a.call("GET", "/api/v1/sessions", token)).json()["data"]["sessions"] for tenant, token in pair.tokens.items()
    }
    ids = {tenant: {session["id"] for session in found} for tenant, found in sessions.items()}
    assert ids["one"]
    assert ids["two"]
    assert not ids["one"] & ids["two"]
    for server in pair.servers:
        for identifier in ids["one"]:
            assert (await server.call("GET", f"/api/v1/sessions/{identifier}", pair.tokens["two"])).status_code == 404
            assert (await server.call("DELETE", f"/api/v1/sessions/{identifier}", pair.tokens["two"])).status_code == 404
    await b.call("DELETE", "/api/v1/sessions", pair.tokens["two"], params={"subject": "ana"})
    assert await close_code(listeners["two"]) == 4403
    await a.call("POST", "/api/v1/publish", pair.tokens["one"], json={"channel": "/x", "data": "after"})
    assert await heard(listeners["one"], "after") == ["after"]


async def test_a_ticket_of_one_node_opens_a_stream_on_the_other_and_again_on_the_first(pair: Pair) -> None:
    a, b = pair.servers
    query = {"channel": "/x", "ticket": await a.ticket(pair.tokens["one"])}
    async with httpx.AsyncClient(timeout=BOUND_S) as client, client.stream("GET", f"{b.url}/events", params=query) as old:
        assert old.status_code == 200
        async with client.stream("GET", f"{a.url}/events", params=query) as new:
            assert new.status_code == 200
            assert "took this one's place" in (await old.aread()).decode()
    async with httpx.AsyncClient(timeout=BOUND_S) as client, client.stream("GET", f"{b.url}/events", params=query) as again:
        assert again.status_code == 200
        other = {**query, "channel": "/y"}
        assert (await client.get(f"{b.url}/events", params=other)).status_code == 401


async def test_sessions_of_both_nodes_are_listed_counted_and_sent_away_from_either(pair: Pair) -> None:
    a, b = pair.servers
    token = pair.tokens["one"]
    _, of_bob = await pair.store.add_token("one", "bob", ["admin"])
    listener = await pair.dashboard(a, "/hub/presence/rooms/1", **bearer(token))
    sockets = [await pair.dashboard(server, "/rooms/1", **bearer(of_bob)) for server in (a, b, a, b)]
    joins: list[Any] = []
    async with asyncio.timeout(BOUND_S):
        while len(joins) < 4:
            joins += [part["data"] for part in json.loads(await listener.recv()) if part["type"] == "event"]
    assert sorted(join["sessions"] for join in joins) == [1, 2, 3, 4]
    for server in pair.servers:
        answer = (await server.call("GET", "/api/v1/channels/rooms/1", token, params={"limit": 3})).json()
        assert (answer["status"], answer["data"]["count"], len(answer["data"]["sessions"])) == ({"code": 0}, 4, 3)
        cursor = answer["data"]["cursor"]
        other = pair.servers[server is a]
        rest = (await other.call("GET", "/api/v1/channels/rooms/1", token, params={"cursor": cursor})).json()["data"]
        found = [session["id"] for session in [*answer["data"]["sessions"], *rest["sessions"]]]
        assert len(set(found)) == 4
    sent_away = await b.call("DELETE", "/api/v1/sessions", token, params={"subject": "bob"})
    assert sent_away.json() == {"status": {"code": 0}, "data": {"disconnected": 4}}
    assert await asyncio.gather(*(close_code(each) for each in sockets)) == [4403] * 4


async def bayeux_reply(connection: ClientConnection, channel: str) -> dict[str, Any]:
    async with asyncio.timeout(BOUND_S):
        while True:
            for message in json.loads(await connection.recv()):
                if message["channel"] == channel:
                    return dict(message)


async def test_a_newer_token_reaches_the_session_by_way_of_another_node(pair: Pair) -> None:
    """By a request and by a WebSocket that another node relays; the end of the first token then ends nothing, that of the last all."""
    a, b = pair.servers
    tokens = [(await pair.store.add_token("one", "bob", ["admin"])) for _ in range(3)]
    url = f"{b.url.replace('http', 'ws')}/cometd"
    socket = await pair.stack.enter_async_context(ws_connect(url, additional_headers=bearer(tokens[0][1])))
    shake = {"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["websocket", "long-polling"]}
    (reply,) = (await a.call("POST", "/cometd", tokens[0][1], json=[shake])).json()
    message = {"channel": "/free/x", "clientId": reply["clientId"], "data": 1}
    # the session is the first node's; the second one relays
    (answer,) = (await b.call("POST", "/cometd", tokens[1][1], json=[message])).json()
    assert answer["successful"], answer
    session = a.node.bayeux.sessions[reply["clientId"]]
    assert session.principal.credential == f"token:{tokens[1][0].id}"
    await socket.send(json.dumps([{**message, "ext": {"authentication": {"token": tokens[2][1]}}}]))
    assert (await bayeux_reply(socket, "/free/x"))["successful"]
    assert session.principal.credential == f"token:{tokens[2][0].id}"
    for row, _ in tokens[:2]:
        await pair.store.remove_token(row.id)
    for server in (a, b):
        await server.node.security.gate.refresh()
    await socket.send(json.dumps([message]))
    assert (await bayeux_reply(socket, "/free/x"))["successful"]
    await pair.store.remove_token(tokens[2][0].id)
    assert await close_code(socket) == 4401
    assert reply["clientId"] not in a.node.bayeux.sessions


async def test_a_change_is_told_to_the_other_node(pair: Pair) -> None:
    a, b = pair.servers
    following = b.node.security.gate.following
    following._refresh_s = 3600.0
    async with asyncio.timeout(BOUND_S):
        while not b.node.hub.signals.counters.heard:  # it may not listen yet
            a.node.security.gate.refresh_soon()
            await asyncio.sleep(0.05)
    _, token = await pair.store.add_token("one", "bob", ["admin"])
    socket = await pair.dashboard(b, "/x", **bearer(token))
    await pair.store.remove_token("bob")
    a.node.security.gate.refresh_soon()
    assert await close_code(socket) == 4401
