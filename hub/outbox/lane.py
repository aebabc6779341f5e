"""One endpoint's lane: what this process has of it in memory, what is under way, and when more may begin. Pure: no clock, no I/O."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hub.outbox.delivery_store import Work
    from hub.outbox.shares import Share

TRIPPED_FIRST_S: Final = 1.0
TRIPPED_LONGEST_S: Final = 60.0
"""Between two probes of an endpoint that does not answer: doubling from the first to the longest."""

AHEAD: Final = 16
"""Deliveries that a lane holds in memory for each request that may be under way: those begin without asking the database."""


class Lane:
    """Every lane has its own bounds, so that an endpoint that hangs on every request costs the others nothing. Times are seconds of a clock
    that never goes back.

    A delivery that the lane holds is *ready*, or *behind* an older one of its key, or under way: its request, and then the transaction that
    records what came of it. One of a key is ready or under way at a time, and they are so in the order in which they were added.
    """

    __slots__ = (
        "_behind",
        "_closed_until",
        "_failures",
        "_held",
        "_limit",
        "_of_tenant",
        "_ready",
        "_trip_after",
        "blocked",
        "due",
        "failed",
        "looking",
        "recording",
        "sending",
        "turn",
    )

    def __init__(self, limit: int, trip_after: int, of_tenant: Share | None = None) -> None:
        """``of_tenant``: what the tenant's lanes hold together is counted there."""
        self._limit = limit
        self._of_tenant = of_tenant
        self._held = 0
        self._trip_after = trip_after
        self._failures = 0
        self._closed_until = 0.0
        self._ready: deque[Work] = deque()
        self._behind: dict[str, deque[Work]] = {}
        """By each key that has a delivery which is ready or under way: those that wait for that one."""
        self.sending = 0
        """Requests under way."""
        self.recording = 0
        """Requests that have ended, and what came of them is not on disk yet."""
        self.due: float | None = 0.0
        """When the database may have something for it; None when it has nothing. At first nobody knows, so: now."""
        self.failed = False
        """Whether a failure was noted since the last success: what is known of the endpoint may have been read before that."""
        self.looking = False
        """Whether a look at the database is under way."""
        self.blocked = False
        """Whether what is due in the database waits for an older one of its key."""
        self.turn = 0
        """When it was looked at last, as a number that rises: who waited longest comes first."""

    # -- how much, and when ---------------------------------------------------------------------------------------------

    @property
    def held(self) -> int:
        """Deliveries in memory, those that a place is kept for among them."""
        return self._held

    @held.setter
    def held(self, count: int) -> None:
        if self._of_tenant is not None:
            self._of_tenant.add(count - self._held)
        self._held = count

    @property
    def limit(self) -> int:
        """Requests that may be under way at once, while it answers."""
        return self._limit

    @property
    def tripped(self) -> bool:
        """Whether it has not answered for so long that only one request at a time is made, as a probe."""
        return self._failures >= self._trip_after

    @property
    def failures(self) -> int:
        """Times in a row that it did not answer."""
        return self._failures

    def restore(self, failures: int, closed_until: float) -> None:
        """Go on from what was known of it before the hub stopped."""
        self._failures = failures
        self._closed_until = closed_until

    def forgive(self) -> None:
        """Begin anew: it was given another URL, or somebody says that it answers again."""
        self.restore(0, 0.0)

    def resize(self, limit: int) -> None:
        """Another bound, from the next request on."""
        self._limit = limit

    def room(self, now: float) -> int:
        """How many requests may begin now. Answers that wait to be recorded count once there are very many of them."""
        if now < self._closed_until:
            return 0
        bound = 1 if self.tripped else self._limit
        return max(0, min(bound - self.sending, bound * AHEAD - self.sending - self.recording))

    def space(self, now: float) -> int:
        """How many more deliveries it may hold now: none that could not begin soon."""
        if now < self._closed_until:
            return 0
        return max(0, (1 if self.tripped else self._limit * AHEAD) - self.held)

    def open_at(self, now: float) -> float:
        """When requests may begin again, as far as time alone decides."""
        return max(now, self._closed_until)

    def admits(self, now: float) -> bool:
        """Whether a new delivery may be held without asking the database: it has nothing that would come before it."""
        return self.due is None and not self.looking and self.space(now) > 0

    def wants_more(self, now: float) -> bool:
        """Whether it is worth asking the database for deliveries: half of what it may hold, or more, is not there."""
        space = self.space(now)
        return space > 0 and space >= self.held

    def look_at(self, when: float) -> None:
        """The database may have something for it then."""
        if self.due is None or when < self.due:
            self.due = when

    # -- deliveries -----------------------------------------------------------------------------------------------------

    def add(self, work: Work) -> None:
        """Hold a delivery. It is counted in :attr:`held` already."""
        behind = self._behind.get(work.event.key)
        if behind is None:
            self._behind[work.event.key] = deque()
            self._ready.append(work)
        else:
            behind.append(work)

    def may_begin(self, now: float) -> bool:
        """Whether a delivery is ready, and a request may begin now."""
        return bool(self._ready) and self.room(now) > 0

    def next(self, now: float) -> Work | None:
        """Begin with the next delivery that is ready, if a request may begin now."""
        if not self.may_begin(now):
            return None
        self.sending += 1
        return self._ready.popleft()

    def sent(self) -> None:
        """A request has ended; it is still to be recorded."""
        self.sending -= 1
        self.recording += 1

    def over(self, key: str) -> None:
        """A delivery that was sent is recorded, or given up: the next of its key may begin."""
        self.recording -= 1
        self.held -= 1
        behind = self._behind[key]
        if behind:
            self._ready.append(behind.popleft())
        else:
            del self._behind[key]

    def let_go_behind(self, key: str) -> list[Work]:
        """Hold those no more that wait for the delivery of a key which is under way."""
        behind = self._behind[key]
        let_go = list(behind)
        behind.clear()
        self.held -= len(let_go)
        return let_go

    def let_go(self) -> list[Work]:
        """Hold nothing any more but what is under way."""
        let_go = list(self._ready)
        ready = {work.event.key for work in let_go}
        self._ready.clear()
        for key, behind in list(self._behind.items()):
            let_go.extend(behind)
            behind.clear()
            if key in ready:
                del self._behind[key]
        self.held -= len(let_go)
        return let_go

    # -- what it answers ------------------------------------------------------------------------------------------------

    def answered(self) -> None:
        """It answered, whatever it said: it is there."""
        self._failures = 0

    def silent(self, now: float) -> None:
        """It did not answer, or could not be reached."""
        self._failures += 1
        if self.tripped:
            pause = min(TRIPPED_LONGEST_S, TRIPPED_FIRST_S * 2 ** min(self._failures - self._trip_after, 10))
            self._closed_until = max(self._closed_until, now + pause)

    def close(self, until: float) -> None:
        """It asked to be left alone for a while, or is disabled."""
        self._closed_until = max(self._closed_until, until)
