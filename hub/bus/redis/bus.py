"""The bus over Redis: nodes that use the same Redis receive each other's messages and share one log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import structlog

from hub.bus.interface import Envelope, Receiver
from hub.bus.redis.envelopes import VERSIONS, header_of, login_bytes
from hub.bus.redis.publisher import Kind, Outgoing, Publisher
from hub.bus.redis.subscriber import Parts
from hub.bus.redis.subscriptions import Subscriptions
from hub.bus.redis.tuning import Counters, Tuning
from hub.cluster.ports import Nodes
from hub.core.delivery import DeliveryClass
from hub.core.message import Topic
from hub.core.session_ids import new_incarnation
from hub.eventlog.channel_log import Retention
from hub.eventlog.channel_log_redis import GUARD_US, RedisChannelLog
from hub.eventlog.interface import EventLogError
from hub.redis.commands import Durability, RedisRefusedError, RedisUnavailableError, ServerCommands
from hub.redis.names import Names
from hub.redis.scripts import Scripts
from hub.redis.server import UnusableRedisError
from hub.redis.servers import Servers
from hub.redis.shared import SharedRedis
from hub.redis.urls import open_servers

_log = structlog.get_logger(__name__)

MAX_LOGINS: Final = 1024
"""Logins that one message can address at most."""


LOOK_S: Final = 0.5
"""Seconds for which ``/readyz`` repeats its last result about Redis."""


class RedisBus:
    """A node's side of the bus (:class:`hub.bus.interface.Bus`), for all tenants. Call :meth:`attach`, then :meth:`start`."""

    __slots__ = (
        "_guard_us",
        "_look",
        "_look_again",
        "_publisher",
        "_scripts",
        "_sequence",
        "_subscriptions",
        "_tuning",
        "before_writing",
        "counters",
        "log",
        "names",
        "node",
        "on_fenced",
        "servers",
        "shared",
    )

    def __init__(
        self,
        servers: Servers,
        log: RedisChannelLog,
        names: Names,
        *,
        node: str = "",
        scripts: Scripts | None = None,
        tuning: Tuning | None = None,
        guard_us: int = GUARD_US,
    ) -> None:
        """``servers`` and ``log`` stay open when the bus is closed. ``node`` is the name of this process; if empty, it is random."""
        self.log = log
        self.node = node or new_incarnation()
        self.counters = Counters()
        self.shared = SharedRedis(lambda tenant: servers.of(names.of(tenant).meta), names, scripts or Scripts(), self.node)
        """For the parts of the hub that share state over the same Redis."""
        self.servers = servers
        """Where its keys are: for others that keep something in the same Redis."""
        self.names = names
        """The names of its keys."""
        self._scripts = scripts or Scripts()
        self._tuning = tuning or Tuning()
        self._guard_us = guard_us
        self._sequence = 0
        self._look_again = 0.0
        self._look: asyncio.Task[str | None] | None = None
        self._publisher: Publisher | None = None
        self._subscriptions: Subscriptions | None = None
        self.before_writing: Callable[[], Awaitable[None]] | None = None
        """Called when the servers were looked at, before anything is written to them; what it raises ends the start."""
        self.on_fenced: list[Callable[[str, int], object]] = []
        """Called with a tenant and an epoch when messages are refused, since the tenant has a later epoch."""

    @property
    def sequence(self) -> int:
        """See :attr:`Bus.sequence`."""
        return self._sequence

    def attach(self, receiver: Receiver) -> None:
        """See :meth:`Bus.attach`."""
        self._subscriptions = Subscriptions(self.servers, Parts(self.log, self.names, self.node, receiver, self._tuning, self.counters))
        self._publisher = Publisher(
            self.servers,
            self.names,
            self._scripts,
            self.node,
            self._tuning,
            self.counters,
            self._subscriptions.known,
            guard_us=self._guard_us,
            sequence=self._next_sequence,
            on_fenced=self._fenced,
        )

    async def start(self) -> None:
        """Connect. If Redis cannot be reached, this goes on trying in the background; until it is connected, nobody can subscribe.

        Raises:
            UnusableRedisError: Redis is too old, or its settings let it evict keys; or two of several are the same one.
        """
        await self.servers.refresh()
        runs: set[str] = set()
        for server in self.servers.all():
            try:
                found = await server.look()
            except (RedisUnavailableError, RedisRefusedError) as error:
                _log.warning("redis_not_there_yet", error=str(error))
                continue
            problems = found.problems(sharded=server.endpoint.sharded)
            if found.run in runs:  # each start would take its logs for those of tenants that have moved
                problems.append(f"redis_url: expected servers that differ, got one twice (its run_id is {found.run}): name each once")
            if problems:
                raise UnusableRedisError(problems)
            if found.run:
                runs.add(found.run)
        if self.before_writing is not None:
            await self.before_writing()
        try:
            await self.log.gather()
        except EventLogError as error:  # it is tried again with each search of the log for tenants
            _log.warning("logs_of_moved_tenants_not_found", error=str(error))
        self._heard.start()

    async def stop(self) -> None:
        """Finish the messages that are being published, and close every connection, that of the log too: the node stops."""
        await self.close()
        await self.servers.close()

    @property
    def _heard(self) -> Subscriptions:
        assert self._subscriptions is not None, "attach comes first"
        return self._subscriptions

    @property
    def _sent(self) -> Publisher:
        assert self._publisher is not None, "attach comes first"
        return self._publisher

    async def subscribe(self, topics: Sequence[Topic], *, positions: bool) -> Mapping[Topic, int]:
        """See :meth:`Bus.subscribe`. Redis sends the position with the confirmation, so that ``positions`` costs nothing more."""
        return await self._heard.subscribe(topics) if topics else {}

    def unsubscribe(self, topics: Sequence[Topic]) -> None:
        """See :meth:`Bus.unsubscribe`."""
        self._heard.unsubscribe(topics)

    def publish(self, envelope: Envelope) -> None:
        """See :meth:`Bus.publish`."""
        signed = self._signed(envelope)
        body = signed.extra + signed.data
        kind = Kind.STATE if signed.delivery is DeliveryClass.STATE else Kind.EVENT
        channels = self.names.channels(signed.topic)
        outgoing = Outgoing(channels, header_of(signed, epoch=signed.epoch), body, epoch=signed.epoch, kind=kind)
        self._sent.send(signed.topic.tenant, outgoing)

    def publish_to_logins(self, envelope: Envelope, logins: Sequence[str]) -> None:
        """See :meth:`Bus.publish_to_logins`. One message addresses up to ``MAX_LOGINS`` logins."""
        hashes: list[bytes] = []
        for login in logins:
            raw = login_bytes(login)
            if raw is None:
                self.publish(envelope._replace(topic=envelope.topic._replace(audience=login)))
            else:
                hashes.append(raw)
        channels = (self.names.of(envelope.topic.tenant).logins,)
        for begin in range(0, len(hashes), MAX_LOGINS):
            some = hashes[begin : begin + MAX_LOGINS]
            signed = self._signed(envelope)
            body = b"".join(some) + signed.extra + signed.data
            header = header_of(signed, epoch=signed.epoch, logins=len(some))
            self._sent.send(signed.topic.tenant, Outgoing(channels, header, body, epoch=signed.epoch))

    async def flush(self, tenant: str) -> None:
        """See :meth:`Bus.flush`. It takes ``Tuning.append_s`` seconds at most, and nothing if nothing waits for Redis."""
        await self._sent.flush(tenant)

    async def settle(self, tenant: str) -> None:
        """See :meth:`Bus.settle`. Redis answers on the connection on which messages come."""
        await self._heard.settle(tenant)

    async def append(self, envelope: Envelope, *, idempotency_key: str = "") -> int | None:
        """See :meth:`Bus.append`. If the connection breaks, the call is repeated; Redis records the message once. After
        ``Tuning.append_s`` seconds it fails, although Redis may still record the message.
        """
        signed = self._signed(envelope)
        topic = signed.topic
        channels = self.names.channels(topic)
        future: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        body = signed.extra + signed.data
        self._sent.send(
            topic.tenant, Outgoing(channels, header_of(signed), body, f"{topic.audience}:{topic.channel}", idempotency_key, future)
        )
        position = await future
        if position is not None:
            await self._heard.reached(topic.tenant, position, channels)
        return position

    async def claim(self, tenant: str, epoch: int) -> int:
        """Note the epoch of a tenant, so that messages with a lower one are refused. Returns the highest epoch that was ever noted; 0 if
        Redis does not answer: then the first message with the epoch notes it.
        """
        try:
            meta = self.names.of(tenant).meta
            answer = await self.servers.of(meta).run(self._scripts.claim, (meta,), lambda _: [epoch])
        except (RedisUnavailableError, RedisRefusedError) as error:
            _log.warning("epoch_not_claimed", tenant=tenant, epoch=epoch, error=str(error))
            return 0
        noted = int(answer)
        self._heard.claimed(tenant, noted)
        return noted

    def _fenced(self, tenant: str, epoch: int) -> None:
        for call in self.on_fenced:
            call(tenant, epoch)

    def follow(self, nodes: Nodes) -> None:
        """Write the newest version of the envelopes that every live node reads; until this is called, the oldest one."""

        def choose() -> None:
            common = set(VERSIONS).intersection(*(record.envelopes for record in nodes.live().values()))
            self._sent.version = max(common, default=VERSIONS[0])

        nodes.on_changed.append(choose)
        choose()

    def _next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence

    def _signed(self, envelope: Envelope) -> Envelope:
        return envelope._replace(origin=self.node, sequence=self._next_sequence())

    # -- how it is --------------------------------------------------------------------------------------------------

    async def trouble(self) -> str | None:
        """Why Redis cannot be used; None if it can. Redis is asked at most once in ``LOOK_S``, since anybody may call ``/readyz``."""
        loop = asyncio.get_running_loop()
        if self._look is None or (self._look.done() and loop.time() >= self._look_again):
            self._look_again = loop.time() + LOOK_S
            self._look = loop.create_task(self._find_trouble(), name="hub.bus.redis.look")
        return await asyncio.shield(self._look)

    async def _find_trouble(self) -> str | None:
        servers = self.servers.all()
        if not servers:
            return "no server of the Redis Cluster answers"
        troubles = await asyncio.gather(*(_trouble_of(server) for server in servers))
        return next(filter(None, troubles), None)

    async def deaf(self) -> str | None:
        """Why this node receives no messages although Redis answers; None if it receives them, or if Redis itself cannot be used."""
        trouble = self._heard.trouble
        return trouble if trouble is not None and await self.trouble() is None else None

    @property
    def pending(self) -> int:
        """Messages that wait for Redis."""
        return self._sent.pending

    @property
    def pending_bytes(self) -> int:
        """Bytes of the messages that wait for Redis."""
        return self._sent.pending_bytes

    @property
    def lag_s(self) -> float:
        """Seconds that a message to this node itself took by Redis, when last measured."""
        return self._heard.lag_s

    @property
    def channels(self) -> int:
        """Channels of Redis that this node is subscribed to."""
        return self._heard.channels

    async def close(self) -> None:
        """See :meth:`Bus.close`."""
        if self._publisher is not None:
            await self._publisher.close()
        if self._subscriptions is not None:
            await self._subscriptions.close()
        if self._look is not None:
            await asyncio.wait([self._look])


async def _trouble_of(server: ServerCommands) -> str | None:
    try:
        problems = (await server.look()).problems(sharded=server.endpoint.sharded)
    except (RedisUnavailableError, RedisRefusedError):
        return "Redis does not answer"
    return problems[0] if problems else None


def open_bus(urls: Sequence[str], prefix: str, durability: Durability, retention: Retention, *, node: str = "") -> RedisBus:
    """Make the bus of a node, and its log, over one Redis or over several that share the tenants. It connects in :meth:`RedisBus.start`.
    ``node``: see :class:`RedisBus`.

    Raises:
        ValueError: a text is not the URL of a Redis.
    """
    servers = open_servers(urls, durability)
    names = Names(prefix)
    return RedisBus(servers, RedisChannelLog(servers, names, retention), names, node=node)
