"""A contact centre for tests: a real hub, log and stat server under a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from itertools import count
from types import MappingProxyType
from typing import Any

import msgspec
import orjson

from channels.events import EVENT_STREAM, EVENT_TYPES, Event, encode_event
from channels.statistics.channels import declarations
from channels.statistics.service.interface import Login
from channels.statistics.service.local import LocalStatServer
from channels.statistics.settings import StatisticsSettings
from hub.bus.memory import MemoryBus
from hub.core.decision import Decision
from hub.core.delivery import ChannelRegistry
from hub.core.hub import Hub
from hub.core.principal import Action, Principal
from hub.core.subscriber import Subscriber
from hub.eventlog.channel_log_memory import MemoryChannelLog
from hub.eventlog.interface import EventLog
from hub.eventlog.memory import MemoryEventLog
from tests.world import ManualClock, decided

START_MS = 1_773_133_200_000
"""2026-03-10 09:00:00 UTC, a Tuesday."""


class RestlessClock(ManualClock):
    """Each look at it takes 3 ms, so that every slice of work is over at its first look."""

    def __init__(self) -> None:
        super().__init__(wall=START_MS, step=0.003)


class AsyncioLoop:
    """The loop port over asyncio."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[None]] = set()

    def call_soon(self, callback: Callable[[], object]) -> None:
        asyncio.get_running_loop().call_soon(callback)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def breathe(self) -> None:
        await asyncio.sleep(0)

    def signal(self) -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()


class Everything:
    """An authorizer that allows all."""

    async def decide(self, principal: Principal, action: Action, resource: str) -> Decision:
        return decided(True)


class Listener(Subscriber):
    """A session that keeps what it gets."""

    __slots__ = ("received",)

    def __init__(self, hub: Hub, identifier: str, principal: Principal) -> None:
        super().__init__(hub, identifier, principal)
        self.received: list[tuple[str, Any]] = []

    def flush(self) -> None:
        for message in self.take():
            assert message.data.isascii()
            self.received.append((message.channel, orjson.loads(message.data)))

    def taken(self) -> list[tuple[str, Any]]:
        """What came since the last call."""
        taken, self.received = self.received, []
        return taken


def principal(login: str = "login", token_login: str | None = None, tenant: str = "t") -> Principal:
    return Principal(tenant, "sam", frozenset({"admin"}), login, token_login or login)


def login(key: str = "login", token_key: str | None = None, tenant: str = "t") -> Login:
    return Login(tenant, key, token_key or key)


class Centre:
    """One hub with a stat server. ``feed`` does what ingest does: check, log, consume."""

    def __init__(
        self,
        *,
        eventlog: EventLog | None = None,
        clock: ManualClock | None = None,
        time: str = "wall",
        server: Mapping[str, Any] = MappingProxyType({}),
        **settings: Any,
    ) -> None:
        """``server`` holds further arguments of :class:`LocalStatServer`."""
        self.clock = clock or ManualClock(wall=START_MS)
        self.log = eventlog or MemoryEventLog()
        self.loop = AsyncioLoop()
        self.faults: list[Exception] = []
        log = MemoryChannelLog(self.clock)
        self.hub = Hub(
            bus=MemoryBus(log),
            log=log,
            registry=ChannelRegistry(),
            authorizer=Everything(),
            loop=self.loop,
            clock=self.clock,
            on_fault=lambda _, fault: self.faults.append(fault),
        )
        self.settings = StatisticsSettings(**{"zone": "UTC", "clock": time, **settings})
        self.server = LocalStatServer(hub=self.hub, eventlog=self.log, clock=self.clock, settings=self.settings, **server)
        for declaration in declarations(self.server):
            self.hub.registry.declare(declaration)
        self._ids = count()

    def event(self, kind: str, /, at_s: float | None = None, **data: object) -> Event:
        """An event ``at_s`` seconds from the start, by default now."""
        shape = EVENT_TYPES[kind]
        time_ms = self.clock.wall if at_s is None else START_MS + round(at_s * 1000)
        return Event(kind, time_ms, "test", str(next(self._ids)), msgspec.convert(data, shape))

    async def feed(self, *events: Event, tenant: str = "t") -> None:
        for event in events:
            self.server.check(tenant, event)
        await self.append(*events, tenant=tenant)

    async def append(self, *events: Event, tenant: str = "t") -> None:
        last = await self.log.append(tenant, EVENT_STREAM, [encode_event(event) for event in events])
        self.server.consume(tenant, list(enumerate(events, last - len(events) + 1)))

    async def subscribe(self, *patterns: str, who: Principal | None = None, identifier: str = "s1") -> Listener:
        listener = Listener(self.hub, identifier, who or principal())
        self.hub.sessions.attach(listener)
        await self.hub.subscriptions.subscribe(listener, patterns)
        for pattern in patterns:
            await self.hub.snapshots.send(listener, [pattern])
        await self.settle()
        return listener

    async def settle(self) -> None:
        """Let the flusher run."""
        for _ in range(3):
            await asyncio.sleep(0)

    async def tick(self, seconds: float = 0.0) -> None:
        """Let time pass and tell what is due."""
        self.clock.advance(seconds)
        await self.server.tick()
        await self.settle()


def agent_item(statistic_id: str = "s", *, agent: str = "ana", name: str | None = None, **definition: object) -> dict[str, object]:
    """An item of a subscription: a predefined statistic, or an Immediate one with a definition."""
    item: dict[str, object] = {"statisticId": statistic_id, "objectId": agent, "objectType": "Agent"}
    if name is not None:
        return item | {"name": name}
    return item | {
        "definition": {
            "category": "TotalNumber",
            "subject": "DNAction",
            "mainMask": "CallInbound",
            "notificationMode": "Immediate",
            **definition,
        }
    }


def items_of(received: Sequence[tuple[str, Any]]) -> list[dict[str, Any]]:
    """The items of all ``StatisticUpdate`` notifications."""
    return [item for channel, data in received if channel == "/statistics/v3/updates" for item in data["data"]["statistics"]]


def call(centre: Centre, agent: str = "ana", at_s: float | None = None) -> list[Event]:
    """An inbound call that begins and ends at one moment: one more for InboundCalls."""
    interaction = f"call-{next(_calls)}"
    return [
        centre.event("cx.interaction.established", at_s, interactionId=interaction, agentId=agent, callType="inbound"),
        centre.event("cx.interaction.released", at_s, interactionId=interaction, agentId=agent),
    ]


_calls = count()
