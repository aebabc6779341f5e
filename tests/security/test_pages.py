"""Pages: where they send a browser, and who may show them in a frame."""

from __future__ import annotations

import httpx
import pytest

from tests.channels.auth.conftest import CALLBACK, Server, ask, fields_of, query_of, submit

HOST = "app.acme.example"

OTHER_URIS = [
    f"https://user@{HOST}/cb",
    f"https://{HOST}@evil.example/cb",
    f"https://{HOST}:pass@evil.example/cb",
    f"https://evil.example\\@{HOST}/cb",
    f"https://{HOST}\\.evil.example/cb",
    f"https:\\\\{HOST}\\cb",
    f"https:/{HOST}/cb",
    f"https:{HOST}/cb",
    f"//{HOST}/cb",
    "/cb",
    f"https://{HOST}/x/../cb",
    f"https://{HOST}/cb/..",
    f"https://{HOST}/%2e%2e/cb",
    f"https://{HOST}//cb",
    f"https://{HOST}/CB",
    f"https://{HOST.upper()}/cb",
    f"HTTPS://{HOST}/cb",
    f"https://{HOST}:443/cb",
    f"https://{HOST}:8443/cb",
    f"https://{HOST}:/cb",
    f"http://{HOST}/cb",
    f"https://{HOST}./cb",
    f"https://{HOST}.evil.example/cb",
    "https://\u0430pp.acme.example/cb",
    "https://xn--pp-6kc.acme.example/cb",
    "https://app\u3002acme\uff0eexample/cb",
    "https://app.acme.ex\u00adample/cb",
    f"https://{HOST}/cb#",
    f"https://{HOST}/cb#code=x",
    f"https://{HOST}/cb?",
    f"https://{HOST}/cb;x=1",
    f"https://{HOST}/cb%00",
    f"https://{HOST}/cb%0d%0aLocation:%20https://evil.example",
    f" https://{HOST}/cb",
    f"https://{HOST}/cb ",
    "javascript:alert(1)",
    "data:text/html,x",
    f"https://{HOST}/cb\u200b",
    "*",
]
"""Addresses that a browser, or a server that reads them in another way, would take for the registered one, or that lead elsewhere."""


@pytest.mark.parametrize("uri", OTHER_URIS)
async def test_a_browser_is_sent_to_the_registered_address_alone(server: Server, uri: str) -> None:
    """Signed in or not, by GET and by POST, with an error and without one."""
    async with server.browser() as browser:
        for _ in range(2):
            for more in ({}, {"prompt": "none"}, {"response_type": "token"}):
                asked = ask(redirect_uri=uri, **more)
                for answer in (
                    await browser.get("/auth/v3/oauth/authorize", params=asked),
                    await browser.post("/auth/v3/oauth/authorize", data=asked),
                ):
                    assert (answer.status_code, "location" in answer.headers) == (400, False)
            if "HUB_SESSION" not in browser.cookies:
                await server.signed_in(browser)


@pytest.mark.parametrize("uri", [each for each in OTHER_URIS if "%0" not in each])
async def test_signing_out_leads_nowhere_else(server: Server, uri: str) -> None:
    tokens = await server.tokens()
    async with server.program(Authorization=f"Bearer {tokens['access_token']}", Accept="text/html") as program:
        answer = await program.get("/auth/v3/sign-out", params={"redirectUri": uri})
    assert (answer.status_code, "location" in answer.headers) == (200, False)


async def test_signing_out_by_a_cookie_leads_nowhere(server: Server) -> None:
    """A cookie is of no client, so there is no address that is registered for it."""
    async with server.browser() as browser:
        await server.signed_in(browser)
        answer = await browser.get("/auth/v3/sign-out", params={"redirectUri": CALLBACK})
        assert (answer.status_code, "location" in answer.headers) == (200, False)


