"""An end reaches every live session of a running hub: Bayeux by each transport, /ws, event streams, and what a ticket opened; and nobody
else's. A session outlives its token where it shows a newer one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.support.hub_process import HubProcess
from tests.support.live_sessions import ENDED, WITHIN_S, Live, close_code


def _tokens(hub: HubProcess, username: str, password: str) -> dict[str, Any]:
    form = {"grant_type": "password", "client_id": "app", "username": username, "password": password}
    answer = httpx.post(f"{hub.url}/auth/v3/oauth/token", data=form, timeout=WITHIN_S)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A hub with the users ana and bob, and a client that may use passwords."""
    folder: Path = tmp_path_factory.mktemp("ends")
    made = HubProcess(folder, flags=())
    made.command("tenant", "add", "acme")
    for name in ("ana", "bob"):
        made.command("user", "add", name, "--role", "supervisor", "--password", f"{name} and a long password")
    made.command("client", "add", "app", "--public", "--grant", "password", "--grant", "refresh_token")
    made.start()
    yield made
    made.close()


def _refreshed(hub: HubProcess, tokens: dict[str, Any]) -> dict[str, Any]:
    form = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": tokens["refresh_token"]}
    answer = httpx.post(f"{hub.url}/auth/v3/oauth/token", data=form, timeout=WITHIN_S)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


End = Callable[[HubProcess, dict[str, Any]], Awaitable[object]]


async def _sign_out(hub: HubProcess, tokens: dict[str, Any], query: str = "") -> None:
    async with httpx.AsyncClient(timeout=WITHIN_S) as client:
        answer = await client.post(f"{hub.url}/auth/v3/sign-out{query}", headers={"Authorization": f"Bearer {tokens['access_token']}"})
    assert answer.status_code == 200, answer.text


async def _revoke(hub: HubProcess, tokens: dict[str, Any]) -> None:
    async with httpx.AsyncClient(timeout=WITHIN_S) as client:
        form = {"client_id": "app", "token": tokens["refresh_token"]}
        assert (await client.post(f"{hub.url}/auth/v3/oauth/revoke", data=form)).json() == {}


async def _reuse(hub: HubProcess, tokens: dict[str, Any]) -> None:
    form = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": tokens["refresh_token"]}
    async with httpx.AsyncClient(timeout=WITHIN_S) as client:
        assert (await client.post(f"{hub.url}/auth/v3/oauth/token", data=form)).status_code == 200
        assert (await client.post(f"{hub.url}/auth/v3/oauth/token", data=form)).status_code == 400


ENDS: dict[str, End] = {
    "sign-out": _sign_out,
    "everywhere": lambda hub, tokens: _sign_out(hub, tokens, "?global=true"),
    "revoke": _revoke,
    "a refresh token used twice": _reuse,
}


@pytest.mark.parametrize("how", ENDS)
async def test_an_end_reaches_every_live_session_and_no_other(hub: HubProcess, how: str) -> None:
    tokens, others = _tokens(hub, "ana", "ana and a long password"), _tokens(hub, "bob", "bob and a long password")
    async with Live(hub, tokens["access_token"]) as live, Live(hub, others["access_token"]) as other:
        await ENDS[how](hub, tokens)
        assert await live.ended() == ENDED
        assert other.ends == {}


async def test_a_refreshed_token_ends_nothing(hub: HubProcess) -> None:
    tokens = _tokens(hub, "bob", "bob and a long password")
    async with Live(hub, tokens["access_token"]) as live:
        form = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": tokens["refresh_token"]}
        async with httpx.AsyncClient(timeout=WITHIN_S) as client:
            for _ in range(3):
                answer = await client.post(f"{hub.url}/auth/v3/oauth/token", data=form)
                form["refresh_token"] = answer.json()["refresh_token"]
        await asyncio.sleep(2.5)  # longer than a node takes to follow a change
        assert live.ends == {}
        await _sign_out(hub, tokens)
        assert (await live.ended())["ws"] == 4401


@pytest.mark.parametrize(
    ("command", "stream"),
    [
        (("remove", "cid"), 401),
        (("change", "dan", "--role", "viewer"), 403),  # the token is still good, but a viewer may not hear the channel
    ],
    ids=["a removed user", "a lost role"],
)
async def test_a_removed_user_and_a_lost_role_end_every_session(hub: HubProcess, command: tuple[str, ...], stream: int) -> None:
    name, password = command[1], "a long password of this user"
    await asyncio.to_thread(hub.command, "user", "add", name, "--role", "supervisor", "--password", password)
    tokens, others = _tokens(hub, name, password), _tokens(hub, "bob", "bob and a long password")
    async with Live(hub, tokens["access_token"]) as live, Live(hub, others["access_token"]) as other:
        await asyncio.to_thread(hub.command, "user", *command)
        assert await live.ended() == {**ENDED, "stream": stream}
        assert other.ends == {}


