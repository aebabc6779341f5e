"""Who may read what: every route and every declared channel of the running application, asked for by each built-in role."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from channels.families import FAMILIES
from hub.core.errors import RefusedError, WireError
from hub.core.principal import Action
from hub.core.subscriber import Subscriber
from hub.node import Node
from hub.ops.settings import model_of
from hub.security.roles import SERVER_ONLY, allowed
from tests.support.access import OPERATIONS
from tests.support.access import ROLES as BUILT_IN

ROLES = [role for role in BUILT_IN if role != "anonymous"]

STATISTICS = {"/statistics/v3/updates", "/statistics/v3/service", "/statistics/v3/values/x"}
INTERACTIONS = {"/nexus/v3/interactions", "/nexus/v3/interactions/x"}
PRESENCE = {"/hub/presence", "/hub/presence/x"}
MESSAGES = {"/nexus/v3/channels/x"}
FREE = {"/free/x"}

HEARS = {
    "admin": STATISTICS | INTERACTIONS | PRESENCE | MESSAGES | FREE | {"/hub/operations"},
    "supervisor": STATISTICS | INTERACTIONS | PRESENCE | FREE,
    "agent": STATISTICS | INTERACTIONS | FREE,
    "dashboard": STATISTICS | INTERACTIONS | FREE,
    "viewer": STATISTICS,
    "integrator": set(),
    "producer": set(),
}
"""What each role hears of the channels that are declared, and of one that nobody declared, by their exact names."""


class Listener(Subscriber):
    """A session of no endpoint."""

    door = "test"
    __slots__ = ("heard",)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.heard: list[str] = []

    def flush(self) -> None:
        self.heard += [message.channel for message in self.take()]


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    settings = model_of(FAMILIES)(data_dir=tmp_path, presence={"channels": ["/free/**"]}, replay={"channels": ["/kept/**"]})
    made = Node(settings, FAMILIES)
    async with made._lifespan(None):
        await made.security.store.add_tenant("acme")
        yield made


async def headers(node: Node, role: str) -> dict[str, str]:
    _, token = await node.security.store.add_token("acme", role, [role])
    await node.security.gate.refresh()
    return {"Authorization": f"Bearer {token}"}


async def listener(node: Node, role: str) -> Listener:
    scope = {"type": "http", "path": "/x", "query_string": b"", "headers": []}
    scope["headers"] = [(name.lower().encode(), value.encode()) for name, value in (await headers(node, role)).items()]
    principal = (await node.security.gate.identify(scope)).principal
    assert principal is not None
    made = Listener(node.hub, role, principal)
    node.hub.sessions.attach(made)
    return made


def channels(node: Node) -> set[str]:
    """A channel of each declaration, and one of none; all that is kept by a setting of the user's is free, too."""
    declared = {re.sub(r"\*+$", "x", declaration.pattern) for declaration in node.hub.registry}
    return declared - {"/kept/x"} | FREE


def operations(dependant: Dependant) -> Iterator[str]:
    """The operations that a route asks for."""
    operation = getattr(dependant.call, "operation", None)
    if operation is not None:
        yield operation
    for inner in dependant.dependencies:
        yield from operations(inner)


def routes(node: Node) -> Iterator[tuple[str, str, str]]:
    """Method, path and operation of each route that asks for one."""
    waiting: list[Any] = list(node.rest.routes)
    while waiting:
        route = waiting.pop()
        if hasattr(route, "original_router"):  # FastAPI keeps an included router as one route
            waiting += route.original_router.routes
        elif isinstance(route, APIRoute):
            for operation in operations(route.dependant):
                yield from ((method, re.sub(r"\{[^}]*\}", "x", route.path), operation) for method in route.methods)


async def test_what_is_heard_where(node: Node) -> None:
    assert HEARS.keys() == set(ROLES)
    assert {channel for heard in HEARS.values() for channel in heard} == channels(node)
    for role in ROLES:
        session = await listener(node, role)
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


@pytest.mark.parametrize(
    "pattern", ["/**", "/nexus/**", "/nexus/v3/**", "/nexus/v3/interactions/*", "/nexus/v3/channels/**", "/statistics/**"]
)
async def test_wildcards_bring_no_more_than_names(node: Node, pattern: str) -> None:
    names = ["/nexus/v3/interactions", "/nexus/v3/interactions/x", "/nexus/v3/channels/x", "/statistics/v3/service", "/free/x"]
    for role in ROLES:
        session = await listener(node, role)
        try:
            await node.hub.subscriptions.subscribe(session, [pattern], since={pattern: 0})
        except RefusedError:
            assert not allowed(BUILT_IN[role], Action.SUBSCRIBE, pattern)
        for name in names:
            await node.hub.publisher.emit("acme", name, b"1")
        session.flush()
        assert set(session.heard) <= HEARS[role], role
        if role == "admin" and pattern == "/**":
            assert set(session.heard) == set(names)
        node.hub.sessions.detach(session)


async def test_what_the_product_tells_needs_an_operation(node: Node) -> None:
    """Whoever declares a channel below the server's own names the operation that reads the same by REST, or says why none is needed."""
    without = {declaration.pattern for declaration in node.hub.registry if not declaration.operation}
    assert {p for p in without if any(p.startswith(f"{root}/") or p == root for root in SERVER_ONLY if not root.endswith("*"))} == {
        "/hub/presence",
        "/hub/presence/**",
    }
    assert {declaration.operation for declaration in node.hub.registry} - {""} <= OPERATIONS.keys()


def test_the_guide_names_every_operation() -> None:
    guide = (Path(__file__).parent.parent / "docs" / "security.md").read_text()
    table = guide.partition("| operation for `--call` | what |")[2].partition("\n\n")[0]
    named = {name for row in table.splitlines() if row.startswith("| `") for name in re.findall(r"`(/[a-z/]+)`", row.split("|")[1])}
    assert named == OPERATIONS.keys()


async def test_every_route_asks_for_its_operation(node: Node) -> None:
    table = list(routes(node))
    assert len(table) > 50
    assert {operation for _, _, operation in table} <= OPERATIONS.keys()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(node.app), base_url="http://hub.test") as client:
        for method, path, _ in table:
            assert (await client.request(method, path)).status_code == 401, (method, path)
        for role in ROLES:
            shown = await headers(node, role)
            for method, path, operation in table:
                answer = await client.request(method, path, headers=shown)
                denied = answer.status_code == 403 and f"may not {OPERATIONS[operation]}" in answer.text
                assert denied is not allowed(BUILT_IN[role], Action.CALL, operation), (role, method, path, answer.text)
