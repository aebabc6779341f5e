"""What has ended is removed, in pieces; what a tenant has too much of ends."""

from __future__ import annotations

from channels.auth.retention import AuthRetention
from channels.auth.settings import AuthSettings
from hub.audit.log import Recorder
from hub.security.directory import SIGN_IN_KEPT_MS, sign_ins_kept_ms
from hub.security.issuers.mapping import identify
from tests.channels.auth.conftest import Server, database, make_server
from tests.hub.security.issuers.conftest import claims, settings
from tests.hub.storage.backends import Database
from tests.world import ManualClock

__all__ = ["database"]

DAY_S = 86_400


async def rows(server: Server) -> dict[str, int]:
    """How many rows there are of each table."""

    async def count(table: str) -> int:
        (found,) = (await server.access.transactions.read(lambda tx: tx.rows(f"SELECT count(*) FROM {table}")))[0]
        return int(found)

    return {table: await count(table) for table in ("codes", "access_tokens", "refresh_tokens", "families", "tokens")}


async def changes(server: Server) -> list[str]:
    """The kinds of the changes that are noted, the oldest first."""
    found = await server.access.transactions.read(lambda tx: tx.rows("SELECT kind FROM revocations ORDER BY number"))
    return [kind for (kind,) in found]


def job(server: Server, **settings: int) -> AuthRetention:
    return AuthRetention(server.access.transactions, server.access.clock, AuthSettings(**settings), server.service.counters)


async def test_what_has_ended_goes_and_the_rest_stays(database: Database, clock: ManualClock) -> None:
    async for server in make_server(database, clock):
        for _ in range(3):
            await server.tokens()
        await server.access.store.add_token("acme", "bob", ["viewer"], expires_ms=clock.wall_ms() + 1000)
        whole = {"codes": 3, "access_tokens": 3, "refresh_tokens": 3, "families": 3, "tokens": 1}
        assert (await job(server).trim(), await rows(server)) == (0, whole)
        clock.advance(DAY_S + 61)
        await server.service.gate.refresh()  # else what it knows is a day old, until it reads again within a second
        notes = len(await changes(server))
        fresh = await server.tokens()
        # what stays beside the fresh ones: refresh tokens, and the token of the command line, which is its administrator's to remove
        left = {**dict.fromkeys(whole, 4), "codes": 1, "access_tokens": 1, "tokens": 1}
        assert (await job(server).trim(), await rows(server)) == (6 + notes, left)
        assert (await server.get("/auth/v3/userinfo", fresh["access_token"])).status_code == 200
        clock.advance(91 * DAY_S)
        await job(server).trim()
        assert await rows(server) == {**dict.fromkeys(whole, 0), "tokens": 1}


async def test_notes_of_changes_go_after_an_hour_and_those_of_sign_ins_after_a_month(server: Server) -> None:
    """Clients make notes as often as they refresh and sign out."""
    tokens = await server.tokens()
    async with server.browser() as browser:
        await server.signed_in(browser)
        assert (await browser.post("/auth/v3/sign-out")).status_code == 200
    await server.service.gate.refresh()
    server.access.clock.advance(3000)
    await job(server).trim()
    before = await changes(server)
    assert {"new", "sign_in"} <= set(before)
    server.access.clock.advance(601)
    await job(server).trim()
    assert await changes(server) == ["sign_in"]
    await server.service.gate.refresh()
    assert (await server.get("/auth/v3/userinfo", tokens["access_token"])).status_code == 200
    assert server.service.gate.directory.counters.reloads == 0  # a node that has read them misses nothing
    server.access.clock.advance(31 * DAY_S)
    await job(server).trim()
    assert await changes(server) == []


async def test_of_too_many_families_those_end_that_are_idle(server: Server) -> None:
    made = []
    for _ in range(5):
        server.access.clock.advance(1)
        made.append(await server.tokens())
    server.access.clock.advance(1)
    again = await server.token(grant_type="refresh_token", client_id="wall", refresh_token=made[0]["refresh_token"])
    made[0] = again.json()
    assert await job(server, max_families=2).trim() == 3
    await server.service.gate.refresh()
    answers = [(await server.get("/auth/v3/userinfo", tokens["access_token"])).status_code for tokens in made]
    assert answers == [200, 401, 401, 401, 200]
    assert server.service.counters.families_dropped == 3


async def test_a_program_with_many_tokens_takes_no_place_of_users(server: Server) -> None:
    tokens = await server.tokens()
    form = {"grant_type": "client_credentials", "client_id": "night", "client_secret": server.night_secret}
    programs = [(await server.token(**form)).json()["access_token"] for _ in range(5)]
    assert await job(server, max_families=3).trim() == 3
    await server.service.gate.refresh()
    assert (await server.get("/auth/v3/userinfo", tokens["access_token"])).status_code == 200
    answers = [(await server.get("/auth/v3/userinfo", token)).status_code for token in programs]
    assert answers.count(200) == 2


async def test_external_tokens_go_when_they_end_and_blocks_a_day_later(server: Server) -> None:
    now_s = server.access.clock.wall_ms() // 1000
    recorder = Recorder(server.access.audit)

    async def left() -> list[int]:
        tables = ("external_tokens", "blocked_tokens")
        return [(await server.access.transactions.read(lambda tx, of=each: tx.rows(f"SELECT count(*) FROM {of}")))[0][0] for each in tables]

    for number, lasts_s in enumerate((60, 3600)):
        claimed = claims(jti=str(number), exp=now_s + lasts_s)
        identity = identify(claimed, settings(), str(number).encode())
        await server.service.external.admit(f"hash {number}", identity, settings(), now_s, now_s + lasts_s)
    await server.service.external.block("acme", "ext:corp:somebody-else", recorder)
    server.access.clock.advance(61)
    await job(server).trim()
    assert await left() == [1, 1]
    server.access.clock.advance(25 * 3600)
    await job(server).trim()
    assert await left() == [0, 0]


def test_ended_sign_ins_are_remembered_for_longer_than_any_cookie() -> None:
    assert sign_ins_kept_ms(12) == SIGN_IN_KEPT_MS
    longest = 24 * 366
    assert sign_ins_kept_ms(longest) > longest * 3_600_000


async def test_where_cookies_last_for_long_the_notes_of_ended_sign_ins_do(server: Server) -> None:
    kept_ms = sign_ins_kept_ms(24 * 366)
    async with server.browser() as browser:
        await server.signed_in(browser)
        assert (await browser.post("/auth/v3/sign-out")).status_code == 200
    patient = AuthRetention(server.access.transactions, server.access.clock, AuthSettings(), server.service.counters, kept_ms)
    server.access.clock.advance(32 * DAY_S)
    await patient.trim()
    assert await changes(server) == ["sign_in"]
    server.access.clock.advance(kept_ms / 1000)
    await patient.trim()
    assert await changes(server) == []
