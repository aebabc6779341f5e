"""``hub login`` against a hub: the browser's way by a loopback port, what is kept, and how commands use it."""

from __future__ import annotations

import asyncio
import json
import re
import stat
import time
from dataclasses import replace
from html import unescape
from pathlib import Path

import aiohttp
import pytest

from hub.client.login import log_in, log_out
from hub.client.logins import Login, LoginError, Logins, logins_file
from hub.client.options import way_in
from tests.support.hub_process import HubProcess, clean_environment, run_hub


async def sign_in(address: str, *, password: str = "demo") -> str:
    """What a person does in a browser; returns the text of the last page."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        async with browser.get(address) as response:
            page = await response.text()
        action = re.search(r'<form method="post" action="([^"]*)"', page)
        assert action is not None, page
        fields = re.findall(r"<input [^>]*>", page)
        named = [(re.search(r' name="([^"]*)"', each), re.search(r' value="([^"]*)"', each)) for each in fields]
        form = {name[1]: "" if value is None else unescape(value[1]) for name, value in named if name is not None}
        form |= {"username": "demo", "password": password}
        origin = re.match(r"http://[^/]*", address)
        assert origin is not None
        async with browser.post(f"{origin[0]}{action[1]}", data=form, headers={"Origin": origin[0]}) as response:
            return await response.text()


async def logged_in(hub: HubProcess) -> Login:
    pages: list[asyncio.Task[str]] = []
    made = await log_in(hub.url, "demo-app", show=lambda address: pages.append(asyncio.create_task(sign_in(address))), within_s=60)
    assert "Signed in" in await pages[0]
    return made


async def test_a_login_is_kept_for_its_owner_alone_and_refreshed(demo_hub: HubProcess, tmp_path: Path) -> None:
    login = await logged_in(demo_hub)
    logins = Logins(tmp_path / "config" / "logins.json")
    logins.keep(demo_hub.url, login)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "config" / "logins.json", tmp_path / "config")] == [0o600, 0o700]
    assert await logins.token(demo_hub.url) == login.access_token
    logins.keep(demo_hub.url, replace(login, expires_s=time.time() + 10))
    # many at once: each refresh token is good once, and a second use would end the login
    tokens = await asyncio.gather(*(logins.token(demo_hub.url) for _ in range(5)))
    assert len({*tokens, login.access_token}) == 2
    kept = logins.find(demo_hub.url)
    assert kept is not None
    await log_out(kept)
    logins.keep(demo_hub.url, replace(kept, expires_s=0))
    with pytest.raises(LoginError, match=r"the login at .* has ended: hub login --url .*invalid_grant"):
        await logins.token(demo_hub.url)
    logins.keep(demo_hub.url, None)
    with pytest.raises(LoginError, match="nobody is logged in"):
        await logins.token(demo_hub.url)


async def test_commands_use_the_login_and_flags_come_first(demo_hub: HubProcess, tmp_path: Path) -> None:
    environment = clean_environment() | {"XDG_CONFIG_HOME": str(tmp_path), "HUB_URL": demo_hub.url}
    Logins(logins_file(environment)).keep(demo_hub.url, await logged_in(demo_hub))
    publish = ("publish", "/my/channel", '{"hi":1}')
    done = await asyncio.to_thread(run_hub, publish, tmp_path, environment)
    assert done.returncode == 0, done.stderr
    refused = await asyncio.to_thread(run_hub, (*publish, "--token", "wrong"), tmp_path, environment)
    assert (refused.returncode, "does not let you in" in refused.stderr) == (2, True)
    ended = await asyncio.to_thread(run_hub, ["logout"], tmp_path, environment)
    assert (ended.returncode, json.loads(logins_file(environment).read_text())) == (0, {})
    without = await asyncio.to_thread(run_hub, publish, tmp_path, environment)
    assert (without.returncode, "hub login" in without.stderr) == (2, True)


async def test_nothing_but_the_answer_to_ones_own_request_counts(demo_hub: HubProcess) -> None:
    found: list[int] = []

    async def forged(address: str) -> None:
        port = re.search(r"127\.0\.0\.1%3A([0-9]+)%2Fcb", address)
        assert port is not None
        async with aiohttp.ClientSession() as stranger:
            for query in ("code=x", "code=x&state=wrong", "error=access_denied&state="):
                async with stranger.get(f"http://127.0.0.1:{port[1]}/cb?{query}") as response:
                    found.append(response.status)
        await sign_in(address)

    tasks: list[asyncio.Task[None]] = []
    made = await log_in(demo_hub.url, "demo-app", show=lambda address: tasks.append(asyncio.create_task(forged(address))), within_s=60)
    assert (found, made.access_token.startswith("hubt_")) == ([400, 400, 400], True)


async def test_a_client_that_is_not_registered_is_named_before_anybody_waits(demo_hub: HubProcess) -> None:
    shown: list[str] = []
    remedy = r"the hub at http\S+ knows no client hub-cli; .*hub client add hub-cli --public --redirect-uri http://127\.0\.0\.1/cb"
    with pytest.raises(LoginError, match=remedy):
        await log_in(demo_hub.url, "hub-cli", show=shown.append, within_s=3600)
    assert shown == []


async def test_a_client_that_may_not_redirect_here_is_told_apart(demo_hub: HubProcess) -> None:
    added = await asyncio.to_thread(
        run_hub,
        ("client", "add", "screen", "--tenant", "demo", "--public", "--redirect-uri", "https://a.example/cb"),
        demo_hub.data_dir,
        clean_environment() | {"HUB_DATA_DIR": str(demo_hub.data_dir)},
    )
    assert added.returncode == 0, added.stderr
    with pytest.raises(LoginError, match=r"screen of the hub at \S+ may not redirect to .*hub client change screen --redirect-uri http"):
        await log_in(demo_hub.url, "screen", show=lambda _: None, within_s=3600)


async def test_nobody_comes(demo_hub: HubProcess) -> None:
    with pytest.raises(LoginError, match=r"nobody has signed in within 0\.1 s; once more: hub login --url http"):
        await log_in(demo_hub.url, "demo-app", show=lambda _: None, within_s=0.1)


def test_localhost_and_its_address_are_one_hub_and_others_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    logins = Logins()
    made = Login("hub-cli", "http://localhost:8080/token", "http://localhost:8080/revoke", "hubt_x", "", time.time() + 3600)
    logins.keep("http://localhost:8080", made)
    assert logins.find("http://127.0.0.1:8080/cometd") == made
    assert logins.find("http://localhost:8081") is None
    assert "log in (hub login --url http://localhost:8081)" in way_in("http://localhost:8081")
    assert way_in("http://localhost:8081").endswith("; you are logged in at http://127.0.0.1:8080: --url")
    assert "logged in at" not in way_in("http://localhost:8080")
    logins.keep("http://127.0.0.1:8080", None)
    assert logins.find("http://localhost:8080") is None


async def test_where_no_hub_is_the_way_on_is_told() -> None:
    with pytest.raises(LoginError, match=r"nothing listens there: .*hub serve --demo"):
        await log_in("http://127.0.0.1:9", "hub-cli", show=lambda _: None, within_s=1)


def test_a_file_that_holds_something_else_is_named(tmp_path: Path) -> None:
    path = tmp_path / "logins.json"
    for text in ("[]", "{", '{"http://127.0.0.1:8080": {"user": "ana"}}'):
        path.write_text(text)
        with pytest.raises(LoginError, match=r"logins\.json: expected logins of `hub login`"):
            Logins(path).find("http://127.0.0.1:8080")
    assert logins_file({"HOME": "/somewhere"}) == Path("/somewhere/.config/cx-event-hub/logins.json")


def test_a_refusal_is_told_also_where_the_file_of_logins_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = logins_file()
    path.parent.mkdir(parents=True)
    path.write_text("{")
    assert way_in("http://127.0.0.1:1").startswith("log in (hub login --url http://127.0.0.1:1)")
