"""What the database knows of media; their bytes lie in files (:mod:`.media`)."""

from __future__ import annotations

from typing import Final, NamedTuple

from hub.storage.transactions import Transaction

_COLUMNS: Final = "m.id, m.channel, m.filename, m.mimetype, m.length, m.created_ms"
_THERE: Final = "messaging_media m JOIN messaging_channels c ON c.number = m.channel AND c.removed_ms IS NULL"


class Medium(NamedTuple):
    """A media resource."""

    id: str
    channel: int
    filename: str
    mimetype: str
    length: int
    created_ms: int


def insert(transaction: Transaction, medium: Medium) -> None:
    """Keep a new one, whose file is there already."""
    transaction.run("INSERT INTO messaging_media (id, channel, filename, mimetype, length, created_ms) VALUES (?, ?, ?, ?, ?, ?)", medium)


def find(transaction: Transaction, channel: int, identifier: str) -> Medium | None:
    """One of a channel that is there."""
    row = transaction.row(f"SELECT {_COLUMNS} FROM {_THERE} WHERE m.id = ? AND m.channel = ?", (identifier, channel))
    return None if row is None else Medium(*row)


def by_link(transaction: Transaction, channel: str, identifier: str) -> Medium | None:
    """The one that a link names, by the id of its channel."""
    row = transaction.row(f"SELECT {_COLUMNS} FROM {_THERE} WHERE m.id = ? AND c.id = ?", (identifier, channel))
    return None if row is None else Medium(*row)


def remove(transaction: Transaction, identifier: str) -> bool:
    """Forget one; returns whether it was there. Its file goes after the commit."""
    return bool(transaction.run("DELETE FROM messaging_media WHERE id = ?", (identifier,)))


def trim(transaction: Transaction, before_ms: int, limit: int) -> list[str]:
    """Forget those that are old, at most ``limit``; returns their ids."""
    rows = transaction.rows(
        "DELETE FROM messaging_media WHERE id IN (SELECT id FROM messaging_media WHERE created_ms < ? ORDER BY created_ms LIMIT ?)"
        " RETURNING id",
        (before_ms, limit),
    )
    return [row[0] for row in rows]


def trim_channel(transaction: Transaction, channel: int, limit: int) -> list[str]:
    """Forget those of a channel that was removed, at most ``limit``; returns their ids."""
    rows = transaction.rows(
        "DELETE FROM messaging_media WHERE id IN (SELECT id FROM messaging_media WHERE channel = ? LIMIT ?) RETURNING id", (channel, limit)
    )
    return [row[0] for row in rows]


def known(transaction: Transaction, identifiers: list[str]) -> set[str]:
    """Which of these the database has."""
    marks = ", ".join("?" for _ in identifiers)
    return {row[0] for row in transaction.rows(f"SELECT id FROM messaging_media WHERE id IN ({marks})", identifiers)}
