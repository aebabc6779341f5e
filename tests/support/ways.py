"""Every route of a running application, and callers of its tenants, for tests that ask who may do what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.routing import Route

from hub.core.principal import Principal
from hub.core.subscriber import Subscriber
from hub.node import Node


class Listener(Subscriber):
    """A session of no endpoint."""

    door = "test"
    __slots__ = ("heard",)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.heard: list[str] = []

    def flush(self) -> None:
        self.heard += [message.channel for message in self.take()]


async def headers(node: Node, role: str, tenant: str = "acme") -> dict[str, str]:
    _, token = await node.security.store.add_token(tenant, role, [role])
    await node.security.gate.refresh()
    return {"Authorization": f"Bearer {token}"}


async def principal(node: Node, role: str, tenant: str = "acme") -> Principal:
    scope = {"type": "http", "path": "/x", "query_string": b"", "headers": []}
    scope["headers"] = [(name.lower().encode(), value.encode()) for name, value in (await headers(node, role, tenant)).items()]
    found = (await node.security.gate.identify(scope)).principal
    assert found is not None
    return found


async def listener(node: Node, role: str, tenant: str = "acme") -> Listener:
    made = Listener(node.hub, f"{node.incarnation}{tenant[0]}{role}", await principal(node, role, tenant))
    node.hub.sessions.attach(made)
    return made


def operations(dependant: Dependant) -> Iterator[str]:
    """The operations that a route asks for."""
    operation = getattr(dependant.call, "operation", None)
    if operation is not None:
        yield operation
    for inner in dependant.dependencies:
        yield from operations(inner)


class Way(NamedTuple):
    """One method of one route."""

    method: str
    path: str
    operation: str | None

    @property
    def url(self) -> str:
        return re.sub(r"\{[^}]*\}", "x", self.path)

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


def every_way(node: Node) -> Iterator[Way]:
    """Every method of every route of the REST application, pages included."""
    waiting: list[Any] = list(node.rest.routes)
    while waiting:
        route = waiting.pop()
        if hasattr(route, "original_router"):  # FastAPI keeps an included router as one route
            waiting += route.original_router.routes
        elif isinstance(route, APIRoute):
            asked: list[str | None] = list(operations(route.dependant)) or [None]
            yield from (Way(method, route.path, operation) for operation in asked for method in route.methods)
        else:
            assert isinstance(route, Route), f"{route}: expected a route of a kind that this test knows"
            yield from (Way(method, route.path, None) for method in sorted((route.methods or {"ANY"}) - {"HEAD"}))
