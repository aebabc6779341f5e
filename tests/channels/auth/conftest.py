"""The Authentication API on a real database, as a browser and as a client call it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from channels.auth.routes_devices import DEVICE_PAGES, DevicePages, create_device_router
from channels.auth.routes_documents import ANY_ORIGIN_PATHS, Documents
from channels.auth.routes_pages import PAGES, Pages
from channels.auth.routes_tokens import create_token_router
from channels.auth.routes_users import create_user_router
from channels.auth.service import AuthService
from channels.auth.settings import AuthSettings
from channels.auth.signed import PageSigner
from hub.audit.log import Recorder
from hub.core.limits import Limits
from hub.http.application import create_app
from hub.ops.health import Health
from hub.ops.metrics import Metrics
from hub.security.access import Scope
from hub.security.clients_store import ClientsStore, NewClient
from hub.security.hosts import Hosts
from hub.security.roles import calls
from hub.security.routes import create_router as security_router
from hub.storage.database import Database
from hub.storage.transactions import Row, Transactions
from tests.hub.security.conftest import SECRET, Access, clock, make_access
from tests.hub.storage.backends import database, empty_url, light_database, postgres, running, sqlite
from tests.support.cheap_secrets import RSA_BITS
from tests.world import ManualClock

__all__ = ["clock", "database", "empty_url", "light_database", "postgres", "sqlite"]

HUB = "https://hub.test"
CALLBACK = "https://app.acme.example/cb"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
"""The pair of RFC 7636 appendix B."""

SCOPES = {"media:read": Scope("read media", (calls("/statistics/read"),))}


@dataclass
class Server:
    """The API, its clients ``wall`` (public) and ``crm`` (confidential), and the user ``ana``."""

    access: Access
    service: AuthService
    clients: ClientsStore
    app: Any
    crm_secret: str
    night_secret: str

    def browser(self, **headers: str) -> httpx.AsyncClient:
        """A browser with a jar of its own, on the hub's own pages."""
        transport = httpx.ASGITransport(self.app, client=("192.0.2.7", 4711))
        return httpx.AsyncClient(transport=transport, base_url=HUB, headers={"Origin": HUB, "Accept": "text/html", **headers})

    def program(self, **headers: str) -> httpx.AsyncClient:
        """A client that is no browser."""
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=HUB, headers=headers)

    async def token(self, **form: str) -> httpx.Response:
        async with self.program() as client:
            return await client.post("/auth/v3/oauth/token", data=form)

    async def get(self, path: str, token: str, **headers: str) -> httpx.Response:
        async with self.program(Authorization=f"bearer {token}", **headers) as client:
            return await client.get(path)

    async def signed_in(self, browser: httpx.AsyncClient, **more: str) -> httpx.Response:
        """Go to the form by way of the application, and submit it."""
        page = await browser.get("/auth/v3/oauth/authorize", params=ask(**more))
        assert page.status_code == 200, page.headers.get("location")
        return await submit(browser, page)

    async def tokens(self, **more: str) -> dict[str, Any]:
        """The tokens of ana, through the whole flow."""
        async with self.browser() as browser:
            back = await self.signed_in(browser, **more)
        form = {"client_id": "wall", "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
        answer = await self.token(grant_type="authorization_code", code=query_of(back)["code"], **form)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


def ask(**more: str) -> dict[str, str]:
    """The parameters of an authorization request of ``wall``; an empty value leaves one out."""
    asked = {
        "response_type": "code",
        "client_id": "wall",
        "redirect_uri": CALLBACK,
        "scope": "openid *",
        "state": "70db3ab2",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **more,
    }
    return {name: value for name, value in asked.items() if value}


def fields_of(page: httpx.Response) -> dict[str, str]:
    """The fields of a form, with their values."""
    found = re.findall(r"<input [^>]*>", page.text)
    named = [(re.search(r' name="([^"]*)"', each), re.search(r' value="([^"]*)"', each)) for each in found]
    return {name[1]: "" if value is None else unescape(value[1]) for name, value in named if name is not None}


async def submit(browser: httpx.AsyncClient, page: httpx.Response, **more: str) -> httpx.Response:
    """Fill in the form of a page and send it."""
    fields = {**fields_of(page), "username": "ana", "password": "correct horse", **more}
    fields.pop("remember", None) if "remember" not in more else None
    action = re.search(r'<form method="post" action="([^"]*)"', page.text)
    assert action is not None
    return await browser.post(action[1], data=fields)


def query_of(answer: httpx.Response) -> dict[str, str]:
    """The parameters with which a browser is sent back."""
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


_signing_keys: dict[int, list[Row]] = {}
"""The rows of signing keys that a server made, by the time of its clock: others of that time get them. To make a key takes 30 ms of CPU."""


async def _give_signing_keys(transactions: Transactions, service: AuthService, now_ms: int) -> None:
    if now_ms in _signing_keys:
        insert = "INSERT INTO signing_keys (kid, algorithm, sealed, signs_from_ms, signs_until_ms) VALUES (?, ?, ?, ?, ?)"
        await transactions.write(lambda tx: [tx.run(insert, tuple(row)) for row in _signing_keys[now_ms]])
        return
    await service.keys.key_set()
    select = "SELECT kid, algorithm, sealed, signs_from_ms, signs_until_ms FROM signing_keys"
    _signing_keys[now_ms] = await transactions.read(lambda tx: tx.rows(select))


async def make_server(database: Database, clock: ManualClock) -> AsyncIterator[Server]:
    async with running(database) as transactions:
        access = await make_access(transactions, clock)
        await access.store.add_user("acme", "ana", "correct horse", ["supervisor"])
        await access.store.add_user("rival", "ana", "correct horse", ["supervisor"])
        clients = ClientsStore(transactions, clock.wall_ms, Recorder(access.audit))
        await clients.add(NewClient("wall", "acme", "The wall", public=True, redirect_uris=[CALLBACK], post_logout_uris=[CALLBACK]))
        _, crm = await clients.add(NewClient("crm", "acme", "CRM", grants=["authorization_code"], redirect_uris=[f"{CALLBACK}?x=1"]))
        television = ["device_code", "refresh_token"]
        await clients.add(NewClient("tv", "acme", "The television", public=True, grants=television))
        _, night = await clients.add(NewClient("night", "acme", grants=["client_credentials"], roles=["viewer"]))
        assert crm is not None
        assert night is not None
        gate = access.make_gate(scopes=SCOPES)
        await gate.start()
        settings = AuthSettings(token_requests_per_s=0, tenant_token_requests_per_s=0, pages_per_s=0, rsa_bits=RSA_BITS)
        service = AuthService(
            transactions=transactions,
            gate=gate,
            clock=clock,
            settings=settings,
            limits=Limits(),
            scopes=SCOPES,
            secret=SECRET,
            audit=access.audit,
        )
        await _give_signing_keys(transactions, service, clock.wall_ms())
        hosts = Hosts(public_url=HUB)
        signer = PageSigner(SECRET, service.now_s, settings.request_s)
        routers = [
            create_token_router(service, hosts),
            create_user_router(service, hosts),
            create_device_router(service, hosts),
            Documents(service, hosts).router(),
            security_router(gate, service.sign_in_log, service.sign_out_browser),
        ]
        devices = DevicePages(service, hosts, signer)
        app = create_app(
            gate=gate,
            metrics=Metrics(),
            health=Health(),
            routers=routers,
            routes=[*Pages(service, hosts, signer).routes(), *devices.routes()],
            any_origin=ANY_ORIGIN_PATHS,
            no_origin=(*PAGES, *DEVICE_PAGES),
        )
        yield Server(access, service, clients, app, crm, night)
        await gate.stop()


@pytest.fixture
async def server(light_database: Database, clock: ManualClock) -> AsyncIterator[Server]:
    async for each in make_server(light_database, clock):
        yield each
