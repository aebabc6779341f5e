"""The token endpoint: each grant, and each way to be refused."""

from __future__ import annotations

import asyncio
import base64

import pytest

from hub.core.principal import login_key
from hub.security.credentials import hash_secret
from hub.security.oauth.errors import OAuthError
from hub.security.oauth.models import Issued
from tests.hub.security.oauth.conftest import CALLBACK, CRM, RIVAL, VERIFIER, WALL, World


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


async def refused(world: World, *authorization: str, **parameters: str) -> OAuthError:
    with pytest.raises(OAuthError) as error:
        await world.token(*authorization, **parameters)
    return error.value


# -- who asks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shown",
    [
        {"authorization": basic("night", "old")},
        {"authorization": basic("night", "new")},
        {"authorization": basic("night", "new").replace("Basic", "bASIC")},
        {"authorization": basic("%6eight", "new")},
        {"authorization": basic("night", "new"), "client_id": "another"},
        {"client_id": "night", "client_secret": "new"},
    ],
)
async def test_a_client_is_known_by_its_secret(world: World, shown: dict[str, str]) -> None:
    form = {name: value for name, value in shown.items() if name != "authorization"}
    header = [shown["authorization"]] if "authorization" in shown else []
    assert (await world.token(*header, grant_type="client_credentials", **form)).access_token.startswith("hubt_")


@pytest.mark.parametrize(
    ("authorization", "form"),
    [
        ([basic("night", "wrong")], {}),
        ([basic("night", "")], {}),
        ([basic("nobody", "new")], {}),
        ([basic("n" * 5000, "new")], {}),
        ([basic("a%00b", "new")], {}),
        ([basic("a\x00b", "new")], {}),
        ([basic("night", "n" * 5000)], {}),
        (["Basic !!!"], {}),
        (["Basic \xe9"], {}),
        (["Basic " + base64.b64encode(b"night").decode()], {}),
        (["Basic " + base64.b64encode(b"\xff:new").decode()], {}),
        ([basic("wall", "any")], {}),
        ([], {"client_id": "night"}),
        ([], {"client_id": "night", "client_secret": "wrong"}),
        ([], {"client_id": "wall", "client_secret": "any"}),
    ],
)
async def test_a_client_that_does_not_prove_who_it_is_is_refused(world: World, authorization: list[str], form: dict[str, str]) -> None:
    error = await refused(world, *authorization, grant_type="client_credentials", **form)
    assert (error.status, error.challenge) == (401, True)
    assert error.members() == {"error": "Unauthorized", "error_description": "Bad credentials"}


@pytest.mark.parametrize(
    ("authorization", "form", "said"),
    [
        ([], {}, "client_id: expected a value, got none"),
        ([basic("night", "new")], {"client_secret": "new"}, "client_secret: expected none"),
        ([basic("night", "new")] * 2, {}, "Authorization: expected one header"),
        (["Bearer hubt_x"], {}, "Authorization: expected Basic"),
    ],
)
async def test_who_asks_in_two_ways_or_none_is_refused(world: World, authorization: list[str], form: dict[str, str], said: str) -> None:
    error = await refused(world, *authorization, grant_type="client_credentials", **form)
    assert (error.status, error.error) == (400, "invalid_request")
    assert said in error.description


async def test_a_grant_that_is_unknown_or_not_the_clients_is_refused(world: World) -> None:
    assert (await refused(world, client_id="wall")).description == "grant_type: expected a value, got none"
    unknown = await refused(world, client_id="wall", grant_type="implicit")
    assert (unknown.error, unknown.description.endswith(", got implicit")) == ("unsupported_grant_type", True)
    strange = (await refused(world, client_id="wall", grant_type='"\\é' + "x" * 1000)).description
    assert strange.endswith(f", got ???{'x' * 117}...")
    assert (await refused(world, client_id="wall", grant_type="password")).error == "unauthorized_client"
    assert (await refused(world, basic("night", "new"), grant_type="refresh_token")).error == "unauthorized_client"


# -- codes ------------------------------------------------------------------------------------------------------------


