"""The calls of interactions over a real database, and those who call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, cast

import httpx
from fastapi import FastAPI

from channels.interactions.errors import register_errors
from channels.interactions.routes import Handlers, create_fast_routes, create_router
from channels.interactions.service import InteractionService
from channels.interactions.settings import InteractionsSettings
from hub.http.application import create_app
from hub.http.error_table import ErrorTable
from hub.http.fast_router import FastRouter
from hub.ops.health import Health
from hub.ops.metrics import Metrics
from hub.outbox.models import OutboxEvent
from hub.outbox.recorder import EventRecorder
from hub.security.cookies import CookieSigner
from hub.security.directory import Directory
from hub.security.gate import Gate
from hub.security.hosts import Hosts
from hub.storage.transactions import Transactions
from tests.support.rest import Callers, Clock, Lookup
from tests.support.switch import Switch

HUB = "https://hub.example.com"
WORK = "/nexus/v3/openmedia/tickets/interactions"
ALL = "/nexus/v3/interactions"

CALLERS: Callers = {
    "desk": ("acme", ("/interactions/read", "/interactions/write")),
    "viewer": ("acme", ("/interactions/read",)),
    "wall": ("acme", ("/statistics/read",)),
    "foreign": ("other", ("/interactions/**",)),
}


_calls = Switch()


@cache
def _apps() -> tuple[FastRouter | FastAPI, FastAPI]:
    """The short way and the long one. They are built once, over the calls of the reception that is called."""
    clock, metrics, calls = Clock(), Metrics(), cast("Handlers", _calls)
    gate = Gate(Directory(Lookup(CALLERS), clock), clock, CookieSigner(b"0" * 32, clock, lifetime_s=3600))
    errors = ErrorTable()
    register_errors(errors)
    app = create_app(gate=gate, metrics=metrics, health=Health(), routers=[create_router(calls)], errors=errors)
    return FastRouter(app, create_fast_routes(calls), gate, metrics, errors=errors), app


class Reception:
    """The calls, and what they leave in the outbox."""

    def __init__(self, transactions: Transactions, *, public_url: str | None = HUB, **settings: Any) -> None:
        self.transactions = transactions
        self.clock = Clock()
        self.recorded: list[OutboxEvent] = []
        recorder: Any = EventRecorder(
            "test", self.clock, hand_over=lambda event, _: self.recorded.append(event), has_room=lambda _tenant: False
        )
        hosts = Hosts(public_url=public_url, listens_on=("127.0.0.1", 8123))
        self.interactions = InteractionService(recorder, hosts.own_url, self.clock)
        chosen = InteractionsSettings(**{"service_media": {"mail": "email"}} | settings)
        self._calls = Handlers(self.interactions, transactions, hosts, chosen)
        self.app, self.long_way = _apps()

    async def call(
        self, method: str, url: str, *, caller: str = "desk", headers: Mapping[str, str] = MappingProxyType({}), **more: Any
    ) -> httpx.Response:
        _calls.target = self._calls
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        shown = {"Authorization": f"Bearer {caller}"} if caller else {}
        async with httpx.AsyncClient(transport=transport, base_url="http://hub", headers=shown | dict(headers)) as client:
            return await client.request(method, url, **more)

    async def data(self, method: str, url: str, data: Any = None, **more: Any) -> Any:
        """``data`` of an answer that is 200."""
        if data is not None:
            more["json"] = {"data": data}
        response = await self.call(method, url, **more)
        assert response.status_code == 200, response.text
        answer = response.json()
        assert set(answer) == {"status", "data"}
        return answer["data"]

    async def refusal(self, method: str, url: str, **more: Any) -> tuple[int, str]:
        """HTTP status and message of an answer that is none."""
        response = await self.call(method, url, **more)
        answer = response.json()
        assert response.status_code >= 400, answer
        assert answer["status"]["code"] == response.status_code
        return response.status_code, answer["status"]["message"]

    def told(self) -> list[tuple[str, str]]:
        """(event, interaction) of all that was left in the outbox."""
        entities = [json.loads(event.body)["data"]["entities"][0] for event in self.recorded]
        return [(each["event"], each["entity"]["id"]) for each in entities]
