import pytest

from hub.core.principal import Action
from hub.security.roles import BUILT_IN, Grant, RoleError, allowed, parse_grant
from tests.support.access import ROLES

SUBSCRIBE, PUBLISH, CALL = Action.SUBSCRIBE, Action.PUBLISH, Action.CALL


@pytest.mark.parametrize(
    ("role", "action", "resource", "expected"),
    [
        ("admin", SUBSCRIBE, "/**", True),
        ("admin", SUBSCRIBE, "/hub/operations", True),
        ("admin", PUBLISH, "/free", True),
        ("admin", CALL, "/admin/write", True),
        ("supervisor", SUBSCRIBE, "/statistics/v3/updates", True),
        ("supervisor", SUBSCRIBE, "/statistics/**", True),
        ("supervisor", SUBSCRIBE, "/nexus/v3/interactions", True),
        ("supervisor", SUBSCRIBE, "/free/*", True),
        ("supervisor", SUBSCRIBE, "/hub/operations", False),
        ("supervisor", SUBSCRIBE, "/hub", False),
        ("supervisor", SUBSCRIBE, "/**", False),
        ("supervisor", PUBLISH, "/free", False),
        ("supervisor", CALL, "/statistics/subscribe", True),
        ("supervisor", CALL, "/tickets/write", True),
        ("supervisor", CALL, "/ingest/write", False),
        ("supervisor", CALL, "/metrics/read", False),
        ("dashboard", SUBSCRIBE, "/statistics/v3/values/**", True),
        ("dashboard", PUBLISH, "/free", False),
        ("dashboard", CALL, "/statistics/read", True),
        ("dashboard", CALL, "/statistics/subscribe", False),
        ("producer", CALL, "/ingest/write", True),
        ("producer", CALL, "/ingest/past", False),
        ("producer", CALL, "/statistics/read", False),
        ("producer", PUBLISH, "/free/of/owners", True),
        ("producer", SUBSCRIBE, "/free", False),
        ("supervisor", SUBSCRIBE, "/hub/presence/free/a", True),
        ("supervisor", SUBSCRIBE, "/hub/presence/**", True),
        ("supervisor", CALL, "/presence/read", True),
        ("supervisor", CALL, "/presence/write", False),
        ("supervisor", CALL, "/statistics/control", True),
        ("supervisor", CALL, "/admin/write", False),
        ("dashboard", CALL, "/statistics/control", False),
        ("supervisor", CALL, "/interactions/events", True),
        ("supervisor", CALL, "/messaging/read", False),
        ("dashboard", CALL, "/interactions/events", True),
        ("dashboard", CALL, "/messaging/read", False),
        ("dashboard", SUBSCRIBE, "/hub/presence/**", False),
        ("agent", CALL, "/interactions/events", True),
        ("agent", CALL, "/messaging/read", False),
        ("viewer", SUBSCRIBE, "/statistics/v3/values/**", True),
        ("viewer", SUBSCRIBE, "/nexus/v3/interactions", False),
        ("viewer", CALL, "/statistics/read", True),
        ("viewer", CALL, "/interactions/events", False),
        ("integrator", SUBSCRIBE, "/free", False),
        ("integrator", CALL, "/messaging/write", True),
        ("integrator", CALL, "/messaging/admin", False),
        ("integrator", CALL, "/statistics/read", False),
        ("anonymous", SUBSCRIBE, "/free", True),
        ("anonymous", PUBLISH, "/free", True),
        ("anonymous", SUBSCRIBE, "/free/**", True),
        ("anonymous", SUBSCRIBE, "/**", False),
        ("anonymous", SUBSCRIBE, "/*", False),  # it would match /statistics, the channel
        ("anonymous", SUBSCRIBE, "/statistics", False),
        ("anonymous", SUBSCRIBE, "/statistics/v3/service", False),
        ("anonymous", SUBSCRIBE, "/statisticsx", True),
        ("anonymous", SUBSCRIBE, "/nexus/**", False),
        ("anonymous", SUBSCRIBE, "/hub/*", False),
        ("anonymous", SUBSCRIBE, "/meta/connect", False),
        ("anonymous", CALL, "/statistics/read", False),
    ],
)
def test_what_built_in_roles_allow(role: str, action: Action, resource: str, expected: bool) -> None:
    assert allowed(ROLES[role], action, resource) is expected


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "channel",
    ["/statistics", "/statistics/v3/updates", "/nexus/v3/interactions", "/hub/operations", "/meta/connect", "/**", "/statistics/*"],
)
def test_nobody_publishes_where_only_the_server_speaks(role: str, channel: str) -> None:
    assert not allowed(ROLES[role], PUBLISH, channel)


