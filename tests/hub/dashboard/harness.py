"""A hub with a clock and a loop of the test's own, and one dashboard connection to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hub.bus.interface import Bus
from hub.bus.memory import MemoryBus
from hub.core.channels import lies_within
from hub.core.decision import Decision
from hub.core.delivery import ChannelDeclaration, ChannelRegistry, DeliveryClass
from hub.core.hub import Hub
from hub.core.limits import Limits
from hub.core.message import Topic
from hub.core.principal import Action, Principal
from hub.core.subscriber import Subscriber
from hub.dashboard.conversation import Conversation, DashboardCounters
from hub.eventlog.channel_log import ChannelLog
from hub.eventlog.channel_log_memory import MemoryChannelLog
from tests.hub.core.harness import ManualLoop
from tests.world import FakeConnection, ManualClock, decided


def principal(subject: str = "ann", *, tenant: str = "t", anonymous: bool = False) -> Principal:
    return Principal(tenant, subject, frozenset(), f"login-{subject}", f"login-{subject}", anonymous=anonymous)


class GatedBus(MemoryBus):
    """A memory bus that, once :attr:`before_confirm` is set, lets something happen before it confirms a subscription."""

    __slots__ = ("before_confirm",)

    def __init__(self, log: ChannelLog) -> None:
        super().__init__(log)
        self.before_confirm: Callable[[], Coroutine[Any, Any, None]] | None = None

    async def subscribe(self, topics: Sequence[Topic], *, positions: bool) -> Mapping[Topic, int]:
        confirmed = await super().subscribe(topics, positions=positions)
        if self.before_confirm is not None:
            before, self.before_confirm = self.before_confirm, None
            await before()
        return confirmed


class Grants:
    """Everything but ``/secret/**`` and what lies above it."""

    async def decide(self, who: Principal, action: Action, resource: str) -> Decision:
        return decided(any(lies_within(resource, pattern) for pattern in ("/free/**", "/log/**", "/state/**")))


@dataclass(frozen=True)
class Answer:
    principal: Principal | None


@dataclass
class Tokens:
    """The token is the name of the principal it stands for; ``bad`` stands for nobody."""

    open: bool = False
    asked: list[tuple[object, str | None]] = field(default_factory=list)
    before_answer: Callable[[], None] | None = None

    async def from_ext(self, authentication: object, *, statistics_session: str | None = None) -> Answer:
        self.asked.append((authentication, statistics_session))
        if self.before_answer is not None:
            self.before_answer()
        assert isinstance(authentication, dict)
        return Answer(None if authentication["token"] == "bad" else principal(authentication["token"]))

    def anonymous(self, *, discriminator: str = "") -> Principal | None:
        return principal("nobody", anonymous=True) if self.open else None


class Dashboard:
    """One hub, one conversation."""

    def __init__(
        self,
        *,
        who: Principal | None = None,
        tokens: Tokens | None = None,
        limits: Limits | None = None,
        opened: bool = True,
        log: ChannelLog | None = None,
        bus: Bus | None = None,
    ) -> None:
        self.clock = ManualClock()
        self.loop = ManualLoop()
        self.log = log or MemoryChannelLog(self.clock)
        self.bus = GatedBus(self.log)
        self.values: dict[str, bytes] = {}
        self.faults: list[Exception] = []
        self.hub = Hub(
            bus=bus or self.bus,
            log=self.log,
            registry=ChannelRegistry(
                [
                    ChannelDeclaration("/log/**", DeliveryClass.LOG, "log"),
                    ChannelDeclaration("/state/**", DeliveryClass.STATE, "state", snapshot=self._snapshot),
                ]
            ),
            authorizer=Grants(),
            loop=self.loop,
            clock=self.clock,
            on_fault=self._fault,
            limits=limits,
        )
        self.tokens = tokens or Tokens()
        self.wire = FakeConnection()
        self.counters = DashboardCounters()
        self.conversation = Conversation(
            self.hub, self.wire, self.tokens, identifier="s1", counters=self.counters, statistics_session="cookie"
        )
        if opened:
            self.conversation.open(who)

    def _fault(self, subscriber: Subscriber, fault: Exception) -> None:
        self.faults.append(fault)

    async def _snapshot(self, tenant: str, audience: str, pattern: str) -> Sequence[tuple[str, bytes]]:
        return list(self.values.items())

    async def send(self, message: object) -> list[Any]:
        """Send a message (bytes as they are) and return what was answered."""
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        await self.conversation.receive(payload)
        return await self.read()

    async def read(self) -> list[Any]:
        """What was written since the last call, all frames as one list."""
        await self.loop.run()
        assert not self.faults
        frames, self.wire.frames = self.wire.frames, []
        return [element for frame in frames for element in json.loads(frame)]

    async def emit(self, channel: str, data: bytes = b"1") -> None:
        await self.hub.publisher.emit("t", channel, data)

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.hub.timers.sweep()


async def welcomed(**options: Any) -> Dashboard:
    """A dashboard that has been welcomed, with nothing left to read."""
    dashboard = Dashboard(who=principal(), **options)
    await dashboard.read()
    return dashboard
