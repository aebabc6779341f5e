"""The family as a hub builds it, with a real database, the outbox, and real requests to a receiver on loopback."""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import hmac
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

import httpx
from aiohttp import web
from fastapi import FastAPI

from channels.messaging.counters import Counters
from channels.messaging.family import family
from hub.family import Context, Parts
from hub.http.application import create_app
from hub.ops.health import Health
from hub.ops.metrics import Metrics
from hub.ops.settings import model_of
from hub.outbox.guard import Guard
from hub.outbox.models import RECORDER
from hub.outbox.sender import Sender
from hub.outbox.service import Outbox
from hub.outbox.settings import OutboxSettings
from hub.outbox.timing import Timing
from hub.security.cookies import CookieSigner
from hub.security.directory import Directory
from hub.security.gate import Gate
from hub.security.hosts import Hosts
from hub.storage.transactions import Transactions
from hub.transports.runtime import AsyncioLoop, SystemClock
from tests.support.rest import Callers, Clock, Lookup
from tests.support.switch import Switch

SEED_TENANT = "0ff723ff-6c6f-44e0-9ce3-ce579337eadd"
"""The contact centre of the description's examples."""

TENANTS = ("acme", "other", SEED_TENANT)

CALLERS: Callers = {
    "admin": ("acme", ("/messaging/**",)),
    "desk": ("acme", ("/messaging/read", "/messaging/write")),
    "viewer": ("acme", ("/messaging/read",)),
    "wall": ("acme", ("/statistics/read",)),
    "foreign": ("other", ("/messaging/**",)),
    "seed": (SEED_TENANT, ("/messaging/**",)),
}

NEXUS = "/nexus/v3/channels"
API = "/api/v1/messaging/channels"
SMS = "0123456789"
MAIL = "company.com"
SECRET = "app secret of the channel"
CONSUMER = "16504661149"
PUBLIC_URL = "https://hub.example.com"

WITHIN_S = 30.0
"""The longest time that a test waits for an expected event, in seconds."""


def signature(body: bytes, secret: str = SECRET, algorithm: str = "sha1") -> str:
    """Return the value of ``X-Hub-Signature``, computed with the standard library alone."""
    return f"{algorithm}={hmac.new(secret.encode(), body, getattr(hashlib, algorithm)).hexdigest()}"


def text_from(text: str = "Consumer message text", **channel: Any) -> dict[str, Any]:
    """Return a text message of a consumer, as third parties send it."""
    return {"channel": {"from": {"id": CONSUMER}, "to": {"id": SMS}, **channel}, "type": "Text", "text": text}


def text_to(text: str = "Agent message text", **channel: Any) -> dict[str, Any]:
    """Return a text message to a consumer, as the systems of agents send it."""
    return {"channel": {"to": {"id": CONSUMER}, **channel}, "type": "Text", "text": text}


def mail_to(*consumers: str, **channel: Any) -> dict[str, Any]:
    """Return an e-mail to consumers, as the systems of agents send it."""
    way = {"from": {"id": "no-reply@company.com"}, "to": [{"id": each} for each in consumers], **channel}
    return {"channel": way, "type": "Email", "subject": "Subject", "content": [{"type": "text", "text": "Body"}]}


def receipt(message_id: str, status: str = "Delivered", *reasons: int, **channel: Any) -> dict[str, Any]:
    """Return a receipt, as third parties send it."""
    made: dict[str, Any] = {"channel": {"messageId": message_id, **channel}, "type": "Receipt", "status": status}
    return made | ({"reasons": [{"code": each} for each in reasons]} if reasons else {})


def form(content: bytes, filename: str = "MyImage", declared: str | None = None, field: str = "file") -> tuple[bytes, dict[str, str]]:
    """Return a form with a file: its bytes and its Content-Type header."""
    lines = [f'Content-Disposition: form-data; name="{field}"; filename="{filename}"']
    if declared is not None:
        lines.append(f"Content-Type: {declared}")
    head = "\r\n".join(["--edge", *lines, "", ""]).encode()
    return head + content + b"\r\n--edge--\r\n", {"Content-Type": "multipart/form-data; boundary=edge"}


