"""An end reaches every live session of a running hub: Bayeux, /ws and event streams; and nobody else's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.hub_process import HubProcess

WITHIN_S = 60.0


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


class Live:
    """Everything that one token has opened: a WebSocket of /ws, one of Bayeux, and an event stream."""

    def __init__(self, hub: HubProcess, token: str) -> None:
        self.hub = hub
        self.headers = {"Authorization": f"Bearer {token}"}
        self.ends: dict[str, Any] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Live:
        opened = [asyncio.Event() for _ in range(3)]
        for work, event in zip((self._ws, self._bayeux, self._stream), opened, strict=True):
            self._tasks.append(asyncio.create_task(work(event.set)))
        async with asyncio.timeout(WITHIN_S):
            await asyncio.gather(*(event.wait() for event in opened))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def ended(self) -> dict[str, Any]:
        """How each of them ended."""
        async with asyncio.timeout(WITHIN_S):
            await asyncio.gather(*self._tasks)
        return self.ends

    async def _ws(self, opened: Callable[[], None]) -> None:
        async with connect(f"{self.hub.ws_url}/ws", additional_headers=self.headers) as socket:
            await socket.recv()
            opened()
            self.ends["ws"] = await _close_code(socket)

    async def _bayeux(self, opened: Callable[[], None]) -> None:
        async with connect(f"{self.hub.ws_url}/cometd", additional_headers=self.headers) as socket:
            shake = {"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["websocket"], "id": "1"}
            await socket.send(json.dumps([shake]))
            (reply,) = json.loads(await socket.recv())
            # the first connect is answered at once, the second one is held
            await socket.send(json.dumps([{"channel": "/meta/connect", "clientId": reply["clientId"], "connectionType": "websocket"}]))
            await socket.recv()
            await socket.send(json.dumps([{"channel": "/meta/connect", "clientId": reply["clientId"], "connectionType": "websocket"}]))
            opened()
            told: list[dict[str, Any]] = []
            try:
                while True:
                    told += json.loads(await socket.recv())
            except ConnectionClosed:
                self.ends["bayeux"] = [message.get("advice", {}).get("reconnect") for message in told]

    async def _stream(self, opened: Callable[[], None]) -> None:
        async with httpx.AsyncClient(timeout=WITHIN_S, headers=self.headers) as client:
            async with client.stream("GET", f"{self.hub.url}/events", params={"channel": "/free/x"}) as answer:
                assert answer.status_code == 200
                opened()
                async for _ in answer.aiter_bytes():
                    pass
            self.ends["stream"] = (await client.get(f"{self.hub.url}/events", params={"channel": "/free/x"})).status_code


async def _close_code(socket: ClientConnection) -> int | None:
    try:
        while True:
            await socket.recv()
    except ConnectionClosed as closed:
        return None if closed.rcvd is None else closed.rcvd.code


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
        ends = await live.ended()
        assert (ends["ws"], ends["bayeux"][-1], ends["stream"]) == (4401, "none", 401)
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


async def test_the_command_line_ends_them_too(hub: HubProcess) -> None:
    tokens, others = _tokens(hub, "ana", "ana and a long password"), _tokens(hub, "bob", "bob and a long password")
    async with Live(hub, tokens["access_token"]) as live, Live(hub, others["access_token"]) as other:
        await asyncio.to_thread(hub.command, "user", "change", "ana", "--password", "ana and another one")
        assert (await live.ended())["ws"] == 4401
        assert other.ends == {}
        await asyncio.to_thread(hub.command, "client", "remove", "app")
        assert (await other.ended())["stream"] == 401
