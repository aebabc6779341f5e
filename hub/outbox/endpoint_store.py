"""Endpoints in the database. All of it runs inside transactions."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection
from typing import Final

from hub.outbox.models import Endpoint, Policy, Secret, Success, Throttle
from hub.storage.transactions import Row, Transaction, marks

_COLUMNS: Final = (
    "id, tenant, url, secrets, types, media, headers, description, concurrency, enabled, disabled_reason, policy, owner, created_ms,"
    " failing_since_ms, silent, closed_until_ms"
)

_IDS_AT_ONCE: Final = 500
"""Ids in one statement. A statement may have 65,535 values in PostgreSQL, and 32,766 in SQLite."""

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
    """The ids in ``endpoints`` that exist. None of them is removed before this transaction ends. So the transaction that removes an
    endpoint sees every delivery that this one makes pending.
    """
    found: set[str] = set()
    ids = sorted(endpoints)  # always in the same order, so that no two transactions wait for each other
    for start in range(0, len(ids), _IDS_AT_ONCE):
        piece = ids[start : start + _IDS_AT_ONCE]
        rows = transaction.rows(f"SELECT id FROM endpoints WHERE id IN ({marks(piece)}) ORDER BY id{transaction.key_share}", piece)
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
    """Store how often in a row an endpoint did not answer, and until when nothing is sent to it. The next start of a hub restores it."""
    transaction.run("UPDATE endpoints SET silent = ?, closed_until_ms = ? WHERE id = ?", (silent, closed_until_ms, endpoint))


def find(transaction: Transaction, tenant: str, endpoint: str, *, to_change: bool = False) -> Endpoint | None:
    """One endpoint of a tenant. With ``to_change`` nobody else changes or removes it before this transaction ends: :func:`save` writes the
    whole endpoint, and would create one again that was removed meanwhile.
    """
    lock = transaction.for_update if to_change else ""
    row = transaction.row(f"SELECT {_COLUMNS} FROM endpoints WHERE id = ? AND tenant = ?{lock}", (endpoint, tenant))
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
