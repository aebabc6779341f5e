"""The REST interface, over the sessions of every endpoint of a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as ws_connect
from websockets.exceptions import ConnectionClosed

from hub.bayeux.ports import TRANSPORTS
from hub.core.principal import Action
from hub.core.session_ids import PUBLIC_ID_CHARACTERS
from hub.dashboard.session import DashboardSession
from hub.dashboard.stream import StreamSession
from hub.node import Node
from hub.ops.channel_settings import PresenceSettings
from hub.ops.settings import Settings
from hub.presence.schemas import Door
from hub.security.roles import Grant
from tests.hub.transports.harness import listening

DEMO = {"Authorization": "Bearer demo-token"}
BOUND_S = 20


class House:
    """A server, and an administrator of its tenant ``demo``."""

    def __init__(self, node: Node, port: int, rest: httpx.AsyncClient) -> None:
        self.node = node
        self.port = port
        self.rest = rest

    async def get(self, path: str, **query: Any) -> Any:
        answer = await self.rest.get(f"/api/v1{path}", params=query)
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json()["status"] == {"code": 0}
        return answer.json()["data"]

    async def delete(self, path: str, **query: Any) -> Any:
        answer = await self.rest.delete(f"/api/v1{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def refused(self, path: str, *, status: int = 400, method: str = "GET", **query: Any) -> Any:
        answer = await self.rest.request(method, f"/api/v1{path}", params=query)
        assert (answer.status_code, answer.json()["status"]["code"]) == (status, status)
        return answer.json()["status"]["detail"]["field"]

    async def bayeux(self, *messages: dict[str, Any]) -> list[dict[str, Any]]:
        answer = await self.rest.post("/cometd", json=list(messages))
        assert answer.status_code == 200, answer.text
        replies: list[dict[str, Any]] = answer.json()
        return replies

    async def long_poller(self, *channels: str) -> str:
        """The clientId of a Bayeux session that has connected once, and subscribed."""
        handshake = {"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["long-polling"]}
        client_id: str = (await self.bayeux(handshake))[0]["clientId"]
        connect = {
            "channel": "/meta/connect",
            "clientId": client_id,
            "connectionType": "long-polling",
            "advice": {"timeout": 0},
        }
        await self.bayeux(connect, *({"channel": "/meta/subscribe", "clientId": client_id, "subscription": c} for c in channels))
        return client_id

    @asynccontextmanager
    async def dashboard(self, *channels: str) -> AsyncIterator[ClientConnection]:
        """A connection to ``/ws`` that has subscribed."""
        async with ws_connect(f"ws://127.0.0.1:{self.port}/ws", additional_headers=DEMO) as connection:
            await self.subscribe(connection, *channels)
            yield connection

    @staticmethod
    async def subscribe(connection: ClientConnection, *channels: str) -> None:
        await connection.send(json.dumps({"type": "subscribe", "id": 1, "channels": list(channels)}))
        async for frame in connection:
            if any(part["type"] == "subscribed" for part in json.loads(frame)):
                return

    @asynccontextmanager
    async def stream(self, *channels: str) -> AsyncIterator[httpx.Response]:
        """An event stream whose headers have come."""
        async with self.rest.stream("GET", "/events", params=[("channel", channel) for channel in channels]) as response:
            assert response.status_code == 200
            yield response


@asynccontextmanager
async def house_of(folder: Path) -> AsyncIterator[House]:
    settings = Settings(data_dir=folder, demo=True, presence=PresenceSettings(channels=("/rooms/**",)))
    node = Node(settings, [])
    async with (
        listening(node.app, lifespan=True) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=DEMO, timeout=BOUND_S) as rest,
    ):
        yield House(node, port, rest)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with house_of(tmp_path) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One hub for all that it refuses: that leaves no trace."""
    async with house_of(tmp_path_factory.mktemp("shared")) as made:
        yield made


on_shared = pytest.mark.asyncio(loop_scope="module")


# -- reading ------------------------------------------------------------------------------------------------------------


