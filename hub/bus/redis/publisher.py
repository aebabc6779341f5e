"""Publishes messages through Redis. One call sends all waiting messages of a tenant; messages that come during the call are sent by the
next one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from enum import Enum
from typing import Any, Final

import structlog

from hub.bus.redis.envelopes import VERSIONS
from hub.bus.redis.tuning import MIB, Counters, Tuning
from hub.core.delivery import DeliveryClass
from hub.eventlog.channel_log_redis import NOTHING_KNOWN, Known
from hub.eventlog.interface import EventLogError
from hub.redis.commands import Argument, RedisRefusedError, RedisUnavailableError
from hub.redis.header import Header
from hub.redis.names import Names
from hub.redis.scripts import Scripts
from hub.redis.server import ServerInfo
from hub.redis.servers import Servers

_log = structlog.get_logger(__name__)

MAX_BATCH: Final = 500
"""Messages of one call at most: Redis does nothing else during a call."""

MAX_CHANNELS: Final = 2_000
"""Channels of one call at most: a script cannot name many more at once."""

MAX_BATCH_BYTES: Final = MIB

MAX_TENANTS: Final = 10_000
"""Tenants whose newest position is remembered. When there are more, all positions are forgotten at once."""

FENCED: Final = "FENCED"
"""Begins the error of the script for an epoch that is lower than the tenant's."""

NOTICES_SINCE: Final = 3
"""The first version of the envelopes that has notices."""

RETRY_S: Final = (0.02, 0.5)
"""Seconds between two attempts: the first value after the first attempt, doubled each time up to the second value."""


class Kind(Enum):
    """What a message is."""

    EVENT = b"e"
    STATE = b"e "
    """As an event to the script. Its loss is told to the other nodes."""
    NOTICE = b"n"
    """Says that states of the tenant were lost."""
    LOG = b"l"


class Outgoing:
    """A message on its way to Redis."""

    __slots__ = ("at", "body", "channels", "epoch", "future", "header", "idempotency_key", "kind", "topic")

    def __init__(
        self,
        channels: Sequence[bytes],
        header: bytes,
        body: bytes,
        topic: str = "",
        idempotency_key: str = "",
        future: asyncio.Future[int | None] | None = None,
        epoch: int = 0,
        kind: Kind = Kind.EVENT,
    ) -> None:
        """``topic`` and ``future`` are set for messages of log channels; ``future`` gets the message's position. ``epoch`` is that of
        :attr:`hub.bus.interface.Envelope.epoch`.
        """
        self.channels = channels
        self.header = header
        self.body = body
        self.topic = topic
        self.idempotency_key = idempotency_key
        self.future = future
        self.epoch = epoch
        self.kind = Kind.LOG if future is not None else kind
        self.at = 0.0

    @property
    def size(self) -> int:
        """Bytes that it counts against ``Tuning.max_pending_bytes``."""
        return len(self.header) + len(self.body) + 64


class _TenantQueue:
    """The messages that one tenant publishes. Only one call runs at a time, so that positions follow the order of the messages."""

    __slots__ = ("added", "done", "messages", "tenant", "waiting")

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.messages: deque[Outgoing] = deque()
        self.added = 0
        """Messages that were queued."""
        self.done = 0
        """Those of them that were published, or have failed."""
        self.waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        """Who waits until so many are done, by rising number."""

    def finish(self, count: int) -> None:
        """Note that so many more are done."""
        self.done += count
        while self.waiting and self.waiting[0][0] <= self.done:
            future = self.waiting.popleft()[1]
            if not future.done():
                future.set_result(None)


