"""Endpoints in the database, and the copy of them that a running hub works with."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Iterator
from typing import Final

from hub.outbox.models import EVERY_ENDPOINT, NO_ENDPOINT, Endpoint, OutboxEvent, Policy, Secret, Success, Throttle
from hub.storage.transactions import Row, Transaction, Transactions

_COLUMNS: Final = (
    "id, tenant, url, secrets, types, media, headers, description, concurrency, enabled, disabled_reason, policy, owner, created_ms,"
    " failing_since_ms, silent, closed_until_ms"
)

_IDS_AT_ONCE: Final = 500
"""A statement takes a bounded number of values: PostgreSQL 65,535, SQLite 32,766."""

REMOVED: Final = "the endpoint was removed"


def new_id() -> str:
    """An id for an endpoint."""
    return f"ep_{secrets.token_hex(12)}"


def save(transaction: Transaction, endpoint: Endpoint) -> None:
    """Create or change an endpoint. Running hubs read it within a second."""
    transaction.run(
        f"INSERT INTO endpoints ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET url = excluded.url, secrets = excluded.secrets, types = excluded.types, media = excluded.media,"
        " headers = excluded.headers, description = excluded.description, concurrency = excluded.concurrency, enabled = excluded.enabled,"
        " disabled_reason = excluded.disabled_reason, policy = excluded.policy, failing_since_ms = excluded.failing_since_ms,"
        " silent = excluded.silent, closed_until_ms = excluded.closed_until_ms",
        (
            endpoint.id,
            endpoint.tenant,
            endpoint.url,
            json.dumps(endpoint.secrets),
            json.dumps(endpoint.types),
            json.dumps(endpoint.media),
            json.dumps(endpoint.headers),
            endpoint.description,
            endpoint.concurrency,
            int(endpoint.enabled),
            endpoint.disabled_reason,
            json.dumps(endpoint.policy),
            endpoint.owner,
            endpoint.created_ms,
            endpoint.failing_since_ms,
            endpoint.silent,
            endpoint.closed_until_ms,
        ),
    )
    _changed(transaction)


def remove(transaction: Transaction, endpoint: str, now_ms: int) -> bool:
    """Remove an endpoint. Its pending deliveries become dead. Returns whether it existed."""
    if not transaction.run("DELETE FROM endpoints WHERE id = ?", (endpoint,)):
        return False
    transaction.run(
        "UPDATE deliveries SET state = 'dead', error = ?, finished_ms = ? WHERE endpoint = ? AND state = 'pending'",
        (REMOVED, now_ms, endpoint),
    )
    _changed(transaction)
    return True


def kept(transaction: Transaction, endpoints: Collection[str]) -> set[str]:
    """Those of ``endpoints`` that there are. None of them is removed before this transaction ends, so that every delivery that it makes
    pending is seen by the transaction that removes the endpoint.
    """
    found: set[str] = set()
    ids = sorted(endpoints)  # in one order, so that no two transactions wait for each other
    for start in range(0, len(ids), _IDS_AT_ONCE):
        piece = ids[start : start + _IDS_AT_ONCE]
        marks = ", ".join("?" * len(piece))
        rows = transaction.rows(f"SELECT id FROM endpoints WHERE id IN ({marks}) ORDER BY id{transaction.key_share}", piece)
        found.update(row[0] for row in rows)
    return found


def disable(transaction: Transaction, endpoint: str, reason: str) -> bool:
    """Disable an endpoint. Its pending deliveries stay pending. Returns whether it was enabled."""
    if not transaction.run("UPDATE endpoints SET enabled = 0, disabled_reason = ? WHERE id = ? AND enabled = 1", (reason, endpoint)):
        return False
    _changed(transaction)
    return True


def failing_since(transaction: Transaction, endpoint: str, since_ms: int | None) -> None:
    """Store since when every attempt has failed; None after a success."""
    if since_ms is None:
        transaction.run("UPDATE endpoints SET failing_since_ms = NULL WHERE id = ?", (endpoint,))
    else:
        transaction.run("UPDATE endpoints SET failing_since_ms = ? WHERE id = ? AND failing_since_ms IS NULL", (since_ms, endpoint))


def store_circuit(transaction: Transaction, endpoint: str, silent: int, closed_until_ms: int) -> None:
    """Store how often in a row an endpoint did not answer, and until when nothing is sent to it. A hub that starts goes on from there."""
    transaction.run("UPDATE endpoints SET silent = ?, closed_until_ms = ? WHERE id = ?", (silent, closed_until_ms, endpoint))


def find(transaction: Transaction, tenant: str, endpoint: str) -> Endpoint | None:
    """One endpoint of a tenant."""
    row = transaction.row(f"SELECT {_COLUMNS} FROM endpoints WHERE id = ? AND tenant = ?", (endpoint, tenant))
    return None if row is None else _of_row(row)


def of_tenant(transaction: Transaction, tenant: str | None) -> list[Endpoint]:
    """All endpoints of a tenant, or of all, the oldest first."""
    where, values = ("WHERE tenant = ?", (tenant,)) if tenant is not None else ("", ())
    rows = transaction.rows(f"SELECT {_COLUMNS} FROM endpoints {where} ORDER BY created_ms, id", values)
    return [_of_row(row) for row in rows]


def count(transaction: Transaction, tenant: str) -> int:
    """How many endpoints the administrators of a tenant created. Endpoints that a family owns are limited by that family."""
    row = transaction.row("SELECT count(*) FROM endpoints WHERE tenant = ? AND owner = ''", (tenant,))
    assert row is not None
    return int(row[0])


def _changed(transaction: Transaction) -> None:
    transaction.run("UPDATE outbox_revision SET number = number + 1")


def _of_row(row: Row) -> Endpoint:
    return Endpoint(
        id=row[0],
        tenant=row[1],
        url=row[2],
        secrets=tuple(Secret(*each) for each in json.loads(row[3])),
        types=tuple(json.loads(row[4])),
        media=tuple(json.loads(row[5])),
        headers=json.loads(row[6]),
        description=row[7],
        concurrency=row[8],
        enabled=bool(row[9]),
        disabled_reason=row[10],
        policy=_policy(*json.loads(row[11])),
        owner=row[12],
        created_ms=row[13],
        failing_since_ms=row[14],
        silent=row[15],
        closed_until_ms=row[16],
    )


def _policy(success: str, timeout_ms: int, refusal_is_final: bool, throttle: str = Throttle.ENDPOINT) -> Policy:
    """A stored policy; one of version 0.1.0 has three fields."""
    return Policy(Success(success), timeout_ms, refusal_is_final, Throttle(throttle))


class EndpointCache:
    """Every endpoint, as this process last read them."""

    __slots__ = ("_by_id", "_by_tenant", "_own_changes", "_revision", "_transactions")

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._by_id: dict[str, Endpoint] = {}
        self._by_tenant: dict[str, list[Endpoint]] = {}
        self._own_changes = 0
        self._revision: int | None = None

    async def refresh(self) -> bool:
        """Read the endpoints again if any has changed. Returns whether one has.

        Raises:
            StorageError: the database cannot be read.
        """

        def load(transaction: Transaction) -> tuple[int, list[Endpoint] | None]:
            row = transaction.row("SELECT number FROM outbox_revision")
            assert row is not None
            revision: int = row[0]
            return revision, None if revision == self._revision else of_tenant(transaction, None)

        while True:
            own_changes = self._own_changes
            revision, endpoints = await self._transactions.read(load)
            if endpoints is None:
                return False
            if own_changes == self._own_changes:
                break  # else the rows that were read may be older than a change of this process's own, and events would miss an endpoint
        self._revision = revision
        self._by_id = {endpoint.id: endpoint for endpoint in endpoints}
        self._group()
        return True

    def put(self, identifier: str, endpoint: Endpoint | None) -> None:
        """Take over a change that this process made itself: the endpoint, or None when it was removed."""
        self._own_changes += 1
        if endpoint is None:
            self._by_id.pop(identifier, None)
        else:
            self._by_id[identifier] = endpoint
        self._group()

    def _group(self) -> None:
        self._by_tenant = {}
        for endpoint in self._by_id.values():
            self._by_tenant.setdefault(endpoint.tenant, []).append(endpoint)

    def __getitem__(self, endpoint: str) -> Endpoint:
        """One endpoint.

        Raises:
            KeyError: there is none (that this process knows of yet).
        """
        return self._by_id[endpoint]

    def get(self, endpoint: str) -> Endpoint | None:
        """One endpoint, or None."""
        return self._by_id.get(endpoint)

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def wanting(self, event: OutboxEvent) -> list[str]:
        """The ids of the endpoints that an event goes to. If the event names one, its delivery is made even while that is disabled, and
        waits.
        """
        if event.endpoint == NO_ENDPOINT:
            return []
        if event.endpoint != EVERY_ENDPOINT:
            return [event.endpoint]
        return [each.id for each in self._by_tenant.get(event.tenant, ()) if each.enabled and each.wants(event)]
