"""The authorization code flow, from the application through the form and back."""

from __future__ import annotations

import base64
import json
from urllib.parse import urlencode

import httpx
import pytest

from hub.security.clients_store import NewClient
from tests.channels.auth.conftest import CALLBACK, HUB, Server, ask, fields_of, query_of, submit


async def test_a_user_signs_in_and_the_application_gets_tokens(server: Server) -> None:
    async with server.browser() as browser:
        page = await browser.get("/auth/v3/oauth/authorize", params=ask(login_hint="ana"))
        assert page.status_code == 200
        assert fields_of(page)["username"] == "ana"
        assert "form-action 'self' https://app.acme.example" in page.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        back = await submit(browser, page)
        assert back.status_code == 303
        assert back.headers["location"].startswith(f"{CALLBACK}?code=")
        assert query_of(back) == {"code": query_of(back)["code"], "state": "70db3ab2", "iss": f"{HUB}/auth/v3"}
        again = await browser.get("/auth/v3/oauth/authorize", params=ask())
        assert again.status_code == 302  # single sign-on
        assert query_of(again)["code"] != query_of(back)["code"]


async def test_the_tokens_say_who_the_user_is(server: Server) -> None:
    tokens = await server.tokens(nonce="n-0S6")
    assert tokens["token_type"] == "bearer"
    claims = json.loads(base64.urlsafe_b64decode(tokens["id_token"].split(".")[1] + "=="))
    assert (claims["iss"], claims["aud"], claims["nonce"]) == (f"{HUB}/auth/v3", "wall", "n-0S6")
    details = (await server.get("/auth/v3/userinfo", tokens["access_token"])).json()
    assert details["username"] == "acme\\ana#1"
    assert details["authorities"][0]["name"] == "supervisor"
    info = (await server.get("/auth/v3/openid/userinfo", tokens["access_token"])).json()
    assert (info["sub"], info["aud"], info["contact_center_id"]) == (claims["sub"], "wall", "acme")


@pytest.mark.parametrize("more", [{"hideTenant": "true"}, {}])
async def test_a_wrong_password_shows_the_form_again(server: Server, more: dict[str, str]) -> None:
    async with server.browser() as browser:
        page = await browser.get("/auth/v3/oauth/authorize", params=ask(**more))
        assert ('label for="tenant"' in page.text) is not bool(more)
        wrong = await submit(browser, page, password="wrong")
        assert wrong.status_code == 200
        assert 'role="alert"' in wrong.text
        assert "<title>Error: " in wrong.text
        assert fields_of(wrong)["password"] == ""
        assert (await submit(browser, wrong)).status_code == 303


async def test_a_user_of_another_tenant_is_told_what_a_wrong_password_is(server: Server) -> None:
    async with server.browser() as browser:
        page = await browser.get("/auth/v3/oauth/authorize", params=ask())
        texts = []
        for more in ({"tenant": "rival"}, {"password": "wrong"}, {"username": "rival\\ana"}, {"username": "nobody"}):
            answer = await submit(browser, page, **more)
            assert answer.status_code == 200
            assert "HUB_SESSION" not in answer.headers.get("set-cookie", "")
            texts.append(answer.text.split('role="alert"')[1].split("</p>")[0])
        assert len(set(texts)) == 1


@pytest.mark.parametrize(
    ("more", "status", "said"),
    [
        ({"client_id": "nobody"}, 401, "knows no application"),
        ({"client_id": ""}, 400, "client_id is missing"),
        ({"redirect_uri": ""}, 400, "redirect_uri is missing"),
        ({"redirect_uri": "https://evil.example/cb"}, 400, "not registered"),
        ({"redirect_uri": f"{CALLBACK}/"}, 400, "not registered"),
        ({"redirect_uri": f"{CALLBACK}?x=1"}, 400, "not registered"),
    ],
)
async def test_who_is_not_known_is_never_sent_anywhere(server: Server, more: dict[str, str], status: int, said: str) -> None:
    async with server.browser() as browser:
        answer = await browser.get("/auth/v3/oauth/authorize", params=ask(**more))
    assert (answer.status_code, "location" in answer.headers) == (status, False)
    assert said in answer.text


async def test_a_parameter_that_comes_twice_is_never_sent_anywhere(server: Server) -> None:
    async with server.browser() as browser:
        answer = await browser.get("/auth/v3/oauth/authorize", params=[*ask().items(), ("state", "another")])
    assert (answer.status_code, "location" in answer.headers) == (400, False)


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": ""}, "invalid_request"),
        ({"scope": "nonsense"}, "invalid_scope"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge_method": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"prompt": "none"}, "login_required"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"request": "eyJ"}, "request_not_supported"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"max_age": "soon"}, "invalid_request"),
    ],
)
async def test_what_is_wrong_otherwise_is_told_to_the_application(server: Server, more: dict[str, str], error: str) -> None:
    async with server.browser() as browser:
        answer = await browser.get("/auth/v3/oauth/authorize", params=ask(**more))
    assert answer.status_code == 302
    found = query_of(answer)
    assert (found["error"], found["state"], found["iss"]) == (error, "70db3ab2", f"{HUB}/auth/v3")


