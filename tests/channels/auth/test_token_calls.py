"""The calls of clients over HTTP: the bodies of errors to the letter, revocation, introspection."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from channels.auth.routes_tokens import create_own_routes
from channels.auth.service import Limits
from channels.auth.settings import AuthSettings
from hub.http.fast_router import FastRouter
from hub.ops.metrics import Metrics
from hub.security.hosts import Hosts
from hub.storage.transactions import StorageError
from tests.channels.auth.conftest import CALLBACK, HUB, VERIFIER, Server, ask, query_of

BAD_CLIENT = {"error": "Unauthorized", "error_description": "Bad credentials"}
BAD_GRANT = {"error": "invalid_grant", "error_description": "Bad credentials"}


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


async def test_answers_with_tokens_are_kept_by_nobody(server: Server) -> None:
    answer = await server.token(grant_type="client_credentials", client_id="night", client_secret=server.night_secret)
    assert answer.status_code == 200
    headers = {name: answer.headers[name] for name in ("cache-control", "pragma", "content-type", "access-control-allow-origin")}
    assert headers == {
        "cache-control": "no-store",
        "pragma": "no-cache",
        "content-type": "application/json; charset=utf-8",
        "access-control-allow-origin": "*",
    }
    assert "access-control-allow-credentials" not in answer.headers


async def test_tokens_are_told_as_json_whatever_the_client_would_rather_have(server: Server) -> None:
    form = {"grant_type": "client_credentials", "client_id": "night", "client_secret": server.night_secret}
    async with server.program(Accept="application/x-www-form-urlencoded") as program:
        answer = await program.post("/auth/v3/oauth/token", data=form)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json; charset=utf-8")
    assert answer.json()["token_type"] == "bearer"


async def test_a_database_that_does_not_answer_is_told_so_and_when_to_come_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object) -> None:
        raise StorageError("the database does not answer")

    async with server.browser() as browser:
        with monkeypatch.context() as broken:
            for call in ("read", "write"):
                broken.setattr(type(server.access.transactions), call, fails)
            answer = await server.token(grant_type="client_credentials", client_id="night", client_secret=server.night_secret)
            page = await browser.get("/auth/v3/oauth/authorize", params=ask())
    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert (page.status_code, "location" in page.headers) == (503, False)
    assert int(page.headers["retry-after"]) > 0


async def test_a_bad_client_a_bad_user_and_a_bad_key_are_refused_to_the_letter(server: Server) -> None:
    async with server.program() as program:
        client = await program.post("/auth/v3/oauth/token", headers=basic("night", "wrong"), data={"grant_type": "client_credentials"})
        assert (client.status_code, client.json()) == (401, BAD_CLIENT)
        assert client.headers["www-authenticate"] == 'Basic realm="hub"'
        key = await program.post("/auth/v3/oauth/token", headers={"x-api-key": "unknown"}, data={"grant_type": "client_credentials"})
        assert (key.status_code, key.json()) == (403, {"message": "Forbidden"})
    code = await server.token(grant_type="authorization_code", client_id="wall", code="x", redirect_uri=CALLBACK, code_verifier=VERIFIER)
    assert (code.status_code, code.json()) == (400, BAD_GRANT)


async def test_an_api_key_must_be_of_the_clients_tenant(server: Server) -> None:
    own, foreign = await server.access.key(), await server.access.key(tenant="rival")
    form = {"grant_type": "client_credentials", "client_id": "night", "client_secret": server.night_secret}
    async with server.program() as program:
        answers = [
            (await program.post("/auth/v3/oauth/token", headers={"x-api-key": key}, data=form)).status_code for key in (own, foreign)
        ]
    assert answers == [200, 403]


@pytest.mark.parametrize(
    ("body", "content_type", "status", "said"),
    [
        (b"{}", "application/json", 400, "Content-Type: expected application/x-www-form-urlencoded"),
        (b"", None, 400, "Content-Type: expected application/x-www-form-urlencoded"),
        (b"grant_type=password&grant_type=password", "application/x-www-form-urlencoded", 400, "grant_type: expected one value"),
        (b"client_id=night", "application/x-www-form-urlencoded", 400, "grant_type: expected a value"),
        (b"a=" + b"x" * 9000, "application/x-www-form-urlencoded", 413, "body: expected at most 8192 bytes"),
    ],
)
async def test_what_is_no_form_is_refused_in_oauths_words(
    server: Server, body: bytes, content_type: str | None, status: int, said: str
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    async with server.program(**basic("night", server.night_secret)) as program:
        answer = await program.post("/auth/v3/oauth/token", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (status, "invalid_request")
    assert said in answer.json()["error_description"]


async def test_one_client_cannot_take_everybodys_time(server: Server) -> None:
    server.service.limits = Limits(server.access.clock, AuthSettings(token_requests_per_s=2, tenant_token_requests_per_s=3))
    form = {"grant_type": "client_credentials", "client_id": "night", "client_secret": server.night_secret}
    answers = [await server.token(**form) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert (answers[2].json()["error"], answers[2].headers["retry-after"]) == ("slow_down", "1")


async def test_who_knows_the_id_of_a_public_client_shuts_nobody_out(server: Server) -> None:
    server.service.limits = Limits(server.access.clock, AuthSettings(token_requests_per_s=2, tenant_token_requests_per_s=3))
    form = {"grant_type": "refresh_token", "client_id": "wall", "refresh_token": "x"}
    assert [(await server.token(**form)).status_code for _ in range(5)] == [400, 400, 429, 429, 429]
    async with server.browser() as honest:  # from another address
        assert (await honest.post("/auth/v3/oauth/token", data=form)).status_code == 400
    night = {"grant_type": "client_credentials", "client_id": "night", "client_secret": server.night_secret}
    assert (await server.token(**night)).status_code == 200


@pytest.mark.parametrize("path", ["/auth/v3/oauth/token", "/auth/v3/sign-in", "/auth/v3/device"])
async def test_addresses_of_one_ipv6_network_are_one(server: Server, path: str) -> None:
    server.service.limits = Limits(server.access.clock, AuthSettings(token_requests_per_s=2, pages_per_s=2))

    async def ask(address: str) -> bool:
        transport = httpx.ASGITransport(server.app, client=(address, 4711))
        async with httpx.AsyncClient(transport=transport, base_url=HUB) as client:
            if path.endswith("/token"):
                answer = await client.post(path, data={"grant_type": "refresh_token", "client_id": "wall", "refresh_token": "x"})
            else:
                answer = await client.get(path)
        return answer.status_code != 429

    assert [await ask(f"2001:db8::{host}") for host in (1, 2, 3)] == [True, True, False]
    assert await ask("2001:db8:0:1::1")
    assert [await ask(address) for address in ("192.0.2.9", "::ffff:192.0.2.9", "192.0.2.9")] == [True, True, False]


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_revoking_either_token_ends_both(server: Server, kind: str) -> None:
    tokens = await server.tokens()
    async with server.program() as program:
        answer = await program.post("/auth/v3/oauth/revoke", data={"client_id": "wall", "token": tokens[kind], "token_type_hint": kind})
        assert (answer.status_code, answer.json()) == (200, {})
        await server.service.gate.refresh()
        assert (await server.get("/auth/v3/userinfo", tokens["access_token"])).status_code == 401
        again = await server.token(grant_type="refresh_token", client_id="wall", refresh_token=tokens["refresh_token"])
        assert (again.status_code, again.json()) == (400, BAD_GRANT)
        twice = await program.post("/auth/v3/oauth/revoke", data={"client_id": "wall", "token": tokens[kind]})
        assert (twice.status_code, twice.json()) == (200, {})


async def test_another_client_revokes_nothing(server: Server) -> None:
    tokens = await server.tokens()
    async with server.program(**basic("night", server.night_secret)) as program:
        assert (await program.post("/auth/v3/oauth/revoke", data={"token": tokens["access_token"]})).status_code == 200
    await server.service.gate.refresh()
    assert (await server.get("/auth/v3/userinfo", tokens["access_token"])).status_code == 200


async def test_introspection(server: Server) -> None:
    tokens = await server.tokens()
    async with server.program(**basic("night", server.night_secret)) as program:

        async def look(token: str) -> dict[str, object]:
            found: dict[str, object] = (await program.post("/auth/v3/oauth/introspect", data={"token": token})).json()
            return found

        access, refresh = await look(tokens["access_token"]), await look(tokens["refresh_token"])
        assert (access["active"], access["client_id"], access["username"], access["scope"]) == (True, "wall", "acme\\ana", "openid *")
        assert (access["token_type"], refresh["token_type"]) == ("bearer", "refresh_token")
        _, foreign = await server.access.store.add_token("rival", "ana")
        assert await look(foreign) == await look("unknown") == await look("x" * 5000) == {"active": False}
    public = await program_of_wall(server, tokens["access_token"])
    assert public == "unauthorized_client"


async def test_introspection_remembers_a_token_until_it_ends(server: Server) -> None:
    tokens = await server.tokens()
    remembered = server.service.counters
    async with server.program(**basic("night", server.night_secret)) as program:

        async def active(token: str) -> bool:
            found: bool = (await program.post("/auth/v3/oauth/introspect", data={"token": token})).json()["active"]
            return found

        assert [await active(tokens["access_token"]) for _ in range(3)] == [True] * 3
        assert (remembered.introspections_remembered, len(server.service.introspected)) == (2, 1)
        assert [await active(tokens["refresh_token"]) for _ in range(3)] == [True] * 3
        assert (remembered.introspections_remembered, len(server.service.introspected)) == (2, 1)
        async with server.program() as wall:
            form = {"client_id": "wall", "token": tokens["access_token"]}
            assert (await wall.post("/auth/v3/oauth/revoke", data=form)).status_code == 200
        assert not await active(tokens["access_token"])  # at once, on the node that ended it


async def test_introspection_forgets_what_has_ended_elsewhere_or_by_itself(server: Server) -> None:
    tokens = await server.tokens()
    async with server.program(**basic("night", server.night_secret)) as program:

        async def look(secret: str = server.night_secret) -> tuple[int, bool]:
            answer = await program.post("/auth/v3/oauth/introspect", data={"token": tokens["access_token"]}, headers=basic("night", secret))
            return answer.status_code, bool(answer.json().get("active"))

        assert await look() == await look() == (200, True)
        assert await look("wrong") == (401, False)
        server.access.clock.advance(50_000)  # longer than an access token lives
        assert await look() == (200, False)
        tokens = await server.tokens()
        assert await look() == await look() == (200, True)
        await server.access.store.remove_user("acme", "ana")  # as another process does it
        await server.service.gate.refresh()
        assert await look() == (200, False)


async def program_of_wall(server: Server, token: str) -> str:
    async with server.program() as program:
        answer = await program.post("/auth/v3/oauth/introspect", data={"client_id": "wall", "token": token})
    found: str = answer.json()["error"]
    return found


async def test_a_code_goes_to_the_client_that_asked_for_it_alone(server: Server) -> None:
    async with server.browser() as browser:
        back = await server.signed_in(browser)
    async with server.program(**basic("crm", server.crm_secret)) as program:
        form = {"grant_type": "authorization_code", "code": query_of(back)["code"], "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
        answer = await program.post("/auth/v3/oauth/token", data=form)
    assert (answer.status_code, answer.json()) == (400, BAD_GRANT)


async def test_introspection_without_the_framework_answers_the_same(server: Server) -> None:
    token = (await server.token(grant_type="client_credentials", client_id="night", client_secret=server.night_secret)).json()[
        "access_token"
    ]
    own = create_own_routes(server.service, Hosts(public_url=HUB), server.app.state.errors)
    fast = FastRouter(server.app, [], server.service.gate, Metrics(), own_routes=own)
    good = basic("night", server.night_secret)
    requests: list[dict[str, Any]] = [
        {"headers": good, "data": {"token": token}},
        {"headers": good, "data": {"token": "hubt_unknown"}},
        {"headers": good, "data": {"token": "x" * 5000}},
        {"headers": good, "data": {}},
        {"headers": good, "json": {"token": token}},
        {"headers": basic("night", "wrong"), "data": {"token": token}},
        {"headers": basic("nobody", "wrong"), "data": {"token": token}},
        {"headers": {**good, "x-api-key": "unknown"}, "data": {"token": token}},
        {"headers": {**good, "Origin": HUB}, "data": {"token": token}},
        {"data": {"client_id": "wall", "token": token}},
        {"headers": good, "data": {"token": token, "more": "x" * 100_000}},
        {"headers": good, "params": {"a": "b"}, "data": {"token": token}},
    ]
    answers: list[list[Any]] = []
    for app in (server.app, fast):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HUB) as program:
            found = [await program.post("/auth/v3/oauth/introspect", **request) for request in requests]
        dropped = {"x-request-id"}
        answers.append([(each.status_code, each.content, {k: v for k, v in each.headers.items() if k not in dropped}) for each in found])
    assert answers[0] == answers[1]
    assert [status for status, *_ in answers[0][:2]] == [200, 200]
