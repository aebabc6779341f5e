"""Interactions in the database. Every function runs inside a transaction."""

from __future__ import annotations

from typing import Any, Final

import orjson

from channels.interactions.errors import KnownInteractionError, UnknownInteractionError
from channels.interactions.models import Interaction, Key
from channels.interactions.state_machine import Action, PropertyError, State, change, follow, same
from hub.storage.transactions import Row, Transaction

_COLUMNS: Final = (
    "id, service, external_id, media, subtype, state, parent_id, received_at, user_data, created_ms, stopped_ms, reason_name, reason_text"
)


def insert(transaction: Transaction, tenant: str, made: Interaction) -> bool:
    """Insert an interaction. Returns whether its id was free; if not, nothing was inserted.

    Raises:
        KnownInteractionError: its service has another interaction of this external id.
    """
    row = transaction.row(
        f"INSERT INTO interactions (tenant, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING RETURNING id",
        (
            tenant,
            made.id,
            made.service,
            made.external_id,
            made.media,
            made.subtype,
            made.state.value,
            made.parent_id,
            made.received_at,
            orjson.dumps(made.user_data).decode(),
            made.created_ms,
            made.stopped_ms,
            made.reason_name,
            made.reason_text,
        ),
    )
    if row is not None:
        return True
    if made.external_id is not None:
        taken = transaction.row(
            "SELECT id FROM interactions WHERE tenant = ? AND service = ? AND external_id = ?", (tenant, made.service, made.external_id)
        )
        if taken is not None:
            raise KnownInteractionError(made.external_id, taken[0])
    return False


def find(transaction: Transaction, tenant: str, key: Key, service: str | None = None) -> Interaction:
    """One interaction, of a service or of any.

    Raises:
        UnknownInteractionError: there is none.
    """
    where, values = _named(tenant, key, service)
    row = transaction.row(f"SELECT {_COLUMNS} FROM interactions WHERE {where}", values)
    if row is None:
        raise UnknownInteractionError(key)
    return _of_row(row)


def lock_state(transaction: Transaction, tenant: str, identifier: str) -> State | None:
    """The state of an interaction, which no other transaction changes before this one ends; None: there is none."""
    row = transaction.row(f"SELECT state FROM interactions WHERE tenant = ? AND id = ?{transaction.for_update}", (tenant, identifier))
    return None if row is None else State(row[0])


def page(
    transaction: Transaction, tenant: str, *, state: State | None, media: str | None, before: tuple[int, str] | None, limit: int
) -> list[Interaction]:
    """The newest interactions of a tenant, or those before one of them: (created_ms, id)."""
    conditions, values = ["tenant = ?"], [tenant]
    given: tuple[tuple[str, Any], ...] = (("state = ?", state.value if state else None), ("media = ?", media))
    for condition, value in given:
        if value is not None:
            conditions.append(condition)
            values.append(value)
    if before is not None:
        conditions.append("(created_ms, id) < (?, ?)")
        values += [*before]  # type: ignore[list-item]
    rows = transaction.rows(
        f"SELECT {_COLUMNS} FROM interactions WHERE {' AND '.join(conditions)} ORDER BY created_ms DESC, id DESC LIMIT ?", (*values, limit)
    )
    return [_of_row(row) for row in rows]


def stop(
    transaction: Transaction, tenant: str, key: Key, service: str | None, *, now_ms: int, reason_name: str, reason_text: str
) -> Interaction:
    """Stop an interaction.

    Raises:
        UnknownInteractionError: there is none.
        IllegalActionError: it is stopped already.
    """
    where, values = _named(tenant, key, service)
    row = transaction.row(
        f"UPDATE interactions SET state = ?, stopped_ms = ?, reason_name = ?, reason_text = ? WHERE {where} AND stopped_ms IS NULL"
        f" RETURNING {_COLUMNS}",
        (State.STOPPED.value, now_ms, reason_name, reason_text, *values),
    )
    if row is None:
        follow(find(transaction, tenant, key, service).state, Action.STOP)
        raise UnknownInteractionError(key)  # not reached: the interaction exists and is over, which `follow` refuses
    return _of_row(row)


