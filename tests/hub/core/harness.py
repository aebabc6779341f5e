"""A hub with the clock and the loop of a test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from hub.bus.interface import Bus, Envelope
from hub.bus.memory import MemoryBus
from hub.core.channels import lies_within
from hub.core.decision import Decision
from hub.core.delivery import ChannelDeclaration, ChannelRegistry
from hub.core.hub import Hub
from hub.core.limits import Limits
from hub.core.message import Message, Topic
from hub.core.principal import Action, Principal
from hub.core.subscriber import Subscriber
from hub.eventlog.channel_log import ChannelLog
from hub.eventlog.channel_log_memory import MemoryChannelLog
from tests.world import ManualClock, decided

T = TypeVar("T")


def principal(subject: str = "ann", *, tenant: str = "t", cookie: str = "") -> Principal:
    """Return a principal. Its login is that of its token, or a login of its own if there is a ``cookie``."""
    token_login = f"token-{subject}"
    return Principal(tenant, subject, frozenset(), f"login-{cookie}" if cookie else token_login, token_login)


class ManualLoop:
    """A loop that runs its callbacks when the test says so."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[[], object]] = []
        self.work: list[Coroutine[Any, Any, None]] = []
        self.breaths = 0
        """How often work let other work run."""

    def call_soon(self, callback: Callable[[], object]) -> None:
        self.callbacks.append(callback)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.work.append(work)

    async def breathe(self) -> None:
        self.breaths += 1

    def signal(self) -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()

    def tick(self) -> None:
        """Run one tick: the callbacks that are scheduled now, but not those that they schedule."""
        now, self.callbacks = self.callbacks, []
        for callback in now:
            callback()

    async def turn_until(self, work: Coroutine[Any, Any, T]) -> T:
        """Tick until work that waits for its turn has ended; returns what it returns."""
        task = asyncio.create_task(work)
        await asyncio.sleep(0)
        while not task.done():
            self.tick()
            await asyncio.sleep(0)
        return task.result()

    async def run(self) -> None:
        """Run until no callback is left."""
        while self.callbacks or self.work:
            if self.callbacks:
                self.tick()
            else:
                await self.work.pop(0)


class Grants:
    """Allows everything except ``/secret/**``, wildcards that match channels in it, and operations that were taken away."""

    def __init__(self) -> None:
        self.denied: set[str] = set()

    async def decide(self, who: Principal, action: Action, resource: str) -> Decision:
        if action is Action.CALL:
            return decided(resource not in self.denied)
        return decided(not lies_within(resource, "/secret/**") and resource != "/**")


class Recorder(Subscriber):
    """A session that keeps the messages that it gets."""

    __slots__ = ("ended", "fault", "received")

    def __init__(self, hub: Hub, identifier: str = "s", who: Principal | None = None) -> None:
        super().__init__(hub, identifier, who or principal())
        self.received: list[Message] = []
        self.ended = False
        self.fault: Exception | None = None

    def flush(self) -> None:
        if self.fault is not None:
            raise self.fault
        self.received.extend(self.take())

    def end_too_slow(self) -> None:
        self.ended = True
        self.hub.sessions.detach(self)


def at_any_rate(limits: Limits) -> Limits:
    """The clock stands still, so all sessions are opened within one second: their rate is limited only if the test says so."""
    usual = limits.handshakes_per_s_per_tenant == Limits().handshakes_per_s_per_tenant
    return replace(limits, handshakes_per_s_per_tenant=0) if usual else limits


class World:
    """One hub with its ports."""

    def __init__(
        self,
        declarations: Iterable[ChannelDeclaration] = (),
        *,
        limits: Limits | None = None,
        log: ChannelLog | None = None,
        bus: Bus | None = None,
        clock: ManualClock | None = None,
    ) -> None:
        """``bus`` uses ``log``; each is made if it is not given."""
        self.clock = clock or ManualClock()
        self.loop = ManualLoop()
        self.log = log or MemoryChannelLog(self.clock)
        self.bus = bus or MemoryBus(self.log)
        self.faults: list[tuple[Subscriber, Exception]] = []
        self.grants = Grants()
        self.hub = Hub(
            bus=self.bus,
            log=self.log,
            registry=ChannelRegistry(declarations),
            authorizer=self.grants,
            loop=self.loop,
            clock=self.clock,
            on_fault=lambda subscriber, fault: self.faults.append((subscriber, fault)),
            limits=at_any_rate(limits or Limits()),
        )

    def session(self, identifier: str = "s", who: Principal | None = None) -> Recorder:
        """Return a session that the hub has accepted."""
        recorder = Recorder(self.hub, identifier, who)
        self.hub.sessions.attach(recorder)
        return recorder

    def pass_time(self, seconds: float) -> None:
        self.loop.tick()  # no time passes within a turn of the loop
        self.clock.now += seconds
        self.hub.timers.sweep()


async def no_values(tenant: str, audience: str, pattern: str) -> list[tuple[str, bytes]]:
    """Return the snapshot of a channel without a value."""
    return []


class WatchfulBus(MemoryBus):
    """A memory bus that records its calls and can fail."""

    __slots__ = ("asked", "failing", "published")

    def __init__(self, log: MemoryChannelLog) -> None:
        super().__init__(log)
        self.asked: list[tuple[str, str]] = []
        self.published: list[Envelope] = []
        self.failing: str | None = None

    async def subscribe(self, topics: Sequence[Topic], *, positions: bool) -> Mapping[Topic, int]:
        self.asked += [("+", topic.channel) for topic in topics]
        if any(topic.channel == self.failing for topic in topics):
            raise ConnectionError
        return await super().subscribe(topics, positions=positions)

    def unsubscribe(self, topics: Sequence[Topic]) -> None:
        self.asked += [("-", topic.channel) for topic in topics]
        super().unsubscribe(topics)

    def publish(self, envelope: Envelope) -> None:
        self.published.append(envelope)
        super().publish(envelope)

    def publish_to_logins(self, envelope: Envelope, logins: Sequence[str]) -> None:
        self.published.extend(envelope._replace(topic=envelope.topic._replace(audience=login)) for login in logins)
        super().publish_to_logins(envelope, logins)


def watchful(*declarations: ChannelDeclaration) -> tuple[World, WatchfulBus]:
    """Return a world and its bus."""
    clock = ManualClock()
    log = MemoryChannelLog(clock)
    bus = WatchfulBus(log)
    return World(declarations, log=log, bus=bus, clock=clock), bus


def received(session: Recorder) -> list[bytes]:
    """Return the data of the messages that a session got."""
    return [message.data for message in session.received]
