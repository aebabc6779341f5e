"""The calls of secure e-mail over a real database, and those who call: a portal's key, a desk's token, and some who may less."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, cast

import httpx
from fastapi import FastAPI

from channels.secure_email.attachment_store import PREFIX, AttachmentStore
from channels.secure_email.errors import register_errors
from channels.secure_email.moves import AttachmentMoves
from channels.secure_email.publisher import InteractionPublisher
from channels.secure_email.retention import MailRetention
from channels.secure_email.routes import create_fallback, create_reply_router, create_router
from channels.secure_email.service import MailService
from channels.secure_email.settings import SecureEmailSettings
from hub.http.application import create_app
from hub.http.error_table import ErrorTable
from hub.objects.errors import register_errors as register_store_errors
from hub.objects.folder import ObjectFolder
from hub.objects.store import ObjectStore
from hub.ops.health import Health
from hub.ops.metrics import Metrics
from hub.outbox.models import OutboxEvent
from hub.outbox.recorder import EventRecorder
from hub.security.cookies import CookieSigner
from hub.security.directory import Directory
from hub.security.gate import Gate
from hub.security.hosts import Hosts
from hub.storage.database import Database
from hub.storage.transactions import Transactions
from tests.support.rest import Clock, Lookup, Sink
from tests.support.switch import Switch

ANA = "ana@example.com"
MAILS = "/nexus/v3/securemail"
DESK = "/api/v1/securemail"

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"

CALLERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "portal": ("acme", ("/securemail/read", "/securemail/write")),
    "desk": ("acme", ("/securemail/**",)),
    "viewer": ("acme", ("/securemail/read",)),
    "wall": ("acme", ("/statistics/read",)),
    "foreign": ("other", ("/securemail/**",)),
}
"""Tokens, and API keys of the same text: tenant and operations."""


_mails = Switch()


@cache
def _app(settings: SecureEmailSettings) -> FastAPI:
    """The calls, built once for each settings, over the mails of the office that is called."""
    clock = Clock()
    gate = Gate(Directory(Lookup(CALLERS), clock), clock, CookieSigner(b"0" * 32, clock, lifetime_s=3600))
    given = (cast("MailService", _mails), settings, Hosts(public_url="https://hub.example.com"))
    router = create_router(*given)
    errors = ErrorTable()
    register_errors(errors)
    register_store_errors(errors)
    return create_app(
        gate=gate,
        metrics=Metrics(),
        health=Health(),
        routers=[router, create_reply_router(*given)],
        routes=create_fallback(router),
        errors=errors,
    )


class Office:
    """The calls over a database."""

    def __init__(
        self, transactions: Transactions, database: Database, objects: ObjectStore, *, takes_new: bool = True, **settings: Any
    ) -> None:
        """``takes_new``: whether new attachments become objects, else they stay in the database."""
        self.transactions = transactions
        self.objects = objects
        self.folder = ObjectFolder(objects, PREFIX)
        self.database = database
        self.clock = Clock()
        self.sink = Sink()
        self.recorded: list[OutboxEvent] = []
        self.settings = SecureEmailSettings(**settings)
        recorder: Any = EventRecorder(
            "test", self.clock, hand_over=lambda event, _: self.recorded.append(event), has_room=lambda _tenant: False
        )
        attachments = AttachmentStore(self.folder, takes_new=takes_new)
        self.mails = MailService(transactions=transactions, attachments=attachments, outbox=recorder, clock=self.clock)
        self.retention = MailRetention(transactions, self.folder, self.clock, self.settings, self.mails.counters)
        self.moves = AttachmentMoves(transactions, self.folder, self.mails.counters, pause_s=0)
        self.publisher = InteractionPublisher(lambda: self.sink, self.clock)
        self.app = _app(self.settings)

    @asynccontextmanager
    async def client(self, caller: str = "desk", **headers: str) -> AsyncIterator[httpx.AsyncClient]:
        _mails.target = self.mails
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        shown = {"Authorization": f"Bearer {caller}"} if caller else {}
        async with httpx.AsyncClient(transport=transport, base_url="http://hub", headers=shown | headers) as client:
            yield client

    async def call(self, method: str, url: str, *, caller: str = "desk", **more: Any) -> httpx.Response:
        async with self.client(caller) as client:
            return await client.request(method, url, **more)

    async def get(self, url: str, **params: Any) -> Any:
        """The body of an answer that is 200."""
        response = await self.call("GET", url, params=params)
        assert response.status_code == 200, response.text
        return response.json()

    async def send(self, *, securebox: str | None = None, **data: Any) -> str:
        """Send an inbound mail of Ana's; returns its id."""
        params = {} if securebox is None else {"securebox": securebox}
        response = await self.call("POST", MAILS, caller="portal", params=params, json={"data": {"from": ANA, "text": "Hello", **data}})
        assert response.status_code == 200, response.text
        return str(response.json()["secureMailId"])

    async def reply(self, *, securebox: str | None = None, **data: Any) -> str:
        """Send an outbound mail; returns its id."""
        params = {} if securebox is None else {"securebox": securebox}
        response = await self.call("POST", DESK, params=params, json={"data": {"text": "Dear Ana", **data}})
        assert response.status_code == 200, response.text
        return str(response.json()["data"]["secureMailId"])

    async def mail(self, identifier: str, **params: Any) -> Any:
        return (await self.get(f"{MAILS}/{identifier}", **params))["secureMail"]

    async def subjects(self, **params: Any) -> list[str]:
        return [each["subject"] for each in (await self.get(MAILS, **{"address": ANA, **params}))["data"]]

    async def count(self, **params: Any) -> int:
        return int((await self.get(f"{MAILS}/count", **{"address": ANA, **params}))["data"]["count"])

    async def announce(self) -> list[tuple[str, str, str | None]]:
        """Have everything that was recorded told; returns (type, interaction, reason) of all that the sink took."""
        for event in self.recorded:
            await self.publisher.consume(event)
        return [
            (event.type, event.data.interaction_id, event.data.reason)  # type: ignore[attr-defined]
            for _, event in self.sink.taken
        ]


def attached(filename: str = "a.png", content: bytes = PNG, **more: Any) -> dict[str, Any]:
    """An attachment as senders have it."""
    return {"filename": filename, "content": base64.b64encode(content).decode(), **more}
