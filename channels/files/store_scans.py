"""Which files wait for the scanner. Every function runs inside a transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from channels.files.models import FileRecord
from channels.files.store_files import COLUMNS, of_row
from hub.storage.transactions import Transaction

_WAITS: Final = "state = 'scanning' AND (scan_lease_ms IS NULL OR scan_lease_ms <= ?)"


def claim(transaction: Transaction, now_ms: int, until_ms: int, limit: int, share: int, under_way: Mapping[str, int]) -> list[FileRecord]:
    """Claim at most ``limit`` files that wait for the scanner, until ``until_ms``: of each tenant the oldest, and so many that it has at
    most ``share`` with those of ``under_way``.
    """
    rows = transaction.rows(
        "UPDATE files SET scan_lease_ms = ? WHERE number IN (SELECT number FROM (SELECT number, row_number() OVER (PARTITION BY tenant"
        f" ORDER BY checking_ms, number) AS turn FROM files WHERE {_WAITS}) AS waiting WHERE turn <= ? ORDER BY turn, number LIMIT ?)"
        f" AND {_WAITS} RETURNING {COLUMNS}",
        (until_ms, now_ms, share, limit, now_ms),
    )
    claimed: list[FileRecord] = []
    too_many: list[FileRecord] = []
    taken = Counter(under_way)
    for file in sorted(map(of_row, rows), key=lambda each: each.number):
        taken[file.tenant] += 1
        (claimed if taken[file.tenant] <= share else too_many).append(file)
    give_back(transaction, too_many)
    return claimed


def lock_waiting(transaction: Transaction, now_ms: int, limit: int) -> list[FileRecord]:
    """Files that wait for the scanner and that nobody is asking it about, locked; of one tenant after the other."""
    rows = transaction.rows(
        f"SELECT {COLUMNS} FROM files WHERE {_WAITS} ORDER BY tenant, number LIMIT ?{transaction.skip_locked}", (now_ms, limit)
    )
    return [of_row(row) for row in rows]


def give_back(transaction: Transaction, files: Sequence[FileRecord]) -> None:
    """Let others claim these files."""
    for file in files:
        transaction.run("UPDATE files SET scan_lease_ms = NULL WHERE number = ? AND state = 'scanning'", (file.number,))


def end_leases(transaction: Transaction) -> None:
    """Let every file be claimed: no other hub is at work."""
    transaction.run("UPDATE files SET scan_lease_ms = NULL WHERE state = 'scanning' AND scan_lease_ms IS NOT NULL")
