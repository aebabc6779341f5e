"""Messages, and receipts that wait for their message, in the database. Lock the channel before a change (:func:`.store_channels.lock`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from channels.messaging.models import Direction, Message, MessageId, Receipt, Recipient
from channels.messaging.state_machine import RecipientStatus, State
from hub.storage.transactions import Row, Transaction

_COLUMNS: Final = (
    "channel, ms, n, direction, type, state, own_id, receiver_id, conversation, event, sender, recipients, error, body, created_ms,"
    " changed_ms"
)


def insert(transaction: Transaction, message: Message) -> None:
    """Insert a message."""
    transaction.run(
        f"INSERT INTO messaging_messages ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            message.channel,
            *message.id,
            message.direction.value,
            message.type,
            message.state.value,
            message.own_id,
            message.receiver_id,
            message.conversation,
            message.event,
            json.dumps(message.sender),
            _recipients_text(message.recipients),
            message.error,
            message.body,
            message.created_ms,
            message.changed_ms,
        ),
    )


def update(transaction: Transaction, message: Message) -> None:
    """Update what can change of a message: its state, those of its recipients, the third party's id, the error."""
    transaction.run(
        "UPDATE messaging_messages SET state = ?, receiver_id = ?, recipients = ?, error = ?, changed_ms = ?"
        " WHERE channel = ? AND ms = ? AND n = ?",
        (
            message.state.value,
            message.receiver_id,
            _recipients_text(message.recipients),
            message.error,
            message.changed_ms,
            message.channel,
            *message.id,
        ),
    )


def by_id(transaction: Transaction, channel: int, identifier: MessageId) -> Message | None:
    """A message by the hub's own id."""
    return _one(transaction, "channel = ? AND ms = ? AND n = ?", (channel, *identifier))


def by_own_id(transaction: Transaction, channel: int, direction: Direction, own_id: str) -> Message | None:
    """A message by the id that its sender gave it."""
    return _one(transaction, "channel = ? AND direction = ? AND own_id = ?", (channel, direction.value, own_id))


def by_event(transaction: Transaction, event: int) -> Message | None:
    """Find the message that an outbox event sends."""
    return _one(transaction, "event = ?", (event,))


def by_receipt(transaction: Transaction, channel: int, message_id: str) -> Message | None:
    """The outgoing message that a receipt means: by the id that the webhook carried, or that its answer had."""
    if (identifier := MessageId.parse(message_id)) is not None:
        found = by_id(transaction, channel, identifier)
        if found is not None and found.direction is Direction.OUTBOUND:
            return found
    return by_own_id(transaction, channel, Direction.OUTBOUND, message_id) or _one(
        transaction, "channel = ? AND receiver_id = ? ORDER BY ms DESC, n DESC", (channel, message_id)
    )


def page(
    transaction: Transaction,
    channel: int,
    *,
    state: State | None,
    direction: Direction | None,
    before: MessageId | None,
    limit: int,
) -> list[Message]:
    """Messages of a channel, the newest first, from behind ``before`` on."""
    where, values = ["channel = ?"], [channel]
    given: Mapping[str, object] = {"state": state, "direction": direction}
    for column, value in given.items():
        if value is not None:
            where.append(f"{column} = ?")
            values.append(str(value))  # type: ignore[arg-type]
    if before is not None:
        where.append("(ms, n) < (?, ?)")
        values.extend(before)
    rows = transaction.rows(
        f"SELECT {_COLUMNS} FROM messaging_messages WHERE {' AND '.join(where)} ORDER BY ms DESC, n DESC LIMIT ?", (*values, limit)
    )
    return [_of_row(row) for row in rows]


def keep_receipt(transaction: Transaction, channel: int, message_id: str, receipt: Receipt, now_ms: int) -> None:
    """Insert a receipt of a message that is not known by this id, perhaps not yet."""
    transaction.run(
        "INSERT INTO messaging_receipts (channel, message_id, status, recipients, reasons, at_ms) VALUES (?, ?, ?, ?, ?, ?)",
        (channel, message_id, receipt.status, json.dumps(receipt.recipients), json.dumps(receipt.reasons), now_ms),
    )


def take_receipts(transaction: Transaction, channel: int, message_id: str) -> list[Receipt]:
    """Take the receipts that waited for an id, in the order in which they came, and delete them."""
    rows = transaction.rows(
        "DELETE FROM messaging_receipts WHERE channel = ? AND message_id = ? RETURNING id, status, recipients, reasons",
        (channel, message_id),
    )
    return [Receipt(status, tuple(json.loads(recipients)), json.loads(reasons)) for _, status, recipients, reasons in sorted(rows)]


def trim(transaction: Transaction, *, before_ms: int, receipts_before_ms: int, limit: int) -> int:
    """Delete messages and waiting receipts that are old, at most ``limit`` of each. Returns how many were deleted."""
    return transaction.run(
        "DELETE FROM messaging_messages WHERE (channel, ms, n) IN"
        " (SELECT channel, ms, n FROM messaging_messages WHERE created_ms < ? ORDER BY created_ms LIMIT ?)",
        (before_ms, limit),
    ) + transaction.run(
        "DELETE FROM messaging_receipts WHERE id IN (SELECT id FROM messaging_receipts WHERE at_ms < ? ORDER BY at_ms LIMIT ?)",
        (receipts_before_ms, limit),
    )


def trim_channel(transaction: Transaction, channel: int, limit: int) -> int:
    """Delete messages and waiting receipts of a removed channel, at most ``limit`` of each. Returns how many were deleted."""
    return transaction.run(
        "DELETE FROM messaging_messages WHERE (channel, ms, n) IN"
        " (SELECT channel, ms, n FROM messaging_messages WHERE channel = ? LIMIT ?)",
        (channel, limit),
    ) + transaction.run(
        "DELETE FROM messaging_receipts WHERE id IN (SELECT id FROM messaging_receipts WHERE channel = ? LIMIT ?)", (channel, limit)
    )


def _one(transaction: Transaction, where: str, values: Sequence[Any]) -> Message | None:
    row = transaction.row(f"SELECT {_COLUMNS} FROM messaging_messages WHERE {where}", values)
    return None if row is None else _of_row(row)


def _of_row(row: Row) -> Message:
    return Message(
        channel=row[0],
        id=MessageId(row[1], row[2]),
        direction=Direction(row[3]),
        type=row[4],
        state=State(row[5]),
        own_id=row[6],
        receiver_id=row[7],
        conversation=row[8],
        event=row[9],
        sender=json.loads(row[10]),
        recipients=[
            Recipient(each["id"], each.get("name"), RecipientStatus(State(each["state"]), each["byReceipt"]), each["reasons"])
            for each in json.loads(row[11])
        ],
        error=row[12],
        body=bytes(row[13]),
        created_ms=row[14],
        changed_ms=row[15],
    )


def _recipients_text(recipients: Sequence[Recipient]) -> str:
    return json.dumps(
        [
            {
                "id": each.id,
                **({"name": each.name} if each.name is not None else {}),
                "state": each.status.state.value,
                "byReceipt": each.status.by_receipt,
                "reasons": each.reasons,
            }
            for each in recipients
        ]
    )