async def test_sessions_of_every_door_are_listed(house: House) -> None:
    async with house.dashboard("/a", "/b"), house.stream("/a"):
        client_id = await house.long_poller("/a/**")
        listed = (await house.get("/sessions"))["sessions"]
    assert [(session["door"], session["subject"], session["subscriptions"]) for session in listed] == [
        ("ws", "demo", 2),
        ("sse", "demo", 1),
        ("long-polling", "demo", 1),
    ]
    assert client_id not in json.dumps(listed)
    assert client_id.startswith(listed[2]["id"])
    assert len(client_id) - len(listed[2]["id"]) >= 32  # hexadecimal digits: at least 128 bits stay secret


async def test_one_session_is_shown_with_its_channels(house: House) -> None:
    client_id = await house.long_poller("/b", "/a/**")
    shown = await house.get(f"/sessions/{client_id[:PUBLIC_ID_CHARACTERS]}")
    assert (shown["id"], shown["channels"], shown["roles"]) == (client_id[:PUBLIC_ID_CHARACTERS], ["/b", "/a/**"], ["admin"])


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_session_that_is_not_there_is_404(house: House, method: str) -> None:
    client_id = await house.long_poller()
    assert await house.refused("/sessions/nobody", status=404, method=method) == "id"
    assert await house.refused(f"/sessions/{client_id}", status=404, method=method) == "id"  # a clientId names nobody here


async def test_channels_are_listed_in_pages(house: House) -> None:
    await house.long_poller("/b", "/a/**", "/c")
    await house.long_poller("/b")
    first = await house.get("/channels", limit=2)
    assert first["channels"] == [{"channel": "/a/**", "sessions": 1}, {"channel": "/b", "sessions": 2}]
    assert await house.get("/channels", limit=2, cursor=first["cursor"]) == {"channels": [{"channel": "/c", "sessions": 1}]}
    assert (await house.get("/channels", prefix="/c"))["channels"] == [{"channel": "/c", "sessions": 1}]
    assert (await house.get("/channels", pattern="/*"))["channels"] == [
        {"channel": name, "sessions": n} for name, n in (("/b", 2), ("/c", 1))
    ]


async def test_a_channel_is_shown_with_its_sessions(house: House) -> None:
    ids = [(await house.long_poller("/rooms/1"))[:PUBLIC_ID_CHARACTERS] for _ in range(3)]
    await house.long_poller("/rooms/**")
    first = await house.get("/channels/rooms/1", limit=2)
    assert (first["channel"], first["count"], [session["id"] for session in first["sessions"]]) == ("/rooms/1", 3, ids[:2])
    rest = await house.get("/channels/rooms/1", limit=2, cursor=first["cursor"])
    assert [session["id"] for session in rest["sessions"]] == ids[2:]
    assert "cursor" not in rest
    assert (await house.get("/channels/rooms/**"))["count"] == 1
    assert await house.get("/channels/nobody") == {"channel": "/nobody", "count": 0, "sessions": []}


@pytest.mark.parametrize(("channel", "path"), [("/a#1", "a%231"), ("/a%2Fb", "a%252Fb"), ("/a/**", "a/%2A%2A")])
async def test_a_channel_in_a_url_is_percent_encoded(house: House, channel: str, path: str) -> None:
    await house.long_poller(channel)
    shown = await house.get(f"/channels/{path}")
    assert (shown["channel"], shown["count"]) == (channel, 1)


async def test_sessions_are_chosen_by_what_they_are(house: House) -> None:
    async with house.dashboard("/rooms/**"):
        poller = (await house.long_poller("/rooms/1"))[:PUBLIC_ID_CHARACTERS]
        everybody = [session["id"] for session in (await house.get("/sessions"))["sessions"]]

        async def ids(**chosen: str) -> list[str]:
            return [session["id"] for session in (await house.get("/sessions", **chosen))["sessions"]]

        assert await ids(door="long-polling") == [poller]
        assert await ids(channel="/rooms/1") == [poller]
        assert await ids(hears="/rooms/1") == everybody
        assert await ids(subject="demo") == everybody
        assert await ids(subject="ana") == []
        first = await house.get("/sessions", limit=1)
        assert [session["id"] for session in first["sessions"]] == everybody[:1]
        assert await ids(cursor=first["cursor"]) == everybody[1:]


