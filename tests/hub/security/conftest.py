from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from hub.audit.log import AuditLog, Recorder
from hub.audit.settings import AuditSettings
from hub.audit.shares import Shares
from hub.audit.sign_ins import SignInLog
from hub.core.principal import Action, Principal
from hub.http.application import create_app
from hub.http.permits import requires
from hub.ops.health import Health
from hub.ops.metrics import Metrics
from hub.security.cookies import CookieSigner
from hub.security.demo import DemoLookup
from hub.security.directory import Directory
from hub.security.ends import Ends
from hub.security.gate import Failure, Gate
from hub.security.lookup import DatabaseLookup
from hub.security.passwords import PasswordHashes
from hub.security.routes import create_router as security_router
from hub.security.sign_out import SignOut
from hub.security.store import Store
from hub.storage.database import Database
from hub.storage.transactions import Transactions
from tests.hub.storage.backends import database, empty_url, light_database, postgres, running, sqlite
from tests.support.access import ACCESS
from tests.support.cheap_secrets import QUICK
from tests.world import ManualClock

__all__ = ["database", "empty_url", "light_database", "postgres", "sqlite"]

SECRET = b"a secret of the tests"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_800_000_000.0)


@dataclass
class Access:
    """A gate on a real database, with the tenants acme and rival."""

    clock: ManualClock
    transactions: Transactions
    audit: AuditLog
    store: Store
    make_gate: Callable[..., Gate]
    gate: Gate

    async def token(self, subject: str = "ana", role: str = "supervisor", tenant: str = "acme", **more: Any) -> str:
        return (await self.store.add_token(tenant, subject, [role], **more))[1]

    def signing_out(self, gate: Gate) -> SignOut:
        """What signs browsers out at a gate."""
        return SignOut(gate, Ends(self.transactions, self.clock.wall_ms, self.audit), self.audit)

    async def key(self, name: str = "switch", role: str = "producer", tenant: str = "acme") -> str:
        return (await self.store.add_key(tenant, name, [role]))[1]


async def make_access(transactions: Transactions, clock: ManualClock, passwords: PasswordHashes = QUICK) -> Access:
    audit = AuditLog(SECRET, clock.wall_ms, Shares(clock, AuditSettings()))
    store = Store(transactions, clock.wall_ms, Recorder(audit), passwords)

    def make_gate(*, demo: bool = False, max_cached: int = 10_000, **options: Any) -> Gate:
        directory = Directory(DatabaseLookup(transactions, ACCESS.roles), clock, DemoLookup() if demo else None, max_cached=max_cached)
        signer = CookieSigner(SECRET, clock, lifetime_s=3600)
        return Gate(directory, clock, signer, operations=ACCESS.operations, passwords=passwords, **options)

    await store.add_tenant("acme")
    await store.add_tenant("rival")
    gate = make_gate()
    await gate.refresh()
    return Access(clock, transactions, audit, store, make_gate, gate)


@pytest.fixture
async def access(light_database: Database, clock: ManualClock) -> AsyncIterator[Access]:
    async with running(light_database) as transactions:
        yield await make_access(transactions, clock)


@pytest.fixture
async def access_both(database: Database, clock: ManualClock) -> AsyncIterator[Access]:
    """The same on each backend."""
    async with running(database) as transactions:
        yield await make_access(transactions, clock)


def scope(path: str = "/x", *headers: tuple[str, str], query: str = "", method: str = "GET", scheme: str = "http") -> dict[str, Any]:
    """An ASGI scope of a request to http://hub.test:8080."""
    encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in (("host", "hub.test:8080"), *headers)]
    return {"type": "http", "method": method, "scheme": scheme, "path": path, "query_string": query.encode(), "headers": encoded}


def bearer(token: str) -> tuple[str, str]:
    return ("Authorization", f"Bearer {token}")


def build_app(access: Access, gate: Gate | None = None) -> FastAPI:
    """The REST application with the routes of this part and one guarded route."""
    routes = APIRouter()

    @routes.get("/guarded")
    async def guarded(caller: Annotated[Principal, requires("/statistics/read")]) -> dict[str, str]:
        return {"login": caller.login, "subject": caller.subject}

    gate = gate or access.gate
    routers = [security_router(gate, SignInLog(access.transactions, access.audit), access.signing_out(gate)), routes]
    return create_app(gate=gate, metrics=Metrics(), health=Health(), routers=routers)


def browser(app: FastAPI) -> httpx.AsyncClient:
    """A client that keeps cookies, of the hub's own pages."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://hub.test:8080", headers={"Origin": "http://hub.test:8080"}
    )


@pytest.fixture
async def client(access: Access) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(build_app(access)) as made:
        yield made


async def failure(found: Gate, *headers: tuple[str, str], path: str = "/x", **more: Any) -> Failure | None:
    caller = await found.identify(scope(path, *headers, **more))
    assert (caller.principal is None) is (caller.failure is not None)
    return caller.failure


async def may(gate: Gate, principal: Principal, action: Action, resource: str) -> bool:
    return (await gate.decisions.decide(principal, action, resource)).allowed


async def principal_of(access: Access, token: str) -> Principal:
    caller = await access.gate.identify(scope("/x", bearer(token)))
    assert caller.principal is not None
    return caller.principal
