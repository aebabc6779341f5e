"""A client that refreshes, or asks for codes, without end keeps little: older tokens end on every node, and the family lives."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hub.security.credentials import hash_secret
from hub.security.directory import SLICE_ITEMS, Gone
from hub.security.grants_bounds import GrantBounds
from hub.security.grants_store import GrantsStore
from hub.security.oauth.device import Pacing
from hub.security.oauth.errors import OAuthError
from hub.security.oauth.models import Issued
from hub.security.oauth.tokens import TokenEndpoint
from hub.storage.database import Database
from tests.hub.security.conftest import bearer, failure, principal_of
from tests.hub.security.oauth.conftest import CRM, OneUser, World, make_world
from tests.world import ManualClock

BOUNDS = GrantBounds(access_tokens=3, used_refresh_tokens=5, codes=4)


@pytest.fixture
async def bounded(database: Database, clock: ManualClock) -> AsyncIterator[World]:
    """A token endpoint with small bounds, on each backend."""
    async for world in make_world(database, clock):
        access = world.access
        world.store = GrantsStore(access.transactions, clock.wall_ms, access.audit, bounds=BOUNDS)

        async def no_id_token(request: object) -> str:
            raise AssertionError("nobody asked for the scope openid")

        world.endpoint = TokenEndpoint(world.store, OneUser(world.person), clock.wall_ms, [], no_id_token, world.devices, Pacing(5))
        yield world


async def refreshed(world: World, token: str | None) -> Issued:
    assert token is not None
    world.access.clock.advance(1)
    return await world.token(grant_type="refresh_token", client_id="wall", refresh_token=token)


async def chain(world: World, refreshes: int) -> list[Issued]:
    """The tokens of one family, refreshed so many times, the oldest first."""
    made = [await world.redeem(await world.code())]
    for _ in range(refreshes):
        made.append(await refreshed(world, made[-1].refresh_token))
    return made


async def told(world: World) -> list[Gone]:
    """What listeners are told in one refresh."""
    found: list[Gone] = []
    world.access.gate.on_revoked[:] = [found.append]
    await world.access.gate.refresh()
    return found


async def test_the_newest_access_tokens_stay_and_what_older_ones_opened_ends(bounded: World) -> None:
    made = await chain(bounded, 2)
    other = await bounded.redeem(await bounded.code(CRM), "crm", client_secret="s3cret")
    callers = [await principal_of(bounded.access, each.access_token) for each in (*made, other)]
    assert await told(bounded) == []
    made.append(await refreshed(bounded, made[-1].refresh_token))
    made.append(await refreshed(bounded, made[-1].refresh_token))
    (gone,) = await told(bounded)
    assert [gone(caller) for caller in callers] == [True, True, False, False]
    answers = [await failure(bounded.access.gate, bearer(each.access_token)) is None for each in (*made, other)]
    assert answers == [False, False, True, True, True, True]
    assert (await bounded.rows("access_tokens"), bounded.store.counters.access_tokens_ended) == (4, 2)
    assert bounded.access.gate.directory.counters.reloads == 0
    assert await told(bounded) == []


async def test_tokens_that_were_made_in_the_same_millisecond_count_too(bounded: World) -> None:
    made = await bounded.redeem(await bounded.code())
    for _ in range(6):
        assert made.refresh_token is not None
        made = await bounded.token(grant_type="refresh_token", client_id="wall", refresh_token=made.refresh_token)
        assert await bounded.store.show(hash_secret(made.access_token)) is not None  # the newest is never the one that ends
    assert await bounded.rows("access_tokens") == BOUNDS.access_tokens


async def test_tokens_that_have_run_out_go_without_a_word_to_the_nodes(bounded: World) -> None:
    made = await chain(bounded, 2)
    bounded.access.clock.advance(13 * 3600)
    await refreshed(bounded, made[-1].refresh_token)
    assert (await bounded.rows("access_tokens"), bounded.store.counters.access_tokens_ended) == (3, 0)
    found = await bounded.access.transactions.read(lambda tx: tx.rows("SELECT ref FROM revocations WHERE kind = 'access'"))
    assert found == []


async def test_of_used_refresh_tokens_the_newest_end_the_family_and_older_ones_are_unknown(bounded: World) -> None:
    made = await chain(bounded, 8)
    assert await bounded.rows("refresh_tokens") == BOUNDS.used_refresh_tokens + 1
    assert bounded.store.counters.refresh_tokens_forgotten == 3
    with pytest.raises(OAuthError, match="invalid_grant: Bad credentials"):
        await refreshed(bounded, made[2].refresh_token)
    made.append(await refreshed(bounded, made[-1].refresh_token))  # the family lives
    with pytest.raises(OAuthError, match="invalid_grant: Bad credentials"):
        await refreshed(bounded, made[4].refresh_token)
    assert await bounded.store.show(hash_secret(made[-1].access_token)) is None
    assert [await bounded.rows(table) for table in ("families", "access_tokens", "refresh_tokens")] == [0, 0, 0]


async def test_a_node_remembers_no_more_of_a_family_than_is_good(bounded: World) -> None:
    """Also not when the tokens would have ended by themselves, which is hours later."""
    directory = bounded.access.gate.directory
    made = [await bounded.redeem(await bounded.code())]
    for _ in range(SLICE_ITEMS + 20):
        await principal_of(bounded.access, made[-1].access_token)
        made.append(await refreshed(bounded, made[-1].refresh_token))
        await bounded.access.gate.refresh()
    assert len(directory._issued) <= BOUNDS.access_tokens
    assert len(directory._found) <= BOUNDS.access_tokens
    assert len(directory._expiries) <= SLICE_ITEMS + 2 * BOUNDS.access_tokens
    caller = await principal_of(bounded.access, made[-1].access_token)
    bounded.access.clock.advance(13 * 3600)
    (gone,) = await told(bounded)
    assert gone(caller)  # when it ends by itself is still known
    assert directory._issued == {}


async def test_of_the_codes_of_a_user_and_client_the_newest_stay(bounded: World) -> None:
    others = await bounded.code(CRM)
    codes = []
    for _ in range(6):
        bounded.access.clock.advance(1)
        codes.append(await bounded.code())
    assert (await bounded.rows("codes"), bounded.store.counters.codes_dropped) == (5, 2)
    with pytest.raises(OAuthError, match="invalid_grant: Bad credentials"):
        await bounded.redeem(codes[1])
    for code in codes[2:]:
        await bounded.redeem(code)
    await bounded.redeem(others, "crm", client_secret="s3cret")
    with pytest.raises(OAuthError, match="invalid_grant"):
        await bounded.redeem(codes[-1])  # a used one that is kept ends what came of it, as ever
    assert await bounded.rows("families") == 4
