"""A gate that takes tokens of an external issuer: who is let in, until when, and what an administrator can do about it."""

from __future__ import annotations

import asyncio

import pytest

from hub.audit.log import Recorder
from hub.core.principal import Action
from hub.security.issuers.store import TooManyExternalTokensError
from hub.security.lookup import LookupUnavailableError
from tests.hub.security.issuers.conftest import NOW_S, World, claims, make_world, settings, sign
from tests.hub.storage.backends import Database
from tests.world import ManualClock


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
@pytest.mark.parametrize("typ", ["at+jwt", "JWT", "application/at+jwt", None])
async def test_a_token_of_each_kind_is_taken(world: World, algorithm: str, typ: str | None) -> None:
    world.issuer.add("one", algorithm)
    assert await world.who(sign(claims(), algorithm, typ=typ)) == "acme ext:corp:ana supervisor"
    assert world.external.counters.taken == 1


@pytest.mark.parametrize(
    ("more", "who"),
    [
        ({"realm_access": {"roles": ["walls", "unheard-of", 7]}}, "acme ext:corp:ana dashboard,viewer"),
        ({"realm_access": {"roles": "walls team-leads"}}, "acme ext:corp:ana dashboard,supervisor,viewer"),
        ({"realm_access": {"roles": []}}, "acme ext:corp:ana "),
        ({"realm_access": "walls"}, "acme ext:corp:ana "),
        ({"realm_access": None}, "acme ext:corp:ana "),
        ({"aud": ["account", "cx-hub"]}, "acme ext:corp:ana supervisor"),
        ({"jti": None, "iat": None}, "acme ext:corp:ana supervisor"),
        ({"exp": NOW_S + 24 * 3600}, "acme ext:corp:ana supervisor"),
        ({"exp": NOW_S + 60.5}, "acme ext:corp:ana supervisor"),
        ({"iat": NOW_S + 30, "nbf": NOW_S + 30}, "acme ext:corp:ana supervisor"),
    ],
)
async def test_claims_say_who_it_is(world: World, more: dict[str, object], who: str) -> None:
    assert await world.who(sign(claims(**more))) == who


async def test_names_of_claims_may_be_urls(world: World) -> None:
    claim = "https://centre.example.com/roles"
    gate, external = world.again(settings(roles_claim=claim, subject_claim="preferred_username", default_roles="viewer"))
    token = sign(claims(**{claim: ["walls"], "preferred_username": "ana@centre.example"}))
    principal = (await gate.from_ext({"token": token})).principal
    assert principal is not None
    assert (principal.subject, principal.roles) == ("ext:corp:ana@centre.example", {"dashboard", "viewer"})
    await external.stop()


async def test_its_roles_allow_what_the_hubs_roles_allow(world: World) -> None:
    principal = (await world.gate.from_ext({"token": sign(claims())})).principal
    assert principal is not None
    assert (await world.gate.decisions.decide(principal, Action.CALL, "/statistics/read")).allowed
    assert not (await world.gate.decisions.decide(principal, Action.CALL, "/admin/write")).allowed


async def test_a_token_that_is_known_is_looked_at_no_more(world: World) -> None:
    token = sign(claims())
    await world.who(token)
    lookups = world.gate.directory.counters.lookups
    for _ in range(100):
        assert await world.who(token) is not None
    assert world.gate.directory.counters.lookups == lookups
    assert world.external.counters.taken == 1


async def test_what_it_opened_ends_with_it(world: World) -> None:
    gone: list[bool] = []
    token = sign(claims())
    principal = (await world.gate.from_ext({"token": token})).principal
    assert principal is not None
    world.gate.on_revoked.append(lambda ended: gone.append(ended(principal)))
    await world.gate.refresh()
    assert gone == []
    world.access.clock.advance(300)
    await world.gate.refresh()
    assert gone == [True]
    assert await world.who(token) is None
    assert world.refused() == {"expired": 1}


@pytest.mark.parametrize("name", ["token-1", "ext:corp:ana"])
async def test_a_blocked_token_ends_on_every_node_and_is_not_taken_again(world: World, name: str) -> None:
    other, external = world.again()
    token = sign(claims())
    principal = (await other.from_ext({"token": token})).principal
    assert principal is not None
    await other.refresh()
    gone: list[bool] = []
    other.on_revoked.append(lambda ended: gone.append(ended(principal)))
    assert await world.block("acme", name) == 1
    await other.refresh()
    assert gone == [True]
    assert (await other.from_ext({"token": token})).principal is None
    assert external.counters.refused_blocked == 1
    assert await world.who(token) is None
    await external.stop()


async def test_a_subject_that_was_blocked_comes_back_with_a_new_token(world: World) -> None:
    await world.block("acme", "ext:corp:ana")
    clock = world.access.clock
    for later, who in ((0, None), (29, None), (60, "acme ext:corp:ana supervisor")):
        token = sign(claims(iat=NOW_S + later, exp=NOW_S + 600, jti=f"token {later}"))
        assert await world.who(token) == who
        clock.advance(30)
    assert await world.who(sign(claims(sub="bob", jti="bob's"))) == "acme ext:corp:bob supervisor"  # nobody else is concerned
    assert await world.who(sign(claims(iat=None, exp=NOW_S + 600))) is None  # nobody knows when it was issued