@on_shared
@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        ("/sessions", {"limit": 0}, "limit"),
        ("/sessions", {"limit": 1001}, "limit"),
        ("/sessions", {"cursor": "/a"}, "cursor"),
        ("/sessions", {"cursor": "-1"}, "cursor"),
        ("/sessions", {"door": "telnet"}, "door"),
        ("/sessions", {"channel": "a"}, "channel"),
        ("/sessions", {"hears": "/a/*"}, "hears"),
        ("/channels", {"pattern": "/a/**/b"}, "pattern"),
        ("/channels", {"limit": "many"}, "limit"),
        ("/channels/a//b", {}, "channel"),
        ("/channels/", {}, "channel"),
    ],
)
async def test_a_wrong_parameter_is_400_and_named(shared: House, path: str, query: dict[str, Any], field: str) -> None:
    assert await shared.refused(path, **query) == field


def test_every_door_can_be_asked_for() -> None:
    assert set(get_args(Door)) == {*TRANSPORTS, DashboardSession.door, StreamSession.door}


# -- whose --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), [("GET", "/channels"), ("GET", "/channels/a"), ("GET", "/sessions"), ("GET", "/sessions/x")])
async def test_reading_needs_a_grant(house: House, method: str, path: str) -> None:
    store = house.node.security.store
    headers = {"Authorization": f"Bearer {(await store.add_token('demo', 'ana', ['dashboard']))[1]}"}
    answer = await house.rest.request(method, f"/api/v1{path}", headers=headers)
    assert (answer.status_code, answer.json()["status"]["detail"]) == (
        403,
        {"operation": "/presence/read", "reason": "no role of this credential allows it"},
    )
    async with httpx.AsyncClient(base_url=house.rest.base_url) as stranger:
        assert (await stranger.request(method, f"/api/v1{path}")).status_code == 401


async def test_reading_is_no_grant_to_send_away(house: House) -> None:
    store = house.node.security.store
    await store.add_role("demo", "watcher", [Grant(Action.CALL, ("/presence/read",))])
    headers = {"Authorization": f"Bearer {(await store.add_token('demo', 'ana', ['watcher']))[1]}"}
    session = (await house.long_poller())[:PUBLIC_ID_CHARACTERS]
    assert (await house.rest.get("/api/v1/sessions", headers=headers)).status_code == 200
    for path in (f"/sessions/{session}", "/sessions?subject=demo"):
        answer = await house.rest.delete(f"/api/v1{path}", headers=headers)
        assert (answer.status_code, answer.json()["status"]["detail"]) == (
            403,
            {"operation": "/presence/write", "reason": "no role of this credential allows it"},
        )
    assert len((await house.get("/sessions"))["sessions"]) == 1


async def test_another_tenant_sees_nothing_and_ends_nothing(house: House) -> None:
    store = house.node.security.store
    await store.add_tenant("rival")
    headers = {"Authorization": f"Bearer {(await store.add_token('rival', 'demo', ['admin']))[1]}"}
    session = (await house.long_poller("/a"))[:PUBLIC_ID_CHARACTERS]
    rival = httpx.AsyncClient(base_url=f"{house.rest.base_url}/api/v1", headers=headers)
    async with rival:
        assert (await rival.get("/sessions")).json()["data"] == {"sessions": []}
        assert (await rival.get("/channels")).json()["data"] == {"channels": []}
        assert (await rival.get("/channels/a")).json()["data"]["count"] == 0
        assert (await rival.get(f"/sessions/{session}")).status_code == 404
        assert (await rival.delete(f"/sessions/{session}")).status_code == 404
        assert (await rival.delete("/sessions", params={"subject": "demo"})).json()["data"] == {"disconnected": 0}
    assert [found["id"] for found in (await house.get("/sessions"))["sessions"]] == [session]


