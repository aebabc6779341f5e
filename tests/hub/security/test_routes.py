"""Signing in and out, who am I, tickets, and what REST answers to whom it does not know."""

import json
from dataclasses import replace
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends

from hub.core.limits import Limits
from hub.core.principal import Principal
from hub.http.errors import ApiError
from hub.http.permits import _allow, refusal, requires
from hub.http.routing import operations_asked
from hub.security.access import Scope
from hub.security.gate import Failure, Gate
from hub.security.tickets_memory import MemoryTickets
from hub.storage.transactions import StorageError
from tests.hub.security.conftest import Access, browser, build_app, principal_of


def headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# -- guarded operations -------------------------------------------------------------------------------------------------


async def test_a_missing_token_is_401_with_the_envelope(client: httpx.AsyncClient) -> None:
    answer = await client.get("/guarded")
    assert answer.status_code == 401
    assert answer.json() == {"status": {"code": 401, "message": "expected a credential, got none"}}
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("value", ["Bearer nope", "Basic YTpi", ""])
async def test_a_wrong_token_is_401_with_the_envelope(client: httpx.AsyncClient, value: str) -> None:
    answer = await client.get("/guarded", headers={"Authorization": value})
    assert (answer.status_code, answer.json()["status"]["code"]) == (401, 401)


async def test_an_expired_token_is_401(client: httpx.AsyncClient, access: Access) -> None:
    token = await access.token(expires_ms=access.clock.wall_ms() + 1000)
    assert (await client.get("/guarded", headers=headers(token))).status_code == 200
    access.clock.advance(1)
    assert (await client.get("/guarded", headers=headers(token))).status_code == 401


async def test_an_unknown_key_is_403_as_genesys_says_it(client: httpx.AsyncClient) -> None:
    answer = await client.get("/guarded", headers={"x-api-key": "nope"})
    assert (answer.status_code, answer.json()) == (403, {"message": "Forbidden"})


async def test_who_may_not_gets_403_with_the_envelope(client: httpx.AsyncClient, access: Access) -> None:
    answer = await client.get("/guarded", headers={"x-api-key": await access.key(role="producer")})
    assert answer.status_code == 403
    assert answer.json() == {
        "status": {
            "code": 403,
            "message": "this credential may not read values of statistics",
            "detail": {"operation": "/statistics/read", "reason": "no role of this credential allows it"},
        }
    }


async def test_who_may_is_let_in(client: httpx.AsyncClient, access: Access) -> None:
    answer = await client.get("/guarded", headers=headers(await access.token("ana")))
    assert (answer.status_code, answer.json()["subject"]) == (200, "ana")


async def test_a_key_of_another_tenant_is_403_with_the_envelope(client: httpx.AsyncClient, access: Access) -> None:
    answer = await client.get("/guarded", headers={**headers(await access.token()), "x-api-key": await access.key(tenant="rival")})
    assert (answer.status_code, answer.json()["status"]["code"]) == (403, 403)


def test_every_failure_has_an_answer() -> None:
    assert {failure.name: refusal(failure).http_status for failure in Failure} == {
        "MISSING": 401,
        "BAD_TOKEN": 401,
        "NO_SCHEME": 401,
        "UNKNOWN_KEY": 403,
        "TENANT_MISMATCH": 403,
        "BAD_TICKET": 401,
        "FOREIGN_ORIGIN": 403,
    }


def test_the_operations_that_routes_ask_for_are_found_however_deep() -> None:
    inner, outer = APIRouter(), APIRouter()

    async def helper(caller: Annotated[Principal, requires("/b/read")]) -> None:
        """Asks for an operation by itself."""

    @inner.get("/x")
    async def x(caller: Annotated[Principal, requires("/a/read")], _: Annotated[None, Depends(helper)]) -> None:
        """Asks for two."""

    @inner.get("/y")
    async def y() -> None:
        """Asks for none."""

    outer.include_router(inner)
    assert operations_asked([outer]) == operations_asked([inner]) == {"/a/read", "/b/read"}


