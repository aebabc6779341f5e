"""Large fan-outs, in slices: a message for thousands reaches them bit by bit, while everything else goes on.

A message for a few is offered to each of them at once, and leaves in the same tick. One for many becomes a job: the messages, and who has
still to get them. Jobs take turns, so that small ones are done first. What is published on a channel before anybody was served leaves in
one frame, and so does what several jobs have for a session. However a session comes to be served, it gets what was published in the order
of publishing: whoever looks at its queue finds there what jobs had for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from hub.core.fair_queue import FairQueue
from hub.core.frames import FrameCache
from hub.core.message import Message
from hub.core.metric import Histogram
from hub.core.ports import Clock, Loop
from hub.core.recipient import FaultObserver, Recipient
from hub.core.router import Members

AT_ONCE: Final = 128
"""Subscribers that are offered a message in one piece: 0.1 ms or so."""

MOST_JOBS: Final = 64
"""Jobs at a time: each session that is served looks at all of them. Clients that publish wait in a line while there are so many, or as many
are on their way (:meth:`FanOuts.admit`). What is published from within does not wait, since values must not overtake each other: then there
are more.
"""

JOB_BYTES: Final = 128 * 1024
"""What one job gathers, and a session gets of several in one piece, but for the last message."""

_MESSAGES_A_SESSION: Final = 16
"""Messages that are queued for a session, and sent, in the time that serving one directly takes."""

_MOST_JOINED: Final = 64
"""Sets of jobs whose messages are kept together, in frames: 128 KiB each or so."""

_TURN: Final = 32
"""Sessions that a job serves directly before the next has its turn, and before the clock is looked at: 0.3 ms or so."""

_MISSING: Final = object()


class Job:
    """Some messages of one channel on their way to those who were subscribed to it."""

    __slots__ = ("began", "frames", "growing", "members", "messages", "size", "version", "waiting")

    def __init__(self, message: Message, members: Members[Recipient], began: float) -> None:
        """``began``: the moment of the monotonic clock at which the message was published."""
        self.began = began
        self.messages = [message]
        self.size = message.size
        self.members = members
        self.version = members.version
        self.waiting: dict[Recipient, None] = dict(members.subscribers)
        """Who has still to be served."""
        self.growing = True
        """Nobody has been served yet: a further message for the same subscribers may join."""
        self.frames: dict[FrameCache, bytes] = {}

    def joins(self, message: Message, members: Members[Recipient]) -> bool:
        """Take in a further message, if it is for exactly the same subscribers and there is room."""
        if not self.growing or self.members is not members or self.version != members.version or self.size > JOB_BYTES:
            return False
        self.messages.append(message)
        self.size += message.size
        return True


class FanOuts:
    """All fan-outs of one process that are under way."""

    __slots__ = ("_clock", "_joined", "_line", "_on_fault", "_on_their_way", "_turn", "_wake", "at_once", "direct", "jobs", "latency")

    def __init__(self, loop: Loop, clock: Clock, on_fault: FaultObserver, wake: Callable[[], None]) -> None:
        """``wake`` has :meth:`advance` called soon."""
        self._clock = clock
        self._on_fault = on_fault
        self._wake = wake
        self._turn = 0
        self.at_once = AT_ONCE
        """See :data:`AT_ONCE`."""
        self.jobs: list[Job] = []
        """In the order in which they were published."""
        self.direct = 0
        """Messages for a few that were offered since the last flush."""
        self.latency = Histogram()
        """Seconds that messages for many took from being published until the last subscriber was served: of those that leave together, how
        long the first took.
        """
        self._line = FairQueue(loop, self._has_room)
        self._on_their_way = 0
        # the messages of several jobs that sessions get together, by those jobs
        self._joined: dict[tuple[Job, ...], tuple[list[Message], dict[FrameCache, bytes]]] = {}

    def begin(self, message: Message, members: Members[Recipient]) -> None:
        """Bring a message to subscribers: at once if they are few."""
        subscribers = members.subscribers
        if len(subscribers) <= self.at_once:  # as is_for_many says
            self.direct += 1
            for subscriber in tuple(subscribers):  # one that is too slow ends, and leaves the table meanwhile
                try:
                    subscriber.offer(message)
                except Exception as fault:
                    self._on_fault(subscriber, fault)
            return
        if self.jobs and self.jobs[-1].joins(message, members):  # none but the last: who is in both must not get this before that
            return
        self.jobs.append(Job(message, members, self._clock.monotonic()))
        self._wake()

    @asynccontextmanager
    async def admit(self) -> AsyncIterator[None]:
        """Around the publishing of a message for many: waits until there may be another job, first come first served."""
        await self._line.enter()
        self._on_their_way += 1
        try:
            yield
        finally:
            self._on_their_way -= 1
            self._line.move()

    @property
    def crowded(self) -> bool:
        """Whether whoever wants another job has to wait."""
        return bool(self._line) or not self._has_room()

    def is_for_many(self, members: Members[Recipient] | None) -> bool:
        """Whether a message for these subscribers becomes a job."""
        return members is not None and len(members.subscribers) > self.at_once

    def _has_room(self) -> bool:
        return len(self.jobs) + self._on_their_way < MOST_JOBS

    def flush_pending(self, subscriber: Recipient) -> None:
        """Put into a session's queue what jobs have for it."""
        messages = [message for job in self._withdraw(subscriber) for message in job.messages]
        if messages:
            subscriber.take_in(messages)

    def drop(self, subscriber: Recipient) -> None:
        """A session is gone."""
        self._withdraw(subscriber)

    def _withdraw(self, subscriber: Recipient) -> list[Job]:
        """The jobs that had something for a session, in order; they have no more."""
        found = []
        for job in list(self.jobs):
            if job.waiting.pop(subscriber, _MISSING) is None:
                found.append(job)
                job.growing = False
                if not job.waiting:
                    self._end(job)
        return found

    def _end(self, job: Job) -> None:
        self.jobs.remove(job)
        self.latency.observe(self._clock.monotonic() - job.began, len(job.messages))
        self._joined.clear()
        self._line.move()

    def advance(self, until: float) -> None:
        """Serve sessions until a moment of the monotonic clock, some at least. Call it again while there are :attr:`jobs`."""
        while self.jobs:
            self._turn = (self._turn + 1) % len(self.jobs)
            job = self.jobs[self._turn]
            self._serve(job)
            if not job.waiting and job in self.jobs:  # who ended meanwhile may have been the last
                self._end(job)
            if self._clock.monotonic() > until:
                return

    def _serve(self, job: Job) -> None:
        """One turn of a job."""
        job.growing = False
        waiting = job.waiting
        left = _TURN
        while waiting and left > 0:
            left -= 1
            subscriber = waiting.popitem()[0]
            messages, frames = (job.messages, job.frames) if len(self.jobs) == 1 else self._collect(subscriber, job)
            direct_write = subscriber.direct_write
            try:
                if direct_write is None or subscriber.waiting or subscriber.recovery is not None:
                    left -= len(messages) // _MESSAGES_A_SESSION
                    subscriber.hand_over(messages)
                else:
                    frame_cache = subscriber.frame_cache
                    encoded = frames.get(frame_cache)
                    if encoded is None:
                        encoded = frames[frame_cache] = frame_cache.frames(messages)
                    try:
                        direct_write(encoded)
                    except (RuntimeError, OSError):  # the connection is gone, and will say so
                        subscriber.direct_write = None
                        subscriber.hand_over(messages)
            except Exception as fault:
                self._on_fault(subscriber, fault)

    def _collect(self, subscriber: Recipient, popped: Job) -> tuple[list[Message], dict[FrameCache, bytes]]:
        """What jobs have for a session that one of them has let go of already, in the order in which it was published. When that is too
        much for one piece, what was published last waits for its turn.
        """
        found = []
        size = 0
        for job in self.jobs:
            if job is popped or job.waiting.pop(subscriber, _MISSING) is None:
                job.growing = False
                found.append(job)
                size += job.size
                if size > JOB_BYTES:
                    break
        if popped not in found:
            popped.waiting[subscriber] = None
        if len(found) == 1:
            return found[0].messages, found[0].frames
        key = tuple(found)
        joined = self._joined.get(key)
        if joined is None:
            if len(self._joined) >= _MOST_JOINED:
                self._joined.clear()
            joined = self._joined[key] = ([message for job in found for message in job.messages], {})
        return joined