async def test_the_query_of_a_redirect_uri_is_kept(server: Server) -> None:
    async with server.browser() as browser:
        back = await server.signed_in(browser, client_id="crm", redirect_uri=f"{CALLBACK}?x=1", code_challenge="", code_challenge_method="")
    assert back.headers["location"].startswith(f"{CALLBACK}?x=1&code=")


@pytest.mark.parametrize("more", [{"prompt": "login"}, {"max_age": "0"}, {"login_hint": "bob"}])
async def test_somebody_who_is_signed_in_may_have_to_sign_in_again(server: Server, more: dict[str, str]) -> None:
    async with server.browser() as browser:
        await server.signed_in(browser)
        page = await browser.get("/auth/v3/oauth/authorize", params=ask(**more))
        assert page.status_code == 200
        assert (await submit(browser, page)).status_code == 303


@pytest.mark.parametrize(
    "more", [{"prompt": "login"}, {"prompt": "select_account"}, {"max_age": "0"}, {"login_hint": "bob"}, {"prompt": "consent"}]
)
async def test_the_form_for_signing_in_is_no_form_for_consent(server: Server, more: dict[str, str]) -> None:
    """The questions of prompt, max_age and login_hint were asked before a page of consent is shown, and before no other."""
    async with server.browser() as browser:
        asked = fields_of(await browser.get("/auth/v3/oauth/authorize", params=ask(**more)))["request"]
        await server.signed_in(browser)
        answer = await browser.post("/auth/v3/consent", data={"request": asked, "answer": "allow"})
        assert (answer.status_code, "location" in answer.headers) == (400, False)


async def test_consent_counts_for_the_user_who_was_asked(server: Server) -> None:
    await server.access.store.add_user("acme", "bob", "correct horse", ["viewer"])
    async with server.browser() as browser:
        await server.signed_in(browser)
        page = await browser.get("/auth/v3/oauth/authorize", params=ask(prompt="consent"))
        assert "acme\\ana" in page.text
        allowed = {**fields_of(page), "answer": "allow"}
        own = await browser.get("/auth/v3/sign-in")
        assert (await submit(browser, own, tenant="acme", username="bob")).status_code == 303
        again = await browser.post("/auth/v3/consent", data=allowed)
        assert again.status_code == 200
        assert "acme\\bob" in again.text
        assert "code" in query_of(await browser.post("/auth/v3/consent", data={**fields_of(again), "answer": "allow"}))


async def test_consent_counts_for_the_sign_in_that_was_asked_or_a_later_one(server: Server) -> None:
    async with server.browser() as browser, server.browser() as older:
        await server.signed_in(older)
        server.access.clock.advance(5)
        page = await server.signed_in(browser, prompt="login consent")
        allowed = {**fields_of(page), "answer": "allow"}
        latest = browser.cookies["HUB_SESSION"]
        browser.cookies.set("HUB_SESSION", older.cookies["HUB_SESSION"], domain="hub.test", path="/")
        assert 'name="password"' in (await browser.post("/auth/v3/consent", data=allowed)).text
        browser.cookies.set("HUB_SESSION", latest, domain="hub.test", path="/")
        assert "code" in query_of(await browser.post("/auth/v3/consent", data=allowed))


async def test_the_form_for_signing_in_takes_what_it_signed_itself_alone(server: Server) -> None:
    async with server.browser() as browser:
        form = await browser.get("/auth/v3/oauth/authorize", params=ask())
        await server.signed_in(browser)
        consent = await browser.get("/auth/v3/oauth/authorize", params=ask(prompt="consent"))
        assert (await submit(browser, form, **fields_of(consent))).status_code == 400


async def test_a_form_of_another_browser_or_of_long_ago_is_refused(server: Server) -> None:
    async with server.browser() as attacker, server.browser() as victim:
        page = await attacker.get("/auth/v3/oauth/authorize", params=ask())
        await victim.get("/auth/v3/oauth/authorize", params=ask())
        assert (await submit(victim, page)).status_code == 400  # login CSRF
        server.access.clock.advance(601)
        assert (await submit(attacker, page)).status_code == 400
        assert (await submit(attacker, page, request="x" * 100)).status_code == 400


async def test_a_form_of_another_site_is_refused(server: Server) -> None:
    async with server.browser() as browser:
        page = await browser.get("/auth/v3/oauth/authorize", params=ask())
        browser.headers["Origin"] = "https://evil.example"
        assert (await submit(browser, page)).status_code == 403


async def test_many_wrong_passwords_are_slowed_down(server: Server) -> None:
    async with server.browser() as browser:
        page = await browser.get("/auth/v3/oauth/authorize", params=ask())
        answers = [(await submit(browser, page, password="wrong")).status_code for _ in range(11)]
    assert answers == [200] * 10 + [429]


