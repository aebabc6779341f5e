"""Lists deliveries, shows one with its attempts, and replays them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from hub.outbox import endpoint_store
from hub.outbox.models import DeliveryState
from hub.storage.transactions import Row, Transaction

_COLUMNS: Final = (
    "d.id, d.endpoint, d.state, d.attempts, d.created_ms, d.next_ms, d.finished_ms, d.status, d.error, d.key, e.type, e.media,"
    " e.operation_id"
)

REPLAYABLE: Final = (DeliveryState.DEAD, DeliveryState.DELIVERED)
"""States of a delivery that is over."""


class Delivery(NamedTuple):
    """One delivery. Times in ms."""

    id: int
    endpoint: str
    state: str
    attempts: int
    created_ms: int
    next_ms: int
    finished_ms: int | None
    status: int
    error: str
    key: str
    type: str
    media: str
    operation_id: str


class Attempt(NamedTuple):
    """One attempt of a delivery."""

    number: int
    at_ms: int
    duration_ms: int
    status: int
    error: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which deliveries to list. A field that is None does not restrict the list."""

    endpoint: str | None = None
    state: DeliveryState | None = None
    key: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    def where(self, tenant: str) -> tuple[str, list[Any]]:
        """The condition and its values."""
        conditions, values = ["d.tenant = ?"], [tenant]
        given: tuple[tuple[str, Any], ...] = (
            ("d.endpoint = ?", self.endpoint),
            ("d.state = ?", self.state),
            ("d.key = ?", self.key),
            ("d.created_ms >= ?", self.since_ms),
            ("d.created_ms < ?", self.until_ms),
        )
        for condition, value in given:
            if value is not None:
                conditions.append(condition)
                values.append(value)
        return " AND ".join(conditions), values


def page(transaction: Transaction, tenant: str, wanted: Wanted, *, before: int | None, limit: int) -> list[Delivery]:
    """At most ``limit`` deliveries of a tenant, the newest first; with ``before`` only those with a lower id."""
    where, values = wanted.where(tenant)
    if before is not None:
        where += " AND d.id < ?"
        values.append(before)
    rows = transaction.rows(
        f"SELECT {_COLUMNS} FROM deliveries d JOIN outbox_events e ON e.id = d.event WHERE {where} ORDER BY d.id DESC LIMIT ?",
        (*values, limit),
    )
    return [Delivery(*row) for row in rows]


def find(transaction: Transaction, tenant: str, delivery: int) -> tuple[Delivery, bytes, list[Attempt]] | None:
    """One delivery with its body and its attempts."""
    row = transaction.row(
        f"SELECT {_COLUMNS}, e.body FROM deliveries d JOIN outbox_events e ON e.id = d.event WHERE d.tenant = ? AND d.id = ?",
        (tenant, delivery),
    )
    if row is None:
        return None
    attempts = transaction.rows(
        "SELECT number, at_ms, duration_ms, status, error, body FROM attempts WHERE delivery = ? ORDER BY number", (delivery,)
    )
    return Delivery(*row[:-1]), row[-1], [Attempt(*each) for each in attempts]


def last_failure(transaction: Transaction, tenant: str, endpoint: str) -> Attempt | None:
    """The last attempt of deliveries to an endpoint that were not delivered; None: there is none, or it is forgotten."""
    row = transaction.row(
        "SELECT a.number, a.at_ms, a.duration_ms, a.status, a.error, a.body FROM attempts a JOIN deliveries d ON d.id = a.delivery"
        " WHERE d.tenant = ? AND d.endpoint = ? AND d.state <> ? ORDER BY a.at_ms DESC, a.delivery DESC, a.number DESC LIMIT 1",
        (tenant, endpoint, DeliveryState.DELIVERED.value),
    )
    return None if row is None else Attempt(*row)


def replay(transaction: Transaction, tenant: str, delivery: int, now_ms: int) -> Row | None:
    """Deliver again, with the whole schedule, a delivery that has ended. Returns (endpoint, state before, whether the endpoint is enabled);
    None if there is no such delivery. A delivery that is pending, or whose endpoint was removed, does not change.
    """
    row = transaction.row(
        "SELECT d.endpoint, d.state, coalesce(p.enabled, -1) FROM deliveries d LEFT JOIN endpoints p ON p.id = d.endpoint"
        " WHERE d.tenant = ? AND d.id = ?",
        (tenant, delivery),
    )
    if row is None or row[1] == DeliveryState.PENDING or row[2] < 0:
        return row
    if not endpoint_store.kept(transaction, {row[0]}):  # removed a moment ago
        return (*row[:2], -1)
    _again(transaction, "id = ?", (delivery,), now_ms)
    return row


def replay_span(transaction: Transaction, tenant: str, endpoint: str, *, since_ms: int, until_ms: int, now_ms: int, limit: int) -> int:
    """Deliver again the dead deliveries of an endpoint that were created in a span of time, the oldest first, at most ``limit``; none if
    the endpoint was removed.
    """
    if not endpoint_store.kept(transaction, {endpoint}):
        return 0
    return _again(
        transaction,
        "id IN (SELECT id FROM deliveries WHERE tenant = ? AND endpoint = ? AND state = 'dead' AND created_ms >= ? AND created_ms < ?"
        " ORDER BY id LIMIT ?)",
        (tenant, endpoint, since_ms, until_ms, limit),
        now_ms,
    )


def announce(transaction: Transaction) -> None:
    """Raise the revision, so that running hubs read the endpoints again and look for their deliveries."""
    transaction.run("UPDATE outbox_revision SET number = number + 1")


def _again(transaction: Transaction, where: str, values: tuple[Any, ...], now_ms: int) -> int:
    return transaction.run(
        "UPDATE deliveries SET state = 'pending', replayed_after = attempts, next_ms = ?, finished_ms = NULL, error = '', lease_owner = '',"
        f" lease_until_ms = 0 WHERE {where}",
        (now_ms, *values),
    )