async def test_a_database_that_does_not_answer_is_503(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(self: Gate, *_: Any, **__: Any) -> None:
        raise StorageError("the database cannot be read: gone")

    monkeypatch.setattr(Gate, "identify", fail)
    async with browser(build_app(access)) as client:
        answer = await client.get("/guarded")
    assert (answer.status_code, answer.json()["status"]["code"]) == (503, 503)


# -- signing in ---------------------------------------------------------------------------------------------------------


async def test_signing_in_with_a_token_sets_a_cookie_that_counts(client: httpx.AsyncClient, access: Access) -> None:
    token = await access.token("ana")
    answer = await client.post("/api/v1/sign-in", json={"token": token})
    assert answer.json() == {"status": {"code": 0}, "data": {"tenant": "acme", "subject": "ana", "roles": ["supervisor"]}}
    attributes = answer.headers["Set-Cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=3600"} <= set(attributes)
    assert "Secure" not in attributes
    assert (await client.get("/api/v1/me")).json() == answer.json()


async def test_sign_ins_with_tokens_are_bounded_by_tenant_and_sign_outs_are_not(access: Access) -> None:
    gate = access.make_gate(limits=Limits(token_sign_ins_per_h=2))
    mine, theirs = await access.token("ana"), await access.token("eve", tenant="rival")
    async with browser(build_app(access, gate)) as client:

        async def sign_in(token: str) -> httpx.Response:
            return await client.post("/api/v1/sign-in", json={"token": token})

        for _ in range(2):
            assert (await sign_in(mine)).status_code == 200
        refused = await sign_in(mine)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "3600")
        assert (await client.post("/api/v1/sign-out")).status_code == 200
        await gate.refresh()
        assert gate.directory.sign_ins_ended == 1
        assert (await sign_in("hubt_unknown")).status_code == 401
        assert (await sign_in(theirs)).status_code == 200
        assert gate.token_sign_ins.counters.refused == 1
        access.clock.advance(3600)
        await gate.refresh()
        assert (await sign_in(mine)).status_code == 200


async def test_the_cookie_is_secure_under_tls(access: Access) -> None:
    token = await access.token()
    transport = httpx.ASGITransport(build_app(access))
    async with httpx.AsyncClient(transport=transport, base_url="https://hub.test") as client:
        answer = await client.post("/api/v1/sign-in", json={"token": token})
    assert "Secure" in answer.headers["Set-Cookie"].split("; ")


async def test_a_user_signs_in_with_a_password(client: httpx.AsyncClient, access: Access) -> None:
    await access.store.add_user("acme", "ana", "long enough", ["dashboard"])
    answer = await client.post("/api/v1/sign-in", json={"tenant": "acme", "username": "ana", "password": "long enough"})
    assert answer.status_code == 200
    assert (await client.get("/api/v1/me")).json()["data"] == {"tenant": "acme", "subject": "ana", "roles": ["dashboard"]}


async def test_the_demos_user_signs_in(access: Access) -> None:
    async with browser(build_app(access, access.make_gate(demo=True))) as client:
        wrong = await client.post("/api/v1/sign-in", json={"tenant": "demo", "username": "demo", "password": "omed"})
        right = await client.post("/api/v1/sign-in", json={"tenant": "demo", "username": "demo", "password": "demo"})
    assert (wrong.status_code, right.status_code) == (401, 200)


@pytest.mark.parametrize(
    "body",
    [
        {"token": "nope"},
        {"token": "\ud800"},
        {"tenant": "acme", "username": "ana", "password": "wrong"},
        {"tenant": "rival", "username": "ana", "password": "long enough"},
        {"tenant": "acme", "username": "nobody", "password": "long enough"},
        {"tenant": "acme", "username": "' OR 1=1 --", "password": "long enough"},
        {"tenant": "a\x00", "username": "ana\x00", "password": "long\x00enough"},
        {"tenant": "acme", "username": "ana", "password": "\ud800"},
    ],
)
async def test_wrong_credentials_are_401_and_set_no_cookie(client: httpx.AsyncClient, access: Access, body: dict[str, str]) -> None:
    await access.store.add_user("acme", "ana", "long enough", ["dashboard"])
    answer = await client.post("/api/v1/sign-in", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 401)  # 400 where it is no text at all
    assert answer.json()["status"]["code"] == answer.status_code
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"\xff", "body"),
        (b"[]", "body"),
        (b'"x"', "body"),
        (b"{}", "body"),
        (b'{"token":1}', "token"),
        (b'{"token":""}', "token"),
        (b'{"token":["x"]}', "token"),
        (b'{"token":"x","password":"y"}', "password"),
        (b'{"tenant":"acme"}', "username"),
        (b'{"tenant":"acme","username":"ana"}', "password"),
        (b'{"username":"ana","password":"x"}', "tenant"),
        (b'{"tenant":"acme","username":"ana","password":1}', "password"),
        (b'{"token":"x","nope":1}', "nope"),
        (b'{"password":"' + b"x" * 2000 + b'"}', "password"),
    ],
)
async def test_a_body_that_is_no_sign_in_is_400_and_names_the_field(client: httpx.AsyncClient, body: bytes, field: str) -> None:
    answer = await client.post("/api/v1/sign-in", content=body, headers={"Content-Type": "application/json"})
    status = answer.json()["status"]
    assert (answer.status_code, status["code"]) == (400, 400)
    if body != b"\xff":  # that one is refused before there are fields
        assert status["detail"]["field"] == field
        # what came is told where there is something to tell: not of a field that nobody knows, and not of what is no JSON
        assert status["detail"].keys() == {"field", "expected"} | ({"got"} if body != b"{" and field != "nope" else set())


