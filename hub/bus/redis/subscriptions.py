"""The subscriptions of this node in Redis: which topics it hears, and on which server each tenant is."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any

import structlog

from hub.bus.interface import BusError
from hub.bus.redis.connection import ConnectionLostError
from hub.bus.redis.heard import Heard
from hub.bus.redis.subscriber import READ_PAUSE_S, Parts, Subscriber
from hub.core.message import Topic
from hub.eventlog.channel_log_redis import NOTHING_KNOWN, Known
from hub.redis.commands import ServerCommands
from hub.redis.server import UnusableRedisError
from hub.redis.servers import Servers

_log = structlog.get_logger(__name__)


class Subscriptions:
    """All that this node hears, by one :class:`hub.bus.redis.subscriber.Subscriber` for each server."""

    __slots__ = (
        "_change",
        "_homes",
        "_linger_timer",
        "_lingering",
        "_loop",
        "_moving",
        "_parts",
        "_servers",
        "_started",
        "_tasks",
        "_tenants",
        "_trouble",
        "on_subscriber",
        "subscribers",
    )

    def __init__(self, servers: Servers, parts: Parts) -> None:
        self._servers = servers
        self._parts = parts
        self._loop = asyncio.get_running_loop()
        self.subscribers: dict[ServerCommands, Subscriber] = {}
        """By server."""
        self.on_subscriber: Callable[[Subscriber], object] = lambda _: None
        """Called with each new subscriber before it starts."""
        self._tenants: dict[str, Heard] = {}
        # by tenant: where it is heard
        self._homes: dict[str, Subscriber] = {}
        # tenants that are on their way to another server
        self._moving: set[str] = set()
        # (time, tenant, channel): channels to unsubscribe from at that time, by rising time
        self._lingering: deque[tuple[float, Heard, bytes]] = deque()
        self._linger_timer: asyncio.TimerHandle | None = None
        # done when a connection was made or lost, or a tenant has come to another server
        self._change: asyncio.Future[None] = self._loop.create_future()
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = False
        self._trouble = "not connected yet"
        servers.on_changed.append(self._arrange)

    # -- for the bus ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect to every server, and stay connected until :meth:`close`."""
        self._started = True
        self._arrange()
        if not self.subscribers:
            self._spawn(self._discover())

    async def close(self) -> None:
        """End the connections."""
        self._started = False
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for subscriber in list(self.subscribers.values()):
            await subscriber.close()
        for heard in self._tenants.values():
            heard.release()

    @property
    def trouble(self) -> str | None:
        """Why no messages come from a server; None if they come from all."""
        if not self.subscribers:
            return self._trouble
        return next((trouble for each in self.subscribers.values() if (trouble := each.trouble) is not None), None)

    @property
    def tenants(self) -> int:
        """Tenants that have subscriptions here."""
        return len(self._tenants)

    @property
    def channels(self) -> int:
        """Channels of Redis that this node is subscribed to."""
        return sum(subscriber.channels for subscriber in self.subscribers.values())

    @property
    def lag_s(self) -> float:
        """Seconds that the newest messages of this node to itself took by Redis: the slowest server's."""
        return max((subscriber.lag_s for subscriber in self.subscribers.values()), default=0.0)

    def known(self, tenant: str) -> Known:
        """The position up to which a tenant's log was handed over."""
        heard = self._tenants.get(tenant)
        return NOTHING_KNOWN if heard is None else heard.known

    async def subscribe(self, topics: Sequence[Topic]) -> Mapping[Topic, int]:
        """See :meth:`hub.bus.interface.Bus.subscribe`."""
        parts = self._parts
        tenant = topics[0].tenant
        heard = self._tenants.get(tenant)
        if heard is None:
            heard = self._tenants[tenant] = Heard(tenant, parts.names.of(tenant), parts.receiver, parts.tuning, parts.counters)
        heard.want([(topic, parts.names.subscription(topic)) for topic in topics])
        return dict.fromkeys(topics, await self._confirm(heard, {parts.names.subscription(topic) for topic in topics}))

    async def settle(self, tenant: str) -> None:
        """See :meth:`hub.bus.interface.Bus.settle`. Calls that come while Redis is being asked share one more question."""
        heard = self._tenants.get(tenant)
        if heard is None:
            return
        if heard.settling is not None:
            await asyncio.wait([heard.settling])
        if heard.settling is None or heard.settling.done():
            heard.settling = self._loop.create_future()
            self._spawn(self._settle_now(heard, heard.settling))
        failed = await asyncio.shield(heard.settling)
        if failed:
            raise BusError(failed)

    async def _settle_now(self, heard: Heard, settled: asyncio.Future[str]) -> None:
        failed = "the bus was closed"
        try:
            await self._confirm(heard, set())
            failed = ""
        except BusError as error:
            failed = str(error)
        finally:
            settled.set_result(failed)

    def claimed(self, tenant: str, epoch: int) -> None:
        """Hand over no messages of an older epoch that are still on their way."""
        if (heard := self._tenants.get(tenant)) is not None:
            heard.epoch = max(heard.epoch, epoch)

    async def _confirm(self, heard: Heard, channels: set[bytes]) -> int:
        """The position from which channels of a tenant are in force; what was published before has been handed over.

        Raises:
            BusError: Redis did not confirm it in time.
        """
        tenant = heard.name
        deadline = self._loop.time() + self._parts.tuning.subscribe_s
        subscriber: Subscriber | None = None
        try:
            async with asyncio.timeout_at(deadline):
                while True:
                    subscriber = self._place(heard)
                    if subscriber is None or subscriber.connection is None:
                        await asyncio.shield(self._change)
                        continue
                    confirmed: asyncio.Future[int] = self._loop.create_future()
                    wanted = (channels & heard.needed.keys()) | (heard.needed.keys() - heard.channels)
                    try:
                        subscriber.subscribe(heard, wanted, confirmed)
                        return await confirmed
                    except ConnectionLostError:
                        if tenant in self._moving:
                            await asyncio.shield(self._change)
        except TimeoutError as error:
            down = self.trouble if subscriber is None else subscriber.down
            raise BusError(f"the subscription is not in force: {down or 'Redis did not confirm it in time'}") from error

    def unsubscribe(self, topics: Sequence[Topic]) -> None:
        """See :meth:`hub.bus.interface.Bus.unsubscribe`."""
        due = self._loop.time() + self._parts.tuning.linger_s
        for topic in topics:
            heard = self._tenants.get(topic.tenant)
            if heard is not None:
                ended = heard.unwant([(topic, self._parts.names.subscription(topic))])
                self._lingering.extend((due, heard, channel) for channel in ended)
        self._let_go()

    async def reached(self, tenant: str, position: int, channels: Collection[bytes]) -> None:
        """Wait until the log message at ``position``, published on ``channels``, has been handed over. Returns at once if this node has
        subscribed to none of these channels.
        """
        heard = self._tenants.get(tenant)
        if heard is None or heard.channels.isdisjoint(channels):
            return
        future = heard.reached(position)
        if future is not None:
            await future

    def _let_go(self) -> None:
        self._linger_timer = None
        now = self._loop.time()
        gone: dict[Heard, list[bytes]] = {}
        while self._lingering and self._lingering[0][0] <= now:
            _, heard, channel = self._lingering.popleft()
            if channel not in heard.needed and channel in heard.channels and channel not in gone.setdefault(heard, []):
                gone[heard].append(channel)
        for heard, channels in gone.items():
            if (subscriber := self._homes.get(heard.name)) is not None:
                subscriber.unsubscribe(heard, channels)
            heard.channels.difference_update(channels)
            if not heard.topics and not heard.channels and self._tenants.get(heard.name) is heard:
                self._forget(heard)
        if self._lingering:
            self._linger_timer = self._loop.call_at(self._lingering[0][0], self._let_go)

    def _forget(self, heard: Heard) -> None:
        del self._tenants[heard.name]
        if (subscriber := self._homes.pop(heard.name, None)) is not None:
            subscriber.release(heard)
        heard.release()

    # -- where tenants are ------------------------------------------------------------------------------------------

    def _place(self, heard: Heard) -> Subscriber | None:
        """The subscriber that hears a tenant; None if nobody knows where the tenant is."""
        subscriber = self._homes.get(heard.name)
        if subscriber is None:
            home = self._servers.home(heard.names.meta)
            subscriber = None if home is None else self.subscribers.get(home)
            if subscriber is not None:
                self._homes[heard.name] = subscriber
                # it subscribes with the first topics; a connection that is not made yet subscribes to all
                subscriber.tenants[heard.name] = heard
        return subscriber

    def _arrange(self) -> None:
        """Make a subscriber for each server, and bring each tenant to the one of its server."""
        if not self._started:
            return
        servers = self._servers.all()
        for server in servers:
            if server not in self.subscribers:
                subscriber = self.subscribers[server] = Subscriber(server, self._parts, self)
                self.on_subscriber(subscriber)
                subscriber.start()
        for heard in list(self._tenants.values()):
            home = self._servers.home(heard.names.meta)
            now = self._homes.get(heard.name)
            new = None if home is None else self.subscribers.get(home)
            if new is None or new is now:
                continue
            if now is not None:
                now.release(heard)
            heard.break_off()
            self._homes[heard.name] = new
            new.adopt(heard)
        for server in self.subscribers.keys() - set(servers):
            if not self.subscribers[server].tenants:
                self._spawn(self.subscribers.pop(server).close())
        self._wake()

    def moved(self, heard: Heard, error: str) -> None:
        """See :meth:`hub.bus.redis.subscriber.Owner.moved`."""
        if heard.name not in self._moving and self._tenants.get(heard.name) is heard:
            self._moving.add(heard.name)
            self._parts.counters.moved += 1
            heard.break_off()
            self._spawn(self._settle(heard))

    async def _settle(self, heard: Heard) -> None:
        """Find the server of a tenant, and hear it there."""
        before = self._homes.get(heard.name)
        generation = heard.generation
        try:
            await self.refresh()
            await asyncio.sleep(READ_PAUSE_S if self._homes.get(heard.name) is before else 0)
        finally:
            self._moving.discard(heard.name)
        subscriber = self._homes.get(heard.name)
        if subscriber is not None and subscriber.connection is not None and heard.generation == generation:
            subscriber.resume(subscriber.connection, heard)
        self._wake()

    def changed(self) -> None:
        """See :meth:`hub.bus.redis.subscriber.Owner.changed`."""
        if any(subscriber.down is not None for subscriber in self.subscribers.values()):
            self._spawn(self.refresh())
        self._wake()

    async def refresh(self) -> None:
        """See :meth:`hub.bus.redis.subscriber.Owner.refresh`."""
        try:
            await self._servers.refresh()
        except UnusableRedisError as error:
            self._trouble = str(error)
            _log.error("redis_cannot_be_used", error=str(error))

    async def _discover(self) -> None:
        while not self.subscribers:
            await self.refresh()
            self._arrange()
            await asyncio.sleep(self._parts.tuning.reconnect_s[1])

    def _wake(self) -> None:
        change, self._change = self._change, self._loop.create_future()
        change.set_result(None)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work, name="hub.bus.redis.subscriptions")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("subscriptions_failed", exc_info=error)
