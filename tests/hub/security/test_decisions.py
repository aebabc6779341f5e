"""The one decision function: what it answers, why, and what it remembers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from hub.core.decision import Decision, Reason
from hub.core.limits import Limits
from hub.core.principal import Action, Principal
from hub.security.access import Scope
from hub.security.decision_cache import DecisionCache
from hub.security.decisions import Decisions
from hub.security.roles import Grant, Grants, calls, judge, tree
from tests.hub.security.conftest import Access, may, principal_of

SUBSCRIBE, PUBLISH, CALL = Action.SUBSCRIBE, Action.PUBLISH, Action.CALL


class Roles:
    """A directory of roles that the test says."""

    def __init__(self, roles: Mapping[str, Grants]) -> None:
        self.roles = dict(roles)
        self.grants_generation = 0
        self.change_after: dict[str, Grants] = {}

    async def grants(self, tenant: str, roles: frozenset[str]) -> Grants:
        (role,) = roles
        found = self.roles.get(role, ())
        if self.change_after:
            self.roles.update(self.change_after)
            self.change_after = {}
            self.grants_generation += 1
        return found


def deciding(roles: Mapping[str, Grants], **more: Any) -> Decisions:
    directory: Any = Roles(roles)
    return Decisions(directory, **more)


def principal(
    subject: str = "ana", roles: Sequence[str] = ("wall",), tenant: str = "acme", scopes: Sequence[str] | None = None
) -> Principal:
    return Principal(tenant, subject, frozenset(roles), "l", "l", scopes=None if scopes is None else frozenset(scopes))


WALL = (
    Grant(SUBSCRIBE, ("/a/**", "/own/{subject}/**"), ("/a/secret",)),
    Grant(PUBLISH, ("/**",)),
    Grant(CALL, ("/things/**",)),
    Grant(SUBSCRIBE, ("/own/{subject}/hidden", "/a/closed/**"), deny=True),
    calls("/other/read"),
)


@pytest.mark.parametrize(
    ("action", "resource", "expected", "text"),
    [
        (SUBSCRIBE, "/a/b", Decision(True, Reason.GRANTED, "wall", "/a/**"), "role wall allows /a/**"),
        (SUBSCRIBE, "/own/ana/x", Decision(True, Reason.GRANTED, "wall", "/own/{subject}/**"), "role wall allows /own/{subject}/**"),
        (SUBSCRIBE, "/own/bob/x", Decision(False, Reason.NOT_GRANTED), "no role of this credential allows it"),
        (SUBSCRIBE, "/a/secret", Decision(False, Reason.EXCEPTED, "wall", "/a/secret"), "role wall has an exception: /a/secret"),
        (
            SUBSCRIBE,
            "/own/**",
            Decision(False, Reason.DENIED, "wall", "/own/{subject}/hidden"),
            "role wall denies /own/{subject}/hidden, whatever else allows it",
        ),
        (
            SUBSCRIBE,
            "/a/closed/x",
            Decision(False, Reason.DENIED, "wall", "/a/closed/**"),
            "role wall denies /a/closed/**, whatever else allows it",
        ),
        (
            SUBSCRIBE,
            "/a/*",
            Decision(False, Reason.NOT_WHOLLY_GRANTED, "wall", "/a/**"),
            "role wall allows a part of it only, within /a/**",
        ),
        (PUBLISH, "/free", Decision(True, Reason.GRANTED, "wall", "/**"), "role wall allows /**"),
        (PUBLISH, "/hub/x", Decision(False, Reason.SERVER_ONLY, rule="/hub/**"), "only the server publishes there: /hub/**"),
        (CALL, "/things/read", Decision(True, Reason.GRANTED, "wall", "/things/**"), "role wall allows /things/**"),
        (CALL, "/things/burn", Decision(False, Reason.UNKNOWN_OPERATION), "there is no such operation"),
        (CALL, "/more/read", Decision(False, Reason.NOT_GRANTED), "no role of this credential allows it"),
    ],
)
async def test_every_decision_has_its_reason(action: Action, resource: str, expected: Decision, text: str) -> None:
    made = deciding({"wall": WALL}, operations={"/things/read": "", "/more/read": "", "/other/read": ""})
    decision = await made.decide(principal(), action, resource)
    assert decision == expected
    assert str(decision) == text
    assert await made.decide(principal(), action, resource) is decision


async def test_the_role_that_decides_is_named() -> None:
    made = deciding({"wall": WALL, "aid": (Grant(SUBSCRIBE, ("/b/**",)),), "ban": (Grant(SUBSCRIBE, ("/b/no",), deny=True),)})
    asking = principal(roles=("wall", "aid", "ban"))
    assert (await made.decide(asking, SUBSCRIBE, "/b/x")).role == "aid"
    assert await made.decide(asking, SUBSCRIBE, "/b/no") == Decision(False, Reason.DENIED, "ban", "/b/no")


async def test_what_a_token_is_limited_to_counts_beside_its_roles() -> None:
    scopes = {"b": Scope("b", (Grant(SUBSCRIBE, ("/a/b",)),)), "own": Scope("own", (Grant(SUBSCRIBE, ("/a/{subject}",)),))}
    made = deciding({"wall": (*WALL, Grant(SUBSCRIBE, ("/a/no",), deny=True))}, scopes=scopes)
    assert (await made.decide(principal(scopes=["b"]), SUBSCRIBE, "/a/b")).allowed
    assert await made.decide(principal(scopes=["b"]), SUBSCRIBE, "/a/c") == Decision(False, Reason.OUT_OF_SCOPE)
    assert (await made.decide(principal(scopes=["own"]), SUBSCRIBE, "/a/ana")).allowed
    assert (await made.decide(principal("bob", scopes=["own"]), SUBSCRIBE, "/a/ana")).reason is Reason.OUT_OF_SCOPE
    assert (await made.decide(principal(scopes=["b"]), SUBSCRIBE, "/c")).reason is Reason.NOT_GRANTED
    assert (await made.decide(principal(scopes=["gone"]), SUBSCRIBE, "/a/b")).reason is Reason.OUT_OF_SCOPE
    assert (await made.decide(principal(scopes=[]), SUBSCRIBE, "/a/b")).reason is Reason.OUT_OF_SCOPE


async def test_an_answer_is_shared_unless_it_depends_on_the_subject() -> None:
    made = deciding({"wall": WALL})
    for subject in ("ana", "bob", "cleo"):
        assert (await made.decide(principal(subject), SUBSCRIBE, "/a/b")).allowed
    assert (len(made), made.counters.made) == (1, 1)
    for subject in ("ana", "bob", "cleo", "ana"):
        assert (await made.decide(principal(subject), SUBSCRIBE, "/own/ana/x")).allowed is (subject == "ana")
    assert (len(made), made.counters.made) == (4, 4)


async def test_decisions_of_one_subject_are_not_those_of_another_tenant_role_or_scope() -> None:
    made = deciding({"wall": WALL, "none": ()})
    ana = principal()
    assert (await made.decide(ana, SUBSCRIBE, "/own/ana/x")).allowed
    for other in (replace(ana, subject="bob"), replace(ana, roles=frozenset({"none"})), replace(ana, scopes=frozenset())):
        assert not (await made.decide(other, SUBSCRIBE, "/own/ana/x")).allowed
    assert not (await made.decide(ana, PUBLISH, "/hub/x")).allowed
    assert (await made.decide(replace(ana, tenant="rival"), SUBSCRIBE, "/own/ana/x")).allowed  # it has the same roles here


async def test_roles_that_change_while_they_are_read_are_read_again() -> None:
    directory = Roles({"one": (), "two": (Grant(SUBSCRIBE, ("/a",)),)})
    directory.change_after = {"one": (Grant(SUBSCRIBE, ("/a",), deny=True),)}
    source: Any = directory
    assert not (await Decisions(source).decide(principal(roles=("one", "two")), SUBSCRIBE, "/a")).allowed


async def test_a_changed_role_is_decided_anew(access: Access) -> None:
    await access.store.add_role("acme", "own", [Grant(SUBSCRIBE, ("/own/{subject}/**",))])
    ana = await principal_of(access, await access.token("ana", "own"))
    assert await may(access.gate, ana, SUBSCRIBE, "/own/ana/x")
    assert not await may(access.gate, ana, SUBSCRIBE, "/own/bob/x")
    for token in await access.store.tokens():
        await access.store.remove_token(token.id)
    await access.store.remove_role("acme", "own")
    await access.gate.refresh()
    assert len(access.gate.decisions) == 0
    assert not await may(access.gate, ana, SUBSCRIBE, "/own/ana/x")


async def test_what_is_remembered_is_bounded_and_shared_between_tenants() -> None:
    made = deciding({"wall": WALL}, limits=Limits(max_decisions=100))
    for number in range(300):
        await made.decide(principal(), SUBSCRIBE, f"/a/{number}")
    assert len(made) == 100
    for number in range(30):
        await made.decide(principal(tenant="quiet"), SUBSCRIBE, f"/a/{number}")
    for number in range(1000):
        await made.decide(principal(f"agent-{number}"), SUBSCRIBE, "/own/x")
    assert len(made) == 100
    before = made.counters.made
    for number in range(30):
        await made.decide(principal(tenant="quiet"), SUBSCRIBE, f"/a/{number}")
    assert made.counters.made == before


def test_a_full_cache_takes_from_the_tenant_with_most() -> None:
    cache = DecisionCache(4)
    yes = Decision(True, Reason.GRANTED)

    def question(tenant: str, resource: str) -> tuple[str, frozenset[str], None, Action, str]:
        return (tenant, frozenset(), None, CALL, resource)

    for each in "abcd":
        cache.add(question("large", each), yes)
    cache.add(question("large", "d"), yes)
    cache.add(question("small", "a"), yes)
    cache.add(question("small", "b"), yes)
    assert [cache.get(question("large", each)) for each in "abcd"] == [None, None, yes, yes]
    cache.add(question("small", "c"), yes)  # it has its share
    assert [cache.get(question("small", each)) for each in "abc"] == [None, yes, yes]
    assert len(cache) == 4
    cache.clear()
    assert len(cache) == 0
    assert cache.get(question("large", "d")) is None


def test_a_denial_with_an_exception_for_ones_own() -> None:
    roles = {"agent": (Grant(SUBSCRIBE, ("/**",)), Grant(SUBSCRIBE, tree("/agents"), tree("/agents/{subject}"), deny=True))}
    assert judge(roles, SUBSCRIBE, "/agents/ana/x", "ana").allowed
    assert judge(roles, SUBSCRIBE, "/agents/ana/**", "ana").allowed
    assert judge(roles, SUBSCRIBE, "/agents/bob/x", "ana") == Decision(False, Reason.DENIED, "agent", "/agents/**")
    assert not judge(roles, SUBSCRIBE, "/agents/**", "ana").allowed
    assert judge(roles, SUBSCRIBE, "/other", "ana").allowed
