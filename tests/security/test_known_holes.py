"""Holes that were found in other servers and libraries of OAuth, each tried here under its number."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from channels.auth.signed import MAX_LENGTH, Form, PageSigner
from hub.security.cookies import CookieSigner
from tests.channels.auth.conftest import CALLBACK, HUB, VERIFIER, Server, ask, fields_of, query_of, submit
from tests.hub.security.conftest import SECRET
from tests.world import ManualClock

EVIL = "https://evil.example/cb"


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def cookie_of(head: dict[str, Any], claims: dict[str, Any]) -> str:
    """A sign-in cookie with a good signature, made by who knows the key: what stands in it decides."""
    key = hmac.digest(SECRET, b"sign-in cookie", "sha256")
    signed = f"{part(head)}.{part(claims)}"
    return f"{signed}.{base64.urlsafe_b64encode(hmac.digest(key, signed.encode(), 'sha256')).rstrip(b'=').decode()}"


def _claims(clock: ManualClock, **more: Any) -> dict[str, Any]:
    now = clock.wall_ms() // 1000
    return {"iss": "cx-event-hub", "sub": "user:1", "ver": "v", "jti": "1", "iat": now, "exp": now + 60, **more}


@pytest.mark.parametrize(
    "head",
    [
        {"typ": "JWT", "alg": "HS256", "crit": ["x"], "x": 1},
        {"typ": "JWT", "alg": "HS256", "crit": []},
        {"typ": "JWT", "alg": "HS256", "crit": ["b64"], "b64": False},
    ],
)
def test_cve_2025_59420_critical_headers_that_nobody_knows(clock: ManualClock, head: dict[str, Any]) -> None:
    """Authlib took tokens whose header named extensions in ``crit`` that it did not know (RFC 7515 section 4.1.11)."""
    signer = CookieSigner(SECRET, clock, lifetime_s=60)
    assert signer.read(cookie_of(head, _claims(clock))) is None


def test_cve_2025_61920_segments_without_end(clock: ManualClock) -> None:
    """Authlib decoded segments of any length. Here even one with a good signature is not looked at beyond a length."""
    signer = CookieSigner(SECRET, clock, lifetime_s=60)
    plain = json.dumps({"typ": "JWT", "alg": "HS256"}, separators=(",", ":")).encode()
    head = base64.urlsafe_b64encode(plain).rstrip(b"=").decode()
    key = hmac.digest(SECRET, b"sign-in cookie", "sha256")

    def signed(claims: dict[str, Any]) -> str:
        text = f"{head}.{part(claims)}"
        return f"{text}.{base64.urlsafe_b64encode(hmac.digest(key, text.encode(), 'sha256')).rstrip(b'=').decode()}"

    assert signer.read(signed(_claims(clock))) is not None
    assert signer.read(signed(_claims(clock, x="x" * 4096))) is None
    pages = PageSigner(SECRET, lambda: 0, 60)
    assert pages.read(Form.SIGN_IN, "browser", pages.sign(Form.SIGN_IN, "browser", "x" * 1000)) == "x" * 1000
    assert pages.read(Form.SIGN_IN, "browser", pages.sign(Form.SIGN_IN, "browser", "x" * MAX_LENGTH)) is None


@pytest.mark.parametrize("kilobytes", [4, 64, 1024])
async def test_cve_2025_61920_over_http(server: Server, kilobytes: int) -> None:
    """Tokens, codes and signed requests of any length are refused, not decoded."""
    huge = "e" * (kilobytes * 1024)
    assert (await server.get("/auth/v3/userinfo", f"{huge}.{huge}.{huge}")).status_code == 401
    for form in (
        {"grant_type": "authorization_code", "code": huge, "redirect_uri": CALLBACK, "code_verifier": VERIFIER},
        {"grant_type": "refresh_token", "refresh_token": huge},
    ):
        answer = await server.token(client_id="wall", **form)
        assert (answer.status_code, "access_token" in answer.json()) in {(400, False), (413, False)}
    async with server.browser() as browser:
        page = await browser.get("/auth/v3/oauth/authorize", params=ask())
        assert (await submit(browser, page, request=huge)).status_code in {400, 413}
        assert (await submit(browser, page)).status_code == 303


@pytest.mark.parametrize("where", ["jwk", "jku", "x5c", "x5u"])
async def test_cve_2026_27962_a_key_that_the_token_brings(server: Server, where: str) -> None:
    """Authlib checked a token with the key in its own header."""
    own = RSAKey.generate_key(2048)
    brought: dict[str, Any] = {
        "jwk": own.as_dict(private=False),
        "jku": "https://evil.example/jwks.json",
        "x5c": ["MIIB"],
        "x5u": "https://evil.example/cert.pem",
    }
    now = server.service.now_s()
    claims = {"iss": f"{HUB}/auth/v3", "sub": "ana", "aud": "wall", "iat": now, "exp": now + 300}
    header = {"alg": "RS256", "typ": "at+jwt", where: brought[where]}
    token = f"{part(header)}.{part(claims)}"
    signature = jwt.encode({"alg": "RS256"}, claims, own).rpartition(".")[2]
    for shown in (f"{token}.{signature}", jwt.encode({"alg": "RS256", "jwk": brought["jwk"]}, claims, own)):
        assert (await server.get("/auth/v3/userinfo", shown)).status_code == 401


ERRORS: dict[str, dict[str, str]] = {
    "response_type": {"response_type": "token"},
    "no response_type": {"response_type": ""},
    "scope": {"scope": "nonsense"},
    "no challenge": {"code_challenge": ""},
    "prompt none": {"prompt": "none"},
    "request": {"request": "e.e.e"},
    "request_uri": {"request_uri": "https://evil.example/request"},
    "response_mode": {"response_mode": "form_post"},
    "max_age": {"max_age": "soon"},
}


@pytest.mark.parametrize("wrong", ERRORS)
@pytest.mark.parametrize("who", [{"redirect_uri": EVIL}, {"client_id": "nobody", "redirect_uri": EVIL}, {"client_id": "tv"}])
async def test_cve_2026_41479_an_error_goes_to_no_address_that_is_not_registered(server: Server, wrong: str, who: dict[str, str]) -> None:
    """Authlib answered some errors by a redirect before it had looked at the redirect URI."""
    async with server.browser() as browser:
        for signed_in in (False, True):
            answer = await browser.get("/auth/v3/oauth/authorize", params=ask(**ERRORS[wrong], **who))
            assert (answer.status_code in {400, 401}, "location" in answer.headers) == (True, False)
            assert "evil.example" not in answer.text
            if not signed_in:
                await server.signed_in(browser)


@pytest.mark.parametrize("kinds", ["code token", "code id_token", "id_token", "id_token token", "none", "code code", "CODE", " code"])
async def test_cve_2026_44681_nor_do_those_of_other_response_types(server: Server, kinds: str) -> None:
    """The same fault in the hybrid flow. The registered address is told by its query, so that no fragment of an attacker's counts."""
    async with server.browser() as browser:
        bad = await browser.get("/auth/v3/oauth/authorize", params=ask(response_type=kinds, redirect_uri=EVIL))
        assert (bad.status_code, "location" in bad.headers) == (400, False)
        told = await browser.get("/auth/v3/oauth/authorize", params=ask(response_type=kinds))
        assert query_of(told)["error"] == "unsupported_response_type"
        assert "#" not in told.headers["location"]


