"""How much of one grant of OAuth is kept: a client may refresh its tokens, and ask for codes, as often as its limits of rates let it
(docs/protocol/oauth.md#tokens). All of it runs inside the transaction that adds one more.
"""

from __future__ import annotations

from dataclasses import dataclass

from hub.security.changes import Kind
from hub.security.queries import note_change
from hub.storage.transactions import Transaction


@dataclass(frozen=True, slots=True)
class GrantBounds:
    """How many there are at a time."""

    access_tokens: int = 8
    """Access tokens of a family."""
    used_refresh_tokens: int = 100
    """Refresh tokens of a family that were used before, and that end it when they come again."""
    codes: int = 100
    """Authorization codes of one user and client, also those that are used or too old."""


@dataclass(slots=True)
class GrantCounters:
    """What ended because there was more of it than :class:`GrantBounds` allow; ``/metrics`` reads them."""

    access_tokens_ended: int = 0
    """Access tokens that ended because their family got newer ones: setting `auth.max_family_access_tokens`."""
    refresh_tokens_forgotten: int = 0
    """Used refresh tokens that are no longer known because their family used newer ones: setting `auth.max_family_used_tokens`."""
    codes_dropped: int = 0
    """Authorization codes that were removed because their user and client got newer ones: setting `auth.max_user_codes`."""


def end_older_access_tokens(tx: Transaction, family: str, newest: int, now_ms: int) -> int:
    """Keep the newest access tokens of a family, and end the others; nodes are told of those that were good. Returns how many were.

    The caller holds the lock of :func:`hub.security.queries.begin_change`.
    """
    query = (
        "DELETE FROM access_tokens WHERE family = ? AND id NOT IN "
        "(SELECT id FROM access_tokens WHERE family = ? ORDER BY created_ms DESC, id LIMIT ?) RETURNING id, expires_ms"
    )
    live = [identifier for identifier, expires_ms in tx.rows(query, (family, family, newest)) if expires_ms > now_ms]
    for each in live:
        note_change(tx, Kind.ACCESS, each, now_ms)
    return len(live)


def forget_older_refresh_tokens(tx: Transaction, family: str, newest: int) -> int:
    """Keep those refresh tokens of a family that were used last. An older one is as one that never was: it gives nothing, and ends
    nothing. Returns how many were forgotten.
    """
    query = (
        "DELETE FROM refresh_tokens WHERE family = ? AND used_ms IS NOT NULL AND hash NOT IN "
        "(SELECT hash FROM refresh_tokens WHERE family = ? AND used_ms IS NOT NULL ORDER BY used_ms DESC, hash LIMIT ?) RETURNING hash"
    )
    return len(tx.rows(query, (family, family, newest)))


def drop_older_codes(tx: Transaction, user: str, client: str, newest: int) -> int:
    """Keep the newest codes of a user and client. Returns how many were removed."""
    query = (
        "DELETE FROM codes WHERE user_id = ? AND client = ? AND hash NOT IN "
        "(SELECT hash FROM codes WHERE user_id = ? AND client = ? ORDER BY expires_ms DESC, hash LIMIT ?) RETURNING hash"
    )
    return len(tx.rows(query, (user, client, user, client, newest)))
