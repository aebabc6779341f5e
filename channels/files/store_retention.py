"""Which files are over, and which objects belong to none. Every function runs inside a transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from channels.files.models import INCOMING, FileRecord
from channels.files.state_machine import State
from channels.files.store_files import COLUMNS, IS_REFUSED, REFUSED, of_row, take_share
from hub.storage.transactions import Transaction, marks

KnownKeys = Callable[[Transaction, list[str]], set[str]]
"""Which of some keys of the object store belong to a file."""


def claim_checks(transaction: Transaction, before_ms: int, now_ms: int, after_ms: int, limit: int) -> list[FileRecord]:
    """Take over files whose check began before a moment; or after one that is yet to come, by a clock that was ahead."""
    due = "state = 'checking' AND (checking_ms < ? OR checking_ms > ?)"
    rows = transaction.rows(
        f"UPDATE files SET checking_ms = ? WHERE number IN (SELECT number FROM files WHERE {due} ORDER BY number LIMIT ?)"
        f" AND {due} RETURNING {COLUMNS}",
        (now_ms, before_ms, after_ms, limit, before_ms, after_ms),
    )
    return [of_row(row) for row in rows]


def lock_late(transaction: Transaction, links_ended_ms: int, limit: int) -> list[FileRecord]:
    """Files whose last link ended before a moment and that nobody completed. Of one tenant after the other: their shares change."""
    rows = transaction.rows(
        f"SELECT {COLUMNS} FROM files WHERE decided_ms IS NULL AND link_ends_ms <= ? AND state IN ('started', 'uploaded')"
        f" ORDER BY link_ends_ms LIMIT ?{transaction.skip_locked}",
        (links_ended_ms, limit),
    )
    return sorted(map(of_row, rows), key=lambda file: (file.tenant, file.number))


def trim(transaction: Transaction, before_ms: int, refused_before_ms: int, limit: int) -> list[str]:
    """Delete files that were decided before a moment, rejected and failed ones by one of their own; at most ``limit`` of each. Returns
    their keys; empty for those without bytes.
    """
    return _delete(
        transaction,
        "number IN (SELECT number FROM files WHERE decided_ms IS NOT NULL AND decided_ms < ? ORDER BY decided_ms LIMIT ?)"
        f" OR number IN (SELECT number FROM files WHERE {IS_REFUSED} AND decided_ms < ? ORDER BY decided_ms LIMIT ?)",
        (before_ms, limit, refused_before_ms, limit),
    )


def trim_refused(transaction: Transaction, most: int, limit: int) -> list[str]:
    """Of a tenant with more than ``most`` rejected and failed files delete the oldest, at most ``limit``. Returns as :func:`trim`."""
    over = transaction.row("SELECT tenant, refused FROM file_shares WHERE refused > ? ORDER BY tenant LIMIT 1", (most,))
    if over is None:
        return []
    tenant, refused = over
    return _delete(
        transaction,
        f"number IN (SELECT number FROM files WHERE tenant = ? AND {IS_REFUSED} ORDER BY decided_ms, number LIMIT ?)",
        (tenant, min(refused - most, limit)),
    )


def _delete(transaction: Transaction, which: str, values: tuple[object, ...]) -> list[str]:
    rows = transaction.rows(f"DELETE FROM files WHERE {which} RETURNING tenant, state, object_key", values)
    counts = Counter((row[0], State(row[1]) in REFUSED) for row in rows)
    for (tenant, refused), count in sorted(counts.items()):
        take_share(transaction, tenant, files=0 if refused else -count, refused=-count if refused else 0)
    return [row[2] or "" for row in rows]


def known_keys(transaction: Transaction, keys: list[str]) -> set[str]:
    """Which of these keys a file has its bytes at."""
    return {row[0] for row in transaction.rows(f"SELECT object_key FROM files WHERE object_key IN ({marks(keys)})", keys)}


def awaited_keys(transaction: Transaction, keys: list[str]) -> set[str]:
    """At which of these keys an upload to the store itself is waited for."""
    by_id = {key.removeprefix(INCOMING): key for key in keys}
    rows = transaction.rows(f"SELECT id FROM files WHERE state = 'started' AND id IN ({marks(keys)})", list(by_id))
    return {by_id[row[0]] for row in rows}
