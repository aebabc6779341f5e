"""Who may do what: every route and every declared channel of the running application, asked for by each role, built in and of a tenant's
own, in each of two tenants. What each role may is written here by hand: a route, an operation or a channel that is new fails these tests
until it says who may.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import httpx
import pytest

from channels.families import FAMILIES
from hub.core.errors import RefusedError, WireError
from hub.core.principal import Action
from hub.node import Node
from hub.ops.settings import model_of
from hub.security.roles import SERVER_ONLY, Grant, Grants, allowed, calls, tree
from tests.support.access import ACCESS, OPERATIONS
from tests.support.access import ROLES as BUILT_IN
from tests.support.ways import every_way, headers, listener, principal
from tests.test_tenants_apart import BODIES, BY_FOLDER, SIGNED, ways_to_objects

TENANTS: Final = ("acme", "rival")

OWN: Final[dict[str, Grants]] = {
    "closed": (
        *(Grant(action, ("/**",)) for action in Action),
        Grant(Action.SUBSCRIBE, tree("/nexus/v3/interactions"), deny=True),
        Grant(Action.PUBLISH, ("/free/**",), deny=True),
        Grant(Action.CALL, ("/messaging/**", "/interactions/write", "/admin/read"), deny=True),
    ),
    "desk": (
        Grant(Action.SUBSCRIBE, ("/statistics/v3/updates", *tree("/agents/{subject}"))),
        Grant(Action.PUBLISH, ("/agents/{subject}/x",)),
        calls("/statistics/read", "/presence/read"),
    ),
}
"""Roles of the tenants' own: one that denies, and one with a variable. Who has a role is called like it."""

ROLES: Final = [*(role for role in BUILT_IN if role != "anonymous"), *OWN]

STATISTICS = {"/statistics/v3/updates", "/statistics/v3/service", "/statistics/v3/values/x"}
INTERACTIONS = {"/nexus/v3/interactions", "/nexus/v3/interactions/x"}
PRESENCE = {"/hub/presence", "/hub/presence/x"}
MESSAGES = {"/nexus/v3/channels/x"}
TYPING = {"/nexus/v3/typing/x"}
FREE = {"/free/x"}
AGENTS = {"/agents/agent/x", "/agents/desk/x", "/agents/x"}
"""Channels of subjects."""

HEARS: Final[dict[str, set[str]]] = {
    "admin": STATISTICS | INTERACTIONS | PRESENCE | MESSAGES | TYPING | FREE | AGENTS | {"/hub/operations"},
    "supervisor": STATISTICS | INTERACTIONS | PRESENCE | TYPING | FREE | AGENTS,
    "agent": STATISTICS | INTERACTIONS | FREE | {"/agents/agent/x"},
    "dashboard": STATISTICS | INTERACTIONS | FREE,
    "viewer": STATISTICS,
    "integrator": set(),
    "producer": set(),
    "closed": STATISTICS | PRESENCE | TYPING | FREE | AGENTS,
    "desk": {"/statistics/v3/updates", "/agents/desk/x"},
}
"""What each role hears of the channels that are declared, and of some that nobody declared, by their exact names."""

PUBLISHES: Final[dict[str, set[str]]] = {
    **{role: set() for role in ROLES},
    "admin": FREE | AGENTS,
    "producer": FREE | AGENTS,
    "closed": AGENTS,
    "desk": {"/agents/desk/x"},
}
"""Where each role publishes, of the same channels."""

_READERS: Final = {"admin", "supervisor", "agent", "dashboard", "viewer", "closed"}

CALLERS: Final[dict[str, set[str]]] = {
    "/statistics/read": _READERS | {"desk"},
    "/statistics/subscribe": {"admin", "supervisor", "closed"},
    "/statistics/control": {"admin", "supervisor", "closed"},
    "/ingest/write": {"admin", "integrator", "producer", "closed"},
    "/ingest/past": {"admin", "closed"},
    "/interactions/events": {"admin", "supervisor", "agent", "dashboard", "closed"},
    "/interactions/read": {"admin", "supervisor", "integrator", "producer", "closed"},
    "/interactions/write": {"admin", "integrator", "producer"},
    "/admin/read": {"admin"},
    "/admin/write": {"admin", "closed"},
    "/audit/read": {"admin", "closed"},
    **{f"/{kind}/{verb}": {"admin", "closed"} for kind in ("users", "clients", "keys") for verb in ("read", "admin")},
    "/metrics/read": {"admin", "closed"},
    "/presence/read": {"admin", "supervisor", "closed", "desk"},
    "/presence/write": {"admin", "closed"},
    "/securemail/read": {"admin", "integrator", "closed"},
    "/securemail/write": {"admin", "integrator", "closed"},
    "/securemail/reply": {"admin", "integrator", "closed"},
    "/messaging/read": {"admin", "integrator"},
    "/messaging/write": {"admin", "integrator"},
    "/messaging/admin": {"admin"},
    "/files/read": {"admin", "supervisor", "closed"},
    "/files/write": {"admin", "closed"},
    "/files/participants": {"admin", "agent", "closed"},
    "/files/chats": {"admin", "closed"},
    "/media/**": {"admin", "closed"},
    "/endpoints/read": {"admin", "closed"},
    "/endpoints/write": {"admin", "closed"},
    "/publish/write": {"admin", "producer", "closed"},
    "/tickets/write": _READERS,
}
"""Which roles may call each operation."""