async def test_ghsa_fg6f_75jq_6523_what_a_browser_began_no_other_goes_on_with(server: Server) -> None:
    """Authlib's client took the state of another browser. Here it is the form of consent that is sent in another browser."""
    await server.access.transactions.write(lambda tx: tx.run("UPDATE clients SET consent = 1 WHERE id = 'wall'"))
    async with server.browser() as attacker, server.browser() as victim:
        pages = [await submit(each, await each.get("/auth/v3/oauth/authorize", params=ask())) for each in (attacker, victim)]
        data = {"request": fields_of(pages[0])["request"], "answer": "allow"}
        assert (await victim.post("/auth/v3/consent", data=data)).status_code == 400
        assert "code" in query_of(await attacker.post("/auth/v3/consent", data=data))


@pytest.mark.parametrize("algorithm", ["PBES2-HS256+A128KW", "RSA-OAEP", "dir", "ECDH-ES"])
async def test_cve_2026_27932_nothing_is_decrypted(server: Server, algorithm: str) -> None:
    """joserfc counted as long as the header of an encrypted token said. The hub reads no encrypted token."""
    head = {"alg": algorithm, "enc": "A256GCM", "p2c": 2**31, "p2s": "AAAA"}
    assert (await server.get("/auth/v3/userinfo", f"{part(head)}.AA.AA.AA.AA")).status_code == 401
    async with server.browser(Cookie=f"HUB_SESSION={part(head)}.AA.AA.AA.AA") as browser:
        assert (await browser.get("/auth/v3/ping")).status_code == 403


# -- what a comparison of libraries found ---------------------------------------------------------------------------------


async def test_a_secret_in_two_places_and_a_grant_twice_are_refused(server: Server) -> None:
    """Another server accepted both."""
    shown = {"Authorization": "Basic " + base64.b64encode(f"night:{server.night_secret}".encode()).decode()}
    async with server.program(**shown) as program:
        both = await program.post("/auth/v3/oauth/token", data={"grant_type": "client_credentials", "client_secret": server.night_secret})
        twice = await program.post(
            "/auth/v3/oauth/token",
            content=b"grant_type=client_credentials&grant_type=client_credentials",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
    assert [(answer.status_code, answer.json()["error"]) for answer in (both, twice)] == [(400, "invalid_request")] * 2


@pytest.mark.parametrize("shown", ["Basic \xe9", "Basic", "Basic ::", "basic =", "Basic \x80\x81", "Negotiate AA", "Bearer x"])
async def test_an_authorization_that_makes_no_sense_is_no_fault_of_the_hub(server: Server, shown: str) -> None:
    """One with a character outside ASCII was answered 500."""
    async with server.program() as program:
        answer = await program.post(
            "/auth/v3/oauth/token",
            headers=[(b"Authorization", shown.encode("latin-1"))],
            data={"grant_type": "client_credentials", "client_id": "night"},
        )
    assert answer.status_code in {400, 401}
    assert answer.json()["error"] in {"Unauthorized", "invalid_request"}
