"""The calls of chats over the family as a hub builds it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from channels.events import EVENT_SINK
from channels.files.participants.counters import ChatCounters
from channels.files.participants.retention import ChatRetention
from channels.files.participants.tokens import Tokens
from hub.family import Parts
from hub.http.application import create_app
from hub.ops.health import Health
from hub.ops.metrics import Metrics
from hub.security.cookies import CookieSigner
from hub.security.directory import Directory
from hub.security.gate import Gate
from tests.channels.files.support import World
from tests.support.rest import Callers, Clock, Lookup, Sink

CALLERS: Callers = {
    "agent": ("acme", ("/files/participants", "/files/chats")),
    "desk": ("acme", ("/files/participants",)),
    "desk2": ("acme", ("/files/participants",)),
    "reader": ("acme", ("/files/read",)),
    "foreign": ("other", ("/files/**",)),
}

HOST = "http://localhost:8080"
EVENT = "application/vnd.amazonaws.connect.event."


class Chatter:
    """A participant and what it may show."""

    def __init__(self, talk: Talk, entry: dict[str, Any]) -> None:
        self._talk = talk
        self.id: str = entry["participantId"]
        self.contact: str = entry["interactionId"]
        self.token: str = entry["participantToken"]
        self.connection = ""
        self.socket_url = ""

    async def connect(self) -> None:
        """Get a ConnectionToken, and be there."""
        answer = await self._talk.call("connection", self.token, Type=["WEBSOCKET", "CONNECTION_CREDENTIALS"])
        assert answer.status_code == 200, answer.text
        self.connection = answer.json()["ConnectionCredentials"]["ConnectionToken"]
        self.socket_url = answer.json()["Websocket"]["Url"]

    async def ask(self, call: str, **body: Any) -> httpx.Response:
        """Make a call."""
        return await self._talk.call(call, self.connection, **body)

    async def get(self, call: str, **body: Any) -> Any:
        """The answer of a call that is done."""
        answer = await self.ask(call, **body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def say(self, text: str, **more: Any) -> Any:
        """Send a message."""
        return await self.get("message", ContentType="text/plain", Content=text, **more)

    async def items(self, **query: Any) -> list[Any]:
        """Items of the transcript, the older first."""
        given = {"SortOrder": "ASCENDING", "MaxResults": 100, **query}
        found: list[Any] = (await self.get("transcript", **given))["Transcript"]
        return found


class Talk:
    """The calls of chats."""

    def __init__(self, world: World, app: Any, client: httpx.AsyncClient) -> None:
        self.world = world
        self.app = app
        self.client = client
        self.sink = Sink()
        world.context.parts.append(Parts(offers=[EVENT_SINK.offer(self.sink)]))
        self.tokens = Tokens(b"s" * 32, world.clock)

    @property
    def counters(self) -> ChatCounters:
        found = self.world.parts.counters["chats"]
        assert isinstance(found, ChatCounters)
        return found

    @property
    def retention(self) -> ChatRetention:
        return next(each for each in self.world.parts.services if isinstance(each, ChatRetention))

    async def call(self, name: str, token: str | None, **body: Any) -> httpx.Response:
        """A call of the Participant service."""
        headers = {} if token is None else {"X-Amz-Bearer": token}
        return await self.client.post(f"/participant/{name}", headers=headers, json=body)

    async def rest(self, method: str, path: str, *, caller: str = "agent", **more: Any) -> httpx.Response:
        """A call of the hub's own API."""
        return await self.client.request(method, path, headers={"Authorization": f"Bearer {caller}"}, **more)

    async def letting_in(self, *, caller: str = "agent", role: str = "CUSTOMER", name: str = "Ana", **more: Any) -> httpx.Response:
        """Ask to let somebody in."""
        return await self.rest("POST", "/api/v1/participants", caller=caller, json={"role": role, "displayName": name, **more})

    async def let_in(self, **more: Any) -> Chatter:
        """Somebody who was let in."""
        answer = await self.letting_in(**more)
        assert answer.status_code == 200, answer.text
        return Chatter(self, answer.json()["data"])

    async def chatter(self, **more: Any) -> Chatter:
        """Somebody who was let in and is connected."""
        made = await self.let_in(**more)
        await made.connect()
        return made

    def told(self, contact: str) -> list[Any]:
        """What was published of a chat."""
        return self.world.heard.on(f"/nexus/v3/interactions/{contact}/transcript")

    async def tells(self, contact: str, count: int) -> list[Any]:
        """Wait until so many items of a chat were published."""
        await self.world.until(lambda: len(self.told(contact)) >= count)
        assert len(self.told(contact)) == count
        return self.told(contact)


@asynccontextmanager
async def talking(world: World) -> AsyncIterator[Talk]:
    """The calls over a world."""
    gate = Gate(Directory(Lookup(CALLERS), Clock()), Clock(), CookieSigner(b"0" * 32, Clock(), lifetime_s=3600))
    app = create_app(gate=gate, metrics=Metrics(), health=Health(), routers=[*world.parts.routers], errors=world.context.errors)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=HOST) as client:
        yield Talk(world, app, client)
