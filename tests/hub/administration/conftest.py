"""The administration API on a real database, as callers of two tenants call it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from hub.administration.errors import register_errors
from hub.administration.routes_clients import create_clients_router
from hub.administration.routes_keys import create_keys_router
from hub.administration.routes_roles import create_roles_router
from hub.administration.routes_tokens import create_tokens_router
from hub.administration.routes_users import create_users_router
from hub.administration.service import AdministrationService
from hub.administration.settings import AdministrationSettings
from hub.audit import store as audit_store
from hub.audit.routes import create_router as create_audit_router
from hub.http.application import create_app
from hub.http.error_table import ErrorTable
from hub.ops.health import Health
from hub.ops.metrics import Metrics
from hub.security.access import Scope
from hub.security.credentials import hash_secret
from hub.security.lookup import DatabaseLookup
from hub.security.roles import calls, parse_grant
from hub.storage.database import Database
from tests.hub.security.conftest import Access, clock, make_access
from tests.hub.storage.backends import database, empty_url, light_database, postgres, running, sqlite
from tests.support.access import ACCESS
from tests.world import ManualClock

__all__ = ["clock", "database", "empty_url", "light_database", "postgres", "sqlite"]

SCOPES = {"people": Scope("administer users", (calls("/users/read", "/users/admin", "/keys/admin", "/statistics/read"),))}


@dataclass
class Office:
    """The API of one hub."""

    access: Access
    app: Any
    service: AdministrationService

    async def call(self, token: str, method: str, path: str, body: Any = None) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, client=("192.0.2.7", 4711))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://hub.test", headers={"Authorization": f"Bearer {token}"}
        ) as client:
            return await client.request(method, f"/api/v1{path}", json=body)

    async def done(self, token: str, method: str, path: str, body: Any = None) -> Any:
        """The data of a call that must be done."""
        answer = await self.call(token, method, path, body)
        assert answer.status_code == 200, answer.text
        return answer.json().get("data")

    async def refused(self, token: str, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """The status of a call that must be refused, and why."""
        answer = await self.call(token, method, path, body)
        return answer.status_code, answer.json()["status"]["message"]

    async def limited(self, role: str, *grants: dict[str, Any], tenant: str = "acme") -> str:
        """The token of somebody with a role of the tenant's own."""
        await self.access.store.add_role(tenant, role, [parse_grant(grant) for grant in grants])
        return await self.access.token(f"of {role}", role, tenant)

    async def told(self, tenant: str = "acme") -> list[tuple[str, str, str]]:
        """Event, who and target of each row of the audit log that a caller of the API caused."""
        rows = await self.access.transactions.read(lambda tx: audit_store.from_number(tx, tenant, 1, 1000))
        return [(row.event, row.who, row.target) for row in rows if row.address == "192.0.2.7"]

    async def knows(self, token: str) -> bool:
        """Whether a token is good."""
        await self.access.gate.refresh()
        return await self.access.gate.directory.by_token(hash_secret(token)) is not None


CALLS = {"action": "call", "within": ["/users/read", "/users/admin", "/clients/read", "/clients/admin", "/keys/read", "/keys/admin"]}
"""The grant to administer, and nothing else."""


async def make_office(database: Database, clock: ManualClock, **settings: int) -> AsyncIterator[Office]:
    async with running(database) as transactions:
        access = await make_access(transactions, clock)
        gate = access.gate = access.make_gate(scopes=SCOPES)
        await gate.refresh()
        chosen = AdministrationSettings(**{"changes_per_s": 0, **settings})
        grants_of = DatabaseLookup(transactions, ACCESS.roles).grants_within
        service = AdministrationService(transactions, gate, clock, access.audit, grants_of, chosen)
        routers = [
            create_users_router(service),
            create_roles_router(service, ACCESS),
            create_clients_router(service),
            create_keys_router(service),
            create_tokens_router(service),
            create_audit_router(transactions, access.audit),
        ]
        errors = ErrorTable()
        register_errors(errors)
        yield Office(access, create_app(gate=gate, metrics=Metrics(), health=Health(), routers=routers, errors=errors), service)


@pytest.fixture
async def office(light_database: Database, clock: ManualClock) -> AsyncIterator[Office]:
    async for each in make_office(light_database, clock):
        yield each


@pytest.fixture
async def office_both(database: Database, clock: ManualClock) -> AsyncIterator[Office]:
    """The same on each backend."""
    async for each in make_office(database, clock):
        yield each
