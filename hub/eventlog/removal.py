"""Removes what PostgreSQL has of a tenant in the event log, with the lease of its owner: a part of the removal of the tenant."""

from __future__ import annotations

from typing import Final

from hub.storage.interface import Transaction
from hub.storage.lease import OWNERS

_OF_TENANT: Final = "stream IN (SELECT id FROM event_streams WHERE tenant = ?)"


def remove_events(transaction: Transaction, tenant: str) -> None:
    """Remove a tenant's events, snapshots and lease. Its owner stops at the next renewal of the lease, and can write nothing any more.

    The ``events.db`` of a hub that is alone is another file, and stays as it is.
    """
    # first, since it waits for fenced writes that are under way: those that come later are refused
    transaction.run("DELETE FROM leases WHERE name = ?", (OWNERS + tenant,))
    transaction.run(f"DELETE FROM event_records WHERE {_OF_TENANT}", (tenant,))  # noqa: S608
    transaction.run(f"DELETE FROM event_snapshots WHERE {_OF_TENANT}", (tenant,))  # noqa: S608
    transaction.run("DELETE FROM event_streams WHERE tenant = ?", (tenant,))
