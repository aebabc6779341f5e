"""What families bring to access: operations, grants of the built-in roles, OAuth scopes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from hub.core.field_error import FieldError
from hub.core.principal import Action
from hub.family import Context, Family, Parts
from hub.security.access import AccessError, Scope, assemble
from hub.security.role_operations import check_called, check_denied
from hub.security.roles import BUILT_IN, SERVER_ONLY, Grant, calls, tree
from tests.support.access import ACCESS

READ = MappingProxyType({"/acme/read": "look at it"})


def family(name: str = "acme", operations: Mapping[str, str] = READ, **more: Any) -> Family:
    def build(_: Context) -> Parts:
        return Parts()

    return Family(name, build, operations=operations, **more)


def test_a_hub_without_families_has_the_roles_alone() -> None:
    access = assemble([])
    assert (dict(access.operations), dict(access.scopes)) == ({}, {})
    assert access.roles == {name: role.grants for name, role in BUILT_IN.items()}


def test_grants_of_several_families_are_gathered() -> None:
    listen = Grant(Action.SUBSCRIBE, tree("/acme"))
    first = family(grants={"viewer": (listen, calls("/acme/read"))})
    second = family("b", {"/b/read": "look at b", "/b/write": "change b"}, grants={"viewer": (calls("/b/read", "/acme/read"),)})
    access = assemble([first, second])
    assert list(access.operations) == ["/acme/read", "/b/read", "/b/write"]
    assert access.roles["viewer"] == (listen, calls("/acme/read", "/b/read"))
    assert access.roles["agent"] == BUILT_IN["agent"].grants


def test_grants_that_differ_in_more_than_patterns_stay_apart() -> None:
    denial = Grant(Action.CALL, ("/acme/read",), deny=True)
    assert assemble([family(grants={"viewer": (calls("/acme/read"), denial)})]).roles["viewer"] == (calls("/acme/read"), denial)


def test_scopes_are_registered() -> None:
    scope = Scope("Look at it", (calls("/acme/read"),))
    assert assemble([family(scopes={"acme:read": scope})]).scopes == {"acme:read": scope}


def test_operations_may_go_by_path() -> None:
    shelf = Scope("Use reports", (calls("/shelf/reports", "/shelf/reports/**"),))
    access = assemble([family(operations={"/shelf/**": "use folders"}, scopes={"shelf.reports": shelf})])
    check_called(access.operations, ["/shelf/reports", "/shelf/reports/**", "/**"], "call")
    check_denied(access.operations, ["/shelf/reports", "/shelf/secret"], "deny")
    with pytest.raises(FieldError, match="expected an operation, or a pattern that matches one"):
        check_called(access.operations, ["/shel/reports"], "call")


@pytest.mark.parametrize(
    ("families", "message"),
    [
        ([family("a"), family("b")], "family b: operation /acme/read: expected a name that no other family has"),
        (
            [family("a", scopes={"x": Scope("x", ())}), family("b", {}, scopes={"x": Scope("x", ())})],
            "family b: scope x: expected a name that no other family has",
        ),
        ([family(grants={"guest": (calls("/acme/read"),)})], "family acme: expected grants for one of admin, .*, got guest"),
        ([family(grants={"agent": (calls("/acme/write"),)})], "family acme: grants: expected operations of /acme/read; got /acme/write"),
        ([family(scopes={"x": Scope("x", (calls("/no/no"),))})], "family acme: grants: expected operations of /acme/read; got /no/no"),
    ],
)
def test_contradictions_are_refused(families: list[Family], message: str) -> None:
    with pytest.raises(AccessError, match=message):
        assemble(families)


LISTEN = Grant(Action.SUBSCRIBE, ("/**",), tree("/hub", "/meta"))

CONTRACT: dict[str, dict[tuple[Action, tuple[str, ...], bool], set[str]]] = {
    "admin": {(action, (), False): {"/**"} for action in Action},
    "supervisor": {
        (Action.SUBSCRIBE, LISTEN.without, False): {"/**"},
        (Action.SUBSCRIBE, (), False): {"/hub/presence", "/hub/presence/**"},
        (Action.CALL, (), False): {
            *("/statistics/read", "/interactions/events", "/tickets/write"),
            *("/statistics/subscribe", "/statistics/control", "/interactions/read", "/presence/read", "/files/read"),
        },
    },
    "agent": {
        (Action.SUBSCRIBE, tree("/hub", "/meta", "/agents"), False): {"/**"},
        (Action.SUBSCRIBE, (), False): {"/agents/{subject}", "/agents/{subject}/**"},
        (Action.CALL, (), False): {"/statistics/read", "/interactions/events", "/tickets/write", "/files/participants"},
    },
    "dashboard": {
        (Action.SUBSCRIBE, tree("/hub", "/meta", "/agents"), False): {"/**"},
        (Action.CALL, (), False): {"/statistics/read", "/interactions/events", "/tickets/write"},
    },
    "viewer": {
        (Action.SUBSCRIBE, (), False): {"/statistics", "/statistics/**"},
        (Action.CALL, (), False): {"/statistics/read", "/tickets/write"},
    },
    "integrator": {
        (Action.CALL, (), False): {
            *("/ingest/write", "/interactions/read", "/interactions/write", "/messaging/read", "/messaging/write"),
            *("/securemail/read", "/securemail/write", "/securemail/reply"),
        },
    },
    "producer": {
        (Action.PUBLISH, SERVER_ONLY, False): {"/**"},
        (Action.CALL, (), False): {"/ingest/write", "/interactions/read", "/interactions/write", "/publish/write"},
    },
    "anonymous": {
        (Action.SUBSCRIBE, SERVER_ONLY, False): {"/**"},
        (Action.PUBLISH, SERVER_ONLY, False): {"/**"},
    },
}
"""The built-in roles of the contract: by action, exceptions and whether it is a denial, the patterns."""


def test_the_whole_product_has_the_roles_of_the_contract() -> None:
    found = {
        role: {(grant.action, grant.without, grant.deny): set(grant.within) for grant in grants} for role, grants in ACCESS.roles.items()
    }
    assert found == CONTRACT
    assert all(len(grants) == len(found[role]) for role, grants in ACCESS.roles.items())
    assert tree("/statistics", "/nexus", "/hub", "/meta") == SERVER_ONLY


def test_the_whole_product_has_the_operations_of_the_contract() -> None:
    assert sorted(ACCESS.operations) == [
        *("/admin/read", "/admin/write", "/audit/read", "/clients/admin", "/clients/read", "/endpoints/read", "/endpoints/write"),
        *("/files/chats", "/files/participants", "/files/read", "/files/write"),
        *(
            "/ingest/past",
            "/ingest/write",
            "/interactions/events",
            "/interactions/read",
            "/interactions/write",
            "/keys/admin",
            "/keys/read",
        ),
        "/media/**",
        *("/messaging/admin", "/messaging/read", "/messaging/write", "/metrics/read", "/presence/read", "/presence/write"),
        *("/publish/write", "/securemail/read", "/securemail/reply", "/securemail/write", "/statistics/control", "/statistics/read"),
        *("/statistics/subscribe", "/tickets/write", "/users/admin", "/users/read"),
    ]
