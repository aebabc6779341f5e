"""A session as the router sees it: a bounded queue, and a flag that says whether it waits to be flushed."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from hub.core.delivery import DeliveryClass
from hub.core.message import Message, Topic
from hub.core.principal import Principal

if TYPE_CHECKING:
    from hub.core.hub import Hub


class Subscriber:
    """What the doors' sessions have in common. A door says how to :meth:`flush` and how to :meth:`end`.

    ``offer`` is called for every message of every subscriber: no await, no lock, no task (design part 3).
    """

    __slots__ = ("dirty", "dropped", "hub", "id", "principal", "queue", "queued_bytes", "resync_due", "subscriptions")

    def __init__(self, hub: Hub, identifier: str, principal: Principal) -> None:
        self.hub = hub
        self.id = identifier
        self.principal = principal
        self.subscriptions: dict[str, tuple[Topic, ...]] = {}
        # what waits to be sent
        self.queue: deque[Message] = deque()
        self.queued_bytes = 0
        self.dirty = False
        # what overflowed
        self.dropped = 0
        self.resync_due = False

    def offer(self, message: Message) -> None:
        """Queue a message and ask for a flush in this tick; over the limit the message's delivery class decides."""
        size = message.size
        if self.queued_bytes + size > self.hub.limits.max_queue_bytes and not self._make_room(message, size):
            return
        self.queue.append(message)
        self.queued_bytes += size
        if not self.dirty:
            self.hub.flusher.mark(self)

    def offer_snapshot(self, message: Message) -> None:
        """Queue a part of a snapshot, whatever the limit: a refused snapshot would call for the next one, for ever."""
        self.queue.append(message)
        self.queued_bytes += message.size
        if not self.dirty:
            self.hub.flusher.mark(self)

    def _make_room(self, message: Message, size: int) -> bool:
        """The queue is full: whether ``message`` may still be queued, after what its class says has been done."""
        counters = self.hub.counters
        waiting = len(self.queue)
        kept = deque(m for m in self.queue if m.delivery is not DeliveryClass.STATE)
        if len(kept) < waiting:
            self.queue = kept
            self.queued_bytes = sum(m.size for m in kept)
            self.resync_due = True
            counters.conflated += waiting - len(kept)
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

    def take(self) -> deque[Message]:
        """Everything that waits, in order; the queue is empty after."""
        taken, self.queue = self.queue, deque()
        self.queued_bytes = 0
        if self.resync_due:
            self.resync_due = False
            self.hub.resync(self)
        return taken

    def flush(self) -> None:
        """Send what waits, if the connection can take it now. Called at most once a tick."""
        raise AssertionError("a door's session defines flush")

    def end_too_slow(self) -> None:
        """A log channel overflowed: end the connection so that the client comes back and replays."""
        raise AssertionError("a door's session defines end_too_slow")

    def end_revoked(self) -> None:
        """The credential that opened this session was removed or lost its roles."""
        raise AssertionError("a door's session defines end_revoked")
