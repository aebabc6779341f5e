"""Files in the database. Every function runs inside a transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, NamedTuple

from channels.files.models import Call, FileRecord, NewFile
from channels.files.state_machine import State
from hub.storage.transactions import Row, Transaction, marks

COLUMNS: Final = (
    "number, id, tenant, origin, resource, interaction_id, name, size, content_type, state, created_by, tags, created_ms, link_ends_ms,"
    " uploaded_ms, checking_ms, completed_by, decided_ms, reason, md5, sha256, object_key"
)

REFUSED: Final = frozenset({State.REJECTED, State.FAILED})
"""States of files without bytes. They do not use up what a resource or a tenant may have."""

IS_REFUSED: Final = "state IN ('rejected', 'failed')"
"""The same in SQL."""


class Share(NamedTuple):
    """What a tenant has."""

    files: int
    """Without those that are rejected or failed."""
    refused: int
    """Those that are."""
    tokens: int


def take_share(transaction: Transaction, tenant: str, *, files: int = 0, refused: int = 0, tokens: int = 0) -> Share:
    """Add to what a tenant has, or with negative numbers subtract; other transactions that do so wait for the end of this one. Returns
    what there is then.
    """
    row = transaction.row(
        "INSERT INTO file_shares (tenant, files, refused, tokens) VALUES (?, ?, ?, ?) ON CONFLICT (tenant) DO UPDATE"
        " SET files = file_shares.files + excluded.files, refused = file_shares.refused + excluded.refused,"
        " tokens = file_shares.tokens + excluded.tokens RETURNING files, refused, tokens",
        (tenant, files, refused, tokens),
    )
    assert row is not None
    return Share(*row)


def insert(transaction: Transaction, identifier: str, new: NewFile, content_type: str, now_ms: int, link_ends_ms: int) -> FileRecord:
    """Insert a file whose bytes have not come."""
    row = transaction.row(
        "INSERT INTO files (id, tenant, origin, resource, interaction_id, name, size, content_type, state, created_by, creator, tags,"
        f" created_ms, link_ends_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING {COLUMNS}",
        (
            identifier,
            new.tenant,
            new.call,
            new.resource,
            new.interaction_id,
            new.name,
            new.size,
            content_type,
            State.STARTED.value,
            new.created_by,
            new.created_by if new.call == Call.PARTICIPANT else new.creator,
            json.dumps(dict(new.tags), ensure_ascii=False),
            now_ms,
            link_ends_ms,
        ),
    )
    assert row is not None
    return of_row(row)


def find(transaction: Transaction, tenant: str, identifier: str) -> FileRecord | None:
    """A file of a tenant."""
    row = transaction.row(f"SELECT {COLUMNS} FROM files WHERE tenant = ? AND id = ?", (tenant, identifier))
    return None if row is None else of_row(row)


def lock(transaction: Transaction, tenant: str, identifier: str) -> FileRecord | None:
    """As :func:`find`; nobody else changes the file before this transaction ends."""
    row = transaction.row(f"SELECT {COLUMNS} FROM files WHERE tenant = ? AND id = ?{transaction.for_update}", (tenant, identifier))
    return None if row is None else of_row(row)


def some(transaction: Transaction, tenant: str, resource: str, identifiers: Sequence[str]) -> list[FileRecord]:
    """Those of these files that belong to a resource."""
    rows = transaction.rows(
        f"SELECT {COLUMNS} FROM files WHERE tenant = ? AND resource = ? AND id IN ({marks(identifiers)})", (tenant, resource, *identifiers)
    )
    return [of_row(row) for row in rows]


def of_interaction(transaction: Transaction, tenant: str, interaction_id: str, after: int | None, limit: int) -> list[FileRecord]:
    """The newest files of an interaction, or those before the file with the number ``after``."""
    before, values = ("", ()) if after is None else (" AND number < ?", (after,))
    rows = transaction.rows(
        f"SELECT {COLUMNS} FROM files WHERE tenant = ? AND interaction_id = ?{before} ORDER BY number DESC LIMIT ?",
        (tenant, interaction_id, *values, limit),
    )
    return [of_row(row) for row in rows]


def newest(transaction: Transaction, tenant: str, limit: int) -> list[FileRecord]:
    """The newest files of a tenant."""
    rows = transaction.rows(f"SELECT {COLUMNS} FROM files WHERE tenant = ? ORDER BY created_ms DESC, id DESC LIMIT ?", (tenant, limit))
    return [of_row(row) for row in rows]


def used_by(transaction: Transaction, new: NewFile) -> tuple[int, int]:
    """How many files the resource of an announced one has, and how many bytes they are, announced ones included. Those of an interaction
    are counted by its id, however the ARNs are written that name it.
    """
    column, value = ("resource", new.resource) if new.interaction_id is None else ("interaction_id", new.interaction_id)
    row = transaction.row(
        f"SELECT count(*), coalesce(sum(size), 0) FROM files WHERE tenant = ? AND {column} = ? AND NOT {IS_REFUSED}", (new.tenant, value)
    )
    assert row is not None
    return int(row[0]), int(row[1])


def announced_by(transaction: Transaction, new: NewFile) -> int:
    """How many files of the same interaction the announcer of this one has announced and not completed."""
    row = transaction.row(
        "SELECT count(*) FROM files WHERE tenant = ? AND interaction_id = ? AND created_by = ? AND state IN ('started', 'uploaded')",
        (new.tenant, new.interaction_id, new.created_by),
    )
    assert row is not None
    return int(row[0])


def save(transaction: Transaction, file: FileRecord) -> None:
    """Write what can change of a file."""
    transaction.run(
        "UPDATE files SET state = ?, content_type = ?, link_ends_ms = ?, uploaded_ms = ?, checking_ms = ?, completed_by = ?,"
        " decided_ms = ?, reason = ?, md5 = ?, sha256 = ?, object_key = ? WHERE tenant = ? AND id = ?",
        (
            file.state.value,
            file.content_type,
            file.link_ends_ms,
            file.uploaded_ms,
            file.checking_ms,
            file.completed_by,
            file.decided_ms,
            file.reason,
            file.md5,
            file.sha256,
            file.key,
            file.tenant,
            file.id,
        ),
    )


def delete(transaction: Transaction, file: FileRecord) -> bool:
    """Delete the row of a file. Returns whether it was there. The caller deletes its bytes after the commit."""
    row = transaction.row("DELETE FROM files WHERE tenant = ? AND id = ? RETURNING state", (file.tenant, file.id))
    if row is None:
        return False
    refused = State(row[0]) in REFUSED
    take_share(transaction, file.tenant, files=-int(not refused), refused=-int(refused))
    return True


def created_by(transaction: Transaction, tenant: str, person: str, limit: int) -> list[FileRecord]:
    """Files that a user, an agent or a participant of a chat sent, locked."""
    rows = transaction.rows(
        f"SELECT {COLUMNS} FROM files WHERE tenant = ? AND creator = ? ORDER BY number LIMIT ?{transaction.for_update}",
        (tenant, person, limit),
    )
    return [of_row(row) for row in rows]


def between(transaction: Transaction, tenant: str, start_ms: int, end_ms: int, after: tuple[int, str], limit: int) -> list[FileRecord]:
    """Files that were announced from a moment on and before another, after one of them: (created_ms, id); in this order."""
    rows = transaction.rows(
        f"SELECT {COLUMNS} FROM files WHERE tenant = ? AND created_ms >= ? AND created_ms < ? AND (created_ms, id) > (?, ?)"
        " ORDER BY created_ms, id LIMIT ?",
        (tenant, start_ms, end_ms, *after, limit),
    )
    return [of_row(row) for row in rows]


def of_row(row: Row) -> FileRecord:
    """A file from its :data:`COLUMNS`."""
    number, identifier, tenant, origin, resource, interaction_id, name, size, content_type, state, created_by, tags, *rest = row
    return FileRecord(
        number,
        identifier,
        tenant,
        origin,
        resource,
        interaction_id,
        name,
        size,
        content_type,
        State(state),
        created_by,
        json.loads(tags),
        *rest,
    )