class Publisher:
    """Everything that a process publishes through Redis."""

    __slots__ = (
        "_batch",
        "_bytes",
        "_closed",
        "_counters",
        "_given",
        "_guard_us",
        "_incarnation",
        "_known",
        "_loop",
        "_names",
        "_on_fenced",
        "_owed",
        "_pending",
        "_queues",
        "_scripts",
        "_sequence",
        "_servers",
        "_tasks",
        "_tuning",
        "version",
    )

    def __init__(
        self,
        servers: Servers,
        names: Names,
        scripts: Scripts,
        incarnation: str,
        tuning: Tuning,
        counters: Counters,
        known: Callable[[str], Known],
        *,
        guard_us: int,
        sequence: Callable[[], int],
        on_fenced: Callable[[str, int], object],
    ) -> None:
        """``known`` returns the highest position of a tenant's log that this process has seen. ``on_fenced`` is called with a tenant and an
        epoch when messages are refused because the tenant has a later epoch.
        """
        self._servers = servers
        self._names = names
        self._scripts = scripts
        self._incarnation = incarnation
        self._tuning = tuning
        self._counters = counters
        self._known = known
        self._guard_us = guard_us
        self._on_fenced = on_fenced
        self._sequence = sequence
        self._loop = asyncio.get_running_loop()
        self._queues: dict[str, _TenantQueue] = {}
        # by tenant: the highest position that Redis assigned to a message of this process
        self._given: dict[str, Known] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # tenants whose lost states the other nodes do not know of yet
        self._owed: set[str] = set()
        self.version = VERSIONS[0]
        """Of the envelopes that are written: one that every node reads."""
        self._batch = 0
        self._pending = 0
        self._bytes = 0
        self._closed = False

    @property
    def pending(self) -> int:
        """Messages that wait for Redis."""
        return self._pending

    @property
    def pending_bytes(self) -> int:
        """Bytes of the messages that wait for Redis."""
        return self._bytes

    def send(self, tenant: str, outgoing: Outgoing) -> None:
        """Publish a message in the next call. The future of a log message gets its position, or the error."""
        if self._closed:
            self._fail(tenant, outgoing, "the bus is closed", overload=False)
            return
        if self._pending >= self._tuning.max_pending or self._bytes >= self._tuning.max_pending_bytes:
            self._fail(tenant, outgoing, "too many messages wait for Redis", overload=True)
            return
        self._enqueue(tenant, outgoing)

    def _enqueue(self, tenant: str, outgoing: Outgoing) -> None:
        outgoing.at = self._loop.time()
        self._pending += 1
        self._bytes += outgoing.size
        tenant_queue = self._queues.get(tenant)
        if tenant_queue is None:
            tenant_queue = self._queues[tenant] = _TenantQueue(tenant)
            self._spawn(self._run(tenant_queue))
        tenant_queue.messages.append(outgoing)
        tenant_queue.added += 1

    async def flush(self, tenant: str) -> None:
        """Return when the messages of a tenant that wait now have been published or have failed."""
        tenant_queue = self._queues.get(tenant)
        if tenant_queue is not None:
            future: asyncio.Future[None] = self._loop.create_future()
            tenant_queue.waiting.append((tenant_queue.added, future))
            await future

    async def close(self) -> None:
        """Accept no more messages, and return when those that wait have been published or have failed."""
        self._closed = True
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work, name="hub.bus.redis.publisher")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("publisher_failed", exc_info=error)

    async def _run(self, tenant_queue: _TenantQueue) -> None:
        while tenant_queue.messages:
            batch = self._take(tenant_queue)
            try:
                await self._call(tenant_queue, batch)
            except Exception as error:  # callers must get the error, and the queue must go on
                _log.exception("publishing_failed")
                self._fail_all(tenant_queue.tenant, batch, error)
            self._pending -= len(batch)
            self._bytes -= sum(each.size for each in batch)
            tenant_queue.finish(len(batch))
        del self._queues[tenant_queue.tenant]

    def _take(self, tenant_queue: _TenantQueue) -> list[Outgoing]:
        batch: list[Outgoing] = []
        channels: set[bytes] = set()
        size = 0
        queue = tenant_queue.messages
        while queue and len(batch) < MAX_BATCH:
            channels.update(queue[0].channels)
            size += queue[0].size
            if batch and (size > MAX_BATCH_BYTES or len(channels) > MAX_CHANNELS or queue[0].epoch != batch[0].epoch):
                break
            batch.append(queue.popleft())
        return batch

    async def _call(self, tenant_queue: _TenantQueue, batch: list[Outgoing]) -> None:
        names = self._names.of(tenant_queue.tenant)
        self._batch += 1
        tail = self._arguments(batch)
        number = self._batch
        epoch = batch[0].epoch or ""
        sent = 0
        run = ""

        def arguments(server: ServerInfo) -> list[Argument]:
            nonlocal sent, run
            sent += 1
            run = server.run
            self._counters.retries += sent > 1
            known = max(self._known(tenant_queue.tenant), self._given.get(tenant_queue.tenant, NOTHING_KNOWN))
            publish = ("SPUBLISH", "SHARDNUMSUB") if server.cluster else ("PUBLISH", "NUMSUB")
            log = (server.run, int(server.durable), self._guard_us, str(known))
            return [*log, epoch, *publish, number, int(sent > 1), self.version, *tail]

        commands = self._servers.of(names.meta)
        keys = (names.meta, names.stream, names.last, names.idempotency_keys, names.batch(self._incarnation))
        deadline = batch[0].at + self._tuning.append_s
        pause, longest = RETRY_S
        while True:
            try:
                left = deadline - self._loop.time()
                positions = await commands.run(self._scripts.publish, keys, arguments, timeout_s=max(left, 0.1))
            except RedisUnavailableError as error:
                if self._loop.time() + pause >= deadline:
                    self._fail_all(tenant_queue.tenant, batch, error)
                    return
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
            except RedisRefusedError as error:
                if str(error).startswith(FENCED):
                    self._counters.fenced += len(batch)
                    self._on_fenced(tenant_queue.tenant, batch[0].epoch)
                    return
                _log.error("redis_refuses_to_publish", error=str(error))
                self._fail_all(tenant_queue.tenant, batch, error)
                return
            else:
                break
        self._counters.batches += 1
        self._counters.published += len(batch)
        newest = max(map(int, positions), default=0)
        if newest:
            if len(self._given) >= MAX_TENANTS and tenant_queue.tenant not in self._given:
                self._given.clear()
            # the position of a message that is published again is an old one
            self._given[tenant_queue.tenant] = max(Known(newest, run), self._given.get(tenant_queue.tenant, NOTHING_KNOWN))
        given = iter(positions)
        for outgoing in batch:
            if outgoing.kind is Kind.NOTICE:
                self._counters.notices += 1
                self._owed.discard(tenant_queue.tenant)
            if outgoing.future is not None:
                position = next(given)
                if not outgoing.future.done():
                    outgoing.future.set_result(int(position))

    def _owe(self, tenant: str) -> None:
        """Tell the other nodes, as soon as Redis takes it, that states of a tenant were lost."""
        if self._closed or len(self._owed) >= MAX_TENANTS:
            return
        if not self._owed:
            self._spawn(self._pay())
        self._owed.add(tenant)

    async def _pay(self) -> None:
        while self._owed:
            await asyncio.sleep(self._tuning.notice_s)
            if self._closed:
                return
            if self.version < NOTICES_SINCE:  # a node that does not know them would count them as messages that it cannot read
                continue
            for tenant in self._owed - self._queues.keys():
                header = Header("", "", DeliveryClass.STATE, 0, self._incarnation, self._sequence()).encode()
                self._enqueue(tenant, Outgoing((self._names.of(tenant).subjects,), header, b"", kind=Kind.NOTICE))

    def _arguments(self, batch: list[Outgoing]) -> list[Argument]:
        channels: dict[bytes, int] = {}
        messages: list[Argument] = []
        for outgoing in batch:
            if outgoing.future is not None:
                messages += (b"l", outgoing.topic, outgoing.idempotency_key)
            else:
                messages.append(outgoing.kind.value[:1])
            messages.append(len(outgoing.channels))
            messages += [channels.setdefault(channel, len(channels) + 1) for channel in outgoing.channels]
            messages += (outgoing.header, outgoing.body)
        return [len(channels), *channels, *messages]

    def _fail_all(self, tenant: str, batch: list[Outgoing], error: Exception) -> None:
        for outgoing in batch:
            self._fail(tenant, outgoing, str(error), overload=False)

    def _fail(self, tenant: str, outgoing: Outgoing, reason: str, *, overload: bool) -> None:
        counters = self._counters
        if outgoing.kind is Kind.NOTICE:
            return  # it is still owed
        if outgoing.kind is Kind.STATE:
            self._owe(tenant)
        if outgoing.future is None:
            counters.overloaded += overload
            counters.lost += not overload
            return
        counters.log_overloaded += overload
        counters.log_lost += not overload
        if not outgoing.future.done():
            outgoing.future.set_exception(EventLogError(reason))
