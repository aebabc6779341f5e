"""The items of transcripts in the database. Every function runs inside a transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from channels.files.participants.models import SYSTEM, Chat, Item, Kind, NewItem
from hub.storage.transactions import Row, Transaction

_SELECT: Final = (
    "SELECT i.seq, i.id, i.kind, i.content_type, i.content, i.at_ms, i.participant, p.role, p.display_name, i.detail FROM chat_items i"
    " LEFT JOIN chat_participants p ON p.tenant = i.tenant AND p.id = i.participant WHERE i.tenant = ? AND i.contact = ?"
)


class Known(NamedTuple):
    """An item that a token has made."""

    id: str
    at_ms: int
    fields: str | None


def append(transaction: Transaction, chat: Chat, new: NewItem, identifier: str, now_ms: int) -> Item:
    """Add an item to the transcript of a chat, which is locked. It gets the next number, and a time not before that of the last one."""
    row = transaction.row(
        "UPDATE chats SET items = items + 1, last_ms = CASE WHEN last_ms > ? THEN last_ms ELSE ? END WHERE tenant = ? AND contact = ?"
        " RETURNING items, last_ms",
        (now_ms, now_ms, chat.tenant, chat.contact),
    )
    assert row is not None
    seq, at_ms = row
    sender = new.participant
    transaction.run(
        "INSERT INTO chat_items (tenant, contact, seq, id, kind, content_type, content, at_ms, participant, subject, detail, client_token,"
        " fields) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            chat.tenant,
            chat.contact,
            seq,
            identifier,
            new.kind.value,
            new.content_type,
            new.content,
            at_ms,
            None if sender is None else sender.id,
            new.subject,
            None if new.detail is None else json.dumps(new.detail),
            new.client_token,
            new.fields,
        ),
    )
    return Item(
        seq,
        identifier,
        new.kind,
        new.content_type,
        new.content,
        at_ms,
        None if sender is None else sender.id,
        SYSTEM if sender is None else sender.role.value,
        "" if sender is None else sender.display_name,
        new.detail,
    )


def by_token(transaction: Transaction, tenant: str, participant: str, token: str) -> Known | None:
    """The item that a participant has made by a token; None: none."""
    row = transaction.row(
        "SELECT id, at_ms, fields FROM chat_items WHERE tenant = ? AND participant = ? AND client_token = ?", (tenant, participant, token)
    )
    return None if row is None else Known(*row)


def by_id(transaction: Transaction, tenant: str, contact: str, identifier: str) -> Item | None:
    """An item of a chat; None: it has none of this id."""
    row = transaction.row(f"{_SELECT} AND i.id = ?", (tenant, contact, identifier))
    return None if row is None else _item(row)


def about(transaction: Transaction, tenant: str, contact: str, kind: Kind, participant: str, subject: str) -> Item | None:
    """The one item of its kind by which a participant tells of something; None: there is none."""
    row = transaction.row(
        f"{_SELECT} AND i.kind = ? AND i.participant = ? AND i.subject = ?", (tenant, contact, kind.value, participant, subject)
    )
    return None if row is None else _item(row)


def has_attachment(transaction: Transaction, tenant: str, contact: str, file: str) -> bool:
    """Whether a chat was told of a file."""
    found = transaction.row(
        "SELECT 1 FROM chat_items WHERE tenant = ? AND contact = ? AND kind = ? AND subject = ?",
        (tenant, contact, Kind.ATTACHMENT.value, file),
    )
    return found is not None


def change(transaction: Transaction, tenant: str, contact: str, item: Item, detail: Mapping[str, Any]) -> Item:
    """Change what an item says beside its content; its id, number and time stay."""
    transaction.run(
        "UPDATE chat_items SET detail = ? WHERE tenant = ? AND contact = ? AND seq = ?", (json.dumps(detail), tenant, contact, item.seq)
    )
    return item._replace(detail=detail)


def forward(transaction: Transaction, tenant: str, contact: str, start: int, limit: int) -> list[Item]:
    """At most ``limit`` items from a number on, the older first."""
    return [_item(row) for row in transaction.rows(f"{_SELECT} AND i.seq >= ? ORDER BY i.seq LIMIT ?", (tenant, contact, start, limit))]


def backward(transaction: Transaction, tenant: str, contact: str, start: int, limit: int) -> list[Item]:
    """At most ``limit`` items back from a number, the newer first."""
    rows = transaction.rows(f"{_SELECT} AND i.seq <= ? ORDER BY i.seq DESC LIMIT ?", (tenant, contact, start, limit))
    return [_item(row) for row in rows]


def first_since(transaction: Transaction, tenant: str, contact: str, at_ms: int) -> int | None:
    """The number of the first item at a time or later; None: there is none."""
    row = transaction.row("SELECT min(seq) FROM chat_items WHERE tenant = ? AND contact = ? AND at_ms >= ?", (tenant, contact, at_ms))
    return None if row is None else row[0]


def last_until(transaction: Transaction, tenant: str, contact: str, at_ms: int) -> int | None:
    """The number of the last item at a time or before; None: there is none."""
    row = transaction.row("SELECT max(seq) FROM chat_items WHERE tenant = ? AND contact = ? AND at_ms <= ?", (tenant, contact, at_ms))
    return None if row is None else row[0]


def _item(row: Row) -> Item:
    seq, identifier, kind, content_type, content, at_ms, participant, role, name, detail = row
    return Item(
        seq,
        identifier,
        Kind(kind),
        content_type,
        content,
        at_ms,
        participant,
        role or SYSTEM,
        name or "",
        None if detail is None else json.loads(detail),
    )
