"""The family as a hub builds it, with a real database, the outbox, a store of objects, and a server of its links."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self, cast

import httpx

from channels.files.arns import Arns
from channels.files.build import FILES
from channels.files.counters import Counters
from channels.files.errors import FileNotFound
from channels.files.family import family
from channels.files.models import FileRecord, NewFile, UploadLink
from hub.audit.log import AuditLog
from hub.audit.ports import AUDIT
from hub.core.message import Topic
from hub.eventlog.channel_log import Selection
from hub.eventlog.channel_log_memory import MemoryChannelLog
from hub.family import Context, Parts
from hub.objects.claim import CLAIM_KEY, StoreClaim
from hub.objects.family import family as objects
from hub.objects.links import FileLinks
from hub.objects.ports import FILE_LINKS, OBJECT_STORE
from hub.objects.store import ObjectStore
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
from tests.hub.transports.harness import listening
from tests.support.rest import Callers, Clock, Lookup
from tests.world import ManualClock

NOW = 1_795_956_000_000
TENANTS = ("acme", "other")

CALLERS: Callers = {
    "admin": ("acme", ("/files/**",)),
    "supervisor": ("acme", ("/files/read",)),
    "wall": ("acme", ("/statistics/read",)),
    "foreign": ("other", ("/files/**",)),
    "agent": ("acme", ("/files/participants",)),
    "desk": ("acme", ("/files/participants",)),
    "desk2": ("acme", ("/files/participants",)),
    "reader": ("acme", ("/files/read",)),
}

CASE = "arn:aws:cases:us-east-1:000000000000:domain/hub/case/4711"
CONTACT = "arn:aws:connect:us-east-1:000000000000:instance/i/contact/4712"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)

WITHIN_S = 30.0
"""The longest time that a test waits for an expected event, in seconds."""


def new_file(name: str = "note.txt", content: bytes = b"hello", **more: Any) -> NewFile:
    """An announcement."""
    given: dict[str, Any] = {
        "tenant": "acme",
        "call": "attached",
        "resource": CASE,
        "interaction_id": None,
        "name": name,
        "size": len(content),
        "content_type": "",
        "created_by": '{"AWSIdentityArn":"arn:aws:iam::000000000000:user/ana"}',
        "tags": {},
        "client_token": None,
        "url_expiry_s": 300,
    }
    return NewFile(**{**given, **more})


async def once(content: bytes) -> AsyncIterator[bytes]:
    """The bytes of an object, in one piece."""
    yield content


class Heard:
    """Stands for the hub. It keeps the published messages, and drops one that is published again with the same name."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, Any]] = []
        self.log = MemoryChannelLog(SystemClock())
        self._names: set[tuple[str, str]] = set()

    @property
    def publisher(self) -> Self:
        """The hub is also the publisher."""
        return self

    async def emit(self, tenant: str, channel: str, data: bytes, *, idempotency_key: str = "") -> None:
        if (channel, idempotency_key) in self._names:
            return
        self._names.add((channel, idempotency_key))
        await self.log.append(Topic(tenant, "", channel), data, b"")
        self.events.append((tenant, channel, json.loads(data)))

    async def kept(self, tenant: str, channel: str) -> list[Any]:
        """What somebody hears who subscribes to a channel now, with all that was said before."""
        page = await self.log.read(Selection(tenant, ("",), frozenset({channel})), 0, 2**30)
        return [json.loads(record.data) for record in page.records]

    def on(self, channel: str) -> list[Any]:
        """What was published on a channel."""
        return [data for _, where, data in self.events if where == channel]