async def test_a_code_gives_tokens(world: World) -> None:
    issued = await world.redeem(await world.code(scopes=("openid", "*"), nonce="n-0S6"))
    assert issued.members() == {
        "access_token": issued.access_token,
        "token_type": "bearer",
        "expires_in": 43_200,
        "refresh_token": issued.refresh_token,
        "scope": "openid *",
        "id_token": "id.token",
    }
    assert issued.refresh_token is not None
    assert issued.refresh_token.startswith("hubr_")
    (asked,) = world.asked
    assert (asked.client.id, asked.person.name, asked.nonce, asked.access_token) == ("wall", "ana", "n-0S6", issued.access_token)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"redirect_uri": f"{CALLBACK}/"}, "redirect_uri: expected the one of the authorization request"),
        ({"code_verifier": ""}, "code_verifier: expected one"),
        ({"code_verifier": VERIFIER[:-1] + "l"}, "code_verifier: expected the one"),
        ({"code_verifier": "short"}, "code_verifier: expected the one"),
        ({"client_id": "rival-app"}, "Bad credentials"),
    ],
)
async def test_a_code_with_a_wrong_proof_is_used_up(world: World, more: dict[str, str], said: str) -> None:
    code = await world.code()
    with pytest.raises(OAuthError, match=f"invalid_grant: {said}"):
        await world.redeem(code, **more)
    with pytest.raises(OAuthError, match="invalid_grant: Bad credentials"):
        await world.redeem(code)
    assert await world.rows("families") == 0


async def test_a_verifier_without_a_challenge_is_refused(world: World) -> None:
    code = await world.code(CRM, challenge=None)
    with pytest.raises(OAuthError, match="code_verifier: expected none"):
        await world.redeem(code, "crm", client_secret="s3cret")


async def test_a_code_that_is_unknown_late_or_of_an_old_password_is_refused(world: World) -> None:
    late = await world.code(expires_ms=world.access.clock.wall_ms())
    old = await world.code(CRM, generation=-1)
    for code in ("unknown", "x" * 5000, late, old):
        with pytest.raises(OAuthError, match="invalid_grant: Bad credentials"):
            await world.redeem(code)


async def test_a_code_of_a_user_who_was_removed_is_unknown(world: World) -> None:
    code = await world.code()
    await world.access.store.remove_user("acme", "ana")
    with pytest.raises(OAuthError, match="invalid_grant"):
        await world.redeem(code)


async def test_a_code_that_comes_again_ends_what_came_of_it(world: World) -> None:
    """RFC 6749 section 4.1.2."""
    code = await world.code()
    issued = await world.redeem(code)
    assert await world.store.show(hash_secret(issued.access_token)) is not None
    with pytest.raises(OAuthError, match="invalid_grant"):
        await world.redeem(code)
    assert await world.store.show(hash_secret(issued.access_token)) is None
    assert [await world.rows(table) for table in ("families", "access_tokens", "refresh_tokens")] == [0, 0, 0]
    (newest,) = await world.access.transactions.read(lambda tx: tx.rows("SELECT kind FROM revocations ORDER BY number DESC LIMIT 1"))
    assert newest == ("family",)


async def test_of_many_redemptions_at_once_one_succeeds(world_both: World) -> None:
    code = await world_both.code()
    results = await asyncio.gather(*(world_both.redeem(code) for _ in range(12)), return_exceptions=True)
    assert sum(isinstance(result, Issued) for result in results) == 1
    assert sum(isinstance(result, OAuthError) and result.error == "invalid_grant" for result in results) == 11
    assert await world_both.rows("families") == 0  # it was used twice, so what came of it has ended


# -- refresh tokens ---------------------------------------------------------------------------------------------------


async def refresh(world: World, token: str | None, client_id: str = "wall", **more: str) -> Issued:
    assert token is not None
    return await world.token(grant_type="refresh_token", client_id=client_id, refresh_token=token, **more)


async def test_a_refresh_token_gives_the_next_ones(world: World) -> None:
    first = await world.redeem(await world.code(scopes=("openid", "*")))
    second = await refresh(world, first.refresh_token)
    assert second.scopes == ("openid", "*")
    assert len({first.access_token, second.access_token, first.refresh_token, second.refresh_token}) == 4
    third = await refresh(world, second.refresh_token, scope="openid")
    assert third.scopes == ("openid",)
    assert (await refresh(world, third.refresh_token)).scopes == ("openid", "*")


async def test_a_refresh_token_that_comes_again_ends_its_family(world_both: World) -> None:
    """RFC 9700 section 4.14.2."""
    first = await world_both.redeem(await world_both.code())
    second = await refresh(world_both, first.refresh_token)
    for token in (first.refresh_token, second.refresh_token):
        with pytest.raises(OAuthError, match="invalid_grant: Bad credentials"):
            await refresh(world_both, token)
    for access in (first.access_token, second.access_token):
        assert await world_both.store.show(hash_secret(access)) is None


async def test_of_many_refreshes_at_once_one_succeeds(world_both: World) -> None:
    first = await world_both.redeem(await world_both.code())
    results = await asyncio.gather(*(refresh(world_both, first.refresh_token) for _ in range(12)), return_exceptions=True)
    assert sum(isinstance(result, Issued) for result in results) == 1
    assert sum(isinstance(result, OAuthError) and result.error == "invalid_grant" for result in results) == 11


