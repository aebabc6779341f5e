"""Chats and participants in the database. Every function runs inside a transaction; one that changes a chat locks it first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from channels.files.participants.models import TEXT_TYPES, Chat, Participant, Role
from hub.storage.transactions import Row, Transaction

_CHAT: Final = "tenant, contact, started_ms, last_ms, items, ended_ms, begun, ends_ms, content_types"
_PARTICIPANT: Final = "tenant, id, contact, role, display_name, created_by, created_ms, joined_ms, left_ms, left_token, credential, fields"


MAX_ADMISSIONS: Final = 20
"""Credentials of one participant beside the first: sign-ins of one agent that can answer in a chat at one time."""


def made_ms(transaction: Transaction, tenant: str) -> int:
    """When a tenant was made, in milliseconds since 1970 UTC: an earlier one of the same name was another; 0: there is none."""
    row = transaction.row("SELECT created_ms FROM tenants WHERE name = ?", (tenant,))
    return 0 if row is None else row[0]


def insert(transaction: Transaction, new: Chat) -> bool:
    """Insert a chat; False: there is one of this id."""
    types = None if new.content_types == TEXT_TYPES else " ".join(new.content_types)
    row = transaction.row(
        f"INSERT INTO chats ({_CHAT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING contact",
        (new.tenant, new.contact, new.started_ms, new.last_ms, new.items, new.ended_ms, int(new.begun), new.ends_ms, types),
    )
    return row is not None


def lock(transaction: Transaction, tenant: str, contact: str) -> Chat | None:
    """A chat, which no other transaction changes before this one ends; None: there is none."""
    row = transaction.row(f"SELECT {_CHAT} FROM chats WHERE tenant = ? AND contact = ?{transaction.for_update}", (tenant, contact))
    return None if row is None else _chat(row)


def find(transaction: Transaction, tenant: str, contact: str) -> Chat | None:
    """A chat; None: there is none."""
    row = transaction.row(f"SELECT {_CHAT} FROM chats WHERE tenant = ? AND contact = ?", (tenant, contact))
    return None if row is None else _chat(row)


def open_chats(transaction: Transaction, tenant: str, most: int) -> int:
    """How many chats of a tenant have not ended; counted up to ``most``."""
    row = transaction.row(
        "SELECT count(*) FROM (SELECT 1 FROM chats WHERE tenant = ? AND ended_ms IS NULL LIMIT ?) AS live", (tenant, most)
    )
    assert row is not None
    return int(row[0])


def end(transaction: Transaction, chat: Chat, now_ms: int) -> None:
    """End a chat, and its participants with it."""
    named = (chat.tenant, chat.contact)
    transaction.run("UPDATE chats SET ended_ms = ? WHERE tenant = ? AND contact = ? AND ended_ms IS NULL", (now_ms, *named))
    transaction.run("UPDATE chat_participants SET left_ms = ? WHERE tenant = ? AND contact = ? AND left_ms IS NULL", (now_ms, *named))


def idle(transaction: Transaction, before_ms: int, limit: int) -> list[tuple[str, str]]:
    """Tenant and id of chats without an item since ``before_ms``, those that are silent for longest first. Chats that have an end of their
    own are not among them.
    """
    rows = transaction.rows(
        "SELECT tenant, contact FROM chats WHERE ended_ms IS NULL AND ends_ms IS NULL AND last_ms < ? ORDER BY last_ms LIMIT ?",
        (before_ms, limit),
    )
    return [(tenant, contact) for tenant, contact in rows]


def expired(transaction: Transaction, now_ms: int, limit: int) -> list[tuple[str, str]]:
    """Tenant and id of chats whose own end has come."""
    rows = transaction.rows(
        "SELECT tenant, contact FROM chats WHERE ended_ms IS NULL AND ends_ms IS NOT NULL AND ends_ms <= ? ORDER BY ends_ms LIMIT ?",
        (now_ms, limit),
    )
    return [(tenant, contact) for tenant, contact in rows]


def trim(transaction: Transaction, before_ms: int, limit: int) -> int:
    """Delete chats that ended before a moment, with all that is of them; returns how many."""
    return transaction.run(
        "DELETE FROM chats WHERE (tenant, contact) IN"
        " (SELECT tenant, contact FROM chats WHERE ended_ms IS NOT NULL AND ended_ms < ? ORDER BY ended_ms LIMIT ?)",
        (before_ms, limit),
    )


def add_participant(transaction: Transaction, made: Participant) -> None:
    """Insert a participant of a chat that is locked."""
    transaction.run(
        f"INSERT INTO chat_participants ({_PARTICIPANT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            made.tenant,
            made.id,
            made.contact,
            made.role.value,
            made.display_name,
            made.created_by,
            made.created_ms,
            made.joined_ms,
            made.left_ms,
            made.left_token,
            made.credential,
            made.fields,
        ),
    )


def participant(transaction: Transaction, tenant: str, identifier: str) -> Participant | None:
    """A participant; None: there is none of this id."""
    row = transaction.row(f"SELECT {_PARTICIPANT} FROM chat_participants WHERE tenant = ? AND id = ?", (tenant, identifier))
    return None if row is None else _participant(row)


def admit_again(transaction: Transaction, participant: Participant, mark: str, credential: str, now_ms: int) -> None:
    """Note another credential by which the same person has let itself in. The oldest beyond :data:`MAX_ADMISSIONS` is forgotten."""
    named = (participant.tenant, participant.id)
    transaction.run(
        "INSERT INTO chat_admissions (tenant, participant, mark, credential, at_ms) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (tenant, participant, mark) DO UPDATE SET at_ms = excluded.at_ms",
        (*named, mark, credential, now_ms),
    )
    transaction.run(
        "DELETE FROM chat_admissions WHERE tenant = ? AND participant = ? AND mark NOT IN (SELECT mark FROM chat_admissions"
        " WHERE tenant = ? AND participant = ? ORDER BY at_ms DESC, mark LIMIT ?)",
        (*named, *named, MAX_ADMISSIONS),
    )


def admission(transaction: Transaction, tenant: str, identifier: str, mark: str) -> str | None:
    """The credential of an admission; None: there is none."""
    row = transaction.row(
        "SELECT credential FROM chat_admissions WHERE tenant = ? AND participant = ? AND mark = ?", (tenant, identifier, mark)
    )
    return None if row is None else row[0]


def admissions(transaction: Transaction, tenant: str, identifier: str) -> list[str]:
    """The credentials of all admissions of a participant but the first."""
    rows = transaction.rows("SELECT credential FROM chat_admissions WHERE tenant = ? AND participant = ?", (tenant, identifier))
    return [row[0] for row in rows]


def moments(transaction: Transaction, tenant: str, identifiers: Sequence[str]) -> dict[str, tuple[int, int | None]]:
    """When some participants of a tenant were let in, and when they left, in milliseconds since 1970 UTC."""
    places = ", ".join("?" * len(identifiers))
    rows = transaction.rows(
        f"SELECT id, created_ms, left_ms FROM chat_participants WHERE tenant = ? AND id IN ({places})", (tenant, *identifiers)
    )
    return {identifier: (created_ms, left_ms) for identifier, created_ms, left_ms in rows}


def participants(transaction: Transaction, tenant: str, contact: str) -> list[Participant]:
    """All participants of a chat, with those who have left."""
    rows = transaction.rows(
        f"SELECT {_PARTICIPANT} FROM chat_participants WHERE tenant = ? AND contact = ? ORDER BY created_ms, id", (tenant, contact)
    )
    return [_participant(row) for row in rows]


def join(transaction: Transaction, tenant: str, identifier: str, now_ms: int) -> bool:
    """Note that a participant is connected; False: that was noted before, or the participant has left."""
    row = transaction.row(
        "UPDATE chat_participants SET joined_ms = ? WHERE tenant = ? AND id = ? AND joined_ms IS NULL AND left_ms IS NULL RETURNING id",
        (now_ms, tenant, identifier),
    )
    return row is not None


def leave(transaction: Transaction, tenant: str, identifier: str, now_ms: int, token: str | None) -> bool:
    """Note that a participant has left, by the token of a call; False: that was noted before."""
    row = transaction.row(
        "UPDATE chat_participants SET left_ms = ?, left_token = ? WHERE tenant = ? AND id = ? AND left_ms IS NULL RETURNING id",
        (now_ms, token, tenant, identifier),
    )
    return row is not None


def _chat(row: Row) -> Chat:
    tenant, contact, started_ms, last_ms, items, ended_ms, begun, ends_ms, types = row
    taken = TEXT_TYPES if types is None else tuple(types.split(" "))
    return Chat(tenant, contact, started_ms, last_ms, items, ended_ms, bool(begun), ends_ms, taken)


def _participant(row: Row) -> Participant:
    tenant, identifier, contact, role, name, created_by, created_ms, joined_ms, left_ms, left_token, credential, fields = row
    return Participant(
        tenant, identifier, contact, Role(role), name, created_by, created_ms, joined_ms, left_ms, left_token, credential, fields=fields
    )
