"""What has ended is removed, in pieces; what a tenant has too much of ends."""

from __future__ import annotations

from channels.auth.retention import AuthRetention
from channels.auth.settings import AuthSettings
from tests.channels.auth.conftest import Server, database, make_server
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
        fresh = await server.tokens()
        # what stays beside the fresh ones: refresh tokens, and the token of the command line, which is its administrator's to remove
        left = {**dict.fromkeys(whole, 4), "codes": 1, "access_tokens": 1, "tokens": 1}
        assert (await job(server).trim(), await rows(server)) == (6, left)
        assert (await server.get("/auth/v3/userinfo", fresh["access_token"])).status_code == 200
        clock.advance(91 * DAY_S)
        await job(server).trim()
        assert await rows(server) == {**dict.fromkeys(whole, 0), "tokens": 1}


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
