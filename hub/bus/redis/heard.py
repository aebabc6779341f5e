"""Hands over one tenant's messages on this node: each message of the log once and in order, and with a report if any are missing.

It does no I/O: :mod:`hub.bus.redis.subscriptions` passes it the answers of Redis and the missed messages that it reads from the log.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Iterable
from enum import Enum
from typing import Final

import structlog

from hub.bus.interface import Envelope, Gap, Receiver
from hub.bus.redis.connection import ConnectionLostError
from hub.bus.redis.envelopes import Received
from hub.bus.redis.tuning import Counters, Tuning
from hub.core.channels import candidates
from hub.core.message import Topic
from hub.core.principal import SUBJECT
from hub.eventlog.channel_log_redis import Known
from hub.redis.names import TenantNames

_log = structlog.get_logger(__name__)

_JITTER: Final = random.Random()  # noqa: S311  # it spreads load; security does not depend on it


class Mode(Enum):
    """How a tenant's log messages are handled."""

    DIRECT = "direct"
    """Each message is handed over when it comes."""
    BROKEN = "broken"
    """The connection was lost, and Redis has not yet said how far the log reaches. New messages are ignored: they are in the log and will
    be read from there.
    """
    READING = "reading"
    """The missed messages are being read from the log. New messages wait in a buffer until that is done."""


