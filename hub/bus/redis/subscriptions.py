"""The subscriptions of this node in Redis. It determines from which log position each one is in force, and reads from the log the messages
that the node missed while the connection was broken.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final

import structlog

from hub.bus.interface import BusError, Envelope, EnvelopeError, Gap, Receiver
from hub.bus.redis.connection import ConnectionLostError, SubscriberConnection, connect
from hub.bus.redis.envelopes import decode
from hub.bus.redis.heard import Heard, Mode
from hub.bus.redis.tuning import Counters, Tuning
from hub.core.delivery import DeliveryClass
from hub.core.message import Topic
from hub.eventlog.channel_log_redis import RedisChannelLog
from hub.eventlog.interface import EventLogError
from hub.redis.commands import Commands, RedisRefusedError, RedisUnavailableError
from hub.redis.endpoint import Endpoint
from hub.redis.names import Names

_log = structlog.get_logger(__name__)

AT_ONCE: Final = 500
"""Channels in one command at most, and tenants in one step of a check."""

META: Final = (b"top", b"floor", b"run", b"seam")

OPEN_TRIES: Final = 3
"""Times that a log is opened for one answer. If that does not help, the commands and this connection go to different servers."""

READ_PAUSE_S: Final = 0.2
"""Seconds after which reading a log is tried again."""

DEAF_AT_ONCE_S: Final = 1.0
"""Seconds after which a lost connection is reported: most are made again sooner."""

_JITTER: Final = random.Random()  # noqa: S311  # it spreads load; security does not depend on it

Told = Callable[[int, int, int], None]
"""Gets the newest position (top), the floor and the seam of a log."""


class Subscriptions:
    """The subscriber connection to one Redis. It connects again each time that the connection breaks."""

    __slots__ = (
        "_channels",
        "_commands",
        "_connected",
        "_connection",
        "_counters",
        "_distrusted",
        "_down_since",
        "_endpoint",
        "_incarnation",
        "_linger_timer",
        "_lingering",
        "_log",
        "_loop",
        "_names",
        "_node_channel",
        "_probe",
        "_probes",
        "_receiver",
        "_tasks",
        "_tenants",
        "_trouble",
        "_tuning",
        "on_message",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        commands: Commands,
        log: RedisChannelLog,
        names: Names,
        incarnation: str,
        receiver: Receiver,
        tuning: Tuning,
        counters: Counters,
    ) -> None:
        self._endpoint = endpoint
        self._commands = commands
        self._log = log
        self._names = names
        self._receiver = receiver
        self._tuning = tuning
        self._counters = counters
        self.on_message = self._on_message
        """Handles a message: its channel and its payload."""
        self._loop = asyncio.get_running_loop()
        self._incarnation = incarnation
        self._node_channel = names.node(incarnation)
        self._tenants: dict[str, Heard] = {}
        # by Redis channel: all that this node has subscribed to
        self._channels: dict[bytes, Heard] = {}
        # (time, tenant, channel): channels to unsubscribe from at that time, by rising time
        self._lingering: deque[tuple[float, Heard, bytes]] = deque()
        self._linger_timer: asyncio.TimerHandle | None = None
        self._connection: SubscriberConnection | None = None
        self._connected = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._probes = 0
        # the newest probe message that arrived
        self._probe = b""
        # whether the last connection brought no messages: the next one is then checked before it is used
        self._distrusted = False
        self._down_since: float | None = self._loop.time()
        self._trouble = "not connected yet"

    # -- for the bus ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect, and stay connected until :meth:`close`."""
        self._spawn(self._run())

    async def close(self) -> None:
        """End the connection."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for heard in self._tenants.values():
            heard.release()
        await asyncio.sleep(0)  # lets the event loop close the socket

    @property
    def trouble(self) -> str | None:
        """Why no messages come through the connection; None if they do, or if it was lost less than ``DEAF_AT_ONCE_S`` seconds ago."""
        if self._down_since is None or self._loop.time() - self._down_since < DEAF_AT_ONCE_S:
            return None
        return self._trouble

    @property
    def tenants(self) -> int:
        """Tenants that have subscriptions here."""
        return len(self._tenants)

    @property
    def channels(self) -> int:
        """Channels of Redis that this node is subscribed to."""
        return len(self._channels)

    def position(self, tenant: str) -> int:
        """The position up to which a tenant's log was handed over; 0 if it is not known."""
        heard = self._tenants.get(tenant)
        return 0 if heard is None else heard.position or 0

    async def subscribe(self, topics: Sequence[Topic]) -> Mapping[Topic, int]:
        """See :meth:`hub.bus.interface.Bus.subscribe`."""
        tenant = topics[0].tenant
        heard = self._tenants.get(tenant)
        if heard is None:
            heard = self._tenants[tenant] = Heard(tenant, self._names.of(tenant), self._receiver, self._tuning, self._counters)
        heard.want([(topic, self._names.subscription(topic)) for topic in topics])
        channels = {self._names.subscription(topic) for topic in topics}
        deadline = self._loop.time() + self._tuning.subscribe_s
        try:
            async with asyncio.timeout_at(deadline):
                while True:
                    await self._connected.wait()
                    if self._connection is None:
                        continue
                    confirmed: asyncio.Future[int] = self._loop.create_future()
                    wanted = (channels & heard.needed.keys()) | (heard.needed.keys() - heard.channels)
                    self._subscribe(self._connection, heard, wanted, confirmed)
                    try:
                        return dict.fromkeys(topics, await confirmed)
                    except ConnectionLostError:
                        continue
        except TimeoutError as error:
            reason = self._trouble if self._down_since is not None else "Redis did not confirm it in time"
            raise BusError(f"the subscription is not in force: {reason}") from error

    def unsubscribe(self, topics: Sequence[Topic]) -> None:
        """See :meth:`hub.bus.interface.Bus.unsubscribe`."""
        due = self._loop.time() + self._tuning.linger_s
        for topic in topics:
            heard = self._tenants.get(topic.tenant)
            if heard is not None:
                ended = heard.unwant([(topic, self._names.subscription(topic))])
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

    # -- subscribing ------------------------------------------------------------------------------------------------

    def _subscribe(
        self, connection: SubscriberConnection, heard: Heard, channels: Collection[bytes], confirmed: asyncio.Future[int]
    ) -> None:
        def failed(error: Exception) -> None:
            if not confirmed.done():
                confirmed.set_exception(error)

        self._ask_for(connection, heard, channels)
        self._ask_meta(connection, heard, lambda top, _, seam: heard.confirm(top, seam, confirmed), failed)

    def _ask_for(self, connection: SubscriberConnection, heard: Heard, channels: Collection[bytes]) -> None:
        heard.channels.update(channels)
        self._channels.update(dict.fromkeys(channels, heard))
        every = list(channels)
        for begin in range(0, len(every), AT_ONCE):
            connection.send([(b"SUBSCRIBE", *every[begin : begin + AT_ONCE])], answers=0)

    def _let_go(self) -> None:
        self._linger_timer = None
        now = self._loop.time()
        gone: list[bytes] = []
        while self._lingering and self._lingering[0][0] <= now:
            _, heard, channel = self._lingering.popleft()
            if channel not in heard.needed and self._channels.get(channel) is heard:
                del self._channels[channel]
                heard.channels.discard(channel)
                gone.append(channel)
            if not heard.topics and not heard.channels and self._tenants.get(heard.name) is heard:
                del self._tenants[heard.name]
                heard.release()
        if self._connection is not None:
            for begin in range(0, len(gone), AT_ONCE):
                self._connection.send([(b"UNSUBSCRIBE", *gone[begin : begin + AT_ONCE])], answers=0)
        if self._lingering:
            self._linger_timer = self._loop.call_at(self._lingering[0][0], self._let_go)

    def _ask_meta(
        self, connection: SubscriberConnection, heard: Heard, told: Told, failed: Callable[[Exception], None], tries: int = 0
    ) -> None:
        """Ask on this connection how far a log reaches: messages that come before the answer are covered by it. If the log does not exist,
        or belongs to another server, it is opened first. ``told`` gets the answer, ``failed`` an error.
        """

        def answered(reply: Any) -> None:
            if reply is None:
                failed(ConnectionLostError(connection.lost or "the connection ended"))
                return
            top, floor, run, seam = reply
            if None in reply or run.decode() != connection.server.run or int(top) < (heard.position or 0):
                if tries >= OPEN_TRIES:
                    self._give_up(connection, "commands reach another server")
                    failed(ConnectionLostError("commands reach another server"))
                else:
                    self._spawn(self._open(connection, heard, told, failed, tries + 1))
                return
            told(int(top), int(floor), int(seam))

        connection.send([(b"HMGET", heard.names.meta, *META)], answered)

    async def _open(
        self, connection: SubscriberConnection, heard: Heard, told: Told, failed: Callable[[Exception], None], tries: int
    ) -> None:
        try:
            await self._log.open(heard.name, heard.position or 0)
        except EventLogError as error:
            failed(BusError(f"the log cannot say how far it reaches: {error}"))
            return
        self._ask_meta(connection, heard, told, failed, tries)

    # -- messages ---------------------------------------------------------------------------------------------------

    def _on_message(self, channel: bytes, payload: bytes) -> None:
        heard = self._channels.get(channel)
        if heard is None:
            if channel == self._node_channel:
                self._probe = payload
            return
        try:
            received = decode(heard.name, payload)
        except EnvelopeError as error:
            self._counters.undecoded += 1
            _log.warning("envelope_not_read", error=str(error))
            if payload[1:2] == b"l" and heard.mode is Mode.DIRECT and self._connection is not None:
                heard.break_off()  # so that its copy in the log is read, or a gap reported
                self._begin_repair(self._connection, heard)
            return
        envelope = received.envelope
        if envelope.position is None and envelope.origin == self._incarnation:
            self._counters.echoes += 1
            return
        heard.take(received, len(payload))

    # -- the connection ---------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        shortest, longest = self._tuning.reconnect_s
        pause = shortest
        while True:
            began = self._loop.time()
            try:
                await self._connect_and_watch()
            except ConnectionLostError as error:
                self._down(str(error))
            except Exception:  # a fault of the hub: without this task the node would never receive messages again
                _log.exception("subscriber_failed")
                self._down("a fault of the hub")
            if self._loop.time() - began > 10 * longest:
                pause = shortest
            await asyncio.sleep(pause * _JITTER.uniform(0.5, 1))
            pause = min(2 * pause, longest)

    async def _connect_and_watch(self) -> None:
        """Connect, subscribe to everything, and return when the connection has ended.

        Raises:
            ConnectionLostError: Redis cannot be reached, or cannot be used.
        """
        ended = asyncio.Event()
        address = await self._endpoint.address()
        connection = await connect(address, self.on_message, partial(self._lost, ended), self._tuning.liveness_s)
        try:
            if problems := connection.server.problems():
                raise ConnectionLostError(problems[0])
            self._counters.connected += 1
            await self._resubscribe(connection)
            if self._distrusted and (reason := await self._look(connection)) is not None:
                self._give_up(connection, reason)
            if connection.lost is None:
                self._distrusted = False
                self._connection = connection
                self._down_since = None
                self._connected.set()
                await self._watch(connection, ended)
        finally:
            connection.abort("closed")
            self._lost(ended)
        self._down(connection.lost or "")
        _log.warning("redis_subscriber_lost", reason=connection.lost, address=str(address))

    def _lost(self, ended: asyncio.Event, _: object = None) -> None:
        self._connection = None
        self._connected.clear()
        for heard in self._tenants.values():
            heard.break_off()
        ended.set()

    def _down(self, reason: str) -> None:
        if self._down_since is None:
            self._down_since = self._loop.time()
        self._trouble = reason

    async def _resubscribe(self, connection: SubscriberConnection) -> None:
        """Subscribe to everything again. For each tenant, ask how far the log reaches, and read the missed messages from it."""
        connection.send([(b"SUBSCRIBE", self._node_channel)], answers=0)
        for number, heard in enumerate(list(self._tenants.values())):
            for channel in heard.channels - heard.needed.keys():
                del self._channels[channel]
            heard.channels.intersection_update(heard.needed)
            self._ask_for(connection, heard, list(heard.needed))
            self._begin_repair(connection, heard)
            if number % 50 == 49:
                await asyncio.sleep(0)

    # -- missed messages --------------------------------------------------------------------------------------------

    def _begin_repair(self, connection: SubscriberConnection, heard: Heard) -> None:
        def told(top: int, floor: int, seam: int) -> None:
            if heard.mode is not Mode.BROKEN:  # the tenant had no position before, or this was done already
                heard.confirm(top, seam)
                return
            # events and states are in no log, and are lost
            delay = _JITTER.uniform(0, self._tuning.resync_s)
            if delay:
                self._loop.call_later(delay, self._receiver.on_gap, Gap(heard.name))
            else:
                self._receiver.on_gap(Gap(heard.name))
            if heard.begin_reading(top, floor, seam):
                self._counters.repairs += 1
                self._spawn(self._repair(connection, heard, top))

        def failed(_: Exception) -> None:
            if connection.lost is None:
                self._loop.call_later(READ_PAUSE_S, self._begin_repair, connection, heard)

        if connection.lost is None and self._tenants.get(heard.name) is heard:
            self._ask_meta(connection, heard, told, failed)

    async def _repair(self, connection: SubscriberConnection, heard: Heard, top: int) -> None:
        after = heard.position or 0
        while after < top:
            try:
                page = await self._log.page(heard.name, after)
            except EventLogError as error:
                _log.warning("log_not_read", error=str(error))
                await asyncio.sleep(READ_PAUSE_S)
                page = None
            if connection.lost is not None or heard.mode is not Mode.READING:
                return
            if page is None:
                continue
            if page.floor > after or page.undecoded:
                heard.give_up(top)
                return
            for record in page.records:
                if record.position > top:
                    break
                topic = record.header.topic(heard.name)
                if heard.wants(topic):
                    self._counters.repaired += 1
                    heard.hand_over(_envelope_of(topic, record))
            after = page.end_position
        heard.finish(top)

    # -- checks of the connection -----------------------------------------------------------------------------------

    async def _watch(self, connection: SubscriberConnection, ended: asyncio.Event) -> None:
        while connection.lost is None:
            try:
                async with asyncio.timeout(self._tuning.liveness_s):
                    await ended.wait()
                return
            except TimeoutError:
                pass
            if (reason := await self._look(connection)) is not None:
                self._give_up(connection, reason)

    def _give_up(self, connection: SubscriberConnection, reason: str) -> None:
        """Close a connection that is open but brings no messages. The next connection is checked before it is used."""
        if connection.lost is None:
            self._counters.deaf += 1
            self._distrusted = True
            self._down_since = self._loop.time() - DEAF_AT_ONCE_S
            connection.abort(reason)

    async def _look(self, connection: SubscriberConnection) -> str | None:
        """Check the connection. Returns why published messages do not come through it; None if they do, or if it has ended."""
        try:
            role = await self._answer_of(connection, b"ROLE")
            if role[0] != b"master":
                return f"the subscriber connection is to a {role[0].decode()}"
            self._probes += 1
            tenants = list(self._tenants.values())
            for begin in range(0, max(len(tenants), 1), AT_ONCE):
                if (reason := await self._look_at(connection, tenants[begin : begin + AT_ONCE], b"%d" % self._probes)) is not None:
                    return reason
        except TimeoutError:
            return "Redis does not answer the subscriber connection"
        except ConnectionLostError:
            pass
        return None

    async def _look_at(self, connection: SubscriberConnection, tenants: Sequence[Heard], probe: bytes) -> str | None:
        """Compare the newest log positions on this connection with those on the command connection, which are read first, and check that
        a probe message arrives. Returns what is wrong, or None.
        """
        behind = False
        try:
            *tops, _ = await self._commands.pipeline(
                *[(b"HGET", heard.names.meta, b"top") for heard in tenants], (b"PUBLISH", self._node_channel, probe)
            )
        except (RedisUnavailableError, RedisRefusedError):  # a fault of the command connection, not of this one
            tops = [None] * len(tenants)
            probe = b""

        for heard, expected in zip(tenants, tops, strict=True):

            def told(top: int, _: int, seam: int, heard: Heard = heard, expected: bytes | None = expected) -> None:
                nonlocal behind
                behind = behind or top < int(expected or 0)
                heard.confirm(top, seam)

            self._ask_meta(connection, heard, told, _ignore)
        await self._answer_of(connection, b"PING")
        if behind:
            return "the subscriber connection is to a server that lags behind"
        if probe and self._probe != probe:
            return "what is published does not come through the subscriber connection"
        return None

    async def _answer_of(self, connection: SubscriberConnection, command: bytes) -> Any:
        async with asyncio.timeout(self._tuning.liveness_s):
            return await connection.ask((command,))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work, name="hub.bus.redis.subscriptions")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("subscriptions_failed", exc_info=error)


def _envelope_of(topic: Topic, record: Any) -> Envelope:
    header = record.header
    data, extra = record.body[header.extra_bytes :], record.body[: header.extra_bytes]
    return Envelope(topic, DeliveryClass.LOG, data, extra, record.position, record.previous, header.origin, header.sequence)


def _ignore(_: Exception) -> None:
    pass