def move(transaction: Transaction, tenant: str, identifier: str, action: Action) -> None:
    """Apply the action of an event to an interaction. One that is over or unknown stays as it is."""
    transaction.run(
        "UPDATE interactions SET state = ? WHERE tenant = ? AND id = ? AND stopped_ms IS NULL",
        (follow(State.SUBMITTED, action).value, tenant, identifier),
    )


def update(
    transaction: Transaction,
    tenant: str,
    key: Key,
    service: str,
    *,
    changed: dict[str, Any],
    added: dict[str, Any],
    deleted: list[str],
) -> Interaction:
    """Change properties: all of the change is made, or nothing.

    Raises:
        UnknownInteractionError: there is none.
        IllegalActionError: it is over, and its properties would not stay the same.
        PropertyError: see :func:`channels.interactions.state_machine.change`.
    """
    where, values = _named(tenant, key, service)
    # written before it is read, so that another process waits for the end of this transaction
    row = transaction.row(f"UPDATE interactions SET state = state WHERE {where} RETURNING {_COLUMNS}", values)
    if row is None:
        raise UnknownInteractionError(key)
    found = _of_row(row)
    try:
        properties = change(found.user_data, changed, added, deleted)
    except PropertyError:
        follow(found.state, Action.UPDATE)  # refuse it if the interaction is over
        raise
    if same(properties, found.user_data):
        return found
    follow(found.state, Action.UPDATE)
    row = transaction.row(
        f"UPDATE interactions SET user_data = ? WHERE {where} RETURNING {_COLUMNS}", (orjson.dumps(properties).decode(), *values)
    )
    assert row is not None
    return _of_row(row)


def live(transaction: Transaction, tenant: str | None = None) -> list[tuple[str, str]]:
    """(tenant, id) of every interaction that is not over; of one tenant, or of all."""
    query = "SELECT tenant, id FROM interactions WHERE stopped_ms IS NULL"
    rows = transaction.rows(query) if tenant is None else transaction.rows(f"{query} AND tenant = ?", (tenant,))
    return [(of, identifier) for of, identifier in rows]


def is_tenant(transaction: Transaction, tenant: str) -> bool:
    """Whether the tenant exists."""
    return transaction.row("SELECT 1 FROM tenants WHERE name = ?", (tenant,)) is not None


def position(transaction: Transaction, tenant: str) -> int:
    """The position up to which the event log of a tenant was applied."""
    row = transaction.row("SELECT position FROM interaction_positions WHERE tenant = ?", (tenant,))
    return 0 if row is None else row[0]


def lock_position(transaction: Transaction, tenant: str) -> int:
    """As :func:`position`; another process that wants to move it waits until this transaction has ended."""
    transaction.run("INSERT INTO interaction_positions (tenant, position) VALUES (?, 0) ON CONFLICT (tenant) DO NOTHING", (tenant,))
    row = transaction.row(f"SELECT position FROM interaction_positions WHERE tenant = ?{transaction.for_update}", (tenant,))
    assert row is not None
    return int(row[0])


def advance(transaction: Transaction, tenant: str, to: int) -> None:
    """Store the position up to which the event log of a tenant was applied."""
    transaction.run(
        "INSERT INTO interaction_positions (tenant, position) VALUES (?, ?)"
        " ON CONFLICT (tenant) DO UPDATE SET position = excluded.position",
        (tenant, to),
    )


def trim(transaction: Transaction, before_ms: int, limit: int) -> int:
    """Delete interactions that were over before a moment, at most ``limit``. Returns how many."""
    return transaction.run(
        "DELETE FROM interactions WHERE (tenant, id) IN (SELECT tenant, id FROM interactions"
        " WHERE stopped_ms IS NOT NULL AND stopped_ms < ? ORDER BY stopped_ms LIMIT ?)",
        (before_ms, limit),
    )


def _named(tenant: str, key: Key, service: str | None) -> tuple[str, list[Any]]:
    where, values = f"tenant = ? AND {key.column} = ?", [tenant, key.value]
    if service is not None:
        where += " AND service = ?"
        values.append(service)
    return where, values


def _of_row(row: Row) -> Interaction:
    identifier, service, external_id, media, subtype, state, parent_id, received_at, user_data, *rest = row
    return Interaction(
        identifier, service, external_id, media, subtype, State(state), parent_id, received_at, orjson.loads(user_data), *rest
    )
