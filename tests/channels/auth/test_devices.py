"""A device without a keyboard: its calls, and the pages where its user answers."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx
import pytest

from channels.auth.retention import AuthRetention
from channels.auth.settings import AuthSettings
from hub.security.devices_store import DeviceLimits, DevicesStore
from hub.storage.transactions import StorageError
from tests.channels.auth.conftest import HUB, Server, fields_of, submit

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
QUESTION = "Does your own device show this code now"


async def start(server: Server, client_id: str = "tv", **form: str) -> httpx.Response:
    async with server.program() as device:
        return await device.post("/auth/v3/oauth/device", data={"client_id": client_id, **form})


async def poll(server: Server, codes: dict[str, Any]) -> httpx.Response:
    server.access.clock.advance(codes["interval"])
    return await server.token(grant_type=GRANT, client_id="tv", device_code=codes["device_code"])


async def ask_user(browser: httpx.AsyncClient, user_code: str) -> httpx.Response:
    """Type a code as a signed-in user; the page that follows."""
    page = await browser.get("/auth/v3/device")
    return await browser.post("/auth/v3/device", data={**fields_of(page), "user_code": user_code})


async def sign_in(browser: httpx.AsyncClient, tenant: str = "acme") -> None:
    page = await browser.get("/auth/v3/sign-in")
    assert (await submit(browser, page, tenant=tenant)).status_code == 303


async def say(browser: httpx.AsyncClient, page: httpx.Response, answer: str, **more: str) -> httpx.Response:
    return await browser.post("/auth/v3/device/answer", data={**fields_of(page), "answer": answer, **more})


async def test_a_user_types_the_code_signs_in_and_allows_the_device(server: Server) -> None:
    answer = await start(server, scope="openid *")
    codes = answer.json()
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert re.fullmatch(r"[B-DF-HJ-NP-TV-XZ]{4}-[B-DF-HJ-NP-TV-XZ]{4}", codes["user_code"])
    assert (codes["verification_uri"], codes["expires_in"], codes["interval"]) == (f"{HUB}/auth/v3/device", 600, 5)
    assert codes["verification_uri_complete"] == f"{HUB}/auth/v3/device?user_code={codes['user_code']}"
    assert (await poll(server, codes)).json()["error"] == "authorization_pending"
    async with server.browser() as browser:
        page = await browser.get(codes["verification_uri_complete"])
        assert fields_of(page)["user_code"] == codes["user_code"]
        there = await browser.post("/auth/v3/device", data=fields_of(page))
        assert there.status_code == 303
        form = await browser.get(there.headers["location"])
        assert "The television" not in form.text  # nobody learns of it before signing in
        back = await submit(browser, form, tenant="acme")
        assert back.status_code == 303
        question = await browser.get(back.headers["location"])
        assert QUESTION in question.text
        assert codes["user_code"] in question.text
        assert "The television wants to:" in question.text
        assert "acme\\ana" in question.text
        done = await say(browser, question, "allow")
        assert "Your device is connected" in done.text
    tokens = (await poll(server, codes)).json()
    assert tokens["token_type"] == "bearer"
    assert tokens["scope"] == "openid *"
    assert "id_token" in tokens
    details = await server.get("/auth/v3/userinfo", tokens["access_token"])
    assert details.json()["username"] == "acme\\ana#1"
    assert (await poll(server, codes)).json() == {"error": "invalid_grant", "error_description": "Bad credentials"}
    assert server.service.counters.devices_allowed == 1
    told = await server.access.transactions.read(lambda tx: tx.rows("SELECT event, target, client FROM audit WHERE event LIKE 'device%'"))
    assert told == [("device.allowed", "client:tv", "tv")]


async def test_a_user_denies_the_device(server: Server) -> None:
    codes = (await start(server)).json()
    async with server.browser() as browser:
        await sign_in(browser)
        done = await say(browser, await ask_user(browser, codes["user_code"].lower().replace("-", " ")), "deny")
        assert "The device is not connected" in done.text
        again = await ask_user(browser, codes["user_code"])
        assert 'role="alert"' in again.text
    refused = await poll(server, codes)
    assert (refused.status_code, refused.json()["error"]) == (400, "access_denied")


async def test_the_pages_speak_the_language_of_the_browser(server: Server) -> None:
    codes = (await start(server)).json()
    async with server.browser(**{"Accept-Language": "de"}) as browser:
        await sign_in(browser)
        page = await ask_user(browser, codes["user_code"])
        assert 'lang="de"' in page.text
        assert "Zeigt Ihr eigenes Gerät jetzt diesen Code?" in page.text
        assert "Ihr Gerät ist verbunden" in (await say(browser, page, "allow")).text


@pytest.mark.parametrize("typed", ["BCDF-GHJK", "rubbish", "", "<b>"])
async def test_a_wrong_code_shows_the_form_again(server: Server, typed: str) -> None:
    async with server.browser() as browser:
        await sign_in(browser)
        page = await ask_user(browser, typed)
        assert page.status_code == 200
        assert page.text.index('role="alert"') < page.text.index("<form")
        assert "<title>Error: " in page.text
        assert "<b>" not in page.text


async def test_codes_cannot_be_guessed(server: Server) -> None:
    codes = (await start(server)).json()
    async with server.browser() as browser:
        await sign_in(browser)
        for _ in range(10):
            assert (await ask_user(browser, "BCDF-GHJK")).status_code == 200
        locked = await ask_user(browser, codes["user_code"])
        assert locked.status_code == 429
        assert int(locked.headers["retry-after"]) > 200
        assert QUESTION not in locked.text
        server.access.clock.advance(301)
        await server.service.gate.refresh()
        assert QUESTION in (await ask_user(browser, codes["user_code"])).text
    assert (server.service.counters.user_codes_wrong, server.service.counters.user_codes_refused) == (10, 1)


async def test_the_code_of_ones_own_device_gives_no_more_guesses(server: Server) -> None:
    codes = (await start(server)).json()
    async with server.browser() as browser:
        await sign_in(browser)
        for _ in range(9):
            assert (await ask_user(browser, "BCDF-GHJK")).status_code == 200
        for _ in range(3):  # a right code is no guess, and is not counted
            page = await ask_user(browser, codes["user_code"])
            assert QUESTION in page.text
        assert "connected" in (await say(browser, page, "allow")).text
        assert (await ask_user(browser, "BCDF-GHJK")).status_code == 200
        assert (await ask_user(browser, "BCDF-GHJK")).status_code == 429


async def test_another_address_gives_no_more_guesses_and_another_user_has_their_own(server: Server) -> None:
    await server.access.store.add_user("acme", "bob", "correct horse", ["viewer"])
    codes = (await start(server)).json()
    async with server.browser() as browser:
        await sign_in(browser)
        for host in range(10):
            elsewhere = httpx.ASGITransport(server.app, client=(f"198.51.100.{host}", 4711))
            async with httpx.AsyncClient(
                transport=elsewhere, base_url=HUB, headers={"Origin": HUB}, cookies=dict(browser.cookies)
            ) as moved:
                assert (await ask_user(moved, "BCDF-GHJK")).status_code == 200
        assert (await ask_user(browser, codes["user_code"])).status_code == 429
    async with server.browser() as browser:
        assert (await submit(browser, await browser.get("/auth/v3/sign-in"), tenant="acme", username="bob")).status_code == 303
        assert QUESTION in (await ask_user(browser, codes["user_code"])).text


async def test_guesses_at_once_are_counted_before_they_are_looked_at(server: Server) -> None:
    async with server.browser() as browser:
        await sign_in(browser)
        page = fields_of(await browser.get("/auth/v3/device"))
        tries = [browser.post("/auth/v3/device", data={**page, "user_code": "BCDF-GHJK"}) for _ in range(13)]
        answers = [answer.status_code for answer in await asyncio.gather(*tries)]
    assert sorted(answers) == [200] * 10 + [429] * 3


async def test_a_code_that_nobody_could_look_up_is_no_guess(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(tenant: str, user_code: str) -> None:
        raise StorageError("the database does not answer")

    async with server.browser() as browser:
        await sign_in(browser)
        with monkeypatch.context() as broken:
            broken.setattr(DevicesStore, "find_pending", lambda _, tenant, user_code: fails(tenant, user_code))
            for _ in range(12):
                assert (await ask_user(browser, "BCDF-GHJK")).status_code == 503
        assert (await ask_user(browser, "BCDF-GHJK")).status_code == 200


async def test_a_user_of_another_tenant_is_told_what_a_wrong_code_is(server: Server) -> None:
    codes = (await start(server)).json()
    async with server.browser() as browser:
        await sign_in(browser, "rival")
        wrong, foreign = await ask_user(browser, "BCDF-GHJK"), await ask_user(browser, codes["user_code"])
    assert wrong.text.replace("BCDF-GHJK", "") == foreign.text.replace(codes["user_code"], "")


async def test_no_other_page_answers_for_a_user(server: Server) -> None:
    codes = (await start(server)).json()
    async with server.browser() as browser, server.browser() as other:
        await sign_in(browser)
        await sign_in(other)
        page = await ask_user(browser, codes["user_code"])
        foreign = await browser.post(
            "/auth/v3/device/answer", data={**fields_of(page), "answer": "allow"}, headers={"Origin": "https://evil.example"}
        )
        assert foreign.status_code == 403
        assert (
            await browser.post("/auth/v3/device", data={"user_code": "x"}, headers={"Origin": "https://evil.example"})
        ).status_code == 403
        assert (await say(other, page, "allow")).status_code == 400  # a form of another browser
        assert (await say(browser, page, "allow", request="forged")).status_code == 400
        consent = await browser.post("/auth/v3/consent", data={**fields_of(page), "answer": "allow"})
        assert consent.status_code == 400  # what is signed for one page is no use on another
    assert (await poll(server, codes)).json()["error"] == "authorization_pending"


async def test_a_form_of_the_user_who_was_signed_in_before_is_asked_again(server: Server) -> None:
    await server.access.store.add_user("acme", "bob", "correct horse", ["viewer"])
    codes = (await start(server)).json()
    async with server.browser() as browser:
        await sign_in(browser)
        page = await ask_user(browser, codes["user_code"])
        assert (await submit(browser, await browser.get("/auth/v3/sign-in"), tenant="acme", username="bob")).status_code == 303
        again = await say(browser, page, "allow")
        assert "acme\\bob" in again.text
        assert QUESTION in again.text
    assert (await poll(server, codes)).json()["error"] == "authorization_pending"


@pytest.mark.parametrize(
    ("client_id", "form", "status", "error"),
    [
        ("wall", {}, 400, "unauthorized_client"),
        ("nobody", {}, 401, "Unauthorized"),
        ("night", {}, 401, "Unauthorized"),
        ("tv", {"scope": "unheard-of"}, 400, "invalid_scope"),
        ("tv", {"client_secret": "any"}, 401, "Unauthorized"),
    ],
)
async def test_who_gets_no_codes(server: Server, client_id: str, form: dict[str, str], status: int, error: str) -> None:
    answer = await start(server, client_id, **form)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


async def test_too_many_live_codes_are_refused(server: Server) -> None:
    service = server.service
    service.devices = DevicesStore(server.access.transactions, server.access.clock.wall_ms, server.access.audit, DeviceLimits(client=1))
    assert (await start(server)).status_code == 200
    refused = await start(server)
    assert (refused.status_code, refused.json()["error"], refused.headers["retry-after"]) == (429, "slow_down", "60")
    assert "auth.max_client_device_codes" in refused.json()["error_description"]
    assert service.counters.device_codes_refused == 1


async def test_addresses_of_one_network_share_its_codes(server: Server) -> None:
    async def ask(address: str) -> int:
        transport = httpx.ASGITransport(server.app, client=(address, 4711))
        async with httpx.AsyncClient(transport=transport, base_url=HUB) as device:
            return (await device.post("/auth/v3/oauth/device", data={"client_id": "tv"})).status_code

    server.service.devices = DevicesStore(
        server.access.transactions, server.access.clock.wall_ms, server.access.audit, DeviceLimits(address=2)
    )
    assert [await ask(f"2001:db8::{host}") for host in (1, 2, 3)] == [200, 200, 429]
    assert [await ask("2001:db8:0:1::1"), await ask("192.0.2.1"), await ask("::ffff:192.0.2.1"), await ask("192.0.2.1")] == [
        200,
        200,
        200,
        429,
    ]


async def test_both_documents_name_the_endpoint(server: Server) -> None:
    async with server.program() as program:
        for path in ("/auth/v3/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/auth/v3"):
            document = (await program.get(path)).json()
            assert document["device_authorization_endpoint"] == f"{HUB}/auth/v3/oauth/device"
            assert GRANT in document["grant_types_supported"]


async def test_old_codes_are_removed(server: Server) -> None:
    codes = (await start(server)).json()
    job = AuthRetention(server.access.transactions, server.access.clock, AuthSettings(), server.service.counters)

    async def rows() -> int:
        ((number,),) = await server.access.transactions.read(lambda tx: tx.rows("SELECT count(*) FROM device_codes"))
        return int(number)

    server.access.clock.advance(601)
    await job.trim()
    assert await rows() == 1
    assert (await poll(server, codes)).json()["error"] == "expired_token"
    server.access.clock.advance(3600)
    await job.trim()
    assert await rows() == 0
    assert (await poll(server, codes)).json()["error"] == "invalid_grant"
