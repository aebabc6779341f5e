"""The board's files over HTTP: what is served, with which headers, and the sign-in that comes with ``--demo``."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request

from channels.wallboard.assets import CONTENT_SECURITY_POLICY, asset, load
from channels.wallboard.family import family
from channels.wallboard.settings import Thresholds, WallboardSettings
from hub.core.limits import Limits
from hub.core.principal import Principal
from hub.security.gate import Caller, Failure
from tests.channels.wallboard.fake import COOKIE

STATIC = Path(str(files("channels.wallboard"))) / "static"


class _Gate:
    """Knows one cookie; its demo user exists or not."""

    def __init__(self, demo_cookie: str | None) -> None:
        self._demo_cookie = demo_cookie

    async def identify(self, scope: Any) -> Caller:
        if Request(scope).cookies.get(COOKIE) == "good":
            return Caller(Principal("demo", "demo", frozenset(), "l", "l"), None, by_cookie=True)
        return Caller(None, Failure.MISSING)

    async def demo_cookie(self, *, secure: bool) -> str | None:
        return self._demo_cookie and self._demo_cookie + ("; Secure" if secure else "")


class _Settings:
    def __init__(self, demo: bool) -> None:
        self.demo = demo
        self.limits = Limits(max_subscriptions=77)
        self.wallboard = WallboardSettings(title="Nord", thresholds=Thresholds(wait_alarm_s=240))


class _Context:
    def __init__(self, *, demo: bool = False, demo_cookie: str | None = "HUB_SESSION=made") -> None:
        self.settings = _Settings(demo)
        self.gate = _Gate(demo_cookie)

    def section(self, name: str, _: type[Any]) -> Any:
        return getattr(self.settings, name)


def _client(context: _Context, base: str = "http://hub") -> httpx.AsyncClient:
    app = Starlette(routes=list(family.build(context).routes))  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with _client(_Context()) as client:
        yield client


async def test_page(client: httpx.AsyncClient) -> None:
    answer = await client.get("/")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert "set-cookie" not in answer.headers


async def test_every_file_that_the_page_names_is_served(client: httpx.AsyncClient) -> None:
    named = set(re.findall(r'(?:href|src)="(wallboard/[^"#]+)', (STATIC / "index.html").read_text()))
    imported = {f"wallboard/{name}" for file in STATIC.glob("*.js") for name in re.findall(r'from "\./([^"]+)"', file.read_text())}
    answers = {name: (await client.get(f"/{name}")).status_code for name in named | imported}
    assert set(answers.values()) == {200}
    assert len(answers) > 10


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("app.js", "text/javascript; charset=utf-8"),
        ("board.css", "text/css; charset=utf-8"),
        ("icons.svg", "image/svg+xml"),
        ("config.json", "application/json"),
    ],
)
async def test_types(client: httpx.AsyncClient, name: str, kind: str) -> None:
    assert (await client.get(f"/wallboard/{name}")).headers["content-type"] == kind


@pytest.mark.parametrize("name", ["", "index.html", "package.json", "../family.py", "%2e%2e/family.py", "..%2ffamily.py", "nothing.js"])
async def test_nothing_else_is_served(client: httpx.AsyncClient, name: str) -> None:
    assert (await client.get(f"/wallboard/{name}")).status_code == 404


async def test_unchanged_file_is_not_sent_again(client: httpx.AsyncClient) -> None:
    first = await client.get("/wallboard/app.js")
    again = [
        (await client.get("/wallboard/app.js", headers={"If-None-Match": tag})).status_code
        for tag in (first.headers["etag"], f'"x", W/{first.headers["etag"]}', "*", '"x"')
    ]
    assert again == [304, 304, 304, 200]
    assert first.headers["cache-control"] == "no-cache"


async def test_settings_of_the_page(client: httpx.AsyncClient) -> None:
    shown = (await client.get("/wallboard/config.json")).json()
    assert (shown["title"], shown["max_subscriptions"], shown["thresholds"]["wait_alarm_s"]) == ("Nord", 77, 240)


async def test_page_posts_nothing(client: httpx.AsyncClient) -> None:
    assert (await client.post("/")).status_code == 405


async def test_demo_signs_in() -> None:
    async with _client(_Context(demo=True)) as client:
        answer = await client.get("/")
    assert (answer.headers["set-cookie"], answer.headers["cache-control"]) == ("HUB_SESSION=made", "no-store")


async def test_demo_signs_in_under_tls() -> None:
    async with _client(_Context(demo=True), "https://hub") as client:
        assert (await client.get("/")).headers["set-cookie"] == "HUB_SESSION=made; Secure"


async def test_demo_leaves_a_good_sign_in_alone() -> None:
    async with _client(_Context(demo=True)) as client:
        assert "set-cookie" not in (await client.get("/", headers={"Cookie": f"{COOKIE}=good"})).headers


async def test_demo_without_its_user_asks_like_any_other() -> None:
    async with _client(_Context(demo=True, demo_cookie=None)) as client:
        answer = await client.get("/")
    assert ("set-cookie" in answer.headers, answer.status_code) == (False, 200)


def test_unknown_kind_of_file_is_refused() -> None:
    with pytest.raises(ValueError, match=r"logo\.png: expected a file that ends in one of \.css"):
        asset("logo.png", b"")


def test_page_has_nothing_inline() -> None:
    page = load()["index.html"].content.decode()
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|https?://", page) == []


def test_modules_never_write_markup() -> None:
    found = [
        file.name
        for file in STATIC.glob("*.js")
        if re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", file.read_text())
    ]
    assert found == []


@pytest.mark.parametrize(("field", "value"), [("title", ""), ("page_seconds", 2), ("thresholds", {"wait_warning_s": 0}), ("colour", "red")])
def test_settings_are_checked(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        WallboardSettings.model_validate({field: value})