ANYBODY: Final = "anybody"
ANY_CALLER: Final = "any caller with a credential"
ANOTHER: Final = "a secret of its own: a signature, a client's password, a browser's form, a participant's token"

WITHOUT_OPERATION: Final[dict[str, str]] = {
    **dict.fromkeys(("GET /livez", "GET /readyz", "GET /openapi.json", "GET /", "GET /wallboard/*", "GET /auth/v3/static/*"), ANYBODY),
    **dict.fromkeys(("GET /ingest/v1/schemas", "GET /ingest/v1/schemas/{event_type}"), ANYBODY),
    **dict.fromkeys(
        ("GET /auth/v3/.well-known/*", "GET /.well-known/oauth-authorization-server/auth/v3", "GET /auth/v3/jwks.json"), ANYBODY
    ),
    **dict.fromkeys(("POST /api/v1/sign-in", "POST /api/v1/sign-out"), ANOTHER),
    "GET /api/v1/me": ANY_CALLER,
    "* /via/v[23]/organizations/{orgId}/mediaStorage/data/*": ANY_CALLER,  # then the operation of the folder is asked for
    **dict.fromkeys(("GET /auth/v3/userinfo", "GET /auth/v3/openid/userinfo", "GET /auth/v3/jwt-userinfo"), ANY_CALLER),
    **dict.fromkeys(("POST /auth/v3/oauth/token", "POST /auth/v3/oauth/revoke", "POST /auth/v3/oauth/introspect"), ANOTHER),
    **dict.fromkeys(("GET /auth/v3/ping", "GET /auth/v3/sign-out", "POST /auth/v3/sign-out", "POST /auth/v3/change-password"), ANOTHER),
    **dict.fromkeys(("GET /auth/v3/oauth/authorize", "POST /auth/v3/oauth/authorize", "* /auth/v3/sign-in", "* /auth/v3/consent"), ANOTHER),
    **dict.fromkeys(("POST /auth/v3/oauth/device", "* /auth/v3/device", "* /auth/v3/device/answer"), ANOTHER),
    "* /nexus/v3/channels/{channelId}/*": ANOTHER,
    "POST /participant/*": ANOTHER,
    "* /nexus/v3/securemail": ANYBODY,  # says which methods there are
    "* /nexus/v3/securemail/{rest:path}": ANYBODY,
}
"""Routes that ask for no operation, and whom they let in instead."""


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    settings = model_of(FAMILIES)(data_dir=tmp_path, presence={"channels": ["/free/**"]}, replay={"channels": ["/kept/**"]})
    made = Node(settings, FAMILIES)
    async with made._lifespan(None):
        for tenant in TENANTS:
            await made.security.store.add_tenant(tenant)
            for role, grants in OWN.items():
                await made.security.store.add_role(tenant, role, grants)
        yield made


def channels(node: Node) -> set[str]:
    """A channel of each declaration, and some of none; all that is kept by a setting of the user's is free, too."""
    declared = {re.sub(r"\*+$", "x", declaration.pattern) for declaration in node.hub.registry}
    return declared - {"/kept/x"} | FREE | AGENTS


def test_every_role_has_its_expectations(node: Node) -> None:
    assert HEARS.keys() == PUBLISHES.keys() == set(ROLES)
    assert {role for roles in CALLERS.values() for role in roles} <= set(ROLES)
    assert CALLERS.keys() == OPERATIONS.keys()
    assert {channel for heard in HEARS.values() for channel in heard} == channels(node)


@pytest.mark.parametrize("tenant", TENANTS)
async def test_what_is_heard_where(node: Node, tenant: str) -> None:
    for role in ROLES:
        session = await listener(node, role, tenant)
        heard = set()
        for channel in sorted(channels(node)):
            try:
                await node.hub.subscriptions.subscribe(session, [channel])
            except RefusedError as refused:
                # that there is no such statistic is said to those who may hear statistics
                if refused.error is not WireError.SUBSCRIBE_DENIED:
                    heard.add(channel)
            else:
                heard.add(channel)
        assert heard == HEARS[role], role
        node.hub.sessions.detach(session)


