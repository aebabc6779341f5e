"""Messaging channels in the database."""

from __future__ import annotations

import json
from typing import Final

from channels.messaging.models import Channel
from hub.outbox.models import Secret
from hub.storage.transactions import Row, Transaction

_COLUMNS: Final = "number, tenant, id, type, sender_id, sender_name, endpoint, created_ms"


def add(transaction: Transaction, channel: Channel) -> Channel | None:
    """Make a channel; returns it with its number, None when the tenant has one of this id."""
    row = transaction.row(
        "INSERT INTO messaging_channels (tenant, id, type, sender_id, sender_name, endpoint, created_ms) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING RETURNING number",
        channel[1:],
    )
    return None if row is None else channel._replace(number=row[0])


def change(transaction: Transaction, channel: Channel) -> None:
    """Write a channel's type and sender."""
    transaction.run(
        "UPDATE messaging_channels SET type = ?, sender_id = ?, sender_name = ? WHERE number = ?",
        (channel.type, channel.sender_id, channel.sender_name, channel.number),
    )


def find(transaction: Transaction, tenant: str, identifier: str, *, to_change: bool = False) -> Channel | None:
    """A channel that is there. With ``to_change`` nobody else changes or removes it before this transaction ends: :func:`change` writes all
    of its fields, and would undo what was changed meanwhile.
    """
    lock = transaction.for_update if to_change else ""
    row = transaction.row(
        f"SELECT {_COLUMNS} FROM messaging_channels WHERE tenant = ? AND id = ? AND removed_ms IS NULL{lock}", (tenant, identifier)
    )
    return None if row is None else Channel(*row)


def by_number(transaction: Transaction, number: int) -> Channel | None:
    """A channel that is there."""
    row = transaction.row(f"SELECT {_COLUMNS} FROM messaging_channels WHERE number = ? AND removed_ms IS NULL", (number,))
    return None if row is None else Channel(*row)


def of_tenant(transaction: Transaction, tenant: str) -> list[Channel]:
    """The channels of a tenant, in the order of their ids."""
    rows = transaction.rows(f"SELECT {_COLUMNS} FROM messaging_channels WHERE tenant = ? AND removed_ms IS NULL ORDER BY id", (tenant,))
    return [Channel(*row) for row in rows]


def remove(transaction: Transaction, number: int, now_ms: int) -> bool:
    """Mark a channel as removed; its messages and media are deleted later, in pieces (:func:`removed`). Returns whether it existed."""
    return bool(transaction.run("UPDATE messaging_channels SET removed_ms = ? WHERE number = ? AND removed_ms IS NULL", (now_ms, number)))


def removed(transaction: Transaction) -> int | None:
    """The number of a removed channel that still has messages or media."""
    row = transaction.row("SELECT number FROM messaging_channels WHERE removed_ms IS NOT NULL ORDER BY number LIMIT 1")
    return None if row is None else int(row[0])


def forget(transaction: Transaction, number: int) -> None:
    """Delete the row of a channel, and the rows that depend on it."""
    transaction.run("DELETE FROM messaging_channels WHERE number = ?", (number,))


def lock(transaction: Transaction, number: int) -> bool:
    """Lock the messages of a channel against other processes until the transaction ends. Returns whether the channel still exists."""
    return bool(transaction.run("UPDATE messaging_channels SET last_n = last_n WHERE number = ? AND removed_ms IS NULL", (number,)))


def take_ids(transaction: Transaction, number: int, count: int, now_ms: int) -> tuple[int, int] | None:
    """Take ids for ``count`` messages, and lock the channel as :func:`lock` does. Returns milliseconds and the first number within them,
    which rise even when the clock does not. None when the channel is gone.
    """
    row = transaction.row(
        "UPDATE messaging_channels SET last_n = CASE WHEN last_ms < ? THEN ? ELSE last_n + ? END,"
        " last_ms = CASE WHEN last_ms < ? THEN ? ELSE last_ms END WHERE number = ? AND removed_ms IS NULL RETURNING last_ms, last_n",
        (now_ms, count - 1, count, now_ms, now_ms, number),
    )
    return None if row is None else (row[0], row[1] - count + 1)


def secrets_of(transaction: Transaction, endpoint: str) -> tuple[Secret, ...]:
    """The secrets of a channel, by the endpoint that it owns."""
    row = transaction.row("SELECT secrets FROM endpoints WHERE id = ?", (endpoint,))
    return () if row is None else _secrets(row)


def other_secrets(transaction: Transaction, tenant: str, but: str, limit: int) -> list[Secret]:
    """The secrets of the newest channels of a tenant, but for the one with this id."""
    rows = transaction.rows(
        "SELECT e.secrets FROM messaging_channels c JOIN endpoints e ON e.id = c.endpoint"
        " WHERE c.tenant = ? AND c.id <> ? AND c.removed_ms IS NULL ORDER BY c.number DESC LIMIT ?",
        (tenant, but, limit),
    )
    return [secret for row in rows for secret in _secrets(row)]


def _secrets(row: Row) -> tuple[Secret, ...]:
    return tuple(Secret(*each) for each in json.loads(row[0]))
