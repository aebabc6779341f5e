"""The deliveries of one endpoint in the memory of this process: which wait, which are under way, when more may begin. No clock, no I/O."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from hub.outbox.timing import DEFAULT

if TYPE_CHECKING:
    from hub.outbox.delivery_store import Work
    from hub.outbox.shares import Share

AHEAD: Final = 16
"""Deliveries that a queue holds in memory for each request that may be under way. They can begin without a search in the database."""


class EndpointQueue:
    """The queue of one endpoint. Each queue has its own limits, so that an endpoint that answers slowly does not delay the others. Times
    are seconds of a clock that never goes back.

    A delivery in the queue is *ready*, or *behind* an older one of its key, or *under way*: first its request, then the transaction that
    records the outcome. At most one delivery of a key is ready or under way, and they become so in the order in which they were added.
    """

    __slots__ = (
        "_behind",
        "_closed_until",
        "_failures",
        "_first_probe_s",
        "_held",
        "_limit",
        "_max_probe_s",
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

    def __init__(
        self,
        limit: int,
        trip_after: int,
        of_tenant: Share | None = None,
        *,
        first_probe_s: float = DEFAULT.first_probe_s,
        max_probe_s: float = DEFAULT.max_probe_s,
    ) -> None:
        """``of_tenant`` counts the deliveries in all queues of the tenant. An endpoint that does not answer is probed after
        ``first_probe_s`` seconds, then after pauses that double up to ``max_probe_s``.
        """
        self._first_probe_s = first_probe_s
        self._max_probe_s = max_probe_s
        self._limit = limit
        self._of_tenant = of_tenant
        self._held = 0
        self._trip_after = trip_after
        self._failures = 0
        self._closed_until = 0.0
        self._ready: deque[Work] = deque()
        self._behind: dict[str, deque[Work]] = {}
        """For each key with a delivery that is ready or under way, the deliveries that wait for it."""
        self.sending = 0
        """Requests under way."""
        self.recording = 0
        """Requests that have ended, and whose outcome is not on disk yet."""
        self.due: float | None = 0.0
        """When to look for deliveries in the database; None if there are none. A new queue looks at once, since it does not know."""
        self.failed = False
        """Whether a failure was stored since the last success. The endpoint in memory may have been read before that."""
        self.looking = False
        """Whether a search for its deliveries in the database is under way."""
        self.blocked = False
        """Whether the due deliveries in the database wait for older ones of their keys."""
        self.turn = 0
        """The number of its last search in the database. The numbers rise over all queues, so the lowest one has waited longest."""

    # -- how much, and when ---------------------------------------------------------------------------------------------

    @property
    def held(self) -> int:
        """Deliveries in memory, and reserved places."""
        return self._held

    @held.setter
    def held(self, count: int) -> None:
        if self._of_tenant is not None:
            self._of_tenant.add(count - self._held)
        self._held = count

    @property
    def limit(self) -> int:
        """How many requests may be under way at once while the endpoint answers."""
        return self._limit

    @property
    def circuit_open(self) -> bool:
        """Whether the endpoint has not answered so often that only one request at a time is made, as a probe."""
        return self._failures >= self._trip_after

    @property
    def failures(self) -> int:
        """How often in a row the endpoint did not answer."""
        return self._failures

    def restore(self, failures: int, closed_until: float) -> None:
        """Restore the state that was stored before the hub stopped."""
        self._failures = failures
        self._closed_until = closed_until

    def forgive(self) -> None:
        """Forget failures: the endpoint has another URL, or an administrator enabled it again."""
        self.restore(0, 0.0)

    def resize(self, limit: int) -> None:
        """Change how many requests may be under way, from the next request on."""
        self._limit = limit

    def room(self, now: float) -> int:
        """How many requests may begin now. Outcomes that are not on disk yet count, too, once there are very many."""
        if now < self._closed_until:
            return 0
        bound = 1 if self.circuit_open else self._limit
        return max(0, min(bound - self.sending, bound * AHEAD - self.sending - self.recording))

    def space(self, now: float) -> int:
        """How many more deliveries the queue may hold now: only as many as can begin soon."""
        if now < self._closed_until:
            return 0
        return max(0, (1 if self.circuit_open else self._limit * AHEAD) - self.held)

    def open_at(self, now: float) -> float:
        """When requests may begin again, as far as pauses of the endpoint decide it."""
        return max(now, self._closed_until)

    def admits(self, now: float) -> bool:
        """Whether the queue may hold a new delivery at once: the database has no delivery that comes before it."""
        return self.due is None and not self.looking and self.space(now) > 0

    def wants_more(self, now: float) -> bool:
        """Whether to search the database for deliveries: at least half of the places are free."""
        space = self.space(now)
        return space > 0 and space >= self.held

    def look_at(self, when: float) -> None:
        """Search the database at this time, unless an earlier search is planned."""
        if self.due is None or when < self.due:
            self.due = when

    # -- deliveries -----------------------------------------------------------------------------------------------------

    def add(self, work: Work) -> None:
        """Hold a delivery, which :attr:`held` counts already."""
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
        """Take the next delivery that is ready; None if there is none, or no request may begin now."""
        if not self.may_begin(now):
            return None
        self.sending += 1
        return self._ready.popleft()

    def sent(self) -> None:
        """A request has ended. Its outcome is not on disk yet."""
        self.sending -= 1
        self.recording += 1

    def over(self, key: str) -> None:
        """The outcome of a delivery is on disk, or the delivery was given back: the next of its key may begin."""
        self.recording -= 1
        self.held -= 1
        behind = self._behind[key]
        if behind:
            self._ready.append(behind.popleft())
        else:
            del self._behind[key]

    def let_go_behind(self, key: str) -> list[Work]:
        """Remove the deliveries that wait for the one of a key that is under way, and return them."""
        behind = self._behind[key]
        let_go = list(behind)
        behind.clear()
        self.held -= len(let_go)
        return let_go

    def let_go(self) -> list[Work]:
        """Remove all deliveries except those under way, and return them."""
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
        """The endpoint answered, with whatever status."""
        self._failures = 0

    def silent(self, now: float) -> None:
        """The endpoint did not answer, or could not be reached."""
        self._failures += 1
        if self.circuit_open:
            pause = min(self._max_probe_s, self._first_probe_s * 2 ** min(self._failures - self._trip_after, 10))
            self._closed_until = max(self._closed_until, now + pause)

    def close(self, until: float) -> None:
        """Begin no requests until a time: the endpoint asked for a pause, or is disabled."""
        self._closed_until = max(self._closed_until, until)