class Request(NamedTuple):
    """A request that the receiver got. Names of headers are in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes


Answer = tuple[int, bytes]


class Receiver:
    """The server of the third party. It keeps the requests and sends the prepared answers; the last answer is repeated."""

    def __init__(self) -> None:
        self.got: list[Request] = []
        self.answers: list[Answer | None] = [(200, b"{}")]
        """With None the request stays open until the caller has disconnected."""
        self.url = ""

    async def _handle(self, request: web.Request) -> web.Response:
        self.got.append(Request(request.path, {name.lower(): value for name, value in request.headers.items()}, await request.read()))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            await asyncio.sleep(3600)
            raise AssertionError("nobody waits for an hour")
        return web.Response(status=answer[0], body=answer[1])

    def bodies(self) -> list[Any]:
        """The bodies of the requests, parsed as JSON."""
        return [json.loads(each.body) for each in self.got]

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Receiver]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        try:
            yield self
        finally:
            await runner.cleanup()


class Heard:
    """Stands for the hub. It keeps the published messages, and drops one that is published again with the same name."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, Any]] = []
        self._names: set[str] = set()

    @property
    def publisher(self) -> Self:
        """The hub is also the publisher."""
        return self

    async def emit(self, tenant: str, channel: str, data: bytes, *, idempotency_key: str = "") -> None:
        if idempotency_key in self._names:
            return
        if idempotency_key:
            self._names.add(idempotency_key)
        self.events.append((tenant, channel, json.loads(data)))

    def messages(self, channel: str = SMS, tenant: str = "acme") -> list[Any]:
        """Return the messages that were published for a messaging channel."""
        return [data for whose, where, data in self.events if (whose, where) == (tenant, f"{NEXUS}/{channel}/messages")]

    def states(self, channel: str = SMS, tenant: str = "acme") -> list[tuple[str, str]]:
        """Return (id, state) of each message."""
        return [(each["id"], each["state"]) for each in self.messages(channel, tenant)]


_transactions, _heard, _clock, _outbox = Switch(), Switch(), Switch(), Switch()


