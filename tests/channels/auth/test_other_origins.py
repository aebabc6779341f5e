"""Pages of other origins (CORS): who may read which answer, and whose cookie counts there (docs/security.md#pages-of-other-sites)."""

from __future__ import annotations

import httpx
import pytest

from channels.auth.routes_documents import ANY_ORIGIN_PATHS
from channels.auth.routes_pages import PAGES
from hub.security.clients_store import NewClient
from tests.channels.auth.conftest import CALLBACK, HUB, Server, ask, submit

APP = "https://app.acme.example"
EVIL = "https://evil.example"
FOR_USERS = ["/auth/v3/userinfo", "/auth/v3/ping", "/auth/v3/sign-out", "/auth/v3/change-password"]


async def register(server: Server, tenant: str = "acme", origin: str = APP) -> None:
    """Register an origin with a new client, while the hub runs."""
    await server.clients.add(NewClient(f"spa-{tenant}", tenant, public=True, redirect_uris=[CALLBACK], origins=[origin]))
    await server.service.gate.refresh()


async def preflight(server: Server, path: str, origin: str, method: str = "POST") -> httpx.Response:
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization"}
    async with server.program(Origin=origin, **asked) as page:
        return await page.options(path)


def allowed(answer: httpx.Response) -> str | None:
    return answer.headers.get("access-control-allow-origin")


@pytest.mark.parametrize("path", FOR_USERS)
async def test_an_origin_counts_from_its_registration_on_without_a_restart(server: Server, path: str) -> None:
    before = await preflight(server, path, APP)
    assert allowed(before) is None
    await register(server)
    after = await preflight(server, path, APP)
    assert after.status_code == 200
    assert allowed(after) == APP
    assert after.headers["access-control-allow-credentials"] == "true"
    assert int(after.headers["access-control-max-age"]) == 600
    assert "origin" in after.headers["vary"].lower()
    assert allowed(await preflight(server, path, EVIL)) is None
    await server.clients.remove("spa-acme")
    await server.service.gate.refresh()
    assert allowed(await preflight(server, path, APP)) is None


@pytest.mark.parametrize(
    "origin", [f"{APP}.evil.example", "https://app.acme.example:444", "http://app.acme.example", "null", f"{APP}/", "x" * 5000]
)
async def test_what_only_resembles_a_registered_origin_may_not(server: Server, origin: str) -> None:
    await register(server)
    answer = await preflight(server, "/auth/v3/userinfo", origin)
    assert allowed(answer) is None
    assert "access-control-allow-credentials" not in answer.headers or allowed(answer) is None


@pytest.mark.parametrize("path", ANY_ORIGIN_PATHS)
async def test_what_needs_no_user_is_for_every_page_but_without_its_cookies(server: Server, path: str) -> None:
    asked = await preflight(server, path, EVIL, "GET" if path.endswith(("json", "configuration")) else "POST")
    assert asked.status_code == 200
    assert allowed(asked) == "*"
    assert "access-control-allow-credentials" not in asked.headers
    async with server.program(Origin=EVIL) as page:
        answer = await (page.get(path) if path.endswith(("json", "configuration", "server")) else page.post(path, data={"grant_type": "x"}))
    assert allowed(answer) == "*"  # a refusal too: the page has to learn why
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("origin", [APP, EVIL])
async def test_no_page_reads_the_form(server: Server, path: str, origin: str) -> None:
    await register(server)
    assert allowed(await preflight(server, path, origin)) is None
    async with server.program(Origin=origin) as page:
        answer = await page.get(path, params=ask())
    assert "access-control-allow-origin" not in answer.headers


async def test_a_client_takes_the_cookie_of_its_own_tenant_alone(server: Server) -> None:
    await register(server, "acme", APP)
    await register(server, "rival", "https://app.rival.example")
    async with server.browser() as browser:
        form = await browser.get("/auth/v3/sign-in")
        await submit(browser, form, tenant="acme")
        for origin, status in ((HUB, 200), (APP, 200), ("https://app.rival.example", 403), (EVIL, 403)):
            answer = await browser.get("/auth/v3/ping", headers={"Origin": origin})
            assert answer.status_code == status, origin


async def test_no_other_page_submits_the_form_not_even_a_registered_one(server: Server) -> None:
    """Login CSRF: a page that signs its visitor in as somebody else."""
    await register(server)
    async with server.browser() as browser:
        form = await browser.get("/auth/v3/oauth/authorize", params=ask())
        for origin in (APP, EVIL, "null"):
            browser.headers["Origin"] = origin
            refused = await submit(browser, form)
            assert refused.status_code == 403
            assert "set-cookie" not in refused.headers
        del browser.headers["Origin"]
        refused = await browser.post(
            "/auth/v3/sign-in", data={"tenant": "acme", "username": "ana"}, headers={"Sec-Fetch-Site": "cross-site"}
        )
        assert refused.status_code == 403


async def test_registered_origins_are_lower_case_and_those_of_two_tenants_are_kept_apart(server: Server) -> None:
    await register(server, "acme", "https://App.Acme.Example")
    await register(server, "rival", APP)
    origins = server.service.gate.directory.client_origins
    assert origins.tenants(APP) == {"acme", "rival"}
    await server.clients.remove("spa-acme")
    await server.service.gate.refresh()
    assert origins.tenants(APP) == {"rival"}
    assert len(origins) == 1