@pytest.mark.parametrize(
    "path",
    [
        "/\t/evil.example",
        "/\n/evil.example",
        "/\\/evil.example",
        "\\\\evil.example",
        "///evil.example",
        " //evil.example",
        "/ /evil.example/\x7f",
        "javascript:alert(1)",
    ],
)
async def test_after_signing_in_a_browser_stays_on_the_hub(server: Server, path: str) -> None:
    async with server.browser() as browser:
        page = await browser.get("/auth/v3/sign-in")
        back = await submit(browser, page, tenant="acme", next=path)
        there = back.headers.get("location", "/")
        assert httpx.URL("https://hub.test/x").join(there).host == "hub.test"
        assert there.startswith("/")
        assert not there.startswith(("//", "/\\", "/\t", "/\n"))


async def test_no_page_is_shown_in_a_frame(server: Server) -> None:
    """Clickjacking: every page of signing in, and every page that says what is wrong."""
    async with server.browser() as browser:
        form = await browser.get("/auth/v3/oauth/authorize", params=ask())
        link = browser.build_request("GET", "/auth/v3/sign-out", headers={"Sec-Fetch-Site": "cross-site"})
        link.headers.pop("Origin", None)  # a browser sends none when its user follows a link
        pages = {
            "form": form,
            "wrong password": await submit(browser, form, password="wrong"),
            "own form": await browser.get("/auth/v3/sign-in"),
            "too old": await submit(browser, form, request="x"),
            "another site's": await browser.post("/auth/v3/sign-in", data={}, headers={"Origin": "https://evil.example"}),
            "unknown client": await browser.get("/auth/v3/oauth/authorize", params=ask(client_id="nobody")),
            "malformed": await browser.get("/auth/v3/oauth/authorize?a=1&a=2"),
            "device": await browser.get("/auth/v3/device"),
            "sign-out": await browser.send(link),
        }
        await server.access.transactions.write(lambda tx: tx.run("UPDATE clients SET consent = 1 WHERE id = 'wall'"))
        pages["consent"] = await submit(browser, form)
        pages["signed out"] = await browser.post("/auth/v3/sign-out")
    assert "/auth/v3/consent" in pages["consent"].text
    for name, page in pages.items():
        assert page.headers["content-type"].startswith("text/html"), name
        policy = page.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy, name
        assert "default-src 'none'" in policy, name
        assert page.headers["x-frame-options"] == "DENY", name
        assert page.headers["cache-control"] == "no-store", name


async def test_a_client_may_name_who_shows_its_form_in_a_frame(server: Server) -> None:
    frames = '["https://desk.acme.example"]'
    await server.access.transactions.write(lambda tx: tx.run("UPDATE clients SET frame_origins = ? WHERE id = 'wall'", (frames,)))
    async with server.browser() as browser:
        own = await browser.get("/auth/v3/oauth/authorize", params=ask())
        other = await browser.get("/auth/v3/oauth/authorize", params=ask(client_id="nobody"))
    assert "frame-ancestors https://desk.acme.example;" in own.headers["content-security-policy"]
    assert "x-frame-options" not in own.headers
    assert "frame-ancestors 'none'" in other.headers["content-security-policy"]


SCRIPT = "\"><script>alert('x')</script>"


async def test_what_a_page_repeats_is_text(server: Server) -> None:
    """Whatever came in a link or was typed."""
    async with server.browser() as browser:
        form = await browser.get("/auth/v3/oauth/authorize", params=ask(login_hint=SCRIPT, state=SCRIPT, nonce=SCRIPT, ui_locales=SCRIPT))
        assert fields_of(form)["username"] == SCRIPT
        pages = [
            form,
            await submit(browser, form, username=SCRIPT, password="wrong"),
            await browser.get("/auth/v3/sign-in", params={"next": f"/{SCRIPT}", "login_hint": SCRIPT, "ui_locales": SCRIPT}),
            await browser.get("/auth/v3/oauth/authorize", params=ask(client_id=SCRIPT)),
            await browser.get(f"/auth/v3/oauth/authorize?{'%3Cscript%3E=1&' * 2}"),
            await browser.get("/auth/v3/device", params={"user_code": SCRIPT, "ui_locales": SCRIPT}),
            await browser.post("/auth/v3/device", data={"user_code": SCRIPT, "ui_locales": SCRIPT}),
        ]
        back = await submit(browser, form)
    assert [page.text for page in pages if "<script" in page.text.lower()] == []
    assert query_of(back)["state"] == SCRIPT
