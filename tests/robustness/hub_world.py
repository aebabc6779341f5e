"""A hub in a world that is slow when the test says so: what a bus, a decision or a value takes is the test's to end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hub.bus.interface import Envelope, Receiver
from hub.bus.memory import MemoryBus
from hub.core.decision import Decision
from hub.core.delivery import ChannelDeclaration, ChannelRegistry, DeliveryClass
from hub.core.hub import Hub
from hub.core.limits import Limits
from hub.core.message import Topic
from hub.core.principal import Action, Principal
from hub.core.subscriber import Subscriber
from hub.eventlog.channel_log import ChannelLog
from hub.eventlog.channel_log_memory import MemoryChannelLog
from tests.hub.bayeux.harness import Answer, Tokens
from tests.hub.core.harness import Grants
from tests.robustness.scheduler import SteppedLoop
from tests.world import ManualClock


class Observed:
    """A receiver whose envelopes are shown to somebody first."""

    def __init__(self, receiver: Receiver, seen: Callable[[Envelope], None]) -> None:
        self._receiver = receiver
        self._seen = seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._receiver, name)

    def on_envelope(self, envelope: Envelope) -> None:
        self._seen(envelope)
        self._receiver.on_envelope(envelope)


class SlowBus(MemoryBus):
    """A memory bus that takes its time, and tells who watches of each envelope at the moment at which it is fanned out."""

    __slots__ = ("_loop", "seen", "topics")

    def __init__(self, log: ChannelLog, loop: SteppedLoop, seen: Callable[[Envelope], None]) -> None:
        super().__init__(log)
        self._loop = loop
        self.seen = seen
        self.topics: Counter[Topic] = Counter()

    def attach(self, receiver: Receiver) -> None:
        super().attach(Observed(receiver, self.seen))

    async def subscribe(self, topics: Sequence[Topic], *, positions: bool) -> Mapping[Topic, int]:
        await self._loop.answer()
        self.topics.update(dict.fromkeys(topics, 1))
        return await super().subscribe(topics, positions=positions)

    def unsubscribe(self, topics: Sequence[Topic]) -> None:
        for topic in topics:
            del self.topics[topic]
        super().unsubscribe(topics)

    def publish(self, envelope: Envelope) -> None:
        self.seen(envelope)

    def publish_to_logins(self, envelope: Envelope, logins: Sequence[str]) -> None:
        for login in logins:
            self.seen(envelope._replace(topic=envelope.topic._replace(audience=login)))

    async def append(self, envelope: Envelope, *, idempotency_key: str = "") -> int | None:
        await self._loop.answer()
        return await self._append(envelope, idempotency_key)  # without a task of asyncio: nobody gives up here


class SlowGrants(Grants):
    """The harness's grants, after a while."""

    def __init__(self, loop: SteppedLoop) -> None:
        self._loop = loop

    async def decide(self, who: Principal, action: Action, resource: str) -> Decision:
        await self._loop.answer()
        return await super().decide(who, action, resource)


class SlowTokens(Tokens):
    """The harness's tokens, after a while."""

    def __init__(self, loop: SteppedLoop) -> None:
        super().__init__(open=True)
        self._loop = loop

    def still_good(self, principal: Principal) -> bool:
        return True

    async def from_ext(self, authentication: object, *, statistics_session: str | None = None) -> Answer:
        await self._loop.answer()
        return await super().from_ext(authentication, statistics_session=statistics_session)


class HubWorld:
    """One hub with a clock, a loop, a bus, a decision and a log of the test's own. ``/log/**`` is kept, ``/state/**`` has two values,
    ``/mine/**`` is of one login each, ``/value/*`` is watched.
    """

    def __init__(self, limits: Limits, published: Callable[[Envelope], None]) -> None:
        self.clock = ManualClock()
        self.loop = SteppedLoop()
        self.values = {"/state/a": b'{"snapshot":1}', "/state/b/c": b'{"snapshot":2}'}
        self.watched: Counter[tuple[str, str]] = Counter()
        self.faults: list[Exception] = []
        self.log = MemoryChannelLog(self.clock)
        self.bus = SlowBus(self.log, self.loop, published)
        self.tokens = SlowTokens(self.loop)
        state, event, log = DeliveryClass.STATE, DeliveryClass.EVENT, DeliveryClass.LOG
        self.hub = Hub(
            bus=self.bus,
            log=self.log,
            registry=ChannelRegistry(
                [
                    ChannelDeclaration("/log/**", log, "log"),
                    ChannelDeclaration("/state/**", state, "state", snapshot=self._snapshot),
                    ChannelDeclaration("/mine/**", event, "of one login", personal=True),
                    ChannelDeclaration("/value/*", state, "watched", snapshot=self._no_snapshot, watch=self._watch, unwatch=self._unwatch),
                ]
            ),
            authorizer=SlowGrants(self.loop),
            loop=self.loop,
            clock=self.clock,
            on_fault=self._fault,
            limits=limits,
        )
        self._places = 0
        self._connections = 0
        self.some_direct = False
        """Every second connection is made with a direct way."""

    def direct(self) -> bool:
        """Whether the next connection's server takes frames directly."""
        self._connections += 1
        return self.some_direct and self._connections % 2 == 0

    def _fault(self, subscriber: Subscriber, fault: Exception) -> None:
        self.faults.append(fault)

    async def _snapshot(self, tenant: str, audience: str, pattern: str) -> Sequence[tuple[str, bytes]]:
        await self.loop.answer()
        if pattern.endswith("*"):
            return list(self.values.items()) if pattern == "/state/**" else []
        return [(pattern, self.values[pattern])] if pattern in self.values else []

    async def _no_snapshot(self, tenant: str, audience: str, pattern: str) -> Sequence[tuple[str, bytes]]:
        return []

    async def _watch(self, tenant: str, channel: str) -> None:
        await self.loop.answer()
        self.watched[tenant, channel] = 1

    def _unwatch(self, tenant: str, channel: str) -> None:
        del self.watched[tenant, channel]

    def place(self) -> int:
        """The next place in the order in which things leave."""
        self._places += 1
        return self._places

    def pass_time(self, seconds: float) -> None:
        """The clock goes on."""
        self.clock.now += seconds
        self.hub.timers.sweep()

    def queue_bound(self, queue: int, largest: int, subscriptions: int) -> int:
        """What may wait for one session: its limit, one message above it, and the parts of a snapshot for each subscription."""
        return queue + largest + subscriptions * sum(len(channel) + len(data) + 64 for channel, data in self.values.items())

    def check_no_fault(self) -> None:
        """Nothing has raised; what did is raised again."""
        for fault in self.faults:
            raise fault
        assert self.hub.counters.faults == 0

    def check_empty(self) -> None:
        """Whoever has gone leaves nothing behind."""
        hub = self.hub
        interest = hub.subscriptions.interest
        assert (hub.sessions.by_id, len(hub.router), interest.topics, interest.watched, len(hub.logins)) == ({}, 0, {}, {}, 0)
        assert [timer.callback for bucket in hub.timers._buckets.values() for timer in bucket] == []
        assert dict(self.bus.topics) == {}
        assert dict(self.watched) == {}
        self.check_no_fault()