class Heard:
    """The subscriptions and the log position of one tenant on this node."""

    __slots__ = (
        "_buffer",
        "_buffered_bytes",
        "_confirmations",
        "_counters",
        "_gap_reported",
        "_receiver",
        "_seen",
        "_tuning",
        "_waiting",
        "audiences",
        "channels",
        "epoch",
        "generation",
        "mode",
        "name",
        "names",
        "needed",
        "position",
        "run",
        "settling",
        "topics",
    )

    def __init__(self, name: str, names: TenantNames, receiver: Receiver, tuning: Tuning, counters: Counters) -> None:
        self.name = name
        self.names = names
        self._receiver = receiver
        self._tuning = tuning
        self._counters = counters
        self.topics: set[Topic] = set()
        """The subscribed topics."""
        self.needed: dict[bytes, int] = {}
        """The Redis channels that carry these topics, each with its number of topics."""
        self.channels: set[bytes] = set()
        """The Redis channels that this node has subscribed to, also those that it will unsubscribe from soon."""
        self.audiences: dict[str, int] = {}
        """The number of subscribed topics of each login."""
        self.mode = Mode.DIRECT
        self.generation = 0
        """A number that rises each time that the connection is lost: an answer to what was asked before says nothing any more."""
        self.position: int | None = None
        """All log messages of the subscribed topics up to this position were handed over. None until Redis has named a position."""
        self.run = ""
        """The server that named the position, as it was started."""
        self.epoch = 0
        """The highest fence of a stat server in any message so far."""
        self.settling: asyncio.Future[str] | None = None
        """Set when Redis has answered on the connection on which messages come, behind all that it had sent; then empty, or why not."""
        # the sequence number of the newest event or state from each node
        self._seen: dict[str, int] = {}
        # whether a gap is about to be reported
        self._gap_reported = False
        self._buffer: list[Envelope] = []
        self._buffered_bytes = 0
        # appends that wait until their message has been handed over, by rising position
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        # subscriptions that Redis confirmed while missed messages are being read
        self._confirmations: list[tuple[int, asyncio.Future[int]]] = []

    # -- subscriptions ----------------------------------------------------------------------------------------------

    def want(self, topics: Iterable[tuple[Topic, bytes]]) -> None:
        """Add subscribed topics, each with the Redis channel that carries it."""
        for topic, channel in topics:
            if topic in self.topics:
                continue
            self.topics.add(topic)
            for each in self._needed_for(topic, channel):
                self.needed[each] = self.needed.get(each, 0) + 1
            if topic.audience:
                self.audiences[topic.audience] = self.audiences.get(topic.audience, 0) + 1

    def _needed_for(self, topic: Topic, channel: bytes) -> tuple[bytes, ...]:
        """The channels that a topic needs: its own, that of messages for subjects, and for a login that of messages for many logins."""
        names = self.names
        return (channel, names.subjects, names.logins) if topic.audience else (channel, names.subjects)

    def unwant(self, topics: Iterable[tuple[Topic, bytes]]) -> list[bytes]:
        """Remove subscribed topics; returns the Redis channels that no topic needs any more."""
        ended = []
        for topic, channel in topics:
            if topic not in self.topics:
                continue
            self.topics.remove(topic)
            if topic.audience:
                self.audiences[topic.audience] -= 1
                if not self.audiences[topic.audience]:
                    del self.audiences[topic.audience]
            for each in self._needed_for(topic, channel):
                self.needed[each] -= 1
                if not self.needed[each]:
                    del self.needed[each]
                    ended.append(each)
        return ended

    def wants(self, topic: Topic) -> bool:
        """Whether a message of ``topic`` matches a subscription of this node."""
        if topic.audience.startswith(SUBJECT):
            return bool(self.topics)
        return any(topic._replace(channel=pattern) in self.topics for pattern in candidates(topic.channel))

    # -- messages ---------------------------------------------------------------------------------------------------

    def take(self, received: Received, size: int) -> None:
        """Handle an envelope that Redis pushed; ``size`` is its length in bytes."""
        envelope = received.envelope
        if envelope.position is not None:
            self._take_log(envelope, size)
            return
        if envelope.sequence <= self._seen.get(envelope.origin, 0):
            self._counters.repeated += 1
            return
        if len(self._seen) >= self._tuning.max_origins and envelope.origin not in self._seen:
            for origin in list(self._seen)[: self._tuning.max_origins // 2]:
                del self._seen[origin]
        self._seen[envelope.origin] = envelope.sequence
        if received.notice:
            self._counters.noticed += 1
            self.lose_states()
            return
        if envelope.epoch:
            if envelope.epoch < self.epoch:
                self._counters.deposed += 1
                return
            self.epoch = envelope.epoch
        if not received.logins:
            self._bring(envelope)
            return
        for login in received.logins:
            if login in self.audiences:
                self._bring(envelope._replace(topic=envelope.topic._replace(audience=login)))

    def lose_states(self) -> None:
        """Report that events and states may have been lost, after a random time: the states are then sent again."""
        if self._gap_reported:
            return

        def report() -> None:
            self._gap_reported = False
            self._receiver.on_gap(Gap(self.name))

        delay = _JITTER.uniform(0, self._tuning.resync_s)
        if delay:
            self._gap_reported = True
            asyncio.get_running_loop().call_later(delay, report)
        else:
            report()

    def _take_log(self, envelope: Envelope, size: int) -> None:
        assert envelope.position is not None
        if self.mode is Mode.BROKEN or self.position is None:
            return  # it is in the log; the answer of Redis that is still to come covers its position
        if self.mode is Mode.DIRECT:
            self.hand_over(envelope)
        elif not self._buffer or envelope.position > (self._buffer[-1].position or 0):
            self._buffer.append(envelope)
            self._buffered_bytes += size
            if self._buffered_bytes > self._tuning.max_buffered_bytes:
                self.give_up(envelope.position)

    def hand_over(self, envelope: Envelope) -> None:
        """Hand over the next log message, unless it was handed over before."""
        position = envelope.position
        assert position is not None
        if self.position is not None and position <= self.position:
            self._counters.repeated += 1
            return
        self.position = position
        self._bring(envelope)
        if self._waiting:
            self._reach(position)

    def _bring(self, envelope: Envelope) -> None:
        self._counters.received += 1
        try:
            self._receiver.on_envelope(envelope)
        except Exception:
            self._counters.failed += 1
            _log.exception("envelope_failed", channel=envelope.topic.channel)

    def _advance(self, position: int) -> None:
        self.position = max(position, self.position or 0)
        self._receiver.on_position(self.name, self.position)
        if self._waiting:
            self._reach(self.position)

    @property
    def known(self) -> Known:
        """The position, and where it was seen."""
        return Known(self.position or 0, self.run)

    # -- the state of the log ---------------------------------------------------------------------------------------

    def confirm(self, top: int, seam: int, confirmed: asyncio.Future[int] | None = None) -> None:
        """Note that the newest position of the log was ``top`` when Redis answered; all messages up to it came before the answer.
        ``confirmed`` gets this position, from which a subscription is in force, as soon as all messages up to it have been handed over.
        """
        if self.mode is not Mode.DIRECT:
            if confirmed is not None:
                self._confirmations.append((top, confirmed))
            return
        if self.position is not None and self.position < seam:
            self._reset(seam)
        self._advance(top)
        if confirmed is not None and not confirmed.done():
            confirmed.set_result(top)

    def break_off(self) -> None:
        """Note that the connection was lost, or that the tenant is on another server now."""
        self.generation += 1
        if self.position is not None:
            self.mode = Mode.BROKEN
        self._buffer = []
        self._buffered_bytes = 0
        confirmations, self._confirmations = self._confirmations, []
        for _, confirmed in confirmations:
            if not confirmed.done():
                confirmed.set_exception(ConnectionLostError("the connection ended"))
        self.release()  # messages that were appended are in the log and will be read from there

    def begin_reading(self, top: int, floor: int, seam: int) -> bool:
        """Handle the answer of Redis after a reconnect: how far the log reaches. Returns whether to read missed messages up to ``top``."""
        assert self.position is not None  # the mode is BROKEN only with a position
        if self.position < seam:
            self._reset(seam)
            self.position = seam
        if self.position < floor:
            self._receiver.on_gap(Gap(self.name, self.position, top))
            self.finish(top)
            return False
        self.mode = Mode.READING
        return True

    def finish(self, top: int) -> None:
        """Note that the missed messages up to ``top`` were read or given up, and hand over the messages that came in the meantime."""
        self.mode = Mode.DIRECT
        self._advance(top)
        buffer, self._buffer = self._buffer, []
        self._buffered_bytes = 0
        for envelope in buffer:
            self.hand_over(envelope)
        confirmations, self._confirmations = self._confirmations, []
        for position, confirmed in confirmations:
            self.confirm(position, 0, confirmed)

    def give_up(self, position: int) -> None:
        """Report a gap, because the missed messages cannot be read. Messages after ``position`` are handed over again."""
        self._receiver.on_gap(Gap(self.name, self.position, position))
        self._buffer = []
        self.finish(position)

    def _reset(self, seam: int) -> None:
        self._counters.seams += 1
        self._receiver.on_reset(self.name, seam)

    # -- appends that wait ------------------------------------------------------------------------------------------

    def reached(self, position: int) -> asyncio.Future[None] | None:
        """A future that completes when all messages up to ``position`` have been handed over. None if they already have been, or if it is
        unknown when they will be.
        """
        if self.mode is Mode.BROKEN or self.position is None or self.position >= position:
            return None
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((position, future))
        return future

    def _reach(self, position: int) -> None:
        waiting = self._waiting
        while waiting and waiting[0][0] <= position:
            future = waiting.popleft()[1]
            if not future.done():
                future.set_result(None)

    def release(self) -> None:
        """Complete all futures of :meth:`reached`."""
        self._reach(2**63)
