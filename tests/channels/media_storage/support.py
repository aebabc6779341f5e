"""The folders of tenants over a real database and a real store, and those who call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import httpx
import orjson
from fastapi import FastAPI

from channels.media_storage.arrivals import Arrivals
from channels.media_storage.counters import Counters
from channels.media_storage.errors import register_errors
from channels.media_storage.family import family
from channels.media_storage.link_owner import MediaLinkOwner
from channels.media_storage.retention import MediaRetention
from channels.media_storage.routes import create_router
from channels.media_storage.service import MediaService
from channels.media_storage.settings import MediaStorageSettings
from hub.core.limits import Limits
from hub.http.application import create_app
from hub.http.error_table import ErrorTable
from hub.objects.claim import CLAIM_KEY
from hub.objects.counters import ObjectCounters
from hub.objects.link_endpoint import LinkEndpoint
from hub.objects.links import FileLinks
from hub.objects.local import LocalStore
from hub.objects.settings import ObjectsSettings
from hub.objects.store import ObjectStore
from hub.ops.health import Health
from hub.ops.metrics import Metrics
from hub.outbox.models import OutboxEvent
from hub.outbox.recorder import EventRecorder
from hub.security.cookies import CookieSigner
from hub.security.directory import Directory
from hub.security.gate import Gate
from hub.security.hosts import Hosts
from hub.storage.transactions import Transactions
from hub.transports.dispatcher import Dispatcher
from tests.support.rest import Callers, Clock, Lookup
from tests.support.switch import Switch

HUB = "https://hub.example.com"
TENANTS = ("acme", "other")

CALLERS: Callers = {
    "desk": ("acme", ("/media/**",)),
    "reports": ("acme", ("/media/exports/reporting", "/media/exports/reporting/**")),
    "shallow": ("acme", ("/media/exports",)),
    "mailer": ("acme", ("/media/imports/outreach", "/media/imports/outreach/**")),
    "wall": ("acme", ("/statistics/read",)),
    "foreign": ("other", ("/media/**",)),
}

_media, _hosts = Switch(), Switch()


@cache
def _app() -> tuple[FastAPI, ErrorTable]:
    """Built once, over the folders that are called."""
    clock = Clock()
    operations = {**family.operations, "/statistics/read": "read statistics"}
    gate = Gate(Directory(Lookup(CALLERS), clock), clock, CookieSigner(b"0" * 32, clock, lifetime_s=3600), operations=operations)
    errors = ErrorTable()
    register_errors(errors)
    router = create_router(cast("MediaService", _media), cast("Hosts", _hosts))
    return create_app(gate=gate, metrics=Metrics(), health=Health(), routers=[router], errors=errors), errors


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    yield content


class Cabinet:
    """The folders, and what they leave in the outbox."""

    def __init__(
        self, transactions: Transactions, folder: Path, *, store: ObjectStore | None = None, clock: Clock | None = None, **settings: Any
    ) -> None:
        self.transactions = transactions
        self.clock = Clock() if clock is None else clock
        self.recorded: list[OutboxEvent] = []
        recorder: Any = EventRecorder(
            "test", self.clock, hand_over=lambda event, _: self.recorded.append(event), has_room=lambda _tenant: False
        )
        self.settings = MediaStorageSettings(**settings)
        self.store = LocalStore(folder) if store is None else store
        self.links = FileLinks(b"s" * 32, self.clock)
        self.media = MediaService(transactions, self.store, self.links, self.settings, self.clock, Counters())
        self.owner = MediaLinkOwner(self.media, transactions, recorder, self.settings)
        self.arrivals = Arrivals(self.media, self.owner, self.store, self.settings)
        self.retention = MediaRetention(self.media, transactions, self.store, self.settings, self.clock, page=3)
        self.hosts = Hosts(public_url=HUB, listens_on=("127.0.0.1", 8123))
        rest, errors = _app()
        self.endpoint = LinkEndpoint(
            self.links, self.store, lambda: [self.owner], ObjectsSettings(max_uploads_per_link=4), ObjectCounters()
        )
        self.app = Dispatcher([self.endpoint], rest, Limits(), errors=errors)

    async def call(
        self, method: str, url: str, *, caller: str = "desk", headers: Mapping[str, str] = MappingProxyType({}), **more: Any
    ) -> httpx.Response:
        """Call the hub; ``url`` may be a link."""
        _media.target, _hosts.target = self.media, self.hosts
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        shown = {"Authorization": f"Bearer {caller}"} if caller else {}
        async with httpx.AsyncClient(transport=transport, base_url=HUB, headers=shown | dict(headers)) as client:
            return await client.request(method, url, **more)

    async def ask(self, version: int, key: str, *, call: str = "objectKeys", org: str = "acme", **more: Any) -> httpx.Response:
        """GET one of the calls; parameters of the query come as keywords that begin with ``q_``."""
        query = {name.removeprefix("q_"): more.pop(name) for name in list(more) if name.startswith("q_")}
        url = f"/via/v{version}/organizations/{org}/mediaStorage/data/{call}"
        return await self.call("GET", url, params={"key": key, **query}, **more)

    async def listed(self, key: str, kind: str = "file", *, version: int = 3, **more: Any) -> Any:
        """The answer of a listing."""
        answer = await self.ask(version, key, q_keyType=kind, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def keys(self, key: str, kind: str = "file", **more: Any) -> list[str]:
        """The keys of a listing's first page."""
        return [each["key"] for each in (await self.listed(key, kind, **more))["objectKeys"]]

    async def every_page(self, key: str, kind: str, most: int, version: int = 3) -> list[str]:
        """The keys of all pages."""
        name = "nextToken" if version == 3 else "continuationToken"
        found: list[str] = []
        token: dict[str, Any] = {}
        while True:
            page = await self.listed(key, kind, version=version, q_maxResults=most, **token)
            found += [each["key"] for each in page["objectKeys"]]
            assert len(page["objectKeys"]) <= most
            if name not in page:
                return found
            token = {f"q_{name}": page[name]}

    async def upload_link(self, key: str) -> str:
        answer = await self.ask(3, key, call="signedUploadUrl")
        assert answer.status_code == 200, answer.text
        return str(answer.json()["signedUploadUrl"])

    async def upload(self, key: str, content: bytes = b"hello") -> None:
        """Upload a file by a link of its own."""
        self.clock.now_ms += 1
        answer = await self.call("PUT", await self.upload_link(key), caller="", content=content)
        assert answer.status_code == 200, answer.text

    async def export(self, key: str, content: bytes = b"hello", tenant: str = "acme") -> None:
        """Write a file as an export of the hub."""
        await self.media.write(tenant, key, pieces(content), len(content))

    async def objects(self) -> list[str]:
        """What is in the store."""
        return [each.key for each in await self.store.objects("") if each.key != CLAIM_KEY]

    def events(self) -> list[Any]:
        """The bodies of recorded events."""
        return [orjson.loads(each.body) for each in self.recorded]


def error(answer: httpx.Response) -> tuple[int, str]:
    """Status and text of an error, which has Alvaria's form."""
    told = answer.json()["error"]
    assert told["code"] == str(answer.status_code)
    assert isinstance(told["message"], str)
    (one,) = told["errors"]
    assert set(one) == {"scope", "reason", "message"}
    return answer.status_code, one["message"]
