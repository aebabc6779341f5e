"""The calls about users: who somebody is, signing out, another password."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from hub.security.directory import Gone
from hub.security.oauth.ports import Asker
from hub.security.tickets import Opened, credential_version
from tests.channels.auth.conftest import CALLBACK, HUB, Server, ask, query_of, submit
from tests.support.cheap_secrets import cost_of

USERINFO = ["/auth/v3/userinfo", "/auth/v3/openid/userinfo", "/auth/v3/jwt-userinfo"]


async def night_token(server: Server, **more: str) -> str:
    form = {"grant_type": "client_credentials", "client_id": "night", "client_secret": server.night_secret, **more}
    found: str = (await server.token(**form)).json()["access_token"]
    return found


async def test_a_user_is_told_as_the_api_says(server: Server) -> None:
    tokens = await server.tokens()
    details = (await server.get("/auth/v3/userinfo", tokens["access_token"])).json()
    (authority,) = details.pop("authorities")
    assert authority["name"] == "supervisor"
    assert "/statistics/read" in authority["privileges"]
    assert details == {
        "cmeUserName": "ana",
        "loginName": "ana",
        "dbid": 1,
        "username": "acme\\ana#1",
        "contactCenterId": "acme",
        "environmentId": "hub",
        "properties": {},
    }


async def test_a_token_in_the_query_or_a_form_says_nothing(server: Server) -> None:
    """RFC 6750 sections 2.2 and 2.3: such tokens stand in logs and histories."""
    token = (await server.tokens())["access_token"]
    async with server.program() as program:
        for path in USERINFO:
            assert (await program.get(path, params={"access_token": token})).status_code == 401
        form = await program.post("/auth/v3/sign-out", data={"access_token": token})
    assert form.status_code == 401
    await server.service.gate.refresh()
    assert (await server.get(USERINFO[0], token)).status_code == 200


async def test_a_client_by_itself_is_no_user(server: Server) -> None:
    token = await night_token(server)
    details = (await server.get("/auth/v3/userinfo", token)).json()
    assert details["username"] == "acme\\client:night"
    assert details.keys() == {"authorities", "username", "contactCenterId", "environmentId", "properties"}
    assert (await server.get("/auth/v3/openid/userinfo", token)).status_code == 403


async def test_the_scope_openid_limits_what_is_told_and_done(server: Server) -> None:
    tokens = await server.tokens(scope="openid profile")
    info = (await server.get("/auth/v3/openid/userinfo", tokens["access_token"])).json()
    assert info.keys() == {"sub", "aud", "preferred_username"}
    caller = await server.access.gate.identify(_scope(tokens["access_token"]))
    assert caller.principal is not None
    assert caller.principal.scopes == frozenset()


async def test_a_token_without_openid_is_not_for_openid(server: Server) -> None:
    tokens = await server.tokens(scope="media:read")
    answer = await server.get("/auth/v3/openid/userinfo", tokens["access_token"])
    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


async def test_the_signed_header_can_be_checked_with_the_key_set(server: Server) -> None:
    tokens = await server.tokens()
    answer = await server.get("/auth/v3/jwt-userinfo", tokens["access_token"])
    async with server.program() as client:
        keys = KeySet.import_key_set((await client.get("/auth/v3/jwks.json")).json())
    user = jwt.decode(answer.headers["x-gws-user"], keys, algorithms=["ES256"])
    assert user.header["typ"] == "gws-user+jwt"
    assert user.claims["cmeUserName"] == "ana"
    assert user.claims["exp"] - user.claims["iat"] == 300
    identity = jwt.decode(tokens["id_token"], keys, algorithms=["RS256"])
    assert (identity.claims["aud"], identity.claims["sub"]) == ("wall", user.claims["sub"])
    assert answer.headers["access-control-expose-headers"] == "X-GWS-User"
    assert answer.json() == {"status": {"code": 0}}


@pytest.mark.parametrize("path", USERINFO)
async def test_neither_a_key_nor_a_cookie_says_who_somebody_is(server: Server, path: str) -> None:
    key = await server.access.key()
    async with server.browser() as browser, server.program() as program:
        await server.signed_in(browser)
        assert (await browser.get(path)).status_code == 401
        assert (await program.get(path, headers={"x-api-key": key})).status_code == 401
        assert (await program.get(path, headers={"Authorization": "bearer nonsense"})).status_code == 401
        unknown = await program.get(path, headers={"Authorization": "bearer nonsense", "x-api-key": "unknown"})
        assert unknown.status_code in (401, 403)


async def test_a_key_beside_a_token_must_be_known_and_of_the_tenant(server: Server) -> None:
    tokens = await server.tokens()
    own, foreign = await server.access.key(), await server.access.key(tenant="rival")
    answers = [await server.get(USERINFO[0], tokens["access_token"], **{"x-api-key": key}) for key in (own, foreign, "unknown")]
    assert [answer.status_code for answer in answers] == [200, 403, 403]
    assert answers[2].json() == {"message": "Forbidden"}


async def test_ping(server: Server) -> None:
    tokens = await server.tokens()
    key = await server.access.key()
    assert (await server.get("/auth/v3/ping", tokens["access_token"])).json() == {"status": {"code": 0}}
    async with server.browser() as browser, server.program() as program:
        assert (await browser.get("/auth/v3/ping")).status_code == 403
        await server.signed_in(browser)
        assert (await browser.get("/auth/v3/ping")).status_code == 200
        assert (await program.get("/auth/v3/ping", headers={"x-api-key": key})).status_code == 403
        assert (await program.get("/auth/v3/ping", headers={"Authorization": "bearer nonsense"})).status_code == 403


# -- signing out ------------------------------------------------------------------------------------------------------


async def test_a_token_that_is_limited_ends_itself_alone(server: Server) -> None:
    tokens = await server.tokens(scope="openid")
    async with server.program(Authorization=f"Bearer {tokens['access_token']}") as program:
        assert (await program.post("/auth/v3/sign-out", params={"global": "true"})).status_code == 403
        assert (await program.post("/auth/v3/sign-out")).status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_signing_out_ends_the_token_with_its_family(server: Server, method: str) -> None:
    tokens, other = await server.tokens(), await server.tokens()
    async with server.program(Authorization=f"Bearer {tokens['access_token']}") as program:
        assert (await program.request(method, "/auth/v3/sign-out")).json() == {"status": {"code": 0}}
    await server.access.gate.refresh()
    await server.service.gate.refresh()
    assert (await server.get(USERINFO[0], tokens["access_token"])).status_code == 401
    async with server.program(Authorization=f"Bearer {tokens['access_token']}") as program:
        assert (await program.request(method, "/auth/v3/sign-out")).status_code == 401
    again = await server.token(grant_type="refresh_token", client_id="wall", refresh_token=tokens["refresh_token"])
    assert again.json() == {"error": "invalid_grant", "error_description": "Bad credentials"}
    assert (await server.get(USERINFO[0], other["access_token"])).status_code == 200


async def test_signing_out_everywhere_ends_all_of_the_user(server: Server) -> None:
    tokens, other = await server.tokens(), await server.tokens()
    made = await server.access.store.add_token("acme", "ana")
    async with server.browser() as browser:
        await server.signed_in(browser)
        async with server.program(Authorization=f"Bearer {tokens['access_token']}") as program:
            assert (await program.post("/auth/v3/sign-out", params={"global": "true"})).status_code == 200
        await server.service.gate.refresh()
        for token in (tokens["access_token"], other["access_token"], made[1]):
            assert (await server.get(USERINFO[0], token)).status_code == 401
        assert (await browser.get("/auth/v3/ping")).status_code == 403


async def test_a_browser_signs_out_and_a_copy_of_its_cookie_is_no_use(server: Server) -> None:
    async with server.browser() as browser, server.browser() as copy, server.browser() as other:
        await server.signed_in(browser)
        await server.signed_in(other)
        copy.cookies.update(browser.cookies)
        assert (await copy.get("/auth/v3/ping")).status_code == 200
        page = await browser.post("/auth/v3/sign-out")
        assert "You are signed out" in page.text
        assert "Max-Age=0" in page.headers["set-cookie"]
        await server.service.gate.refresh()
        assert [(await each.get("/auth/v3/ping")).status_code for each in (browser, copy, other)] == [403, 403, 200]
        await server.access.transactions.write(lambda tx: tx.run("DELETE FROM revocations"))  # by hand, or by an old backup
        await server.access.store.add_tenant("new")
        await server.service.gate.refresh()
        assert [(await each.get("/auth/v3/ping")).status_code for each in (copy, other)] == [403, 200]


async def test_a_sign_in_that_ended_opens_nothing_at_a_node_that_starts_later_nor_by_a_ticket(server: Server) -> None:
    async with server.browser() as browser:
        await server.signed_in(browser)
        cookie = ("cookie", f"HUB_SESSION={browser.cookies['HUB_SESSION']}")
        caller = await server.service.gate.identify(_scope(None, cookie))
        assert caller.principal is not None
        credential = await server.service.gate.credential_of(caller.principal)
        assert credential is not None
        stream = Opened("t", caller.principal, 0, ("/ws", b""), credential_version(credential))
        assert await server.service.gate._still_holds(stream)
        await browser.post("/auth/v3/sign-out")
        late = server.access.make_gate()
        for gate in (server.service.gate, late):
            await gate.refresh()
            assert (await gate.identify(_scope(None, cookie))).principal is None
            assert not await gate._still_holds(stream)


async def test_a_link_of_another_site_signs_nobody_out(server: Server) -> None:
    async with server.browser() as browser:
        await server.signed_in(browser)
        del browser.headers["Origin"]
        page = await browser.get("/auth/v3/sign-out", headers={"Sec-Fetch-Site": "cross-site"})
        assert "Sign out?" in page.text
        assert (await browser.get("/auth/v3/ping")).status_code == 200


@pytest.mark.parametrize("sent", [{}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "cross-site"}])
@pytest.mark.parametrize("params", [{}, {"global": "true"}])
async def test_a_get_by_cookie_signs_nobody_out_without_proof_of_an_own_page(
    server: Server, sent: dict[str, str], params: dict[str, str]
) -> None:
    """Browsers send no Fetch Metadata to a host without TLS, and send the cookie with every link and redirect."""
    async with server.browser() as browser:
        await server.signed_in(browser)
        del browser.headers["Origin"]
        page = await browser.get("/auth/v3/sign-out", headers=sent, params=params)
        assert "Sign out?" in page.text
        await server.service.gate.refresh()
        assert (await browser.get("/auth/v3/ping")).status_code == 200
        assert "You are signed out" in (await browser.post("/auth/v3/sign-out", headers={"Origin": HUB})).text


@pytest.mark.parametrize("sent", [{"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "same-origin"}, {"Origin": HUB}])
async def test_a_get_by_cookie_signs_out_whoever_typed_it_or_is_on_an_own_page(server: Server, sent: dict[str, str]) -> None:
    async with server.browser() as browser:
        await server.signed_in(browser)
        del browser.headers["Origin"]
        assert "You are signed out" in (await browser.get("/auth/v3/sign-out", headers=sent)).text
        await server.service.gate.refresh()
        assert (await browser.get("/auth/v3/ping")).status_code == 403


@pytest.mark.parametrize("path", ["/auth/v3/sign-out", "/api/v1/sign-out"])
async def test_signing_out_by_cookie_ends_the_sign_in_and_not_the_token(server: Server, path: str) -> None:
    ended: list[Gone] = []
    server.service.gate.on_revoked.append(ended.append)
    made = (await server.access.store.add_token("acme", "screen", ["viewer"]))[1]
    tokens = await server.tokens()
    for token in (made, tokens["access_token"]):
        async with server.browser() as browser, server.browser() as copy, server.browser() as other:
            for each in (browser, other):
                assert (await each.post("/api/v1/sign-in", json={"token": token})).status_code == 200
            copy.cookies.update(browser.cookies)
            caller = (await server.service.gate.identify(_scope(None, ("authorization", f"Bearer {token}")))).principal
            assert caller is not None
            assert (await browser.post(path)).status_code == 200
            await server.service.gate.refresh()
            assert not any(concerns(caller) for concerns in ended)  # what others opened with the token goes on
            assert [(await each.get("/auth/v3/ping")).status_code for each in (copy, other)] == [403, 200]
            assert (await server.get("/api/v1/me", token)).status_code == 200


@pytest.mark.parametrize("path", ["/auth/v3/sign-out", "/api/v1/sign-out"])
async def test_every_way_of_signing_a_browser_out_ends_its_cookie_and_what_it_opened(server: Server, path: str) -> None:
    ended: list[Gone] = []
    server.service.gate.on_revoked.append(ended.append)
    async with server.browser() as browser, server.browser() as copy:
        await server.signed_in(browser)
        copy.cookies.update(browser.cookies)
        cookie = ("cookie", f"HUB_SESSION={browser.cookies['HUB_SESSION']}")
        caller = (await server.service.gate.identify(_scope(None, cookie))).principal
        assert caller is not None
        assert (await browser.post(path)).status_code == 200
        await server.service.gate.refresh()
        assert any(concerns(caller) for concerns in ended)
        assert (await copy.get("/api/v1/me")).status_code == 401
        assert query_of(await copy.get("/auth/v3/oauth/authorize", params=ask(prompt="none")))["error"] == "login_required"


@pytest.mark.parametrize(
    ("uri", "goes"), [(CALLBACK, True), ("https://evil.example", False), (f"{CALLBACK}/", False), ("//evil.example", False)]
)
async def test_after_signing_out_a_browser_goes_where_its_client_registered(server: Server, uri: str, goes: bool) -> None:
    tokens = await server.tokens()
    headers = {"Authorization": f"Bearer {tokens['access_token']}", "Accept": "text/html"}
    async with server.program(**headers) as program:
        answer = await program.get("/auth/v3/sign-out", params={"redirectUri": uri})
    assert (answer.status_code, answer.headers.get("location")) == ((302, uri) if goes else (200, None))


async def test_keys_that_sign_are_as_long_as_the_settings_say(server: Server) -> None:
    async with server.program() as program:
        keys = (await program.get("/auth/v3/jwks.json")).json()["keys"]
    assert (
        [len(urlsafe_b64decode(key["n"] + "==")) * 8 for key in keys if key["kty"] == "RSA"] == [2048] == [server.service.settings.rsa_bits]
    )


# -- passwords --------------------------------------------------------------------------------------------------------


async def change(server: Server, token: str | None, **data: Any) -> Any:
    headers = {} if token is None else {"Authorization": f"bearer {token}"}
    async with server.program(**headers) as program:
        content = json.dumps({"data": data, "operationId": "1"})
        return await program.post("/auth/v3/change-password", content=content, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize("name", ["acme\\ana", None])
async def test_another_password_ends_all_but_the_callers_family(server: Server, name: str | None) -> None:
    tokens, other = await server.tokens(), await server.tokens()
    token = tokens["access_token"] if name is None else None
    more = {} if name is None else {"userName": name}
    answer = await change(server, token, oldPassword="correct horse", newPassword="battery staple", **more)
    assert (answer.status_code, answer.json()) == (200, {"status": {"code": 0}})
    await server.service.gate.refresh()
    ((stored,),) = await server.access.transactions.read(lambda tx: tx.rows("SELECT password_hash FROM users WHERE tenant = 'acme'"))
    assert cost_of(stored) == cost_of(server.service.gate.passwords.nobody)
    assert (await server.get(USERINFO[0], tokens["access_token"])).status_code == (200 if name is None else 401)
    assert (await server.get(USERINFO[0], other["access_token"])).status_code == 401
    async with server.browser() as browser:
        page = await browser.get("/auth/v3/oauth/authorize", params=ask())
        assert (await submit(browser, page)).status_code == 200
        assert "code" in query_of(await submit(browser, page, password="battery staple"))


@pytest.mark.parametrize(
    "data",
    [
        {"oldPassword": "wrong", "newPassword": "battery staple"},
        {"oldPassword": "correct horse", "newPassword": "short"},
        {"oldPassword": "correct horse", "newPassword": "correct horse"},
        {"oldPassword": "correct horse", "newPassword": "battery \ud800 staple"},
        {"oldPassword": "correct horse", "newPassword": "battery staple", "userName": "acme\\bob"},
        {"oldPassword": "correct horse", "newPassword": "battery staple", "userName": "rival\\ana"},
    ],
)
async def test_a_password_that_cannot_be_changed_is_refused_in_the_apis_words(server: Server, data: dict[str, str]) -> None:
    tokens = await server.tokens()
    answer = await change(server, tokens["access_token"], **data)
    assert (answer.status_code, answer.json()["status"]["message"]) == (403, "Unable to update password")


async def test_without_a_token_the_user_must_be_named_and_tries_are_limited(server: Server) -> None:
    assert (await change(server, None, oldPassword="correct horse", newPassword="battery staple")).status_code == 403
    answers = [await change(server, None, oldPassword="wrong", newPassword="battery staple", userName="acme\\ana") for _ in range(11)]
    assert [answer.status_code for answer in answers] == [403] * 10 + [429]


async def test_many_passwords_of_one_address_keep_nobody_else_waiting(server: Server) -> None:
    hashing = server.service.gate.hashing
    while hashing.enter("127.0.0.1"):  # of a program, which checks passwords on many connections
        pass
    data = {"oldPassword": "correct horse", "newPassword": "battery staple", "userName": "acme\\ana"}
    assert (await change(server, None, **data)).status_code == 429
    async with server.browser() as browser:  # at another address
        page = await browser.get("/auth/v3/oauth/authorize", params=ask())
        assert "code" in query_of(await submit(browser, page))
    while len(hashing) < 64:
        assert hashing.enter(f"192.0.2.{len(hashing)}")
    assert not hashing.enter("203.0.113.1")
    for number in range(8, 64):
        hashing.leave(f"192.0.2.{number}")
    for _ in range(8):
        hashing.leave("127.0.0.1")
    assert (await change(server, None, **data)).status_code == 200
    assert len(hashing) == 0


async def test_a_user_who_is_removed_is_signed_out(server: Server) -> None:
    tokens = await server.tokens()
    async with server.browser() as browser:
        await server.signed_in(browser)
        await server.access.store.remove_user("acme", "ana")
        await server.service.gate.refresh()
        assert (await browser.get("/auth/v3/ping")).status_code == 403
    assert (await server.get(USERINFO[0], tokens["access_token"])).status_code == 401


# -- documents --------------------------------------------------------------------------------------------------------


async def test_both_documents_tell_where_everything_is(server: Server) -> None:
    async with server.program() as program:
        openid = (await program.get("/auth/v3/.well-known/openid-configuration")).json()
        oauth = (await program.get("/.well-known/oauth-authorization-server/auth/v3")).json()
        assert openid["issuer"] == oauth["issuer"] == f"{HUB}/auth/v3"
        assert "media:read" in openid["scopes_supported"]
        for name in ("authorization_endpoint", "jwks_uri", "userinfo_endpoint", "end_session_endpoint"):
            assert (await program.get(openid[name].removeprefix(HUB))).status_code in (200, 400, 401), name
        for name in ("token_endpoint", "revocation_endpoint", "introspection_endpoint"):
            assert (await program.post(openid[name].removeprefix(HUB))).status_code == 400, name


def _scope(token: str | None, *headers: tuple[str, str]) -> dict[str, Any]:
    shown = [("host", "hub.test"), *headers]
    if token is not None:
        shown.append(("authorization", f"Bearer {token}"))
    encoded = [(name.encode(), value.encode()) for name, value in shown]
    return {"type": "http", "method": "GET", "scheme": "https", "path": "/x", "query_string": b"", "headers": encoded}


async def test_a_token_that_has_just_ended_is_no_other_token(server: Server) -> None:
    """The node has not looked yet: it still knows the token, and its family is gone."""
    tokens = await server.tokens(scope="openid")
    caller = (await server.service.gate.identify(_scope(tokens["access_token"]))).principal
    assert caller is not None
    shown = await server.service.shown(caller)
    assert shown is not None
    assert shown.family is not None
    await server.service.store.end_family(shown.family.id, Asker("wall", "192.0.2.7"))
    assert await server.service.shown(caller) is None
    for path in USERINFO:
        assert (await server.get(path, tokens["access_token"])).status_code == 401
