"""Clients, users and a token endpoint on a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

import pytest

from hub.security.clients_queries import insert_client
from hub.security.credentials import hash_secret
from hub.security.devices_store import DeviceLimits, DevicesStore
from hub.security.grants_store import GrantsStore, person_of
from hub.security.oauth.clients import authenticate
from hub.security.oauth.device import DeviceCode, Pacing
from hub.security.oauth.models import Client, Code, Grant, Issued, Person
from hub.security.oauth.parameters import parse_parameters
from hub.security.oauth.tokens import IdTokenRequest, TokenEndpoint, TokenRequest
from hub.storage.database import Database
from tests.hub.security.conftest import Access, make_access
from tests.hub.storage.backends import running
from tests.world import ManualClock

CALLBACK = "https://app.acme.example/cb"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
"""The pair of RFC 7636 appendix B."""

WALL = Client(
    "wall", "acme", "The wall", public=True, grants=frozenset({Grant.AUTHORIZATION_CODE, Grant.REFRESH_TOKEN}), redirect_uris=(CALLBACK,)
)
CRM = replace(WALL, id="crm", name="CRM", public=False, secrets=(hash_secret("s3cret"),))
NIGHT = Client(
    "night", "acme", "Nightly", False, frozenset({Grant.CLIENT_CREDENTIALS}), (hash_secret("old"), hash_secret("new")), ("exporter",)
)
OLD = replace(CRM, id="old", grants=frozenset({Grant.PASSWORD}), roles=("supervisor", "viewer"))
TELEVISION = Client("tv", "acme", "The television", public=True, grants=frozenset({Grant.DEVICE_CODE, Grant.REFRESH_TOKEN}))
RIVAL = replace(WALL, id="rival-app", tenant="rival")


class OneUser:
    """Knows the password of one user."""

    def __init__(self, person: Person) -> None:
        self.person = person

    async def check(self, client: Client, tenant: str, name: str, password: str, address: str) -> Person | None:
        """See :meth:`hub.security.oauth.ports.Users.check`."""
        if tenant != client.tenant:
            return None
        return self.person if (tenant, name, password) == (self.person.tenant, self.person.name, "correct horse") else None


@dataclass
class World:
    """A token endpoint with its store."""

    access: Access
    store: GrantsStore
    devices: DevicesStore
    endpoint: TokenEndpoint
    person: Person
    asked: list[IdTokenRequest]

    async def token(self, *authorization: str, **parameters: str) -> Issued:
        request = TokenRequest(parse_parameters(urlencode(parameters).encode()), list(authorization), "192.0.2.1")
        client = await authenticate(request.parameters, request.authorization, self.store.client)
        return await self.endpoint.answer(client, request)

    async def code(self, client: Client = WALL, **more: Any) -> str:
        """Store a code, as the authorization endpoint does."""
        secret = f"code-{client.id}-{len(more)}-{self.access.clock.wall_ms()}"
        now = self.access.clock.wall_ms()
        code = Code(client.id, CALLBACK, CHALLENGE, self.person.id, self.person.generation, ("*",), None, now // 1000, now + 60_000)
        await self.store.add_code(hash_secret(secret), replace(code, **more))
        return secret

    async def redeem(self, code: str, client_id: str = "wall", **more: str) -> Issued:
        parameters = {"client_id": client_id, "redirect_uri": CALLBACK, "code_verifier": VERIFIER, **more}
        return await self.token(grant_type="authorization_code", code=code, **{name: value for name, value in parameters.items() if value})

    async def device(self, secret: str = "device", client: Client = TELEVISION, address: str = "192.0.2.1", **more: Any) -> DeviceCode:
        """Store a device code, as the device authorization endpoint does."""
        wanted = DeviceCode(client.id, client.tenant, "", ("*",), self.access.clock.wall_ms() + 600_000)
        return await self.devices.add(hash_secret(secret), replace(wanted, **more), address)

    async def poll(self, secret: str = "device", client_id: str = "tv") -> Issued:
        return await self.token(grant_type=str(Grant.DEVICE_CODE), client_id=client_id, device_code=secret)

    async def rows(self, table: str) -> int:
        (count,) = (await self.access.transactions.read(lambda tx: tx.rows(f"SELECT count(*) FROM {table}")))[0]
        return int(count)


async def make_world(database: Database, clock: ManualClock) -> AsyncIterator[World]:
    async with running(database) as transactions:
        access = await make_access(transactions, clock)
        user = await access.store.add_user("acme", "ana", "correct horse", ["supervisor", "dashboard"])
        for client in (WALL, CRM, NIGHT, OLD, RIVAL, TELEVISION):
            await transactions.write(lambda tx, client=client: insert_client(tx, client, clock.wall_ms()))  # type: ignore[misc]
        person = await transactions.read(lambda tx: person_of(tx, user.id))
        assert person is not None
        store = GrantsStore(transactions, clock.wall_ms, access.audit)
        asked: list[IdTokenRequest] = []

        async def id_token(request: IdTokenRequest) -> str:
            asked.append(request)
            return "id.token"

        devices = DevicesStore(transactions, clock.wall_ms, access.audit, DeviceLimits(tenant=5, client=4, address=3))
        endpoint = TokenEndpoint(store, OneUser(person), clock.wall_ms, ["mediastorageapi.read"], id_token, devices, Pacing(5))
        yield World(access, store, devices, endpoint, person, asked)


@pytest.fixture
async def world(light_database: Database, clock: ManualClock) -> AsyncIterator[World]:
    async for each in make_world(light_database, clock):
        yield each


@pytest.fixture
async def world_both(database: Database, clock: ManualClock) -> AsyncIterator[World]:
    """The same on each backend."""
    async for each in make_world(database, clock):
        yield each
