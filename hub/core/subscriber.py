"""A session as the router sees it: a bounded queue, and a flag that says whether it waits to be flushed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from hub.core.delivery import DeliveryClass
from hub.core.frames import FrameCache
from hub.core.message import Message, Topic
from hub.core.principal import Principal
from hub.core.recovery import Recovery
from hub.core.router import Excluded
from hub.core.session_hub import SessionHub

PUBLIC_ID_CHARACTERS = 16
"""Characters of a session's id that may be shown. The rest, at least 128 random bits of a Bayeux clientId, is known to its client alone."""


class Subscriber:
    """What the doors' sessions have in common. A door says how to :meth:`flush` and how to :meth:`end`.

    ``offer`` is called for every message of every subscriber: no await, no lock, no task (docs/architecture.md#delivery).
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
        self.since_ms = hub.clock.wall_ms()
        """When it began, in milliseconds since 1970."""
        self.serial = 0
        """Rises from session to session in the order in which the hub let them in, and goes on rising when the hub starts again."""
        self.attached = False
        """Whether it is one of the hub's sessions: :class:`hub.core.sessions.Sessions` says so."""
        self.subscriptions: dict[str, tuple[Topic, ...]] = {}
        self.narrowed: dict[str, Excluded] = {}
        """Of its patterns those of which it hears a part, and what is excluded."""
        self.frame_cache: FrameCache = hub.frame_caches.bayeux
        """How it gets messages over a WebSocket."""
        self.direct_write: Callable[[bytes], object] | None = None
        """Writes frames of its :attr:`frame_cache` at once. None while it has no WebSocket that takes them, while bytes wait there that its
        client has not read, and where what it gets is more than messages as they are: then they go through the queue.
        """
        self.waiting: list[Message] = []
        """What waits to be sent, but for what large fan-outs have for it; :attr:`queue` has both."""
        self.queued_bytes = 0
        self.reserved_bytes = 0
        """Bytes of ``queued_bytes`` that are not in the queue: sent, but kept until the client acknowledges them."""
        self.dirty = False
        self.recovery: Recovery | None = None
        """What it has still to read from the log."""
        self.closing = False
        """The server has ended it, and its client has still to be told: it subscribes to nothing any more."""
        self.first_state = -1
        """Where the first message of a state channel stands in what waits, or before; -1 while there is none."""
        # what overflowed
        self.dropped = 0
        self.resync_due = False

    def flush_pending(self) -> bool:
        """Take from fan-outs what they have for this session. False when it has ended, which that may have been too much for: whatever ends
        a session in another way begins with this.
        """
        if self.hub.fan_outs.jobs:
            self.hub.fan_outs.flush_pending(self)
        return self.attached

    @property
    def queue(self) -> list[Message]:
        """All that waits to be sent, in order. Looking is a :meth:`flush_pending`: the session may have ended after."""
        if self.hub.fan_outs.jobs:
            self.hub.fan_outs.flush_pending(self)
        return self.waiting

    def offer(self, message: Message) -> None:
        """Queue a message and ask for a flush in this tick; over the limit the message's delivery class decides."""
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
        """As :meth:`offer`, of messages that large fan-outs had for this session."""
        if self._take_all_in(messages) and self.waiting and not self.dirty:
            self.hub.flusher.mark(self)

    def hand_over(self, messages: Iterable[Message]) -> None:
        """Queue messages, and send what waits at once."""
        if self._take_all_in(messages):
            self.flush()

    def _take_all_in(self, messages: Iterable[Message]) -> bool:
        """Queue messages; False when one was too much and ended the session: then the rest is nobody's any more."""
        return all(self._take_in(message) or self.attached for message in messages)

    def _take_in(self, message: Message) -> bool:
        """Queue a message; False when it was not."""
        if message.position is not None and self.recovery is not None:  # it comes from the log, in its turn
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
        """Queue a message whatever the limit: a part of a snapshot (a refused one would call for the next, for ever), or of a page of the
        log, which was read because there was room.
        """
        self.offer_all_anyway((message,))

    def offer_all_anyway(self, messages: Sequence[Message]) -> None:
        """As :meth:`offer_anyway`, of thousands at a time."""
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
        """The queue is full: whether ``message`` may still be queued, after what its class says has been done."""
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
        """Take all states out of what waits; returns how many there were. A queue that stays full is asked for room by every message: where
        there are none it is not searched.
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
        """The process has no room for what waits here: all of it goes, as the delivery class of each message says. A session of whose bytes
        the queue is the smaller part, because they are written or sent already, has to go itself.
        """
        counters = self.hub.counters
        waiting = self.queue
        if self.closing or not self.attached:  # who is sent away ends soon, and has to be told
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
        if self.recovery is not None:  # there is room again, and nothing may be left that would be flushed
            self.recovery.resume()

    def _empty(self) -> None:
        self.waiting = []
        self.queued_bytes = self.reserved_bytes
        self.first_state = -1

    def take(self) -> list[Message]:
        """Everything that waits, in order; the queue is empty after."""
        taken = self.queue
        self._empty()
        if self.resync_due:
            self.resync_due = False
            self.hub.snapshots.resync(self)
        if self.recovery is not None:
            self.recovery.resume()
        return taken

    def send_directly(self) -> bool:
        """Send what waits the direct way. False when there is none, or when there is more to do than to send what waits."""
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
            except (RuntimeError, OSError):  # the connection is gone, and will say so
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
        """Names the session to administrators and in presence events; nobody can use it to act as the session's client."""
        return self.id[:PUBLIC_ID_CHARACTERS]

    @property
    def door(self) -> str:
        """How the client is connected now, in a word."""
        raise AssertionError("a door's session defines door")

    def flush(self) -> None:
        """Send what waits, if the connection can take it now. Called at most once a tick."""
        raise AssertionError("a door's session defines flush")

    def end_too_slow(self) -> None:
        """A log channel overflowed: end the connection so that the client comes back and replays."""
        raise AssertionError("a door's session defines end_too_slow")

    def disconnect(self) -> None:
        """The server ends the session: an administrator, or the application, asked for it."""
        raise AssertionError("a door's session defines disconnect")

    def end_revoked(self) -> None:
        """The credential that opened this session was removed or lost its roles."""
        raise AssertionError("a door's session defines end_revoked")