class World:
    """The family over a database and a folder; it may be started anew over the same ones."""

    def __init__(self, transactions: Transactions, folder: Path, clock: ManualClock, settings: dict[str, Any]) -> None:
        self.clock = clock
        self.folder = folder
        self.heard = Heard()
        self.transactions = transactions
        webhooks = OutboxSettings(shutdown_grace_s=0.2, retry_s=(0.05, 0.05), jitter=0, throttle_s=0.05, allowed_networks=["127.0.0.0/8"])
        self.sender = Sender(Guard(webhooks.allowed_networks, webhooks.https_only), SystemClock(), webhooks)
        self.outbox = Outbox(
            transactions=transactions,
            hub=cast("Any", self.heard),
            clock=SystemClock(),
            loop=AsyncioLoop(),
            settings=webhooks,
            sender=self.sender,
            consumers=lambda: list(self.parts.outbox_consumers),
            alone=True,
            timing=Timing(look_s=0.05, blocked_s=0.05, poll_s=0.05),
        )
        settings_of: Any = model_of([objects, family])
        given = {"objects": settings.pop("objects", {}), "files": settings}
        chosen = settings_of(data_dir=folder, secret="s" * 32, outbox=webhooks, **given)
        self.gate = Gate(Directory(Lookup(CALLERS), Clock()), Clock(), CookieSigner(b"0" * 32, Clock(), lifetime_s=3600))
        hub, unused, recorder = (cast("Any", each) for each in (self.heard, None, self.outbox))
        offered = [Parts(offers=[RECORDER.offer(recorder), AUDIT.offer(AuditLog(b"s" * 32, clock.wall_ms))])]
        self.context = Context(chosen, hub, unused, self.gate, clock, transactions, offered, Hosts.of(chosen))
        self.below = objects.build(self.context)
        offered.append(self.below)
        self.parts = family.build(self.context)
        offered.append(self.parts)
        self.files = self.context.one(FILES)
        self.store: ObjectStore = self.context.one(OBJECT_STORE)
        self.links: FileLinks = self.context.one(FILE_LINKS)
        self.counters = cast("Counters", self.parts.counters["files"])
        self.arns = Arns(chosen.files.arn_region, chosen.files.arn_account)
        self.base = ""
        self.client: httpx.AsyncClient

    @asynccontextmanager
    async def running(self, *, jobs: bool = True) -> AsyncIterator[World]:
        """Start it; without ``jobs`` nothing happens by itself."""
        async with AsyncExitStack() as stack:
            port = await stack.enter_async_context(listening(self.below.endpoints[0]))
            self.client = await stack.enter_async_context(httpx.AsyncClient())
            self.base = f"http://127.0.0.1:{port}"
            self.context.hosts.port = port
            await self.sender.start()
            stack.push_async_callback(self.sender.stop)
            await self.outbox.start()
            stack.push_async_callback(self.outbox.stop)
            for each in self.parts.services if jobs else ():
                await each.start()
                stack.push_async_callback(each.stop)
            yield self

    # -- what clients do --------------------------------------------------------------------------------------------------

    async def start(self, name: str = "note.txt", content: bytes = b"hello", **more: Any) -> tuple[FileRecord, UploadLink]:
        """Announce a file."""
        return await self.files.start(new_file(name, content, **more), self.base)

    async def put(self, link: UploadLink, content: bytes = b"hello", **headers: str) -> httpx.Response:
        """Upload by a link."""
        return await self.client.put(link.url, content=content, headers={**link.headers, **headers})

    async def uploaded(self, name: str = "note.txt", content: bytes = b"hello", **more: Any) -> FileRecord:
        """A file whose bytes came."""
        file, link = await self.start(name, content, **more)
        answer = await self.put(link, content)
        assert answer.status_code == 200, answer.text
        return file

    async def complete(self, file: FileRecord, token: str | None = None) -> FileRecord:
        """Complete an upload."""
        return await self.files.complete(file.tenant, file.id, call=file.call, resource=file.resource, client_token=token)

    async def approved(self, name: str = "note.txt", content: bytes = b"hello", **more: Any) -> FileRecord:
        """A file that may be read."""
        found = await self.complete(await self.uploaded(name, content, **more))
        assert found.status == "APPROVED", found.reason
        return found

    async def now(self, file: FileRecord) -> FileRecord | None:
        """The file as it is; None: it is gone."""
        try:
            return await self.files.get(file.tenant, file.id)
        except FileNotFound:
            return None

    async def read(self, file: FileRecord) -> httpx.Response:
        """Download a file by a new link."""
        url, _ = await self.files.download_link(file, self.base, expiry_s=60)
        return await self.client.get(url)

    async def had_the_store_before(self) -> None:
        """Have the store be this hub's since before any file came: what is not in it is gone."""
        await StoreClaim(self.store, self.transactions).holds()
        os.utime(self.folder / "objects" / ".hidden" / CLAIM_KEY, (0, 0))

    async def keys(self, prefix: str = "") -> list[str]:
        """What is in the store."""
        return [each.key for each in await self.store.objects(prefix) if each.key != CLAIM_KEY]

    # -- what becomes of it -----------------------------------------------------------------------------------------------

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not done():
                await asyncio.sleep(0.005)

    def told(self, file: FileRecord, channel: str = "/hub/operations") -> list[str]:
        """What was told of a file."""
        return [each["event"] for each in self.heard.on(channel) if each.get("file", {}).get("id") == file.id]

    async def tells(self, file: FileRecord, *events: str, channel: str = "/hub/operations") -> None:
        """Wait until exactly these events of a file were published, in this order."""
        await self.until(lambda: len(self.told(file, channel)) >= len(events))
        assert self.told(file, channel) == list(events)
