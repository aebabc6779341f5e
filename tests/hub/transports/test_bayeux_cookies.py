"""The cookies of Bayeux over HTTP, on the wire: which are set, which are read, and who goes on without one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from tests.hub.transports.bayeux_house import BEARER, BY_TOKEN, HANDSHAKE, STATISTICS, House, Json, house


@pytest.fixture
async def built() -> AsyncIterator[House]:
    async with house() as made:
        yield made


async def test_handshake_sets_the_browser_cookie(built: House) -> None:
    async with built.client() as client:
        response = await client.raw(json.dumps([BY_TOKEN]))
    (cookie,) = response.headers.get_list("set-cookie")
    name, _, rest = cookie.partition("=")
    value, _, attributes = rest.partition("; ")
    assert (name, attributes) == ("BAYEUX_BROWSER", "Path=/; HttpOnly; SameSite=Lax")
    assert len(value) == 32


async def test_statistics_cookie_comes_first(built: House) -> None:
    async with built.client(STATISTICS) as client:
        response = await client.raw(json.dumps([BY_TOKEN]))
    assert [cookie.partition("=")[0] for cookie in response.headers.get_list("set-cookie")] == ["STATISTICS_SESSIONID", "BAYEUX_BROWSER"]


async def test_cookies_that_were_brought_are_not_set_again(built: House) -> None:
    brought = f"STATISTICS_SESSIONID=s1; BAYEUX_BROWSER={'b' * 20}"
    async with built.client(STATISTICS, Cookie=brought) as client:
        response = await client.raw(json.dumps([BY_TOKEN]))
    assert "set-cookie" not in response.headers


async def test_browser_cookie_that_no_server_would_set_is_replaced(built: House) -> None:
    async with built.client(Cookie="BAYEUX_BROWSER=x") as client:
        response = await client.raw(json.dumps([BY_TOKEN]))
    assert response.headers["set-cookie"].startswith("BAYEUX_BROWSER=")


@pytest.mark.parametrize("front", ['BAYEUX_BROWSER="of another server"', "BAYEUX_BROWSER=" + "f" * 32, "BAYEUX_BROWSER=%00"])
async def test_cookies_in_front_of_the_sessions_own_are_passed_over(built: House, front: str) -> None:
    async with built.client() as client:
        set_cookie = (await client.raw(json.dumps([BY_TOKEN]))).headers["set-cookie"]
        (identifier,) = built.server.sessions
    publish = json.dumps([{"channel": "/a", "clientId": identifier, "data": 1}])
    own = set_cookie.partition(";")[0]
    for cookies in (f"{front}; {own}", f"{own}; {front}", f'{front}; BAYEUX_BROWSER="{own.partition("=")[2]}"'):
        async with built.client(Cookie=cookies) as client:
            assert (await client.raw(publish)).json()[0]["successful"], cookies
    async with built.client(Cookie=front) as client:
        assert (await client.raw(publish)).json()[0]["error"] == "402::session_unknown"


async def test_page_of_another_site_goes_on_without_a_cookie(built: House) -> None:
    """Browsers withhold the cookie from it, SameSite=Lax."""

    async def post(origin: str | None, *messages: Json, **headers: str) -> Json:
        async with built.client(**({} if origin is None else {"Origin": origin}), **headers) as client:
            (reply,) = (await client.raw(json.dumps(messages))).json()
            return reply

    handshake = await post("https://desk.example", BY_TOKEN)
    publish = {"channel": "/a", "clientId": handshake["clientId"], "data": 1}
    assert (await post("https://desk.example", publish))["successful"]
    assert (await post("https://DESK.example", publish))["successful"]
    own = f"http://127.0.0.1:{built.port}"
    for origin in (None, own, "https://evil.example", "null"):
        assert (await post(origin, publish))["error"] == "402::session_unknown", origin
    signed_in = await post("https://desk.example", publish, Cookie=await built.cookie())
    assert signed_in["error"] == "402::session_unknown"
    of_own = await post(own, BY_TOKEN)
    assert (await post(own, {**publish, "clientId": of_own["clientId"]}))["error"] == "402::session_unknown"
    opaque = await post("null", BY_TOKEN)
    assert (await post("null", {**publish, "clientId": opaque["clientId"]}))["error"] == "402::session_unknown"


async def test_statistics_cookie_tells_the_login(built: House) -> None:
    """The cookie that the handshake sets is the login that its session hears, and a second session with it hears the same."""
    async with built.client(STATISTICS, **BEARER) as client:
        await client.shake(HANDSHAKE)
        first = built.server.sessions[client.id].principal
        await client.shake(HANDSHAKE)
        second = built.server.sessions[client.id].principal
    assert first.login == second.login != first.token_login
