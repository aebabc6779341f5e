"""Values that this hub did not make, or made for something else, over HTTP: each door takes its own kind alone."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from channels.auth.signed import Form, PageSigner
from tests.channels.auth.conftest import CALLBACK, VERIFIER, Server, ask, fields_of, query_of, submit
from tests.channels.auth.test_devices import say, start
from tests.channels.auth.test_devices import sign_in as sign_in_for_device

# -- one kind in the place of another -----------------------------------------------------------------------------------


async def everything(server: Server) -> dict[str, str]:
    """One of each kind of secret that the hub hands out; none is used up."""
    tokens = await server.tokens()
    user = await server.get("/auth/v3/jwt-userinfo", tokens["access_token"])
    async with server.browser() as browser:
        page = await browser.get("/auth/v3/oauth/authorize", params=ask())
        back = await submit(browser, page)
        cookies = {cookie.name: str(cookie.value) for cookie in browser.cookies.jar}
    ticket = await server.access.token(role="admin")
    async with server.program(Authorization=f"Bearer {ticket}") as program:
        stream = (await program.post("/api/v1/tickets")).json()["data"]["ticket"]
    return {
        "access token": tokens["access_token"],
        "refresh token": tokens["refresh_token"],
        "ID token": tokens["id_token"],
        "X-GWS-User": user.headers["x-gws-user"],
        "code": query_of(back)["code"],
        "sign-in cookie": cookies["HUB_SESSION"],
        "cookie of the form": cookies["HUB_SIGNIN"],
        "cookie of the browser": cookies["HUB_DEVICE"],
        "signed request": fields_of(page)["request"],
        "device code": (await start(server)).json()["device_code"],
        "client's secret": server.night_secret,
        "API key": await server.access.key(),
        "ticket": stream,
    }


async def _bearer(server: Server, value: str) -> bool:
    return (await server.get("/auth/v3/userinfo", value)).status_code == 200


async def _refreshes(server: Server, value: str) -> bool:
    return (await server.token(grant_type="refresh_token", client_id="wall", refresh_token=value)).status_code == 200


async def _redeems(server: Server, value: str) -> bool:
    form = {"client_id": "wall", "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
    return (await server.token(grant_type="authorization_code", code=value, **form)).status_code == 200


async def _device(server: Server, value: str) -> bool:
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "client_id": "tv", "device_code": value}
    return bool((await server.token(**form)).json()["error"] == "authorization_pending")


async def _key(server: Server, value: str) -> bool:
    async with server.program(**{"x-api-key": value}) as program:
        return (await program.get("/api/v1/me")).status_code == 200


async def _client(server: Server, value: str) -> bool:
    return (await server.token(grant_type="client_credentials", client_id="night", client_secret=value)).status_code == 200


async def _cookie(server: Server, value: str) -> bool:
    async with server.browser(Cookie=f"HUB_SESSION={value}") as browser:
        return (await browser.get("/auth/v3/ping")).status_code == 200


async def _ticket(server: Server, value: str) -> bool:
    return await server.service.gate.tickets.look(value) is not None


DOORS: dict[str, tuple[Callable[[Server, str], Awaitable[bool]], str]] = {
    "bearer": (_bearer, "access token"),
    "refresh": (_refreshes, "refresh token"),
    "redeem": (_redeems, "code"),
    "device": (_device, "device code"),
    "key": (_key, "API key"),
    "client": (_client, "client's secret"),
    "cookie": (_cookie, "sign-in cookie"),
    "ticket": (_ticket, "ticket"),
}


@pytest.mark.parametrize("door", DOORS)
async def test_each_secret_opens_its_own_door_alone(server: Server, door: str) -> None:
    opens, own = DOORS[door]
    secrets = await everything(server)
    assert [kind for kind, value in secrets.items() if kind != own and await opens(server, value)] == []
    assert await opens(server, secrets[own])  # and the tries at the others have cost nothing


# -- tokens that look like this hub's -----------------------------------------------------------------------------------


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forged(claims: dict[str, Any], key_set: dict[str, Any]) -> dict[str, str]:
    """ID tokens with the claims of a good one, that somebody else made."""
    published = next(key for key in key_set["keys"] if key["alg"] == "RS256")
    head = {"alg": "HS256", "kid": published["kid"], "typ": "JWT"}
    signed = f"{part(head)}.{part(claims)}"
    pem = RSAKey.import_key(published).as_pem(private=False)
    mac = base64.urlsafe_b64encode(hmac.digest(pem, signed.encode(), "sha256")).rstrip(b"=").decode()
    own = RSAKey.generate_key(2048)
    return {
        "none": f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}.",
        "the public key as a secret": f"{signed}.{mac}",
        "the key in the header": jwt.encode({"alg": "RS256", "typ": "JWT", "jwk": own.as_dict(private=False)}, claims, own),
        "another key of the same name": jwt.encode({"alg": "RS256", "kid": published["kid"], "typ": "JWT"}, claims, own),
    }


async def test_forged_tokens_of_this_issuer_let_nobody_in(server: Server) -> None:
    tokens = await server.tokens()
    async with server.program() as program:
        key_set = (await program.get("/auth/v3/jwks.json")).json()
    claims = jwt.decode(tokens["id_token"], KeySet.import_key_set(key_set), algorithms=["RS256"]).claims
    for how, token in forged(dict(claims), key_set).items():
        for each in (token, token.replace("JWT", "at+jwt")):
            assert (await server.get("/auth/v3/userinfo", each)).status_code == 401, how
            async with server.browser(Cookie=f"HUB_SESSION={each}") as browser:
                assert (await browser.get("/auth/v3/ping")).status_code == 403, how


async def test_a_published_key_is_for_one_algorithm_and_for_signatures_alone(server: Server) -> None:
    """Clients that go by the key set cannot take a public key for a secret, nor one kind of token for the other."""
    async with server.program() as program:
        keys = (await program.get("/auth/v3/jwks.json")).json()["keys"]
    assert {(key["kty"], key["alg"], key["use"]) for key in keys} == {("RSA", "RS256", "sig"), ("EC", "ES256", "sig")}
    assert [sorted(key.keys() & {"d", "p", "q", "dp", "dq", "qi", "k"}) for key in keys] == [[]] * len(keys)


# -- the signed request of the sign-in page -------------------------------------------------------------------------------


def _altered(signed: str, change: Callable[[bytes], bytes]) -> str:
    return base64.urlsafe_b64encode(change(base64.urlsafe_b64decode(signed))).decode()


FORGERIES: dict[str, Callable[[str], str]] = {
    "another callback": lambda signed: _altered(signed, lambda raw: raw.replace(b"app.acme.example", b"app.evil.example")),
    "another time": lambda signed: _altered(signed, lambda raw: raw[:33] + b"9" + raw[34:]),
    "another signature": lambda signed: _altered(signed, lambda raw: bytes([raw[0] ^ 1]) + raw[1:]),
    "no signature": lambda signed: _altered(signed, lambda raw: raw[32:]),
    "the signature alone": lambda signed: _altered(signed, lambda raw: raw[:32]),
    "something behind it": lambda signed: _altered(signed, lambda raw: raw + b" "),
    "an unsigned token": lambda signed: f"{part({'alg': 'none'})}.{part({'query': signed})}.",
    "nothing": lambda _: "=",
    "letters of another alphabet": lambda signed: signed[:-1] + "\u0430",
    "other blanks": lambda signed: signed[:20] + " " + signed[20:],
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_request_that_the_hub_did_not_sign_is_refused(server: Server, forgery: str) -> None:
    async with server.browser() as browser:
        page = await browser.get("/auth/v3/oauth/authorize", params=ask())
        signed = FORGERIES[forgery](fields_of(page)["request"])
        answer = await submit(browser, page, request=signed)
        assert (answer.status_code, "location" in answer.headers) == (400, False)
        assert "HUB_SESSION" not in answer.headers.get("set-cookie", "")
        assert (await submit(browser, page)).status_code == 303


async def test_a_request_of_another_purpose_or_secret_is_refused(server: Server) -> None:
    async with server.browser() as browser:
        page = await browser.get("/auth/v3/oauth/authorize", params=ask())
        mark = str(browser.cookies["HUB_SIGNIN"])
        query = "client_id=wall&redirect_uri=https%3A%2F%2Fapp.acme.example%2Fcb&response_type=code"
        now_s, secret = server.service.now_s, b"a secret of the tests"
        own, other = PageSigner(secret, now_s, 600), PageSigner(b"a secret of another hub", now_s, 600)
        forged = [*(own.sign(form, mark, query) for form in Form if form is not Form.SIGN_IN), other.sign(Form.SIGN_IN, mark, query)]
        for each in forged:
            assert (await submit(browser, page, request=each)).status_code == 400


async def test_a_request_without_the_cookie_of_its_browser_is_refused(server: Server) -> None:
    async with server.browser() as browser:
        page = await browser.get("/auth/v3/oauth/authorize", params=ask())
        browser.cookies.clear()
        assert (await submit(browser, page)).status_code == 400
        browser.cookies.set("HUB_SIGNIN", "0" * 32)
        assert (await submit(browser, page)).status_code == 400


async def test_an_answer_for_a_device_is_good_in_the_browser_that_was_asked_alone(server: Server) -> None:
    """An attacker's own device must not be allowed by a form that the attacker's browser was given."""
    codes = (await start(server)).json()
    async with server.browser() as attacker, server.browser() as victim:
        for each in (attacker, victim):
            await sign_in_for_device(each)
        asked = await attacker.post("/auth/v3/device", data={"user_code": codes["user_code"]})
        assert fields_of(asked).keys() >= {"request"}
        await victim.get("/auth/v3/oauth/authorize", params=ask(prompt="login"))  # has a cookie of its own
        assert (await say(victim, asked, "allow")).status_code == 400
        polled = await server.token(
            grant_type="urn:ietf:params:oauth:grant-type:device_code", client_id="tv", device_code=codes["device_code"]
        )
        assert polled.json()["error"] == "authorization_pending"
        assert (await say(attacker, asked, "allow")).status_code == 200


# -- cookies --------------------------------------------------------------------------------------------------------------


async def test_a_cookie_that_another_hub_signed_is_no_sign_in(server: Server) -> None:
    """The header, the claims and the user are right; the secret is not."""
    async with server.browser() as browser:
        await server.signed_in(browser)
        good = str(browser.cookies["HUB_SESSION"])
    signed = good.rpartition(".")[0]
    for secret in (b"a secret of another hub", b"", b"a secret of the tests"):  # the last is right, and signs no cookie by itself
        mac = base64.urlsafe_b64encode(hmac.digest(secret, signed.encode(), "sha256")).rstrip(b"=").decode()
        async with server.browser(Cookie=f"HUB_SESSION={signed}.{mac}") as other:
            assert (await other.get("/auth/v3/ping")).status_code == 403
            assert (await other.get("/auth/v3/oauth/authorize", params=ask())).status_code == 200
            assert query_of(await other.get("/auth/v3/oauth/authorize", params=ask(prompt="none")))["error"] == "login_required"


# -- states ---------------------------------------------------------------------------------------------------------------


async def test_state_and_nonce_go_back_with_their_own_request(server: Server) -> None:
    """Two tabs of one browser: no answer has the other one's state, whichever form is sent first."""
    async with server.browser() as browser:
        pages = {
            state: await browser.get("/auth/v3/oauth/authorize", params=ask(state=state, nonce=f"n-{state}")) for state in ("one", "two")
        }
        backs: dict[str, httpx.Response] = {state: await submit(browser, pages[state]) for state in ("two", "one")}
    for state, back in backs.items():
        found = query_of(back)
        assert found["state"] == state
        form = {"client_id": "wall", "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
        tokens = (await server.token(grant_type="authorization_code", code=found["code"], **form)).json()
        claims = json.loads(base64.urlsafe_b64decode(tokens["id_token"].split(".")[1] + "=="))
        assert claims["nonce"] == f"n-{state}"
