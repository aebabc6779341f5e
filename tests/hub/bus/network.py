"""A network of nodes in memory. A test can delay, cut and repair it, and have it deliver twice, as a server between nodes may do."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from hub.bus.interface import BusError, Envelope, Gap, Receiver
from hub.core.channels import candidates
from hub.core.delivery import DeliveryClass
from hub.core.message import Topic
from hub.core.principal import SUBJECT
from hub.eventlog.channel_log import Selection, Span
from hub.eventlog.channel_log_memory import MemoryChannelLog
from hub.eventlog.interface import EventLogError

T = TypeVar("T")


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that awaits nothing: the network does one thing at a time."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    raise AssertionError("expected work that awaits nothing")


class NetworkLog(MemoryChannelLog):
    """A log in memory that can lose its newest records, as a server does that restarts with less data than before."""

    __slots__ = ("seams",)

    def __init__(self, clock: Any) -> None:
        super().__init__(clock)
        self.seams: dict[str, int] = {}

    async def span(self, tenant: str) -> Span:
        return (await super().span(tenant))._replace(seam=self.seams.get(tenant, 0))

    def lose_end(self, tenant: str, position: int) -> None:
        """Forget the records after ``position``. Later records get positions that were never used before."""
        log = self._log(tenant)
        del log.kept[log.after(position) :]
        log.newest += 1_000_000
        self.seams[tenant] = log.newest


class Network:
    """One server between nodes. It sends in the order of the log."""

    def __init__(self, log: NetworkLog) -> None:
        self.log = log
        self.nodes: list[NetworkBus] = []

    def send(self, envelope: Envelope, to: Callable[[NetworkBus], bool]) -> None:
        """Send one copy for each subscription that the envelope matches."""
        tenant, audience, channel = envelope.topic
        for node in filter(to, self.nodes):
            if audience.startswith(SUBJECT):
                if any(topic.tenant == tenant for topic in node.subscribed):
                    node.answer(lambda node=node: node.receive(envelope))  # type: ignore[misc]
                continue
            for pattern in candidates(channel):
                if Topic(tenant, audience, pattern) in node.subscribed:
                    for _ in range(2 if node.repeats else 1):
                        node.answer(lambda node=node: node.receive(envelope))  # type: ignore[misc]


class NetworkBus:
    """The bus of one node. Requests travel in one queue, and answers with published messages in another; each is first in, first out."""

    def __init__(self, network: Network, name: str) -> None:
        self.name = name
        self.connected = True
        self.repeats = False
        """Whether each envelope is delivered twice."""
        self.subscribed: set[Topic] = set()
        """The subscriptions of this node, as the server knows them."""
        self._network = network
        self._receiver: Receiver | None = None
        self._wanted: dict[Topic, None] = {}
        self._requests: deque[Callable[[], None]] = deque()
        self._answers: deque[Callable[[], None]] = deque()
        self._waiting: set[asyncio.Future[Any]] = set()
        self._delayed = {"requests": False, "answers": False}
        self._sequence = 0
        self._seen: dict[tuple[str, str], int] = {}
        self._handed_over: dict[str, int] = {}
        network.nodes.append(self)

    # -- what a test does to it -------------------------------------------------------------------------------------

    def delay(self, *lines: str) -> None:
        """Hold everything that is sent on ``requests`` or ``answers`` until :meth:`hurry` is called."""
        self._delayed |= dict.fromkeys(lines, True)

    def hurry(self, *lines: str) -> None:
        """Send everything that was held, and hold nothing more, on both queues or on the named ones."""
        self._delayed |= dict.fromkeys(lines or ("requests", "answers"), False)
        self._run()

    def cut(self) -> None:
        """Break the connection. Everything that is being sent is lost, and the server forgets the node."""
        self.connected = False
        self.subscribed.clear()
        self._requests.clear()
        self._answers.clear()
        for future in self._waiting:
            if not future.done():
                future.set_exception(BusError("the connection broke"))

    def mend(self) -> None:
        """Connect the node again. It subscribes to its topics and reads the messages that it has missed from the log."""
        self.connected = True
        self.subscribed = set(self._wanted)
        assert self._receiver is not None
        for tenant in {topic.tenant for topic in self._wanted}:
            span = at_once(self._network.log.span(tenant))
            after = self._handed_over.get(tenant, span.newest)
            self._receiver.on_gap(Gap(tenant))  # messages that are in no log are lost
            if after < span.seam:
                self._receiver.on_reset(tenant, span.seam)
            elif after < span.floor:
                self._receiver.on_gap(Gap(tenant, after, span.newest))
            else:
                self._repair(tenant, after)
            self._handed_over[tenant] = span.newest
            self._receiver.on_position(tenant, span.newest)

    # -- the server's side ------------------------------------------------------------------------------------------

    def answer(self, step: Callable[[], None]) -> None:
        self._answers.append(step)
        self._run()

    def _request(self, step: Callable[[], None]) -> None:
        if self.connected:
            self._requests.append(step)
            self._run()

    def _run(self) -> None:
        while self._requests and not self._delayed["requests"]:
            self._requests.popleft()()
        while self._answers and not self._delayed["answers"]:
            self._answers.popleft()()

    def _confirm(self, topics: Sequence[Topic], confirmed: asyncio.Future[Mapping[Topic, int]]) -> None:
        self.subscribed |= set(topics)
        newest = at_once(self._network.log.span(topics[0].tenant)).newest

        def take() -> None:
            assert self._receiver is not None
            self._handed_over[topics[0].tenant] = newest
            self._receiver.on_position(topics[0].tenant, newest)
            if not confirmed.done():
                confirmed.set_result(dict.fromkeys(topics, newest))

        self.answer(take)

    # -- the node's side --------------------------------------------------------------------------------------------

    def receive(self, envelope: Envelope) -> None:
        """Hand an envelope to the receiver, unless it is a second copy."""
        assert self._receiver is not None
        tenant = envelope.topic.tenant
        if envelope.position is not None:
            if envelope.position <= self._handed_over.get(tenant, 0):
                return
            self._handed_over[tenant] = envelope.position
        else:
            if envelope.sequence <= self._seen.get((envelope.origin, tenant), 0):
                return
            self._seen[envelope.origin, tenant] = envelope.sequence
        self._receiver.on_envelope(envelope)

    def _repair(self, tenant: str, after: int) -> None:
        """Hand over the log records of the subscribed topics after a position."""
        topics = [topic for topic in self._wanted if topic.tenant == tenant]
        found: list[Envelope] = []
        for audience in {topic.audience for topic in topics}:
            selection = Selection(tenant, (audience,), {topic.channel for topic in topics if topic.audience == audience})
            for record in at_once(self._network.log.read(selection, after, 1_000_000)).records:
                topic = Topic(tenant, audience, record.channel)
                found.append(Envelope(topic, DeliveryClass.LOG, record.data, record.extra, record.position, after))
        for envelope in sorted(found, key=lambda envelope: envelope.position or 0):
            self.receive(envelope)

    @property
    def node(self) -> str:
        return self.name

    @property
    def sequence(self) -> int:
        return self._sequence

    async def flush(self, tenant: str) -> None:
        if not self.connected:
            return  # the published messages are lost

        def flushed(done: asyncio.Future[None]) -> None:
            if not done.done():
                done.set_result(None)

        with contextlib.suppress(BusError):
            await self._ask(flushed)

    async def settle(self, tenant: str) -> None:
        if not self.connected:
            raise BusError("there is no connection")

        def answered(done: asyncio.Future[None]) -> None:
            self.answer(lambda: None if done.done() else done.set_result(None))

        await self._ask(answered)

    def attach(self, receiver: Receiver) -> None:
        self._receiver = receiver

    async def subscribe(self, topics: Sequence[Topic], *, positions: bool) -> Mapping[Topic, int]:
        if not topics:
            return {}
        self._wanted |= dict.fromkeys(topics)
        if not self.connected:
            raise BusError("there is no connection")
        return await self._ask(lambda future: self._confirm(topics, future))

    async def _ask(self, request: Callable[[asyncio.Future[T]], None]) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        self._request(lambda: request(future))
        try:
            return await future
        finally:
            self._waiting.discard(future)

    def unsubscribe(self, topics: Sequence[Topic]) -> None:
        for topic in topics:
            self._wanted.pop(topic, None)
        self._request(lambda: self.subscribed.difference_update(topics))

    def _signed(self, envelope: Envelope) -> Envelope:
        self._sequence += 1
        return envelope._replace(origin=self.name, sequence=self._sequence)

    def publish(self, envelope: Envelope) -> None:
        signed = self._signed(envelope)
        self._request(lambda: self._network.send(signed, lambda node: node is not self))

    def publish_to_logins(self, envelope: Envelope, logins: Sequence[str]) -> None:
        for login in logins:
            self.publish(envelope._replace(topic=envelope.topic._replace(audience=login)))

    async def append(self, envelope: Envelope, *, idempotency_key: str = "") -> int | None:
        if not self.connected:
            raise EventLogError("there is no connection")
        signed = self._signed(envelope)

        def append(done: asyncio.Future[int | None]) -> None:
            appended = at_once(self._network.log.append(signed.topic, signed.data, signed.extra, idempotency_key))
            if appended is not None:
                position, previous = appended
                self._network.send(signed._replace(position=position, previous=previous), lambda node: True)
            self.answer(lambda: None if done.done() else done.set_result(appended and appended[0]))

        return await self._ask(append)

    async def close(self) -> None:
        self.cut()
