"""The rows of media resources; their bytes are objects (:mod:`.media_store`)."""

from __future__ import annotations

from typing import Final

from channels.messaging.models import MediaResource
from hub.storage.transactions import Transaction, marks

_COLUMNS: Final = "m.id, m.channel, m.filename, m.mimetype, m.length, m.created_ms"
_THERE: Final = "messaging_media m JOIN messaging_channels c ON c.number = m.channel AND c.removed_ms IS NULL"


def insert(transaction: Transaction, resource: MediaResource) -> None:
    """Insert the row of a media resource whose file exists."""
    transaction.run("INSERT INTO messaging_media (id, channel, filename, mimetype, length, created_ms) VALUES (?, ?, ?, ?, ?, ?)", resource)


def find(transaction: Transaction, channel: int, identifier: str) -> MediaResource | None:
    """Find a media resource of a channel."""
    row = transaction.row(f"SELECT {_COLUMNS} FROM {_THERE} WHERE m.id = ? AND m.channel = ?", (identifier, channel))
    return None if row is None else MediaResource(*row)


def by_link(transaction: Transaction, channel: str, identifier: str) -> MediaResource | None:
    """Find a media resource by the id of its channel, as links have it."""
    row = transaction.row(f"SELECT {_COLUMNS} FROM {_THERE} WHERE m.id = ? AND c.id = ?", (identifier, channel))
    return None if row is None else MediaResource(*row)


def remove(transaction: Transaction, identifier: str) -> bool:
    """Delete a row. Returns whether it existed. The caller removes the file after the commit."""
    return bool(transaction.run("DELETE FROM messaging_media WHERE id = ?", (identifier,)))


def trim(transaction: Transaction, before_ms: int, limit: int) -> list[str]:
    """Delete the rows of old media, at most ``limit``. Returns their ids."""
    rows = transaction.rows(
        "DELETE FROM messaging_media WHERE id IN (SELECT id FROM messaging_media WHERE created_ms < ? ORDER BY created_ms LIMIT ?)"
        " RETURNING id",
        (before_ms, limit),
    )
    return [row[0] for row in rows]


def trim_channel(transaction: Transaction, channel: int, limit: int) -> list[str]:
    """Delete the rows of media of a removed channel, at most ``limit``. Returns their ids."""
    rows = transaction.rows(
        "DELETE FROM messaging_media WHERE id IN (SELECT id FROM messaging_media WHERE channel = ? LIMIT ?) RETURNING id", (channel, limit)
    )
    return [row[0] for row in rows]


def known(transaction: Transaction, identifiers: list[str]) -> set[str]:
    """Which of these ids have a row."""
    return {row[0] for row in transaction.rows(f"SELECT id FROM messaging_media WHERE id IN ({marks(identifiers)})", identifiers)}
