"""The REST application with ingest in it, over a log in memory, under a clock that the test moves."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import uvicorn

from channels.events import EVENT_STREAM, Event, LateEventError, decode_event, format_time
from channels.ingest.routes import create_router, register_errors
from channels.ingest.sequencer import Sequencer
from channels.ingest.service import Ingest
from channels.ingest.settings import IngestSettings
from hub.eventlog.interface import EventLog
from hub.eventlog.memory import MemoryEventLog
from hub.http.application import create_app
from hub.http.error_table import ErrorTable
from hub.ops.health import Health
from hub.ops.metrics import Metrics
from hub.security.cookies import CookieSigner
from hub.security.demo import DemoLookup
from hub.security.directory import Directory
from hub.security.gate import Gate
from hub.security.roles import Grants
from tests.channels.statistics.support import AsyncioLoop
from tests.support.access import ROLES
from tests.world import ManualClock

NOON_MS = 1_772_366_400_000
"""2026-03-01 12:00:00 UTC."""

RESTLESS_S = 0.003
"""More than a slice of work: with such a step each look at the clock ends one."""


def noon(*, step: float = 0.0) -> ManualClock:
    """A clock that the test moves, at noon."""
    return ManualClock(wall=NOON_MS, step=step)


class Recorder:
    """An :class:`EventConsumer` that keeps what it saw, and refuses what is older than the last event of its source."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, Event]] = []
        self.last: dict[str, int] = {}
        self.faults = 0
        self.past: list[bool] = []

    def check(self, tenant: str, event: Event, *, past: bool = False) -> None:
        self.past.append(past)
        last = self.last.get(event.source, 0)
        if event.time_ms < last:
            raise LateEventError(
                f"time: expected {format_time(last)} or later, the time of the last event of source {event.source}; "
                f"got {format_time(event.time_ms)}, {last - event.time_ms} ms earlier"
            )

    def consume(self, tenant: str, events: Sequence[tuple[int, Event]]) -> None:
        if self.faults:
            self.faults -= 1
            raise RuntimeError("consumer fault")
        self.seen.extend(events)
        self.last.update((event.source, event.time_ms) for _, event in events)


class InRole(DemoLookup):
    """The demo's credentials in another role."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self.role = role

    async def grants(self, tenant: str, roles: frozenset[str]) -> Grants:
        return ROLES[self.role]


class Ingesting:
    """Sequencer, application and a client of it that is signed in as the demo's administrator."""

    def __init__(self, *, log: EventLog | None = None, clock: ManualClock | None = None, role: str = "admin", **settings: Any) -> None:
        self.clock = clock or noon()
        self.log = log or MemoryEventLog()
        self.recorder = Recorder()
        self.settings = IngestSettings(**settings)
        loop = AsyncioLoop()
        self.sequencer = Sequencer(
            eventlog=self.log,
            clock=self.clock,
            loop=loop,
            find_consumers=lambda: [self.recorder],
            repeats_s=self.settings.repeats_s,
            repeats_max=self.settings.repeats_max,
        )
        gate = Gate(Directory(InRole(role), self.clock), self.clock, CookieSigner(b"0" * 32, self.clock, lifetime_s=3600))
        ingest = Ingest(sink=self.sequencer, counters=self.sequencer.counters, settings=self.settings, clock=self.clock, loop=loop)
        errors = ErrorTable()
        register_errors(errors)
        self.app = create_app(gate=gate, metrics=Metrics(), health=Health(), routers=[create_router(ingest)], errors=errors)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(self.app)
        headers = {"Authorization": "Bearer demo-token"}
        async with httpx.AsyncClient(transport=transport, base_url="http://hub", headers=headers) as client:
            await self.sequencer.start()
            yield client
            await self.sequencer.stop()

    async def logged(self, tenant: str = "demo") -> list[tuple[int, Event]]:
        """What the log holds."""
        return [(position, decode_event(record)) async for chunk in self.log.read(tenant, EVENT_STREAM) for position, record in chunk]


def cloudevent(identifier: str = "1", **members: Any) -> dict[str, Any]:
    """A good event, or with ``members`` one that is not."""
    return {
        "specversion": "1.0",
        "id": identifier,
        "source": "/switch",
        "type": "cx.agent.ready",
        "time": "2026-03-01T11:59:00Z",
        "data": {"agentId": "ana.lopez"},
    } | members


@contextmanager
def served(hub: Ingesting) -> Iterator[str]:
    """Serve the application on a port of its own, in a thread; yields the address."""
    asyncio.run(hub.sequencer.start())
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(hub.app, log_config=None, lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
