"""The SQL of the audit log. Every function runs inside a transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from hub.audit.chain import Ends
from hub.audit.models import Row
from hub.storage.transactions import Transaction, marks

_COLUMNS: Final = "tenant, number, at_ms, event, who, address, client, target, count, value_before, value_after, hash"
_ENDS: Final = "SELECT tenant, number, hash, first, anchor"

MAX_EXAMINED: Final = 5_000
"""Rows that one page looks through at most for those that are wanted, so that no query takes long; about 10 ms."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows to list; empty fields take any."""

    events: Collection[str] = ()
    who: str = ""
    """Also finds it as the target."""
    since_ms: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """Rows, the newest first."""

    rows: Sequence[Row]
    before: int | None
    """The number where the next page begins to look; None: this is the last one."""


def ends_of(tx: Transaction, tenant: str) -> Ends | None:
    """The ends of a tenant's chain; None: it has no row yet."""
    found = sealed_ends(tx, tenant)
    return None if found is None else found[0]


def sealed_ends(tx: Transaction, tenant: str, *, lock: bool = False) -> tuple[Ends, str] | None:
    """The ends of a tenant's chain, and their seal. ``lock``: they are about to move."""
    row = tx.row(f"{_ENDS}, seal FROM audit_chains WHERE tenant = ?{tx.for_update if lock else ''}", (tenant,))
    return None if row is None else (Ends(*row[:-1]), row[-1])


def newest(tx: Transaction, tenant: str) -> tuple[int, str] | None:
    """The number and the hash of the newest row of a tenant."""
    row = tx.row("SELECT number, hash FROM audit WHERE tenant = ? ORDER BY number DESC LIMIT 1", (tenant,))
    return None if row is None else (row[0], row[1])


def begin_chain(tx: Transaction, ends: Ends, seal: str) -> None:
    """Begin the chain of a tenant."""
    tx.run(
        "INSERT INTO audit_chains (tenant, number, hash, first, anchor, seal) VALUES (?, ?, ?, ?, ?, ?)",
        (ends.tenant, ends.number, ends.hash, ends.first, ends.anchor, seal),
    )


def move_ends(tx: Transaction, ends: Ends, seal: str) -> None:
    """Store the ends of a chain."""
    tx.run(
        "UPDATE audit_chains SET number = ?, hash = ?, first = ?, anchor = ?, seal = ? WHERE tenant = ?",
        (ends.number, ends.hash, ends.first, ends.anchor, seal, ends.tenant),
    )


def insert(tx: Transaction, row: Row) -> None:
    """Add a row."""
    tx.run(
        f"INSERT INTO audit ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(row.tenant, row.number, row.at_ms, row.event, row.who, row.address),
            *(row.client, row.target, row.count, row.before, row.after, row.hash),
        ),
    )


def from_number(tx: Transaction, tenant: str, number: int, limit: int) -> list[Row]:
    """Rows of a tenant from a number on, the oldest first."""
    query = f"SELECT {_COLUMNS} FROM audit WHERE tenant = ? AND number >= ? ORDER BY number LIMIT ?"
    return [Row(*row) for row in tx.rows(query, (tenant, number, limit))]


def page(tx: Transaction, tenant: str, wanted: Wanted, before: int | None, limit: int) -> Page:
    """The newest rows of a tenant that are wanted, of those with a number below ``before``. A page looks through :data:`MAX_EXAMINED`
    rows at most: it may have fewer rows than ``limit``, or none, and not be the last one.
    """
    ends = ends_of(tx, tenant)
    if ends is None:
        return Page((), None)
    below = ends.number + 1 if before is None else min(before, ends.number + 1)
    lowest = max(below - MAX_EXAMINED, ends.first)
    where, parameters = "tenant = ? AND number >= ? AND number < ? AND at_ms >= ?", [tenant, lowest, below, wanted.since_ms]
    if wanted.events:
        where += f" AND event IN ({marks(list(wanted.events))})"
        parameters += wanted.events
    if wanted.who:
        where += " AND (who = ? OR target = ?)"
        parameters += [wanted.who, wanted.who]
    query = f"SELECT {_COLUMNS} FROM audit WHERE {where} ORDER BY number DESC LIMIT ?"
    rows = [Row(*row) for row in tx.rows(query, (*parameters, limit))]
    if len(rows) == limit:
        return Page(rows, rows[-1].number if rows[-1].number > ends.first else None)
    oldest = tx.row("SELECT at_ms FROM audit WHERE tenant = ? AND number = ?", (tenant, lowest))
    over = lowest <= ends.first or oldest is None or oldest[0] < wanted.since_ms
    return Page(rows, None if over else lowest)


def tenants(tx: Transaction) -> list[str]:
    """The tenants of which there is a row or a chain, sorted; the hub itself first. Each is found by one look into the index."""
    found: list[str] = []
    while True:
        after = "" if not found else " WHERE tenant > ?"
        row = tx.row(
            f"SELECT min(tenant) FROM (SELECT min(tenant) AS tenant FROM audit{after} "
            f"UNION ALL SELECT min(tenant) AS tenant FROM audit_chains{after}) AS each_first",
            (*found[-1:], *found[-1:]),
        )
        if row is None or row[0] is None:
            return found
        found.append(row[0])


def remove_before(tx: Transaction, tenant: str, first: int) -> int:
    """Remove the rows before the beginning of a chain. Returns how many they were."""
    return tx.run("DELETE FROM audit WHERE tenant = ? AND number < ?", (tenant, first))
