"""Events and deliveries in the database: claims, records and deletes them. Every function runs inside a transaction of the one writer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hub.outbox.models import NO_ENDPOINT, DeliveryState, OutboxEvent
from hub.outbox.outcome import Outcome
from hub.outbox.recorder import COLUMNS
from hub.storage.transactions import Transaction, marks


class Work(NamedTuple):
    """A delivery that this process has a lease for."""

    delivery: int
    endpoint: str
    attempts: int
    """The number of attempts so far."""
    replayed_after: int
    """The number of attempts before the last replay, at which the schedule began again; 0 without a replay."""
    event: OutboxEvent
    lease_until_ms: int
    """The end of the lease; until then no other process makes this delivery."""

    @property
    def number(self) -> int:
        """The number of the next attempt, from 1."""
        return self.attempts + 1

    @property
    def step(self) -> int:
        """The number of the next attempt within the schedule, from 1."""
        return self.attempts - self.replayed_after + 1


class Claim(NamedTuple):
    """The result of a search for deliveries of one endpoint."""

    work: list[Work]
    due_ms: int | None
    """When to search again, since deliveries are left; None if none are."""


class Created(NamedTuple):
    """A new delivery."""

    delivery: int
    leased: bool


_OLDER = "EXISTS (SELECT 1 FROM deliveries p WHERE p.endpoint = ? AND p.key = ? AND p.state = 'pending' AND p.lease_owner <> ?)"
"""Whether an older delivery of the key is pending for which this process has no lease."""

_CREATE = (
    "INSERT INTO deliveries (event, tenant, endpoint, key, created_ms, state, next_ms, lease_owner, lease_until_ms)"
    f" VALUES (?, ?, ?, ?, ?, 'pending', ?, CASE WHEN {_OLDER} THEN '' ELSE ? END, CASE WHEN {_OLDER} THEN 0 ELSE ? END)"
    " ON CONFLICT (event, endpoint) DO NOTHING RETURNING id, lease_owner"
)


# -- events -----------------------------------------------------------------------------------------------------------


def claim_events(transaction: Transaction, owner: str, now_ms: int, lease_ms: int, limit: int) -> list[OutboxEvent]:
    """Claim events that no process dispatches, the oldest first. Events of one key are claimed in their order only."""
    claimed = transaction.rows(
        "UPDATE outbox_events SET lease_owner = ?, lease_until_ms = ? WHERE id IN (SELECT o.id FROM outbox_events o WHERE o.dispatched = 0"
        " AND o.lease_until_ms <= ? AND NOT EXISTS (SELECT 1 FROM outbox_events p WHERE p.dispatched = 0 AND p.tenant = o.tenant"
        f" AND p.key = o.key AND p.id < o.id AND p.lease_until_ms > ?) ORDER BY o.id LIMIT ?{transaction.skip_locked}) RETURNING {COLUMNS}",
        (owner, now_ms + lease_ms, now_ms, now_ms, limit),
    )
    return sorted(OutboxEvent(*row) for row in claimed)


def dispatched(transaction: Transaction, events: Sequence[OutboxEvent]) -> None:
    """Mark events as dispatched: their consumers ran and their deliveries are made. Those that stay inside the hub are deleted, since
    nothing asks for them any more, and they may hold what somebody has written.
    """
    inside = [event.id for event in events if event.endpoint == NO_ENDPOINT]
    others = [event.id for event in events if event.endpoint != NO_ENDPOINT]
    if inside:
        transaction.run(f"DELETE FROM outbox_events WHERE id IN ({marks(inside)})", tuple(inside))
    if others:
        transaction.run(f"UPDATE outbox_events SET dispatched = 1 WHERE id IN ({marks(others)})", tuple(others))


def release_events(transaction: Transaction, events: Sequence[int], until_ms: int) -> None:
    """Give back the leases of events. Any process may claim them from ``until_ms`` on."""
    transaction.run(
        f"UPDATE outbox_events SET lease_owner = '', lease_until_ms = ? WHERE id IN ({marks(events)})",
        (until_ms, *events),
    )


# -- deliveries -------------------------------------------------------------------------------------------------------


def create(transaction: Transaction, event: OutboxEvent, endpoint: str, now_ms: int, owner: str, lease_until_ms: int) -> Created | None:
    """Create the delivery of an event to an endpoint, with a lease, or without one if ``owner`` is empty; None if it exists already. It
    gets no lease if an older delivery of the key is pending there for which ``owner`` has no lease: then it has to wait for that one.
    """
    older = (endpoint, event.key, owner)
    row = transaction.row(_CREATE, (event.id, event.tenant, endpoint, event.key, now_ms, now_ms, *older, owner, *older, lease_until_ms))
    return None if row is None else Created(row[0], bool(row[1]))


def claim(transaction: Transaction, endpoint: str, *, owner: str, now_ms: int, lease_until_ms: int, order_ms: int, limit: int) -> Claim:
    """Claim due deliveries to an endpoint. A delivery waits for an older one of its key, at most ``order_ms`` from its creation."""
    rows = transaction.rows(
        "UPDATE deliveries SET lease_owner = ?, lease_until_ms = ? WHERE id IN (SELECT d.id FROM deliveries d WHERE d.endpoint = ?"
        " AND d.state = 'pending' AND d.next_ms <= ? AND d.lease_until_ms <= ? AND (d.created_ms <= ? OR NOT EXISTS (SELECT 1 FROM"
        " deliveries p WHERE p.endpoint = d.endpoint AND p.key = d.key AND p.state = 'pending' AND p.id < d.id))"
        f" ORDER BY d.next_ms, d.id LIMIT ?{transaction.skip_locked}) RETURNING id, event, attempts, replayed_after",
        (owner, lease_until_ms, endpoint, now_ms, now_ms, now_ms - order_ms, limit),
    )
    work: list[Work] = []
    if rows:
        numbers = tuple({row[1] for row in rows})
        found = transaction.rows(f"SELECT {COLUMNS} FROM outbox_events WHERE id IN ({marks(numbers)})", numbers)
        events = {row[0]: OutboxEvent(*row) for row in found}
        work = [
            Work(identifier, endpoint, attempts, before, events[event], lease_until_ms)
            for identifier, event, attempts, before in sorted(rows)
        ]
    if len(rows) == limit:
        return Claim(work, now_ms)
    left = transaction.row(
        "SELECT next_ms, lease_until_ms FROM deliveries WHERE endpoint = ? AND state = 'pending' AND NOT (lease_owner = ?"
        " AND lease_until_ms > ?) ORDER BY next_ms LIMIT 1",
        (endpoint, owner, now_ms),
    )
    return Claim(work, None if left is None else max(left))


def free_own(transaction: Transaction) -> None:
    """Give back every lease. Only at the start of a process, if no other process uses the database."""
    transaction.run("UPDATE outbox_events SET lease_owner = '', lease_until_ms = 0 WHERE dispatched = 0 AND lease_until_ms > 0")
    transaction.run("UPDATE deliveries SET lease_owner = '', lease_until_ms = 0 WHERE state = 'pending' AND lease_until_ms > 0")


def give_back(transaction: Transaction, deliveries: Sequence[int], owner: str, until_ms: int) -> None:
    """Give back the leases of deliveries. Any process may claim them from ``until_ms`` on."""
    transaction.run(
        f"UPDATE deliveries SET lease_owner = '', lease_until_ms = ? WHERE id IN ({marks(deliveries)}) AND lease_owner = ?",
        (until_ms, *deliveries, owner),
    )


def record(
    transaction: Transaction,
    work: Work,
    outcome: Outcome,
    *,
    owner: str,
    state: DeliveryState,
    next_ms: int,
    error: str,
) -> bool:
    """Record the outcome of an attempt. Returns False, and records nothing, if this process has no lease of the delivery any more: it was
    removed, or the lease ran out and another process claimed it.
    """
    finished = None if state is DeliveryState.PENDING else outcome.at_ms + outcome.duration_ms
    kept = transaction.run(
        "UPDATE deliveries SET state = ?, attempts = attempts + 1, next_ms = ?, lease_owner = '', lease_until_ms = 0, status = ?,"
        " error = ?, finished_ms = ? WHERE id = ? AND lease_owner = ? AND state = 'pending'",
        (state.value, next_ms, outcome.status, error, finished, work.delivery, owner),
    )
    if kept:
        add_attempt(transaction, work.delivery, work.number, outcome)
    return bool(kept)


def add_attempt(transaction: Transaction, delivery: int, number: int, outcome: Outcome) -> None:
    """Add an attempt to the log of its delivery."""
    transaction.run(
        "INSERT INTO attempts (delivery, number, at_ms, duration_ms, status, error, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (delivery, number, outcome.at_ms, outcome.duration_ms, outcome.status, outcome.error, outcome.body),
    )


def waiting(transaction: Transaction) -> tuple[int, int]:
    """The number of pending deliveries, and the number of events that are not dispatched yet."""
    deliveries = transaction.row("SELECT count(*) FROM deliveries WHERE state = 'pending'")
    events = transaction.row("SELECT count(*) FROM outbox_events WHERE dispatched = 0")
    assert deliveries is not None
    assert events is not None
    return deliveries[0], events[0]


def trim(transaction: Transaction, *, delivered_before_ms: int, dead_before_ms: int, limit: int) -> int:
    """Delete deliveries that have ended, and dispatched events without deliveries; at most ``limit`` of each kind. Returns the number of
    deleted rows.
    """
    gone = 0
    for state, before_ms in ((DeliveryState.DELIVERED, delivered_before_ms), (DeliveryState.DEAD, dead_before_ms)):
        gone += transaction.run(
            "DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries WHERE finished_ms IS NOT NULL AND finished_ms < ? AND state = ?"
            " ORDER BY finished_ms LIMIT ?)",
            (before_ms, state.value, limit),
        )
    return gone + transaction.run(
        "DELETE FROM outbox_events WHERE id IN (SELECT e.id FROM outbox_events e WHERE e.dispatched = 1 AND e.at_ms < ? AND NOT EXISTS"
        " (SELECT 1 FROM deliveries d WHERE d.event = e.id) ORDER BY e.id LIMIT ?)",
        (delivered_before_ms, limit),
    )
