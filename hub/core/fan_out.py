"""Fan-out: brings a message to its subscribers, in slices of time where they are many.

A message for a few subscribers is offered to each of them at once, and leaves in the same turn of the event loop. A message for many
becomes a job, which holds messages and the subscribers that have not got them yet. Jobs take turns, so that small jobs end early. Messages
that are published on a channel before its job has served anybody leave in one frame, and so do the messages that several jobs have for one
session. Each session gets messages in the order in which they were published: its queue, when it is read, first takes in what jobs have
for it (:meth:`FanOuts.flush_pending`).
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
"""Subscribers up to which a message is offered to all of them at once. That takes some 0.1 ms."""

MAX_JOBS: Final = 64
"""Jobs at a time, since each session that is served looks at all jobs. While there are so many, clients that publish wait
(:meth:`FanOuts.admit`). The hub's own services do not wait, since values must not overtake each other: they may make more jobs.
"""

JOB_BYTES: Final = 128 * 1024
"""Bytes that one job collects, and that a session gets of several jobs at once. The last message may go beyond."""

_MESSAGES_PER_SESSION: Final = 16
"""Messages of a session that go through its queue in the time that a direct write to one session takes."""

_MAX_JOINED: Final = 64
"""Sets of jobs whose joined frames are kept, of some 128 KiB each."""

_TURN: Final = 32
"""Sessions that a job serves in one turn, before the clock is read again. That takes some 0.3 ms."""

_MISSING: Final = object()


class Job:
    """Messages of one channel, and the subscribers that have not got them yet."""

    __slots__ = ("began", "frames", "growing", "members", "messages", "size", "version", "waiting")

    def __init__(self, message: Message, members: Members[Recipient], began: float, first: Recipient | None = None) -> None:
        """``began`` is when the message was published, in seconds of the monotonic clock. ``first`` is the subscriber to begin with."""
        self.began = began
        self.messages = [message]
        self.size = message.size
        self.members = members
        self.version = members.version
        self.waiting = _round(members, first)
        """The subscribers that have not been served yet, the next one last."""
        self.growing = True
        """Whether nobody has been served yet: then a further message for the same subscribers may join."""
        self.frames: dict[FrameCache, bytes] = {}

    def joins(self, message: Message, members: Members[Recipient]) -> bool:
        """Take in a further message if it is for exactly the same subscribers and there is room; returns whether it was taken in."""
        if not self.growing or self.members is not members or self.version != members.version or self.size > JOB_BYTES:
            return False
        self.messages.append(message)
        self.size += message.size
        return True


def _round(members: Members[Recipient], first: Recipient | None) -> dict[Recipient, None]:
    """All subscribers, in the order in which they joined, so that ``first`` stands last and those that were served before it come first."""
    if first is None or first not in members.subscribers:
        return dict(members.subscribers)
    in_order = list(members.subscribers)
    behind = in_order.index(first) + 1
    return dict.fromkeys(in_order[behind:] + in_order[:behind])


class FanOuts:
    """All fan-outs of one process."""

    __slots__ = ("_clock", "_joined", "_on_fault", "_on_their_way", "_queue", "_turn", "_wake", "at_once", "direct", "jobs", "latency")

    def __init__(self, loop: Loop, clock: Clock, on_fault: FaultObserver, wake: Callable[[], None]) -> None:
        """``wake`` is called when there is a job, and has :meth:`advance` called in the next turn of the event loop."""
        self._clock = clock
        self._on_fault = on_fault
        self._wake = wake
        self._turn = 0
        self.at_once = AT_ONCE
        """See :data:`AT_ONCE`."""
        self.jobs: list[Job] = []
        """In the order in which their first messages were published."""
        self.direct = 0
        """Messages for a few subscribers that were offered since the last flush."""
        self.latency = Histogram()
        """Seconds from the publishing of a message for many until its last subscriber was served. Messages that leave together count as
        the first of them.
        """
        self._queue = FairQueue(loop, self._has_room)
        self._on_their_way = 0
        # the messages of several jobs that sessions get together, by those jobs
        self._joined: dict[tuple[Job, ...], tuple[list[Message], dict[FrameCache, bytes]]] = {}

    def begin(self, message: Message, members: Members[Recipient]) -> None:
        """Bring a message to subscribers: at once if they are few, else by a job."""
        subscribers = members.subscribers
        if len(subscribers) <= self.at_once:  # as is_for_many says
            self.direct += 1
            for subscriber in tuple(subscribers):  # a copy: a session that is too slow ends, and leaves the router meanwhile
                try:
                    subscriber.offer(message)
                except Exception as error:
                    self._on_fault(subscriber, error)
            return
        # the last job only: a subscriber of a later job must not get this message before those of that job
        last = self.jobs[-1] if self.jobs else None
        if last is not None and last.joins(message, members):
            return
        # it goes on where the job before it is: sessions are served in rounds, and each gets all that was published since the last one.
        # If it began anew, those that were just served would be served again and again while the others wait
        first = next(reversed(last.waiting), None) if last is not None and last.members is members else None
        self.jobs.append(Job(message, members, self._clock.monotonic(), first))
        self._wake()

    @asynccontextmanager
    async def admit(self) -> AsyncIterator[None]:
        """Surrounds the publishing of a message for many. Waits until there may be another job, in the order of the callers."""
        await self._queue.enter()
        self._on_their_way += 1
        try:
            yield
        finally:
            self._on_their_way -= 1
            self._queue.move()

    @property
    def crowded(self) -> bool:
        """Whether a publish that makes a job would have to wait."""
        return len(self.jobs) + self._on_their_way >= MAX_JOBS or len(self._queue) > 0

    def is_for_many(self, members: Members[Recipient] | None) -> bool:
        """Whether a message for these subscribers becomes a job."""
        return members is not None and len(members.subscribers) > self.at_once

    def _has_room(self) -> bool:
        return len(self.jobs) + self._on_their_way < MAX_JOBS

    def flush_pending(self, subscriber: Recipient) -> None:
        """Move the messages that jobs have for a session into its queue, in order."""
        messages = [message for job in self._withdraw(subscriber) for message in job.messages]
        if messages:
            subscriber.take_in(messages)

    def drop(self, subscriber: Recipient) -> None:
        """Remove a session that has ended from all jobs."""
        self._withdraw(subscriber)

    def _withdraw(self, subscriber: Recipient) -> list[Job]:
        """Remove a session from all jobs. Returns the jobs that had something for it, in order."""
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
        self._queue.move()

    def advance(self, until: float) -> None:
        """Serve sessions until a moment of the monotonic clock, in seconds; at least one turn of a job. To be called again while there are
        :attr:`jobs`.
        """
        while self.jobs:
            self._turn = (self._turn + 1) % len(self.jobs)
            job = self.jobs[self._turn]
            self._serve(job)
            if not job.waiting and job in self.jobs:  # its last subscriber may have ended meanwhile
                self._end(job)
            if self._clock.monotonic() > until:
                return

    def _serve(self, job: Job) -> None:
        """Give a job one turn."""
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
                    left -= len(messages) // _MESSAGES_PER_SESSION
                    subscriber.hand_over(messages)
                else:
                    frame_cache = subscriber.frame_cache
                    encoded = frames.get(frame_cache)
                    if encoded is None:
                        encoded = frames[frame_cache] = frame_cache.frames(messages)
                    try:
                        direct_write(encoded)
                    except (RuntimeError, OSError):  # the connection is lost, and will report it
                        subscriber.direct_write = None
                        subscriber.hand_over(messages)
            except Exception as error:
                self._on_fault(subscriber, error)

    def _collect(self, subscriber: Recipient, popped: Job) -> tuple[list[Message], dict[FrameCache, bytes]]:
        """Returns the messages that all jobs have for a session, in the order of publishing, and their frames. ``popped`` is the job that
        the session was taken from. When there are more than ``JOB_BYTES``, the newest stay in their jobs.
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
            if len(self._joined) >= _MAX_JOINED:
                self._joined.clear()
            joined = self._joined[key] = ([message for job in found for message in job.messages], {})
        return joined