async def test_another_client_cannot_refresh_and_uses_the_token_up(world: World) -> None:
    first = await world.redeem(await world.code())
    with pytest.raises(OAuthError, match="invalid_grant"):
        await refresh(world, first.refresh_token, RIVAL.id)
    with pytest.raises(OAuthError, match="invalid_grant"):
        await refresh(world, first.refresh_token)
    assert await world.rows("families") == 0


async def test_a_scope_that_was_not_granted_is_refused_and_costs_nothing(world: World) -> None:
    first = await world.redeem(await world.code(scopes=("openid",)))
    with pytest.raises(OAuthError, match="invalid_scope"):
        await refresh(world, first.refresh_token, scope="*")
    assert (await refresh(world, first.refresh_token)).scopes == ("openid",)


async def test_a_refresh_token_ends_when_it_is_idle_and_its_family_at_last(world: World) -> None:
    lives = WALL.lifetimes
    idle = await world.redeem(await world.code())
    world.access.clock.advance(lives.refresh_idle_s)
    with pytest.raises(OAuthError, match="invalid_grant"):
        await refresh(world, idle.refresh_token)
    token = (await world.redeem(await world.code())).refresh_token
    for _ in range(3):
        world.access.clock.advance(lives.refresh_idle_s - 1)
        issued = await refresh(world, token)
        token = issued.refresh_token
    assert issued.expires_in == 3  # what is left of the 90 days
    world.access.clock.advance(3)
    with pytest.raises(OAuthError, match="invalid_grant"):
        await refresh(world, token)


# -- clients by themselves, and passwords -----------------------------------------------------------------------------


async def test_a_client_by_itself_gets_an_access_token_alone(world: World) -> None:
    issued = await world.token(basic("night", "new"), grant_type="client_credentials", scope="mediastorageapi.read")
    assert (issued.refresh_token, issued.id_token, issued.scopes) == (None, None, ("mediastorageapi.read",))
    found = await world.access.gate.directory.by_token(hash_secret(issued.access_token))
    assert found is not None
    assert (found.tenant, found.subject, found.roles, found.scopes) == (
        *("acme", "client:night", frozenset({"exporter"})),
        frozenset({"mediastorageapi.read"}),
    )


@pytest.mark.parametrize("scope", ["openid", "nonsense", "* nonsense", "*\\", " ".join(f"s{number}" for number in range(40))])
async def test_a_scope_that_is_unknown_or_makes_no_sense_is_refused(world: World, scope: str) -> None:
    assert (await refused(world, basic("night", "new"), grant_type="client_credentials", scope=scope)).error == "invalid_scope"


@pytest.mark.parametrize("name", ["ana", "acme\\ana"])
async def test_a_password_gives_tokens_with_the_roles_that_user_and_client_share(world: World, name: str) -> None:
    issued = await world.token(grant_type="password", client_id="old", client_secret="s3cret", username=name, password="correct horse")
    assert (issued.refresh_token, issued.scopes) == (None, ("*",))  # this client has no grant refresh_token
    found = await world.access.gate.directory.by_token(hash_secret(issued.access_token))
    assert found is not None
    assert (found.subject, found.roles, found.scopes) == ("ana", frozenset({"supervisor"}), None)


@pytest.mark.parametrize(("name", "password"), [("ana", "wrong"), ("rival\\ana", "correct horse"), ("nobody", "x"), ("\\ana", "x")])
async def test_a_wrong_name_or_password_is_refused_in_the_same_words(world: World, name: str, password: str) -> None:
    error = await refused(world, grant_type="password", client_id="old", client_secret="s3cret", username=name, password=password)
    assert (error.status, error.members()) == (400, {"error": "invalid_grant", "error_description": "Bad credentials"})


async def test_a_refreshed_token_has_the_login_of_the_old_one(world: World) -> None:
    first = await world.redeem(await world.code())
    second = await refresh(world, first.refresh_token)
    directory = world.access.gate.directory
    found = [await directory.by_token(hash_secret(issued.access_token)) for issued in (first, second)]
    logins = {each.principal().login for each in found if each is not None}
    (family,) = {each.family for each in found if each is not None}
    assert logins == {login_key("acme", "ana", f"family:{family}")}


async def test_issuing_raises_no_revision(world: World) -> None:
    await world.access.gate.refresh()
    lookup = world.access.gate.directory
    before = lookup.counters.reloads
    first = await world.redeem(await world.code())
    await refresh(world, first.refresh_token)
    await world.access.gate.refresh()
    assert lookup.counters.reloads == before


async def test_a_user_who_is_removed_meanwhile_gets_no_token(world: World) -> None:
    first = await world.redeem(await world.code())
    await world.access.store.remove_user("acme", "ana")
    with pytest.raises(OAuthError, match="invalid_grant"):
        await refresh(world, first.refresh_token)
