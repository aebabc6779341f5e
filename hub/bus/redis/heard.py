"""What one tenant's subscribers on this node have been brought: no message of the log twice, none out of order, none left out unsaid.

It does no I/O: :mod:`hub.bus.redis.subscriptions` tells it what Redis answers, and what the log has of a broken connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from enum import Enum

import structlog

from hub.bus.interface import Envelope, Gap, Receiver
from hub.bus.redis.connection import ConnectionLostError
from hub.bus.redis.envelopes import Received
from hub.bus.redis.tuning import Counters, Tuning
from hub.core.channels import candidates
from hub.core.message import Topic
from hub.core.principal import SUBJECT
from hub.redis.names import TenantNames

_log = structlog.get_logger(__name__)


class Mode(Enum):
    """How the tenant's log messages are taken."""

    DIRECT = "direct"
    """As they come."""
    BROKEN = "broken"
    """The connection was lost, and Redis has not yet said how far the log reaches: what comes is in the log, and is read from there."""
    READING = "reading"
    """What was missed is read from the log; what comes meanwhile waits for its turn."""


class Heard:
    """One tenant."""

    __slots__ = (
        "_buffer",
        "_buffered_bytes",
        "_confirmations",
        "_counters",
        "_receiver",
        "_seen",
        "_tuning",
        "_waiting",
        "audiences",
        "channels",
        "epoch",
        "mode",
        "name",
        "names",
        "needed",
        "position",
        "topics",
    )

    def __init__(self, name: str, names: TenantNames, receiver: Receiver, tuning: Tuning, counters: Counters) -> None:
        self.name = name
        self.names = names
        self._receiver = receiver
        self._tuning = tuning
        self._counters = counters
        self.topics: set[Topic] = set()
        """What is subscribed to."""
        self.needed: dict[bytes, int] = {}
        """The channels that bring them, and how many topics each brings."""
        self.channels: set[bytes] = set()
        """The channels that Redis has, or was asked for: also those that linger."""
        self.audiences: dict[str, int] = {}
        """How many topics each login has."""
        self.mode = Mode.DIRECT
        self.position: int | None = None
        """All log messages of the subscribed topics up to here were handed over. None: no answer has said where the log stands."""
        self.epoch = 0
        """The highest fence of a stat server that was heard."""
        # of each node the number of its newest event or state
        self._seen: dict[str, int] = {}
        self._buffer: list[Envelope] = []
        self._buffered_bytes = 0
        # who waits for a position: of an append, rising
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        # subscriptions that were confirmed while what was missed is read
        self._confirmations: list[tuple[int, asyncio.Future[int]]] = []

    # -- what is wanted ---------------------------------------------------------------------------------------------

    def want(self, topics: Iterable[tuple[Topic, bytes]]) -> None:
        """Subscribe to topics, each with the channel that brings it."""
        for topic, channel in topics:
            if topic in self.topics:
                continue
            self.topics.add(topic)
            for each in self._needed_for(topic, channel):
                self.needed[each] = self.needed.get(each, 0) + 1
            if topic.audience:
                self.audiences[topic.audience] = self.audiences.get(topic.audience, 0) + 1

    def _needed_for(self, topic: Topic, channel: bytes) -> tuple[bytes, ...]:
        """Who hears any topic also hears what is for a subject, and a login's also what is for many logins."""
        names = self.names
        return (channel, names.subjects, names.logins) if topic.audience else (channel, names.subjects)

    def unwant(self, topics: Iterable[tuple[Topic, bytes]]) -> list[bytes]:
        """The reverse; returns the channels that are not needed any more."""
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
        """Whether a message of ``topic`` is for somebody here."""
        if topic.audience.startswith(SUBJECT):
            return bool(self.topics)
        return any(topic._replace(channel=pattern) in self.topics for pattern in candidates(topic.channel))

    # -- what comes -------------------------------------------------------------------------------------------------

    def take(self, received: Received, size: int) -> None:
        """An envelope that Redis pushed; ``size``: its bytes."""
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
        if received.epoch:
            if received.epoch < self.epoch:
                self._counters.deposed += 1
                return
            self.epoch = received.epoch
        if not received.logins:
            self._bring(envelope)
            return
        for login in received.logins:
            if login in self.audiences:
                self._bring(envelope._replace(topic=envelope.topic._replace(audience=login)))

    def _take_log(self, envelope: Envelope, size: int) -> None:
        assert envelope.position is not None
        if self.mode is Mode.BROKEN or self.position is None:
            return  # it lies in the log, before the position that Redis is about to say
        if self.mode is Mode.DIRECT:
            self.hand_over(envelope)
        elif not self._buffer or envelope.position > (self._buffer[-1].position or 0):
            self._buffer.append(envelope)
            self._buffered_bytes += size
            if self._buffered_bytes > self._tuning.max_buffered_bytes:
                self.give_up(envelope.position)

    def hand_over(self, envelope: Envelope) -> None:
        """A log message that comes next, unless it came already."""
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

    # -- what Redis says of the log ---------------------------------------------------------------------------------

    def confirm(self, top: int, seam: int, confirmed: asyncio.Future[int] | None = None) -> None:
        """The log reached to ``top`` when Redis answered, after everything that came before. ``confirmed`` gets the position from which a
        subscription is in force, when all before it has been handed over.
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
        """The connection was lost."""
        if self.position is not None:
            self.mode = Mode.BROKEN
        self._buffer = []
        self._buffered_bytes = 0
        confirmations, self._confirmations = self._confirmations, []
        for _, confirmed in confirmations:
            if not confirmed.done():
                confirmed.set_exception(ConnectionLostError("the connection ended"))
        self.release()  # what was appended lies in the log, and is read from there

    def begin_reading(self, top: int, floor: int, seam: int) -> bool:
        """Redis is there again and says how far the log reaches; returns whether what was missed is to be read from it, up to ``top``."""
        assert self.position is not None  # else nothing is broken
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
        """What was missed up to ``top`` has been read, or given up: go on with what came meanwhile."""
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
        """What was missed cannot be read: say so. After ``position`` everything is handed over again."""
        self._receiver.on_gap(Gap(self.name, self.position, position))
        self._buffer = []
        self.finish(position)

    def _reset(self, seam: int) -> None:
        self._counters.seams += 1
        self._receiver.on_reset(self.name, seam)

    # -- who waits --------------------------------------------------------------------------------------------------

    def reached(self, position: int) -> asyncio.Future[None] | None:
        """What is done when everything up to ``position`` has been handed over; None: it has been, or nobody knows when it will."""
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
        """Nobody needs to wait any more."""
        self._reach(2**63)
