"""Mails and attachments in the database. Every function runs inside a transaction, in the database's thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from channels.secure_email.models import Attachment, Draft, Mailbox, MailFilter, MailWithAttachments, SecureMail, Unmoved
from hub.storage.transactions import Transaction, marks

_SUMMARY: Final = (
    "id, direction, address, securebox, status, sender, sender_name, recipient, recipient_name, subject, in_reply_to, interaction_id,"
    " created_ms, read_ms, deleted_ms"
)
_WHOLE: Final = f"{_SUMMARY}, body_text, body_html"
_ATTACHMENT: Final = "number, filename, content_type, size, object"
_OF_BOX: Final = "tenant = ? AND address = ? AND securebox = ? AND deleted_ms IS NULL"


def insert(
    transaction: Transaction,
    box: Mailbox,
    identifier: str,
    draft: Draft,
    *,
    direction: str,
    subject: str,
    recipient: str | None,
    interaction_id: str | None,
    now_ms: int,
) -> None:
    """Insert a mail, unread, with its attachments, whose objects exist. ``subject`` and ``recipient`` replace those of the draft."""
    row = transaction.row(
        "INSERT INTO secure_mails (id, tenant, direction, address, securebox, status, sender, sender_name, recipient, recipient_name,"
        " subject, body_text, body_html, user_data, in_reply_to, interaction_id, created_ms)"
        " VALUES (?, ?, ?, ?, ?, 'unread', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING number",
        (
            identifier,
            box.tenant,
            direction,
            box.address,
            box.securebox,
            draft.sender,
            draft.sender_name,
            recipient,
            draft.recipient_name,
            subject,
            draft.text,
            draft.html,
            draft.user_data,
            draft.in_reply_to,
            interaction_id,
            now_ms,
        ),
    )
    assert row is not None
    for each in draft.attachments:
        transaction.run(
            "INSERT INTO secure_mail_attachments (mail, number, filename, content_type, size, object, content)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (row[0], each.number, each.filename, each.content_type, each.size, each.object, each.content),
        )


def page(transaction: Transaction, box: Mailbox, wanted: MailFilter, *, index: int, count: int) -> list[MailWithAttachments]:
    """Mails of a box, the newest first, without texts and contents."""
    condition, values = _condition(box, wanted)
    rows = transaction.rows(
        f"SELECT {_SUMMARY}, number FROM secure_mails WHERE {condition} ORDER BY number DESC LIMIT ? OFFSET ?", (*values, count, index)
    )
    attachments = _attachments_of(transaction, [row[-1] for row in rows])
    return [MailWithAttachments(SecureMail(*row[:-1]), tuple(attachments.get(row[-1], ()))) for row in rows]


def count(transaction: Transaction, box: Mailbox, wanted: MailFilter) -> int:
    """How many mails of a box there are."""
    condition, values = _condition(box, wanted)
    row = transaction.row(f"SELECT count(*) FROM secure_mails WHERE {condition}", values)
    assert row is not None
    return int(row[0])


def named(transaction: Transaction, tenant: str, identifier: str) -> str:
    """Find the id of a mail by its own id or by that of its interaction. An id that is neither is returned as it is."""
    row = transaction.row("SELECT id FROM secure_mails WHERE id = ? AND tenant = ?", (identifier, tenant)) or transaction.row(
        "SELECT id FROM secure_mails WHERE interaction_id = ? AND tenant = ?", (identifier, tenant)
    )
    return identifier if row is None else str(row[0])


def find(transaction: Transaction, tenant: str, identifier: str, *, contents: bool) -> MailWithAttachments | None:
    """A mail, deleted or not, with its texts; the contents of its attachments only where they are asked for, and in the database."""
    row = transaction.row(f"SELECT {_WHOLE}, number FROM secure_mails WHERE id = ? AND tenant = ?", (identifier, tenant))
    if row is None:
        return None
    columns = _ATTACHMENT + (", content" if contents else "")
    rows = transaction.rows(f"SELECT {columns} FROM secure_mail_attachments WHERE mail = ? ORDER BY number", (row[-1],))
    return MailWithAttachments(SecureMail(*row[:-1]), tuple(Attachment(*each) for each in rows))


def attachment(transaction: Transaction, tenant: str, identifier: str, number: int) -> Attachment | None:
    """One attachment, with its content where that is in the database."""
    row = transaction.row(
        "SELECT a.number, a.filename, a.content_type, a.size, a.object, a.content FROM secure_mail_attachments a JOIN secure_mails m"
        " ON m.number = a.mail WHERE m.id = ? AND m.tenant = ? AND a.number = ?",
        (identifier, tenant, number),
    )
    return None if row is None else Attachment(*row)


def user_data(transaction: Transaction, tenant: str, identifier: str) -> str | None:
    """The userdata of a mail as JSON text; None when there is no such mail."""
    row = transaction.row("SELECT user_data FROM secure_mails WHERE id = ? AND tenant = ?", (identifier, tenant))
    return None if row is None else row[0]


def mark_read(transaction: Transaction, tenant: str, identifier: str, now_ms: int) -> bool:
    """Mark a mail as read. Returns whether it was unread."""
    return bool(
        transaction.run(
            "UPDATE secure_mails SET status = 'read', read_ms = ? WHERE id = ? AND tenant = ? AND status = 'unread'",
            (now_ms, identifier, tenant),
        )
    )


def mark_deleted(transaction: Transaction, tenant: str, identifier: str, now_ms: int) -> bool:
    """Mark a mail as deleted. Returns whether it was not deleted before."""
    return bool(
        transaction.run(
            "UPDATE secure_mails SET deleted_ms = ? WHERE id = ? AND tenant = ? AND deleted_ms IS NULL", (now_ms, identifier, tenant)
        )
    )


def close(transaction: Transaction, tenant: str, identifier: str, now_ms: int) -> str | None:
    """Stop the interaction of a mail: its id, once; None when it has none, or when it was stopped before."""
    row = transaction.row(
        "UPDATE secure_mails SET closed_ms = ? WHERE id = ? AND tenant = ? AND closed_ms IS NULL AND interaction_id IS NOT NULL"
        " RETURNING interaction_id",
        (now_ms, identifier, tenant),
    )
    return None if row is None else row[0]


def purge(transaction: Transaction, tenant: str, identifier: str) -> list[str] | None:
    """Remove a mail and its attachments for good. Returns the ids of their objects, which the caller removes after the commit; None: there
    is no such mail.
    """
    row = transaction.row("SELECT number FROM secure_mails WHERE id = ? AND tenant = ?", (identifier, tenant))
    count, objects = (0, []) if row is None else _remove(transaction, [row[0]])
    return objects if count else None


def trim(transaction: Transaction, deleted_before_ms: int, limit: int) -> tuple[int, list[str]]:
    """Remove at most ``limit`` mails that were deleted before a moment. Returns how many were removed, and the ids of the objects of their
    attachments, which the caller removes after the commit.
    """
    rows = transaction.rows(
        "SELECT number FROM secure_mails WHERE deleted_ms IS NOT NULL AND deleted_ms < ? ORDER BY deleted_ms LIMIT ?",
        (deleted_before_ms, limit),
    )
    return _remove(transaction, [row[0] for row in rows]) if rows else (0, [])


def _remove(transaction: Transaction, mails: Sequence[int]) -> tuple[int, list[str]]:
    # the attachments by name, and first: the rows of the mails would take them along, and nobody would know their objects
    rows = transaction.rows(f"DELETE FROM secure_mail_attachments WHERE mail IN ({marks(mails)}) RETURNING object", tuple(mails))
    count = transaction.run(f"DELETE FROM secure_mails WHERE number IN ({marks(mails)})", tuple(mails))
    return count, [row[0] for row in rows if row[0] is not None]


def unmoved(transaction: Transaction, after: Unmoved, limit: int) -> list[Unmoved]:
    """Attachments behind ``after`` whose bytes are in the database, in the order of their mails."""
    rows = transaction.rows(
        "SELECT mail, number FROM secure_mail_attachments WHERE object IS NULL AND (mail, number) > (?, ?) ORDER BY mail, number LIMIT ?",
        (*after, limit),
    )
    return [Unmoved(*row) for row in rows]


def content(transaction: Transaction, attachment: Unmoved) -> bytes | None:
    """The bytes of an attachment that are in the database; None: it was removed or moved meanwhile."""
    row = transaction.row("SELECT content FROM secure_mail_attachments WHERE mail = ? AND number = ? AND object IS NULL", attachment)
    return None if row is None else bytes(row[0])


def moved(transaction: Transaction, attachment: Unmoved, identifier: str) -> bool:
    """Let an attachment name its object, which is durable, and drop its bytes. Returns False where it was removed or moved meanwhile."""
    return bool(
        transaction.run(
            "UPDATE secure_mail_attachments SET object = ?, content = ? WHERE mail = ? AND number = ? AND object IS NULL",
            (identifier, b"", *attachment),
        )
    )


def known(transaction: Transaction, objects: Sequence[str]) -> set[str]:
    """Which of these ids of objects an attachment has."""
    rows = transaction.rows(f"SELECT object FROM secure_mail_attachments WHERE object IN ({marks(objects)})", tuple(objects))
    return {row[0] for row in rows}


def _condition(box: Mailbox, wanted: MailFilter) -> tuple[str, tuple[str, ...]]:
    condition, values = _OF_BOX, [*box]
    if wanted.status is not None:
        condition += " AND status = ?"
        values.append(wanted.status.value)
    if wanted.direction is not None:
        condition += " AND direction = ?"
        values.append(wanted.direction.value)
    return condition, tuple(values)


def _attachments_of(transaction: Transaction, mails: Sequence[int]) -> dict[int, list[Attachment]]:
    found: dict[int, list[Attachment]] = {}
    if mails:
        rows = transaction.rows(
            f"SELECT mail, {_ATTACHMENT} FROM secure_mail_attachments WHERE mail IN ({marks(mails)}) ORDER BY mail, number",
            tuple(mails),
        )
        for mail, *rest in rows:
            found.setdefault(mail, []).append(Attachment(*rest))
    return found
