"""The subscriber connection to one server: which tenants are heard there, and from which log position. After each broken connection it
reads from the log what was missed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Coroutine, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

import hiredis
import structlog
from redis.exceptions import RedisError

from hub.bus.interface import BusError, Envelope, EnvelopeError, Receiver
from hub.bus.redis.connection import ConnectionLostError, SubscriberConnection, connect
from hub.bus.redis.envelopes import decode
from hub.bus.redis.heard import Heard, Mode
from hub.bus.redis.liveness import Liveness
from hub.bus.redis.tuning import Counters, Tuning
from hub.core.delivery import DeliveryClass
from hub.core.message import Topic
from hub.eventlog.channel_log_redis import RedisChannelLog
from hub.eventlog.interface import EventLogError
from hub.redis.commands import ServerCommands
from hub.redis.endpoint import Address
from hub.redis.names import Names

_log = structlog.get_logger(__name__)

AT_ONCE: Final = 500
"""Channels in one command at most."""

META: Final = (b"top", b"floor", b"run", b"seam")

OPEN_TRIES: Final = 3
"""Times that a log is opened for one answer. If that does not help, the commands and this connection go to different servers."""

READ_PAUSE_S: Final = 0.2
"""Seconds after which reading a log is tried again."""

DEAF_AT_ONCE_S: Final = 1.0
"""Seconds after which a lost connection is reported: most are made again sooner."""

MAX_TAGS: Final = 1_000_000
"""Names that are tried until one falls in a slot of a server."""

_JITTER: Final = random.Random()  # noqa: S311  # it spreads load; security does not depend on it

Told = Callable[[int, int, int], None]
"""Gets the newest position (top), the floor and the seam of a log."""


class Owner(Protocol):
    """All subscriptions of this node, to which each subscriber belongs."""

    def moved(self, heard: Heard, error: str) -> None:
        """A tenant is not on this server, or not wholly."""
        ...

    def changed(self) -> None:
        """The connection was made, or was lost."""
        ...

    async def refresh(self) -> None:
        """Ask again which server has which keys."""
        ...


class Parts(NamedTuple):
    """What all subscribers of a node share."""

    log: RedisChannelLog
    names: Names
    incarnation: str
    receiver: Receiver
    tuning: Tuning
    counters: Counters


class Subscriber:
    """The subscriber connection to one server. It connects again each time that the connection breaks."""

    __slots__ = (
        "_channels",
        "_counters",
        "_down_since",
        "_incarnation",
        "_leaving",
        "_log",
        "_loop",
        "_names",
        "_node_channel",
        "_owner",
        "_receiver",
        "_tasks",
        "_trouble",
        "_tuning",
        "connection",
        "distrusted",
        "endpoint",
        "lag_s",
        "on_message",
        "probe",
        "probed_at",
        "server",
        "tenants",
    )

    def __init__(self, server: ServerCommands, parts: Parts, owner: Owner) -> None:
        self.server = server
        """The commands to the same server."""
        self.endpoint = server.endpoint
        self._log, self._names, self._incarnation, self._receiver, self._tuning, self._counters = parts
        self._owner = owner
        self.on_message = self._on_message
        """Handles a message: its channel and its payload."""
        self._loop = asyncio.get_running_loop()
        self._node_channel = b""
        self.tenants: dict[str, Heard] = {}
        """The tenants that are heard here."""
        # by Redis channel: all that this node has subscribed to
        self._channels: dict[bytes, Heard] = {}
        # channels of a Cluster from which this node unsubscribes at this moment, each with how many times
        self._leaving: dict[bytes, int] = {}
        self.connection: SubscriberConnection | None = None
        """The connection, if it can be used."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.probe = b""
        """The newest probe message that arrived."""
        self.probed_at = 0.0
        """When it arrived."""
        self.lag_s = 0.0
        """Seconds that the newest probe message took to come back."""
        self.distrusted = False
        """Whether the last connection brought no messages: the next one is then checked before it is used."""
        self._down_since: float | None = self._loop.time()
        self._trouble = "not connected yet"

    def start(self) -> None:
        """Connect, and stay connected until :meth:`close`."""
        self._spawn(self._run())

    async def close(self) -> None:
        """End the connection."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await asyncio.sleep(0)  # lets the event loop close the socket

    @property
    def trouble(self) -> str | None:
        """Why no messages come through the connection; None if they do, or if it was lost less than ``DEAF_AT_ONCE_S`` seconds ago."""
        if self._down_since is None or self._loop.time() - self._down_since < DEAF_AT_ONCE_S:
            return None
        return self._trouble

    @property
    def down(self) -> str | None:
        """Why there is no connection at this moment."""
        return None if self._down_since is None else self._trouble

    @property
    def channels(self) -> int:
        """Channels of Redis that this node is subscribed to here."""
        return len(self._channels)

    # -- tenants ----------------------------------------------------------------------------------------------------

    def adopt(self, heard: Heard) -> None:
        """Hear a tenant here. What it missed on its way from another server is handed over."""
        self.tenants[heard.name] = heard
        if self.connection is not None:
            self.resume(self.connection, heard)

    def release(self, heard: Heard) -> None:
        """Hear a tenant no more."""
        self.tenants.pop(heard.name, None)
        for channel in heard.channels:
            self._channels.pop(channel, None)
        heard.channels.clear()

    def subscribe(self, heard: Heard, channels: Collection[bytes], confirmed: asyncio.Future[int]) -> None:
        """Subscribe to channels of a tenant. ``confirmed`` gets the position from which they are in force, or the error.

        Raises:
            ConnectionLostError: there is no connection.
        """

        def failed(error: Exception) -> None:
            if not confirmed.done():
                confirmed.set_exception(error)

        if self.connection is None:
            raise ConnectionLostError(self._trouble)
        self._ask_for(self.connection, heard, channels)
        self._ask_meta(self.connection, heard, lambda top, _, seam: heard.confirm(top, seam, confirmed), failed)

    def unsubscribe(self, heard: Heard, channels: Sequence[bytes]) -> None:
        """Unsubscribe from channels that nobody needs any more."""
        for channel in channels:
            heard.channels.discard(channel)
            self._channels.pop(channel, None)
        connection = self.connection
        if connection is None:
            return
        for begin in range(0, len(channels), AT_ONCE):
            some = channels[begin : begin + AT_ONCE]
            if not connection.sharded:
                connection.send([(b"UNSUBSCRIBE", *some)], answers=0)
                continue
            for channel in some:
                self._leaving[channel] = self._leaving.get(channel, 0) + 1
            connection.send([(b"SUNSUBSCRIBE", *some)], partial(self._left, some), answers=0)

    def _left(self, channels: Sequence[bytes], _: object) -> None:
        for channel in channels:
            self._leaving[channel] -= 1
            if not self._leaving[channel]:
                del self._leaving[channel]

    def resume(self, connection: SubscriberConnection, heard: Heard) -> None:
        """Subscribe to all that a tenant needs, ask how far its log reaches, and read the missed messages from it."""
        for channel in heard.channels - heard.needed.keys():
            self._channels.pop(channel, None)
        heard.channels.intersection_update(heard.needed)
        self._ask_for(connection, heard, list(heard.needed))
        self._begin_repair(connection, heard)

    def _ask_for(self, connection: SubscriberConnection, heard: Heard, channels: Collection[bytes]) -> None:
        heard.channels.update(channels)
        self._channels.update(dict.fromkeys(channels, heard))
        every = list(channels)
        command = b"SSUBSCRIBE" if connection.sharded else b"SUBSCRIBE"

        def done(error: object) -> None:
            if isinstance(error, hiredis.ReplyError) and self.tenants.get(heard.name) is heard:
                self._owner.moved(heard, str(error))

        for begin in range(0, len(every), AT_ONCE):
            connection.send([(command, *every[begin : begin + AT_ONCE])], done, answers=0)

    def ask_meta(self, connection: SubscriberConnection, heard: Heard, told: Told) -> None:
        """Ask on this connection how far a log reaches; nothing is told if it cannot say so."""
        self._ask_meta(connection, heard, told, _ignore)

    def _ask_meta(
        self, connection: SubscriberConnection, heard: Heard, told: Told, failed: Callable[[Exception], None], tries: int = 0
    ) -> None:
        """Ask on this connection how far a log reaches: messages that come before the answer are covered by it. If the log does not exist,
        or belongs to another server, it is opened first. ``told`` gets the answer, ``failed`` an error.
        """
        generation = heard.generation

        def answered(reply: Any) -> None:
            if reply is None or heard.generation != generation:
                failed(ConnectionLostError(connection.lost or "the tenant is heard elsewhere"))
                return
            if isinstance(reply, hiredis.ReplyError):
                failed(ConnectionLostError(str(reply)))
                self._owner.moved(heard, str(reply))
                return
            top, floor, run, seam = reply
            here = connection.server.run
            if (
                None in reply
                or run.decode() != here
                or int(top) < (heard.position or 0)
                or (not tries and self._is_foreign(heard, reply, here))
            ):
                if tries >= OPEN_TRIES:
                    self.give_up(connection, "commands reach another server")
                    failed(ConnectionLostError("commands reach another server"))
                else:
                    self._spawn(self._open(connection, heard, told, failed, tries + 1))
                return
            heard.run = here
            told(int(top), int(floor), int(seam))

        connection.send([(b"HMGET", heard.names.meta, *META)], answered)

    @staticmethod
    def _is_foreign(heard: Heard, reply: Any, run: str) -> bool:
        """Whether the tenant's position was seen on another server after this one had taken the log over."""
        return heard.run not in {"", run} and heard.position is not None and heard.position >= int(reply[3])

    async def _open(
        self, connection: SubscriberConnection, heard: Heard, told: Told, failed: Callable[[Exception], None], tries: int
    ) -> None:
        try:
            await self._log.open(heard.name, heard.known)
        except EventLogError as error:
            failed(BusError(f"the log cannot say how far it reaches: {error}"))
            return
        self._ask_meta(connection, heard, told, failed, tries)

    # -- messages ---------------------------------------------------------------------------------------------------

    def _on_message(self, channel: bytes, payload: bytes) -> None:
        heard = self._channels.get(channel)
        if heard is None:
            if channel == self._node_channel:
                self.probe = payload
                self.probed_at = self._loop.time()
            return
        try:
            received = decode(heard.name, payload)
        except EnvelopeError as error:
            self._counters.undecoded += 1
            _log.warning("envelope_not_read", error=str(error))
            if payload[1:2] == b"l" and heard.mode is Mode.DIRECT and self.connection is not None:
                heard.break_off()  # so that its copy in the log is read, or a gap reported
                self._begin_repair(self.connection, heard)
            return
        envelope = received.envelope
        if envelope.position is None and envelope.origin == self._incarnation:
            self._counters.echoes += 1
            return
        heard.take(received, len(payload))

    def _on_unsubscribed(self, channel: bytes) -> None:
        """A channel ended: this node asked for it, or its slot has moved to another master."""
        if channel in self._leaving:
            return
        if channel == self._node_channel:
            self._node_channel = b""
        heard = self._channels.get(channel)
        if heard is not None:
            self._owner.moved(heard, "its slot has moved")

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
            self._owner.changed()
            if self._loop.time() - began > 10 * longest:
                pause = shortest
            await asyncio.sleep(pause * _JITTER.uniform(0.5, 1))
            pause = min(2 * pause, longest)

    async def address(self) -> Address:
        """Where the server is now.

        Raises:
            ConnectionLostError: nobody can say.
        """
        try:
            return await self.endpoint.address(self._tuning.liveness_s)
        except (RedisError, OSError) as error:
            raise ConnectionLostError(f"nobody says where the master is: {error}") from error

    async def _connect_and_watch(self) -> None:
        """Connect, subscribe to everything, and return when the connection has ended.

        Raises:
            ConnectionLostError: Redis cannot be reached, or cannot be used.
        """
        ended = asyncio.Event()
        address = await self.address()
        connection = await connect(
            address,
            lambda channel, payload: self.on_message(channel, payload),
            partial(self._lost, ended),
            self._tuning.liveness_s,
            self._on_unsubscribed if self.endpoint.sharded else None,
        )
        liveness = Liveness(self, connection, address, self._tuning.liveness_s)
        try:
            if problems := connection.server.problems(sharded=self.endpoint.sharded):
                raise ConnectionLostError(problems[0])
            self._counters.connected += 1
            await self._resubscribe(connection)
            if self.distrusted and (reason := await liveness.check()) is not None:
                self.give_up(connection, reason)
            if connection.lost is None:
                self.distrusted = False
                self.connection = connection
                self._down_since = None
                self._owner.changed()
                if (reason := await liveness.watch(ended)) is not None:
                    self.give_up(connection, reason)
        finally:
            connection.abort("closed")
            self._lost(ended)
        self._down(connection.lost or "")
        _log.warning("redis_subscriber_lost", reason=connection.lost, address=str(address))

    def _lost(self, ended: asyncio.Event, _: object = None) -> None:
        self.connection = None
        self._leaving.clear()
        for heard in self.tenants.values():
            heard.break_off()
        ended.set()

    def _down(self, reason: str) -> None:
        if self._down_since is None:
            self._down_since = self._loop.time()
        self._trouble = reason

    async def _resubscribe(self, connection: SubscriberConnection) -> None:
        self._listen_to_own(connection)
        for number, heard in enumerate(list(self.tenants.values())):
            if self.tenants.get(heard.name) is heard:
                self.resume(connection, heard)
            if number % 50 == 49:
                await asyncio.sleep(0)

    async def own_channel(self, connection: SubscriberConnection) -> bytes:
        """The channel of this node's own. In a Cluster it must be in a slot of this master: another one is taken when the slot has moved.

        Raises:
            ConnectionLostError: the master has no slot.
        """
        if not self._node_channel:
            await self._owner.refresh()
            self._listen_to_own(connection)
        return self._node_channel

    def _listen_to_own(self, connection: SubscriberConnection) -> None:
        if not connection.sharded:
            self._node_channel = self._names.node(self._incarnation)
            connection.send([(b"SUBSCRIBE", self._node_channel)], answers=0)
            return
        channels = (self._names.node(self._incarnation, str(tag)) for tag in range(1, MAX_TAGS))
        channel = next(filter(self.endpoint.has, channels), None)
        if channel is None:
            raise ConnectionLostError("the master has no slot")

        def done(error: object) -> None:
            if isinstance(error, hiredis.ReplyError) and self._node_channel == channel:
                self._node_channel = b""

        self._node_channel = channel
        connection.send([(b"SSUBSCRIBE", channel)], done, answers=0)

    async def elsewhere(self) -> None:
        """Some keys are not on this server any more, perhaps that of this node's own channel."""
        await self._owner.refresh()
        if not self.endpoint.has(self._node_channel):
            self._node_channel = b""

    def give_up(self, connection: SubscriberConnection, reason: str) -> None:
        """Close a connection that is open but brings no messages. The next connection is checked before it is used."""
        if connection.lost is None:
            self._counters.deaf += 1
            self.distrusted = True
            self._down_since = self._loop.time() - DEAF_AT_ONCE_S
            connection.abort(reason)

    # -- missed messages --------------------------------------------------------------------------------------------

    def _begin_repair(self, connection: SubscriberConnection, heard: Heard) -> None:
        generation = heard.generation

        def told(top: int, floor: int, seam: int) -> None:
            if heard.mode is not Mode.BROKEN:  # the tenant had no position before, or this was done already
                heard.confirm(top, seam)
                return
            # events and states are in no log, and are lost
            heard.lose_states()
            if heard.begin_reading(top, floor, seam):
                self._counters.repairs += 1
                self._spawn(self._repair(connection, heard, top))

        def failed(_: Exception) -> None:
            if connection.lost is None and heard.generation == generation:
                self._loop.call_later(READ_PAUSE_S, self._begin_repair, connection, heard)

        if connection.lost is None and self.tenants.get(heard.name) is heard:
            self._ask_meta(connection, heard, told, failed)

    async def _repair(self, connection: SubscriberConnection, heard: Heard, top: int) -> None:
        after = heard.position or 0
        generation = heard.generation
        while after < top:
            try:
                page = await self._log.page(heard.name, after)
            except EventLogError as error:
                _log.warning("log_not_read", error=str(error))
                await asyncio.sleep(READ_PAUSE_S)
                page = None
            if connection.lost is not None or heard.mode is not Mode.READING or heard.generation != generation:
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

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work, name="hub.bus.redis.subscriber")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("subscriber_failed", exc_info=error)


def _envelope_of(topic: Topic, record: Any) -> Envelope:
    header = record.header
    data, extra = record.body[header.extra_bytes :], record.body[: header.extra_bytes]
    return Envelope(topic, DeliveryClass.LOG, data, extra, record.position, record.previous, header.origin, header.sequence)


def _ignore(_: Exception) -> None:
    pass