def test_nothing_is_allowed_without_a_grant() -> None:
    assert not allowed((), SUBSCRIBE, "/free")


def test_roles_add_up() -> None:
    grants = (*ROLES["dashboard"], *ROLES["producer"])
    assert allowed(grants, CALL, "/statistics/read")
    assert allowed(grants, CALL, "/ingest/write")


def test_a_pattern_that_two_grants_cover_only_together_is_denied() -> None:
    grants = (Grant(SUBSCRIBE, ("/a/b",)), Grant(SUBSCRIBE, ("/a/c",)))
    assert not allowed(grants, SUBSCRIBE, "/a/*")


def test_every_built_in_role_is_explained() -> None:
    assert ROLES.keys() == BUILT_IN.keys()
    assert all(role.summary for role in BUILT_IN.values())


def test_a_grant_survives_being_stored() -> None:
    grant = Grant(SUBSCRIBE, ("/a/**", "/b"), ("/a/secret",))
    assert parse_grant(grant.to_json()) == grant


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ("/a", True),
        ("/a/secret", False),
        ("/a/secret/b", False),
        ("/a/*", False),
        ("/**", False),
        ("/a/secret/open", True),
        ("/a/b", True),
    ],
)
def test_what_one_grant_denies_no_other_allows(resource: str, expected: bool) -> None:
    everything = Grant(SUBSCRIBE, ("/**",))
    denial = Grant(SUBSCRIBE, ("/a/secret", "/a/secret/**"), ("/a/secret/open",), deny=True)
    assert allowed((everything, denial), SUBSCRIBE, resource) is expected
    assert allowed((denial, everything), SUBSCRIBE, resource) is expected
    assert allowed((Grant(CALL, ("/**",)), denial), CALL, "/a/secret")
    assert not allowed((denial,), SUBSCRIBE, "/b")


def test_a_denial_survives_being_stored() -> None:
    denial = Grant(CALL, ("/messaging/**",), deny=True)
    assert parse_grant(denial.to_json()) == denial


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([], "grant: expected an object"),
        ({}, "grant.action: expected one of subscribe, publish, call, got None"),
        ({"action": "fly", "within": ["/a"]}, "got 'fly'"),
        ({"action": "call"}, "grant.within: expected a list of patterns, got None"),
        ({"action": "call", "within": []}, "grant.within: expected at least one pattern"),
        ({"action": "call", "within": "/a"}, "grant.within: expected a list"),
        ({"action": "call", "within": [1]}, "grant.within: expected a list"),
        ({"action": "call", "within": ["nonsense"]}, "grant.within: a channel is"),
        ({"action": "call", "within": ["/a"], "without": ["/b/**/c"]}, "grant.without"),
        (
            {"action": "call", "within": ["/a/{tenant}"]},
            "grant.within: expected the variable {subject} as a whole segment of /a/{tenant}, got",
        ),
        ({"action": "call", "within": ["/a"], "without": ["/{subject}"]}, "grant.without: expected a first segment without a variable"),
        ({"action": "call", "within": ["/a"], "deny": 1}, "grant.deny: expected true or false, got 1"),
    ],
)
def test_a_grant_that_is_none_is_refused(raw: object, message: str) -> None:
    with pytest.raises(RoleError) as caught:
        parse_grant(raw)
    assert message in str(caught.value)