@cache
def _build(outbox: str, messaging: str) -> tuple[Parts, FastAPI, Path]:
    """Build the parts of the family, its application and its folder, once for each choice of settings; they use the current exchange."""
    folder = Path(tempfile.mkdtemp(prefix="messaging-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    settings_of: Any = model_of([family])
    chosen = settings_of(
        data_dir=folder,
        secret="s" * 32,
        public_url=PUBLIC_URL,
        outbox=OutboxSettings.model_validate_json(outbox),
        messaging=json.loads(messaging),
    )
    clock: Any = _clock
    gate = Gate(Directory(Lookup(CALLERS), Clock()), Clock(), CookieSigner(b"0" * 32, Clock(), lifetime_s=3600))
    hub, unused, transactions, recorder = (cast("Any", each) for each in (_heard, None, _transactions, _outbox))
    offered = [Parts(offers=[RECORDER.offer(recorder)])]
    context = Context(chosen, hub, unused, gate, clock, transactions, offered, Hosts.of(chosen))
    parts = family.build(context)
    return parts, create_app(gate=gate, metrics=Metrics(), health=Health(), routers=parts.routers, errors=context.errors), folder


class Exchange:
    """The family, its callers, and the receiver of its webhooks."""

    def __init__(self, transactions: Transactions, receiver: Receiver, *, outbox: OutboxSettings, settings: dict[str, Any]) -> None:
        self.transactions = transactions
        self.receiver = receiver
        self.clock = Clock()
        self.heard = Heard()
        guard = Guard(outbox.allowed_networks, outbox.https_only)
        self.sender = Sender(guard, SystemClock(), outbox)
        self.outbox = Outbox(
            transactions=transactions,
            hub=cast("Any", self.heard),
            clock=SystemClock(),
            loop=AsyncioLoop(),
            settings=outbox,
            sender=self.sender,
            consumers=lambda: list(self.parts.outbox_consumers),
            alone=True,
            timing=Timing(look_s=0.05, blocked_s=0.05, poll_s=0.05),
        )
        _transactions.target, _heard.target, _clock.target, _outbox.target = transactions, self.heard, self.clock, self.outbox
        self.parts, self.app, self.folder = _build(outbox.model_dump_json(), json.dumps(settings))
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.counters = cast("Counters", self.parts.counters["messaging"])
        for each in fields(self.counters):
            setattr(self.counters, each.name, 0)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Exchange]:
        async with self.receiver.listening():
            await self.sender.start()
            await self.outbox.start()
            try:
                yield self
            finally:
                await self.outbox.stop()
                await self.sender.stop()

    # -- who calls ----------------------------------------------------------------------------------------------------

    async def send(self, method: str, url: str, **more: Any) -> httpx.Response:
        """Send a request unchanged."""
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
            return await client.request(method, url, **more)

    async def rest(self, method: str, path: str = "", body: Any = None, *, caller: str = "admin", status: int = 200, **more: Any) -> Any:
        """Call ``/api/v1/messaging/channels``. Returns ``data`` of the answer, or ``status`` of a refusal."""
        given = {} if body is None else {"json": body}
        answer = await self.send(method, f"{API}{path}", headers={"Authorization": f"Bearer {caller}"}, **given, **more)
        assert answer.status_code == status, answer.text
        return answer.json()["data"] if status == 200 else answer.json()["status"]

    async def third(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        secret: str | None = SECRET,
        ccid: str | None = "acme",
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> httpx.Response:
        """Send a request of a third party, signed with ``secret`` unless that is None."""
        shown = {"Content-Type": "application/json"} if method == "POST" else {}
        if secret is not None:
            shown["X-Hub-Signature"] = signature(body, secret)
        if ccid is not None:
            shown["x-ccid"] = ccid
        return await self.send(method, f"{NEXUS}{path}", content=body, headers=shown | (headers or {}), **more)

    async def come(self, *messages: dict[str, Any], channel: str = SMS, **more: Any) -> list[str]:
        """Send messages and receipts, which must be accepted. Returns their ids."""
        answer = await self.third("POST", f"/{channel}/messages", json.dumps({"messages": messages}).encode(), **more)
        assert answer.status_code == 200, answer.text
        return cast("list[str]", answer.json().get("data", {"ids": []})["ids"])

    async def go(self, message: dict[str, Any], channel: str = SMS, **more: Any) -> str:
        """Send a message to a consumer. Returns its id."""
        return str((await self.rest("POST", f"/{channel}/messages", message, caller="desk", **more))["id"])

    async def upload(self, content: bytes, filename: str = "MyImage", declared: str | None = None, **more: Any) -> httpx.Response:
        """Upload a file as a third party."""
        body, headers = form(content, filename, declared)
        return await self.third("POST", f"/{SMS}/media", body, headers=headers, **more)

    async def channel(self, identifier: str = SMS, kind: str = "sms", *, caller: str = "admin", secret: str = SECRET, **more: Any) -> Any:
        """Make a channel with a webhook that leads to the receiver."""
        given = {"id": identifier, "type": kind, "webhook": self.receiver.url, "secret": secret, **more}
        return await self.rest("POST", "", given, caller=caller)

    # -- what becomes of it -------------------------------------------------------------------------------------------

    async def state(self, identifier: str, channel: str = SMS) -> str:
        """Return the state of a message."""
        return str((await self.rest("GET", f"/{channel}/messages/{identifier}"))["state"])

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not done():
                await asyncio.sleep(0.005)

    async def told(self, identifier: str, *states: str, channel: str = SMS) -> None:
        """Wait until exactly these states of a message were published, in this order."""

        def heard() -> Sequence[str]:
            return [state for each, state in self.heard.states(channel) if each == identifier]

        await self.until(lambda: len(heard()) >= len(states))
        assert tuple(heard()) == states