async def test_the_command_line_ends_them_too(hub: HubProcess) -> None:
    tokens, others = _tokens(hub, "ana", "ana and a long password"), _tokens(hub, "bob", "bob and a long password")
    async with Live(hub, tokens["access_token"]) as live, Live(hub, others["access_token"]) as other:
        await asyncio.to_thread(hub.command, "user", "change", "ana", "--password", "ana and another one")
        assert (await live.ended())["ws"] == 4401
        assert other.ends == {}
        await asyncio.to_thread(hub.command, "client", "remove", "app")
        assert (await other.ended())["stream"] == 401


# -- a newer token ------------------------------------------------------------------------------------------------------


async def _until_told(socket: ClientConnection, kind: str) -> dict[str, Any]:
    async with asyncio.timeout(WITHIN_S):
        while True:
            for element in json.loads(await socket.recv()):
                if element.get("type", element.get("channel")) == kind:
                    return dict(element)


@pytest.fixture(scope="module")
def brief(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A hub whose client ``app`` gets tokens of half an hour, and that tells of their end from the beginning."""
    made = HubProcess(tmp_path_factory.mktemp("brief"), flags=(), environment={"HUB_LIMITS__TOKEN_EXPIRY_NOTICE_S": "3600"})
    made.command("tenant", "add", "acme")
    made.command("user", "add", "ana", "--role", "supervisor", "--password", "ana and a long password")
    made.command("client", "add", "app", "--public", "--grant", "password", "--grant", "refresh_token", "--access-for", "30m")
    made.start()
    yield made
    made.close()


async def test_a_session_of_ws_outlives_its_token(brief: HubProcess) -> None:
    tokens = _tokens(brief, "ana", "ana and a long password")
    async with connect(f"{brief.ws_url}/ws") as socket:
        await socket.send(json.dumps({"type": "hello", "token": tokens["access_token"]}))
        welcome = await _until_told(socket, "welcome")
        assert 0 < welcome["expiresIn"] <= 1800
        assert 0 < (await _until_told(socket, "expiring"))["expiresIn"] <= 1800
        newer = _refreshed(brief, tokens)
        await socket.send(json.dumps({"type": "hello", "token": newer["access_token"]}))
        assert (await _until_told(socket, "welcome"))["session"] == welcome["session"]
        await _sign_out(brief, newer)
        assert await close_code(socket) == 4401


async def test_a_bayeux_session_outlives_its_token(brief: HubProcess) -> None:
    tokens = _tokens(brief, "ana", "ana and a long password")
    async with connect(f"{brief.ws_url}/cometd", additional_headers={"Authorization": f"Bearer {tokens['access_token']}"}) as socket:
        shake = {"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["websocket"]}
        await socket.send(json.dumps([shake]))
        reply = await _until_told(socket, "/meta/handshake")
        assert 0 < reply["ext"]["authentication"]["expiresIn"] <= 1800
        newer = _refreshed(brief, tokens)
        message = {"channel": "/meta/connect", "clientId": reply["clientId"], "connectionType": "websocket"}
        await socket.send(json.dumps([{**message, "ext": {"authentication": {"token": newer["access_token"]}}}]))
        assert (await _until_told(socket, "/meta/connect"))["ext"]["authentication"]["expiresIn"] > 0
        await socket.send(json.dumps([{**message, "ext": {"authentication": {"token": "hubt_wrong"}}}]))
        assert (await _until_told(socket, "/meta/connect"))["error"] == "403::credential_denied"
        await _sign_out(brief, newer)
        assert (await _until_told(socket, "/meta/disconnect"))["successful"]
        assert await close_code(socket) == 4401


async def test_the_end_of_the_token_that_was_replaced_ends_nothing(brief: HubProcess) -> None:
    first, second = (json.loads(brief.command("token", "add", "wall", "--role", "supervisor", "--json")) for _ in range(2))
    headers = {"Authorization": f"Bearer {first['token']}"}
    async with (
        connect(f"{brief.ws_url}/ws", additional_headers=headers) as dashboard,
        connect(f"{brief.ws_url}/cometd", additional_headers=headers) as bayeux,
    ):
        await _until_told(dashboard, "welcome")
        await dashboard.send(json.dumps({"type": "hello", "token": second["token"]}))
        await _until_told(dashboard, "welcome")
        await bayeux.send(json.dumps([{"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["websocket"]}]))
        client_id = (await _until_told(bayeux, "/meta/handshake"))["clientId"]
        shown = {"ext": {"authentication": {"token": second["token"]}}}
        await bayeux.send(json.dumps([{"channel": "/meta/subscribe", "clientId": client_id, "subscription": "/free/x", **shown}]))
        assert (await _until_told(bayeux, "/meta/subscribe"))["successful"]
        await asyncio.to_thread(brief.command, "token", "remove", first["id"])
        async with httpx.AsyncClient(timeout=WITHIN_S, headers=headers) as client, asyncio.timeout(WITHIN_S):
            while (await client.get(f"{brief.url}/api/v1/me")).status_code != 401:
                await asyncio.sleep(0.1)
        await dashboard.send(json.dumps({"type": "ping", "id": 1}))
        await _until_told(dashboard, "pong")
        await bayeux.send(json.dumps([{"channel": "/free/x", "clientId": client_id, "data": 1}]))
        assert (await _until_told(bayeux, "/free/x")) is not None