async def test_guessing_passwords_is_braked_for_that_user_alone(client: httpx.AsyncClient, access: Access) -> None:
    await access.store.add_user("acme", "ana", "long enough", ["dashboard"])
    for _ in range(Limits().sign_in_failures):
        access.gate.sign_ins.pairs.tried(("127.0.0.1", "acme\x00ana"))
    braked = await client.post("/api/v1/sign-in", json={"tenant": "acme", "username": "ana", "password": "long enough"})
    other = await client.post("/api/v1/sign-in", json={"tenant": "acme", "username": "bob", "password": "long enough"})
    assert (braked.status_code, braked.headers["Retry-After"], other.status_code) == (429, "300", 401)
    access.clock.advance(300)
    again = await client.post("/api/v1/sign-in", json={"tenant": "acme", "username": "ana", "password": "long enough"})
    assert again.status_code == 200


async def test_a_failure_counts_and_a_success_forgets(client: httpx.AsyncClient, access: Access) -> None:
    await access.store.add_user("acme", "ana", "long enough", ["dashboard"])
    for password in ("wrong", "long enough", "wrong"):
        await client.post("/api/v1/sign-in", json={"tenant": "acme", "username": "ana", "password": password})
    assert [count for _, count in access.gate.sign_ins.pairs._failures.values()] == [1]


@pytest.mark.parametrize("path", ["/api/v1/sign-in", "/api/v1/sign-out"])
async def test_pages_of_others_sign_nobody_in_or_out(client: httpx.AsyncClient, access: Access, path: str) -> None:
    answer = await client.post(path, json={"token": await access.token()}, headers={"Origin": "https://evil.test"})
    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers


async def test_pages_of_others_cannot_use_the_cookie(client: httpx.AsyncClient, access: Access) -> None:
    await client.post("/api/v1/sign-in", json={"token": await access.token()})
    answer = await client.post("/api/v1/tickets", headers={"Origin": "https://evil.test"})
    assert (answer.status_code, answer.json()["status"]["code"]) == (403, 403)


async def test_signing_out_takes_the_cookie_back(client: httpx.AsyncClient, access: Access) -> None:
    await client.post("/api/v1/sign-in", json={"token": await access.token()})
    answer = await client.post("/api/v1/sign-out")
    assert answer.json() == {"status": {"code": 0}}
    assert (await client.get("/api/v1/me")).status_code == 401


async def test_removing_the_token_ends_the_sign_in(client: httpx.AsyncClient, access: Access) -> None:
    await client.post("/api/v1/sign-in", json={"token": await access.token("ana")})
    await access.store.remove_token("ana")
    await access.gate.refresh()
    assert (await client.get("/api/v1/me")).status_code == 401


# -- tickets ------------------------------------------------------------------------------------------------------------


async def test_a_ticket_is_given_to_who_may(client: httpx.AsyncClient, access: Access) -> None:
    answer = await client.post("/api/v1/tickets", headers=headers(await access.token()))
    data = answer.json()["data"]
    assert (answer.status_code, answer.json()["status"], data["expiresIn"]) == (200, {"code": 0}, 30)
    opened = await access.gate.tickets.redeem(data["ticket"], ("/ws", b""))
    assert opened is not None
    assert opened.principal.subject == "ana"


async def test_no_ticket_is_given_to_who_may_not(client: httpx.AsyncClient, access: Access) -> None:
    assert (await client.post("/api/v1/tickets")).status_code == 401
    assert (await client.post("/api/v1/tickets", headers={"x-api-key": await access.key()})).status_code == 403


async def test_too_many_tickets_are_429(client: httpx.AsyncClient, access: Access) -> None:
    access.gate.tickets = MemoryTickets(access.clock, Limits(max_tickets=0))
    answer = await client.post("/api/v1/tickets", headers=headers(await access.token()))
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "30")


async def test_a_ticket_does_not_open_rest(client: httpx.AsyncClient, access: Access) -> None:
    ticket = (await client.post("/api/v1/tickets", headers=headers(await access.token()))).json()["data"]["ticket"]
    assert (await client.get(f"/api/v1/me?ticket={ticket}")).status_code == 401


async def test_a_token_whose_scopes_do_not_reach_is_told_so(access: Access) -> None:
    """RFC 6750 section 3.1; where the roles do not allow it either, other scopes would not help."""
    gate = access.make_gate(scopes={"few": Scope("few", ())})
    limited = replace(await principal_of(access, await access.token()), scopes=frozenset({"few"}))
    with pytest.raises(ApiError) as refused:
        await _allow(gate, limited, "/statistics/read")
    assert refused.value.http_status == 403
    assert refused.value.headers == {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}
    assert refused.value.detail == {"operation": "/statistics/read", "reason": "the scopes of this token do not cover it"}
    with pytest.raises(ApiError) as refused:
        await _allow(gate, limited, "/ingest/write")
    assert refused.value.headers is None
