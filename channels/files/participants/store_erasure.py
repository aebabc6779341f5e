"""What the erasure of a person does to chats in the database. Every function runs inside a transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence

from channels.files.participants import store_chats
from channels.files.participants.models import Kind, Participant, Role
from channels.files.participants.serializers import erased_attachment, erased_receipt
from hub.storage.transactions import Transaction


def matching(transaction: Transaction, tenant: str, person: str, names: Sequence[str], limit: int) -> list[Participant]:
    """Participants that a person is, whose names are not erased yet; the name of none is empty before."""
    places = ", ".join("?" * len(names))
    rows = transaction.rows(
        "SELECT id FROM chat_participants WHERE tenant = ? AND display_name <> ''"
        f" AND (id = ? OR (created_by = ? AND role <> ?) OR display_name IN ({places})) ORDER BY id LIMIT ?",
        (tenant, person, person, Role.CUSTOMER.value, *names, limit),
    )
    found = (store_chats.participant(transaction, tenant, row[0]) for row in rows)
    return [each for each in found if each is not None]


def erase(transaction: Transaction, participant: Participant) -> None:
    """Erase the name of a participant, and what it said, in a chat that is locked."""
    of = (participant.tenant, participant.contact, participant.id)
    transaction.run(
        "UPDATE chat_participants SET display_name = '', created_by = '', credential = '', fields = '' WHERE tenant = ? AND id = ?",
        (participant.tenant, participant.id),
    )
    transaction.run("DELETE FROM chat_admissions WHERE tenant = ? AND participant = ?", (participant.tenant, participant.id))
    transaction.run(
        "UPDATE chat_items SET content = NULL, client_token = NULL, fields = NULL WHERE tenant = ? AND contact = ? AND participant = ?", of
    )
    for seq, kind, subject in transaction.rows(
        "SELECT seq, kind, subject FROM chat_items WHERE tenant = ? AND contact = ? AND participant = ? AND subject IS NOT NULL", of
    ):
        detail = erased_attachment(subject) if kind == Kind.ATTACHMENT else erased_receipt(subject, participant.id)
        transaction.run(
            "UPDATE chat_items SET detail = ? WHERE tenant = ? AND contact = ? AND seq = ?",
            (json.dumps(detail), participant.tenant, participant.contact, seq),
        )


def forget_admitter(transaction: Transaction, tenant: str, person: str) -> int:
    """Erase a person as the one who let others in. Returns how many."""
    return transaction.run("UPDATE chat_participants SET created_by = '' WHERE tenant = ? AND created_by = ?", (tenant, person))