@pytest.mark.parametrize("tenant", TENANTS)
async def test_who_publishes_where(node: Node, tenant: str) -> None:
    for role in ROLES:
        caller = await principal(node, role, tenant)
        may = set()
        for channel in sorted(channels(node)):
            try:
                await node.hub.publisher.check_publish(caller, channel)
            except RefusedError as refused:
                if refused.error is not WireError.PUBLISH_DENIED:
                    raise
            else:
                may.add(channel)
        assert may == PUBLISHES[role], role


@pytest.mark.parametrize(
    "pattern",
    [
        "/**",
        "/nexus/**",
        "/nexus/v3/**",
        "/nexus/v3/interactions/*",
        "/nexus/v3/channels/**",
        "/statistics/**",
        "/agents/**",
        "/agents/desk/*",
    ],
)
async def test_wildcards_bring_no_more_than_names(node: Node, pattern: str) -> None:
    names = [
        "/nexus/v3/interactions",
        "/nexus/v3/interactions/x",
        "/nexus/v3/channels/x",
        "/statistics/v3/service",
        "/free/x",
        *sorted(AGENTS),
    ]
    for role in ROLES:
        session, stranger = await listener(node, role), await listener(node, role, "rival")
        for each in (session, stranger):
            try:
                await node.hub.subscriptions.subscribe(each, [pattern], since={pattern: 0})
            except RefusedError:
                assert not allowed(OWN.get(role) or BUILT_IN[role], Action.SUBSCRIBE, pattern, role)
        for name in names:
            await node.hub.publisher.emit("acme", name, b"1")
        session.flush()
        stranger.flush()
        assert set(session.heard) <= HEARS[role], role
        assert stranger.heard == []
        if role == "admin" and pattern == "/**":
            assert set(session.heard) == set(names)
        if role == "desk" and pattern == "/agents/desk/*":
            assert set(session.heard) == {"/agents/desk/x"}
        node.hub.sessions.detach(session)
        node.hub.sessions.detach(stranger)


async def test_what_the_product_tells_needs_an_operation(node: Node) -> None:
    """Whoever declares a channel below the server's own names the operation that reads the same by REST, or says why none is needed."""
    without = {declaration.pattern for declaration in node.hub.registry if not declaration.operation}
    assert {p for p in without if any(p.startswith(f"{root}/") or p == root for root in SERVER_ONLY if not root.endswith("*"))} == {
        "/hub/presence",
        "/hub/presence/**",
    }
    assert {declaration.operation for declaration in node.hub.registry} - {""} <= OPERATIONS.keys()


async def test_families_say_without_a_hub_what_their_channels_need(node: Node) -> None:
    """`hub access explain` knows it from there."""
    assert {declaration.pattern: declaration.operation for declaration in node.hub.registry if declaration.operation} == ACCESS.heard


def test_the_guide_names_every_operation() -> None:
    guide = (Path(__file__).parent.parent / "docs" / "security.md").read_text()
    table = guide.partition("| operation for `--call` | what |")[2].partition("\n\n")[0]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(/[a-z/]+(?:\*\*)?)`", row)}
    assert named == OPERATIONS.keys()


async def test_every_route_asks_for_its_operation(node: Node) -> None:
    table = [way for way in every_way(node) if way.operation is not None]
    assert len(table) > 50
    assert {way.operation for way in table} <= OPERATIONS.keys()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(node.app), base_url="http://hub.test") as client:
        for way in table:
            assert (await client.request(way.method, way.url)).status_code == 401, way
        for tenant in TENANTS:
            for role in ROLES:
                shown = await headers(node, role, tenant)
                for way in table:
                    assert way.operation is not None
                    answer = await client.request(way.method, way.url, headers=shown)
                    denied = answer.status_code == 403 and f"may not {OPERATIONS[way.operation]}" in answer.text
                    assert denied is (role not in CALLERS[way.operation]), (tenant, role, way, answer.text)


async def test_every_other_route_says_whom_it_lets_in(node: Node) -> None:
    found = [way for way in every_way(node) if way.operation is None]
    used = set()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(node.app), base_url="http://hub.test") as client:
        for way in found:
            entries = [entry for entry in WITHOUT_OPERATION if fnmatchcase(way.name, entry)]
            assert len(entries) == 1, f"{way.name}: expected one line of WITHOUT_OPERATION, got {entries}"
            used.add(entries[0])
            if WITHOUT_OPERATION[entries[0]] == ANY_CALLER:
                assert (await client.request(way.method, way.url)).status_code == 401, way
                assert (await client.request(way.method, way.url, headers={"x-api-key": "no"})).status_code == 403, way
    assert used == WITHOUT_OPERATION.keys()


async def test_every_route_with_an_id_is_called_by_another_tenant(node: Node) -> None:
    """That is what ``tests/test_tenants_apart.py`` does, with what stands there."""
    ways = ways_to_objects(node)
    assert {way.name for way in ways} == BODIES.keys()
    by_themselves = {name for name in BODIES if f" {SIGNED}" in name or f" {BY_FOLDER}" in name}
    assert {way.name for way in ways if way.operation is None} == by_themselves