@pytest.mark.parametrize(
    ("path", "goes_to"),
    [
        ("/", "/"),
        ("/wallboard/x?y=1", "/wallboard/x?y=1"),
        ("//evil.example", "/"),
        ("https://evil.example", "/"),
        ("/\\evil.example", "/"),
    ],
)
async def test_the_hubs_own_form_goes_to_its_own_pages_alone(server: Server, path: str, goes_to: str) -> None:
    async with server.browser() as browser:
        page = await browser.get("/auth/v3/sign-in", params={"next": path})
        back = await submit(browser, page, tenant="acme", next=path)
        assert (back.status_code, back.headers["location"]) == (303, goes_to)
        assert "HUB_SESSION" in back.headers["set-cookie"]


async def test_a_browser_that_shall_be_remembered_keeps_its_cookie(server: Server) -> None:
    async with server.browser() as browser:
        page = await browser.get("/auth/v3/sign-in")
        until_closed = session_cookie(await submit(browser, page, tenant="acme"))
        remembered = session_cookie(await submit(browser, page, tenant="acme", remember="yes"))
    assert "Max-Age" not in until_closed
    assert "Max-Age=2592000" in remembered


def session_cookie(answer: httpx.Response) -> str:
    """The sign-in cookie that an answer sets, with its attributes."""
    (found,) = [each for each in answer.headers.get_list("set-cookie") if each.startswith("HUB_SESSION=")]
    return found


async def test_a_browser_that_signed_in_with_a_token_is_no_users_sign_in(server: Server) -> None:
    """A token may be limited to some scopes and roles; the next one must not allow more."""
    tokens = await server.tokens(scope="openid")
    async with server.browser() as browser:
        answer = await browser.post("/api/v1/sign-in", json={"token": tokens["access_token"]})
        assert answer.status_code == 200
        assert (await browser.get("/auth/v3/oauth/authorize", params=ask())).status_code == 200
        silent = await browser.get("/auth/v3/oauth/authorize", params=ask(prompt="none"))
        assert query_of(silent)["error"] == "login_required"


@pytest.mark.parametrize(("sent", "state"), [("%2F" * 2000, "/" * 2000), ("!" * 6000, "!" * 6000), ("%C3%A9" * 1000, "\xe9" * 1000)])
async def test_a_long_state_comes_back_as_it_was(server: Server, sent: str, state: str) -> None:
    """Also one that is longer when the hub encodes it than it came."""
    async with server.browser() as browser:
        page = await browser.get(f"/auth/v3/oauth/authorize?{urlencode(ask(state=''))}&state={sent}")
        back = await submit(browser, page)
    assert query_of(back)["state"] == state


async def test_the_password_of_another_tenants_user_is_worth_nothing_at_a_client(server: Server) -> None:
    """Neither the answer, nor the limit, nor the log of that tenant tells whether it was right."""
    await server.clients.add(NewClient("old", "acme", public=True, grants=["password"]))
    answers = {}
    for name in ("right", "wrong"):
        password = {"right": "correct horse", "wrong": "wrong horse"}[name]
        form = {"grant_type": "password", "client_id": "old", "username": f"rival\\{'ana' if name == 'right' else 'bob'}"}
        found = [await server.token(**form, password=password) for _ in range(11)]
        answers[name] = [(each.status_code, each.json()["error"]) for each in found]
        server.access.clock.advance(3600)
    assert answers["right"] == answers["wrong"]
    assert answers["right"][0] == (400, "invalid_grant")
    assert answers["right"][-1][0] == 429
    async with server.browser() as browser:
        page = await browser.get("/auth/v3/oauth/authorize", params=ask())
        assert (await submit(browser, page, tenant="rival")).status_code == 200
    told = await server.access.transactions.read(lambda tx: tx.rows("SELECT tenant FROM audit WHERE event = 'sign_in'"))
    assert told == []


async def test_the_form_may_lead_to_a_program_on_the_device(server: Server) -> None:
    """No source of a policy stands for an address without an origin, so the page has no ``form-action`` then; else it is the client's."""
    await server.clients.add(NewClient("phone", "acme", public=True, redirect_uris=["com.example.app:/cb"]))
    policies = []
    for client in ({"client_id": "phone", "redirect_uri": "com.example.app:/cb"}, {}):
        async with server.browser() as browser:
            page = await browser.get("/auth/v3/oauth/authorize", params=ask(**client))
            assert page.status_code == 200
            policies.append(page.headers["content-security-policy"])
            cookie = page.headers["set-cookie"]
            assert cookie.startswith("HUB_SIGNIN=")
            assert {"HttpOnly", "SameSite=Lax", "Secure", "Path=/auth/v3"} <= {each.strip() for each in cookie.split(";")}, cookie
    assert "form-action" not in policies[0]
    assert "form-action 'self' https://app.acme.example" in policies[1]