# -- sending away -------------------------------------------------------------------------------------------------------


async def test_a_dashboard_is_sent_away(house: House) -> None:
    async with house.dashboard("/a") as connection:
        session = (await house.get("/sessions"))["sessions"][0]["id"]
        assert await house.delete(f"/sessions/{session}") == {"disconnected": 1}
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(connection.recv(), BOUND_S)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4403
    assert await house.get("/sessions") == {"sessions": []}


async def test_a_stream_is_sent_away(house: House) -> None:
    async with house.stream("/a") as response:
        session = (await house.get("/sessions"))["sessions"][0]["id"]
        await house.delete(f"/sessions/{session}")
        text = "".join([part async for part in response.aiter_text()])
    assert text.endswith(": disconnected by an administrator\n\n")


async def test_a_bayeux_client_whose_connect_is_held_is_sent_away(house: House) -> None:
    client_id = await house.long_poller("/a")
    connect = {"channel": "/meta/connect", "clientId": client_id, "connectionType": "long-polling"}
    held = asyncio.create_task(house.bayeux(connect))
    session = house.node.hub.sessions.by_id[client_id]
    async with asyncio.timeout(BOUND_S):
        while session.held is None:  # type: ignore[attr-defined]
            await asyncio.sleep(0.005)
    await house.delete(f"/sessions/{session.public_id}")
    replies = {reply["channel"]: reply for reply in await held}
    assert replies.keys() == {"/meta/disconnect", "/meta/connect"}
    assert replies["/meta/connect"]["advice"]["reconnect"] == "none"
    assert await house.get("/sessions") == {"sessions": []}


async def test_all_sessions_of_a_subject_are_sent_away(house: House) -> None:
    store = house.node.security.store
    headers = {"Authorization": f"Bearer {(await store.add_token('demo', 'ana', ['admin']))[1]}"}
    async with (
        house.dashboard("/a"),
        house.stream("/a"),
        ws_connect(f"ws://127.0.0.1:{house.port}/ws", additional_headers=headers) as other,
    ):
        await house.subscribe(other, "/a")
        assert await house.delete("/sessions", subject="demo") == {"disconnected": 2}
        assert [session["subject"] for session in (await house.get("/sessions"))["sessions"]] == ["ana"]


async def test_sending_away_a_subject_takes_no_other_filter(house: House) -> None:
    await house.long_poller("/a")
    assert await house.refused("/sessions", method="DELETE") == "subject"
    assert await house.refused("/sessions", method="DELETE", subject="") == "subject"
    assert await house.refused("/sessions", method="DELETE", subject="demo", channel="/b") == "channel"
    assert len((await house.get("/sessions"))["sessions"]) == 1


# -- joins and leaves ---------------------------------------------------------------------------------------------------


async def test_a_dashboard_hears_who_joins_and_who_leaves(house: House) -> None:
    async with house.dashboard("/hub/presence/rooms/1") as connection:
        client_id = await house.long_poller("/rooms/1", "/elsewhere")
        await house.delete("/sessions", subject="nobody")
        await house.bayeux({"channel": "/meta/disconnect", "clientId": client_id})
        heard: list[Any] = []
        async with asyncio.timeout(BOUND_S):
            while len(heard) < 2:
                heard += [part for part in json.loads(await connection.recv()) if part["type"] == "event"]
    about = {"channel": "/rooms/1", "subject": "demo", "session": client_id[:PUBLIC_ID_CHARACTERS]}
    assert [event["data"] for event in heard] == [{"type": "join", **about, "sessions": 1}, {"type": "leave", **about, "sessions": 0}]
    assert (await house.rest.get("/metrics")).text.count('hub_presence_changes_total{outcome="told"} 2.0') == 1


async def test_nobody_but_the_server_tells_of_joins(house: House) -> None:
    client_id = await house.long_poller()
    reply = (await house.bayeux({"channel": "/hub/presence/rooms/1", "clientId": client_id, "data": {"type": "join"}}))[0]
    assert (reply["successful"], reply["error"].split(":")[0]) == (False, "403")
