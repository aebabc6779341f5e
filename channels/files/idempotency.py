"""The tokens by which clients announce files: the same token within 24 hours means the same file (docs/files.md#tokens). A unique index
decides between two calls at once, on whatever nodes. Every function runs inside a transaction.
"""

from __future__ import annotations

from typing import Final

from channels.files import store_files
from channels.files.models import NewFile
from hub.storage.transactions import Transaction

LASTS_MS: Final = 24 * 3_600_000


class ReusedError(Exception):
    """The token came before with other fields."""


def claim(transaction: Transaction, new: NewFile, identifier: str, now_ms: int) -> str:
    """Note the token of an announcement. Returns the id of the file that it means: ``identifier`` where the token is new.

    Raises:
        ReusedError: it came before with other fields.
    """
    assert new.client_token is not None
    token, fields = new.token_digest(), new.fields_digest()
    if transaction.run(
        "DELETE FROM file_tokens WHERE tenant = ? AND digest = ? AND created_ms <= ?", (new.tenant, token, now_ms - LASTS_MS)
    ):
        store_files.take_share(transaction, new.tenant, tokens=-1)
    row = transaction.row(
        "INSERT INTO file_tokens (tenant, digest, fields, file, created_ms) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING file",
        (new.tenant, token, fields, identifier, now_ms),
    )
    if row is not None:
        return identifier
    found = transaction.row("SELECT fields, file FROM file_tokens WHERE tenant = ? AND digest = ?", (new.tenant, token))
    assert found is not None
    if found[0] != fields:
        raise ReusedError
    return str(found[1])


def trim(transaction: Transaction, now_ms: int, limit: int) -> int:
    """Forget tokens that are too old, at most ``limit``. Returns how many."""
    rows = transaction.rows(
        "DELETE FROM file_tokens WHERE (tenant, digest) IN"
        " (SELECT tenant, digest FROM file_tokens WHERE created_ms <= ? ORDER BY created_ms LIMIT ?) RETURNING tenant",
        (now_ms - LASTS_MS, limit),
    )
    for tenant in sorted({row[0] for row in rows}):
        store_files.take_share(transaction, tenant, tokens=-sum(row[0] == tenant for row in rows))
    return len(rows)
