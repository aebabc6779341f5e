"""A session of any transport: its subscriptions, its bounded queue, and whether it waits to be flushed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from hub.core.delivery import DeliveryClass
from hub.core.frames import FrameCache
from hub.core.message import Message, Topic
from hub.core.principal import Principal
from hub.core.recovery import Recovery
from hub.core.router import Excluded
from hub.core.session_hub import SessionHub
from hub.core.session_ids import PUBLIC_ID_CHARACTERS


class Subscriber:
    """What the sessions of all transports have in common. Each kind of session defines how it is flushed and how it ends.

    :meth:`offer` is called for every message of every subscriber: it needs no await, no lock and no task
    (docs/architecture.md#delivery).
    """

    __slots__ = (
        "attached",
        "closing",
        "direct_write",
        "dirty",
        "dropped",
        "first_state",
        "frame_cache",
        "hub",
        "id",
        "narrowed",
        "principal",
        "queued_bytes",
        "recovery",
        "replaced",
        "reserved_bytes",
        "resync_due",
        "serial",
        "since_ms",
        "subscriptions",
        "waiting",
    )

    def __init__(self, hub: SessionHub[Subscriber], identifier: str, principal: Principal) -> None:
        self.hub = hub
        self.id = identifier
        self.principal = principal
        self.replaced: tuple[str, ...] = ()
        """The credentials that newer ones took the place of, by id (:class:`hub.core.renewal.Renewals`)."""
        self.since_ms = hub.clock.wall_ms()
        """When it began, in milliseconds since 1970."""
        self.serial = 0
        """A number that rises from session to session, in the order in which the hub let them in, and goes on rising when the hub starts
        again.
        """
        self.attached = False
        """Whether it is one of the hub's sessions: :class:`hub.core.sessions.Sessions` says so."""
        self.subscriptions: dict[str, tuple[Topic, ...]] = {}
        self.narrowed: dict[str, Excluded] = {}
        """The patterns of which it hears only a part, and what is excluded from each."""
        self.frame_cache: FrameCache = hub.frame_caches.bayeux
        """Builds its frames, where it has a WebSocket."""
        self.direct_write: Callable[[bytes], object] | None = None
        """Writes frames of its :attr:`frame_cache` to the connection at once. None while messages have to go through the queue: while it
        has no WebSocket that takes frames, while its client has not read what was written, and while it gets more than plain messages.
        """
        self.waiting: list[Message] = []
        """The messages that wait to be sent, without those that large fan-outs have for it; :attr:`queue` has both."""
        self.queued_bytes = 0
        self.reserved_bytes = 0
        """Bytes of ``queued_bytes`` that are not in the queue: they were sent, and are kept until the client acknowledges them."""
        self.dirty = False
        self.recovery: Recovery | None = None
        """Reads from the log what it has missed; None when there is nothing to read."""
        self.closing = False
        """Whether the server has ended it and its client does not know yet: it subscribes to nothing any more."""
        self.first_state = -1
        """An index in :attr:`waiting` at or before the first message of a state channel; -1 while there is none."""
        # what overflowed
        self.dropped = 0
        self.resync_due = False

    def flush_pending(self) -> bool:
        """Move what fan-outs have for this session into its queue. Returns False when the session has ended, which an overflow by these
        messages may have done: whatever else ends a session calls this first.
        """
        if self.hub.fan_outs.jobs:
            self.hub.fan_outs.flush_pending(self)
        return self.attached

    @property
    def queue(self) -> list[Message]:
        """All messages that wait to be sent, in order. Reading it calls :meth:`flush_pending`: the session may have ended after."""
        if self.hub.fan_outs.jobs:
            self.hub.fan_outs.flush_pending(self)
        return self.waiting

    def offer(self, message: Message) -> None:
        """Queue a message, and have the session flushed in this turn of the loop. Over the limit the message's delivery class decides."""
        hub = self.hub
        if hub.fan_outs.jobs:
            hub.fan_outs.flush_pending(self)
            if not self.attached:
                return
        if self.recovery is None and self.queued_bytes + message.size <= hub.limits.max_queue_bytes:  # nearly always
            if message.delivery is DeliveryClass.STATE and self.first_state < 0:
                self.first_state = len(self.waiting)
            self.waiting.append(message)
            self.queued_bytes += message.size
        elif not self._take_in(message):
            return
        if not self.dirty:
            hub.flusher.mark(self)

    def take_in(self, messages: Iterable[Message]) -> None:
        """Queue messages that large fan-outs had for this session, as :meth:`offer` does."""
        if self._take_all_in(messages) and self.waiting and not self.dirty:
            self.hub.flusher.mark(self)

    def hand_over(self, messages: Iterable[Message]) -> None:
        """Queue messages, and flush the session at once."""
        if self._take_all_in(messages):
            self.flush()

    def _take_all_in(self, messages: Iterable[Message]) -> bool:
        """Queue messages; returns False when one of them overflowed the queue and ended the session."""
        return all(self._take_in(message) or self.attached for message in messages)

    def _take_in(self, message: Message) -> bool:
        """Queue a message; returns whether it was queued."""
        if message.position is not None and self.recovery is not None:  # the recovery will read it from the log
            return False
        size = message.size
        if self.queued_bytes + size > self.hub.limits.max_queue_bytes and not self._make_room(message, size):
            return False
        self._append(message)
        return True

    def _append(self, message: Message) -> None:
        if message.delivery is DeliveryClass.STATE and self.first_state < 0:
            self.first_state = len(self.waiting)
        self.waiting.append(message)
        self.queued_bytes += message.size

    def offer_anyway(self, message: Message) -> None:
        """Queue a message whatever the limit: a part of a snapshot (if it were refused, another snapshot would be due, for ever), or of a
        page of the log, which was read because there was room.
        """
        self.offer_all_anyway((message,))

    def offer_all_anyway(self, messages: Sequence[Message]) -> None:
        """Queue many messages as :meth:`offer_anyway` does."""
        if not messages or not self.flush_pending():
            return
        if self.first_state < 0:
            before = len(self.waiting)
            self.first_state = next((before + at for at, one in enumerate(messages) if one.delivery is DeliveryClass.STATE), -1)
        self.waiting += messages
        self.queued_bytes += sum([message.size for message in messages])
        if not self.dirty:
            self.hub.flusher.mark(self)

    def _make_room(self, message: Message, size: int) -> bool:
        """Do what the delivery class of ``message`` says of a full queue; returns whether the message may still be queued."""
        counters = self.hub.counters
        states = self._remove_states()
        if states:
            self.queued_bytes = self.reserved_bytes + sum(m.size for m in self.waiting)
            self.resync_due = True
            counters.conflated += states
        if message.delivery is DeliveryClass.STATE:
            self.resync_due = True
            counters.conflated += 1
            if not self.dirty:
                self.hub.flusher.mark(self)
            return False
        if self.queued_bytes + size <= self.hub.limits.max_queue_bytes:
            return True
        if message.delivery is DeliveryClass.LOG:
            counters.too_slow += 1
            self.end_too_slow()
            return False
        self.dropped += 1
        counters.dropped += 1
        return False

    def _remove_states(self) -> int:
        """Remove all messages of state channels from the queue; returns how many there were. Every message asks a full queue for room, so a
        queue without states is not searched.
        """
        first = self.first_state
        if first < 0:
            return 0
        behind = self.waiting[first:]
        kept = [message for message in behind if message.delivery is not DeliveryClass.STATE]
        self.waiting[first:] = kept
        self.first_state = -1
        return len(behind) - len(kept)

    def shed(self) -> None:
        """Empty the queue, because the queues of the process are above their budget; each message is handled as its delivery class says.
        The session is ended where the queue is the smaller part of its bytes, since those that are written or sent cannot be taken back.
        """
        counters = self.hub.counters
        waiting = self.queue
        if self.closing or not self.attached:  # it ends soon, and its client has still to be told
            return
        fixed = self.reserved_bytes + self.unread_bytes
        if fixed > self.queued_bytes - self.reserved_bytes or any(message.delivery is DeliveryClass.LOG for message in waiting):
            counters.too_slow += 1
            self.end_too_slow()
            return
        states = sum(message.delivery is DeliveryClass.STATE for message in waiting)
        counters.conflated += states
        counters.dropped += len(waiting) - states
        self.dropped += len(waiting) - states
        self._empty()
        if states:
            self.resync_due = True
            if not self.dirty:
                self.hub.flusher.mark(self)
        if self.recovery is not None:  # there is room again, and no flush may follow that would resume it
            self.recovery.resume()

    def _empty(self) -> None:
        self.waiting = []
        self.queued_bytes = self.reserved_bytes
        self.first_state = -1

    def take(self) -> list[Message]:
        """Take all messages that wait, in order. What is due when the queue is empty, a snapshot or more of a replay, is begun."""
        taken = self.queue
        self._empty()
        if self.resync_due:
            self.resync_due = False
            self.hub.snapshots.resync(self)
        if self.recovery is not None:
            self.recovery.resume()
        return taken

    def send_directly(self) -> bool:
        """Write what waits directly. Returns False when that is not possible now, or when more has to be done than to write it."""
        if self.hub.fan_outs.jobs and not self.flush_pending():
            return True
        messages = self.waiting
        direct_write = self.direct_write
        if direct_write is None or self.resync_due or self.recovery is not None:
            return False
        if messages:
            self._empty()
            try:
                direct_write(self.frame_cache.frames(messages))
            except (RuntimeError, OSError):  # the connection is lost, and will report it
                self.direct_write = None
                self.waiting = list(messages)  # the frame cache keeps the other, which must not change
                self.first_state = 0
                self.queued_bytes += sum(message.size for message in messages)
                return False
        return True

    @property
    def unread_bytes(self) -> int:
        """Bytes that were written to the connection and that its client has not read, as far as is known."""
        return 0

    @property
    def public_id(self) -> str:
        """Names the session to administrators and in presence events. The rest of a Bayeux clientId, 128 random bits, is known to its
        client alone: this part is too short to act as the client.
        """
        return self.id[:PUBLIC_ID_CHARACTERS]

    @property
    def door(self) -> str:
        """The transport by which the client is connected now, in one word."""
        raise AssertionError("a transport's session defines door")

    def flush(self) -> None:
        """Send what waits, if the connection can take it now. Called at most once in a turn of the loop."""
        raise AssertionError("a transport's session defines flush")

    def end_too_slow(self) -> None:
        """End the session because a log channel overflowed, so that the client comes back and replays."""
        raise AssertionError("a transport's session defines end_too_slow")

    def disconnect(self) -> None:
        """End the session because an administrator or the application asked for it."""
        raise AssertionError("a transport's session defines disconnect")

    def end_revoked(self) -> None:
        """End the session because the credential that opened it was removed or lost its roles."""
        raise AssertionError("a transport's session defines end_revoked")

    def end_unverified(self) -> None:
        """End the session because nobody knows any more whether its credential is good: the database has not answered for long. The client
        comes back by itself.
        """
        raise AssertionError("a transport's session defines end_unverified")

    def tell_expiring(self, seconds: int) -> None:
        """Tell the client that its credential ends in so many seconds, unless it shows a newer one."""
        raise AssertionError("a transport's session defines tell_expiring")

    def tell_unsubscribed(self, patterns: Sequence[str]) -> None:
        """Tell the client that subscriptions have ended, since the newer credential that it showed does not cover them."""
        raise AssertionError("a session that can show a newer credential defines tell_unsubscribed")