async def test_a_block_is_of_its_tenant_alone(world: World) -> None:
    assert await world.block("rival", "ext:corp:ana") == 0
    assert await world.who(sign(claims())) is not None


async def test_other_settings_look_at_every_token_again(world: World) -> None:
    token = sign(claims())
    assert await world.who(token) == "acme ext:corp:ana supervisor"
    gate, external = world.again(settings(roles={"team-leads": "viewer"}))
    principal = (await gate.from_ext({"token": token})).principal
    assert principal is not None
    assert principal.roles == {"viewer"}
    await external.stop()
    gate, external = world.again(settings(name="other", issuer="https://login.other.example"))
    assert (await gate.from_ext({"token": token})).principal is None
    await external.stop()


async def test_a_removed_tenant_takes_its_tokens_along(world: World) -> None:
    token = sign(claims())
    assert await world.who(token) is not None
    await world.access.store.remove_tenant("acme", force=True)
    await world.gate.refresh()
    assert await world.who(token) is None
    assert world.refused() == {"tenant": 1}


async def test_keys_that_cannot_be_had_are_no_fault_of_the_caller(world: World) -> None:
    world.issuer.fails = "no route"
    with pytest.raises(LookupUnavailableError, match="corp cannot be had: no route"):
        await world.who(sign(claims()))
    assert await world.external.trouble() == "corp: no route"
    assert world.refused() == {}


async def test_a_tenant_has_so_many_tokens_and_no_more(light_database: Database, clock: ManualClock) -> None:
    async for world in make_world(light_database, clock, max_tokens=2):
        for number in range(2):
            assert await world.who(sign(claims(jti=str(number)))) is not None
        with pytest.raises(LookupUnavailableError, match=r"auth\.max_external_tokens") as error:
            await world.who(sign(claims(jti="2")))
        assert isinstance(error.value.__cause__, TooManyExternalTokensError)
        assert world.external.counters.too_many == 1
        clock.advance(300)
        assert await world.who(sign(claims(jti="3", exp=NOW_S + 600))) is not None  # those that ended count no more


async def test_tickets_and_cookies_stand_for_external_tokens_on_any_node(world: World) -> None:
    token = sign(claims())
    principal = (await world.gate.from_ext({"token": token})).principal
    assert principal is not None
    assert await world.gate.issue_ticket(principal) is not None
    other, external = world.again()
    credential = await other.credential_of(principal)
    assert credential is not None
    assert credential.subject == "ext:corp:ana"
    await world.store.end(principal.credential.partition(":")[2], Recorder(world.access.audit))
    await other.refresh()
    assert await other.credential_of(principal) is None
    await external.stop()


async def test_tokens_of_one_sign_in_are_one_login(world: World) -> None:
    async def login(**more: str) -> str:
        principal = (await world.gate.from_ext({"token": sign(claims(**more))})).principal
        assert principal is not None
        return principal.login

    first = await login(sid="s-1", jti="1")
    assert await login(sid="s-1", jti="2") == first
    assert await login(sid="s-2", jti="3") != first
    assert await login(jti="4") != await login(jti="5")
    assert await login(sid="s-1", jti="6", sub="bob") != first


async def test_twelve_requests_at_once_note_a_token_once(world_both: World) -> None:
    token = sign(claims())
    nodes = [world_both.again() for _ in range(3)]
    found = await asyncio.gather(*(gate.from_ext({"token": token}) for gate, _ in nodes for _ in range(4)))
    assert len({each.principal.credential for each in found if each.principal is not None}) == 1
    assert all(each.principal is not None for each in found)
    assert await world_both.block("acme", "token-1") == 1
    for gate, external in nodes:
        await gate.refresh()
        assert (await gate.from_ext({"token": token})).principal is None
        await external.stop()


async def test_keys_change_while_tokens_come(world: World) -> None:
    """Every token is signed by a key that is published; none is refused, however often the keys change."""
    for number in range(8):
        kid = f"key {number}"
        world.issuer.add(kid, "EdDSA")
        if number > 1:
            del world.issuer.keys[f"key {number - 2}"]
        world.access.clock.advance(31)  # the issuer publishes a key before it signs with it
        now = int(world.access.clock.wall_ms() / 1000)
        tokens = [sign(claims(jti=f"{number} {each}", iat=now, exp=now + 600), "EdDSA", kid=kid) for each in range(20)]
        assert all(await asyncio.gather(*map(world.who, tokens)))
    assert world.refused() == {}
    assert world.issuer.fetched <= 9


async def test_a_hub_without_issuers_takes_no_such_token(world: World) -> None:
    assert (await world.access.gate.from_ext({"token": sign(claims())})).principal is None


async def test_the_audit_log_tells_of_blocks_without_a_name(world: World) -> None:
    principal = (await world.gate.from_ext({"token": sign(claims(jti="2"))})).principal
    assert principal is not None
    await world.store.end(principal.credential.partition(":")[2], Recorder(world.access.audit))
    await world.who(sign(claims()))
    await world.block("acme", "ext:corp:ana")
    told = await world.access.transactions.read(
        lambda tx: tx.rows("SELECT event, target, value_after FROM audit WHERE event IN ('token.blocked', 'token.revoked') ORDER BY number")
    )
    person = world.access.audit.person("acme", "ext:corp:ana")
    assert person.startswith("person:")
    assert told == [("token.revoked", principal.credential, None), ("token.blocked", person, '{"ended":1}')]
