"""External tokens that were taken, and those that are blocked, in the database.

A token that is good gets a row with its hash, as the hub's own have: so any node finds it again, and tickets, cookies and the ends of live
sessions work for it as for others. The row ends with the token.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from hub.audit.log import Recorder
from hub.audit.models import Event
from hub.security.changes import Kind
from hub.security.credentials import new_id
from hub.security.issuers.mapping import Identity, block_ref
from hub.security.issuers.refusals import Reason, RefusedTokenError
from hub.security.issuers.settings import IssuerSettings
from hub.security.issuers.tokens import MAX_LIFE_S
from hub.security.queries import begin_change, begin_change_within, has_tenant, note_change
from hub.storage.transactions import Transaction, Transactions

BLOCKED_MS: Final = (MAX_LIFE_S + 3600) * 1000
"""For how long a block stays: longer than any token that was issued before it."""


class TooManyExternalTokensError(Exception):
    """A tenant has as many live external tokens as it may have. The text names the setting."""


class ExternalStore:
    """The rows of external tokens."""

    __slots__ = ("_max_tokens", "_now_ms", "_transactions")

    def __init__(self, transactions: Transactions, now_ms: Callable[[], int], max_tokens: int) -> None:
        """``now_ms`` returns the time of day, in milliseconds since 1970 UTC; ``max_tokens`` a tenant may have at a time."""
        self._transactions = transactions
        self._now_ms = now_ms
        self._max_tokens = max_tokens

    async def admit(self, digest: str, identity: Identity, issuer: IssuerSettings, issued_s: int, expires_s: int) -> None:
        """Store a token that is good, by its hash. It raises no revision, as issuing a token does not.

        Args:
            digest: its hash.
            identity: who it stands for.
            issuer: who signed it.
            issued_s: when, in seconds since 1970 UTC; 0 if it does not say so.
            expires_s: when it ends.

        Raises:
            RefusedTokenError: ``tenant``: there is no such tenant; ``blocked``.
            TooManyExternalTokensError: the tenant has too many.
            StorageError: the database cannot be written.
        """

        fingerprint = issuer.fingerprint

        def admit(tx: Transaction) -> None:
            begin_change(tx)
            now = self._now_ms()
            if not has_tenant(tx, identity.tenant):
                raise RefusedTokenError(Reason.TENANT, f"there is no tenant {identity.tenant}")
            # its clock may be ahead: what it issued in the seconds after the block is blocked, too
            latest = (issued_s - issuer.leeway_s) * 1000
            blocked = "SELECT 1 FROM blocked_tokens WHERE tenant = ? AND ref IN (?, ?) AND at_ms >= ? AND until_ms > ?"
            if tx.row(blocked, (identity.tenant, identity.token_ref, identity.subject_ref, latest, now)) is not None:
                raise RefusedTokenError(Reason.BLOCKED, "it is blocked")
            # with a row of other settings: the token is worth something else now
            tx.run("DELETE FROM external_tokens WHERE hash = ? AND issuer <> ?", (digest, fingerprint))
            if tx.row("SELECT 1 FROM external_tokens WHERE hash = ?", (digest,)) is not None:  # another request or node was first
                return
            count = tx.row("SELECT count(*) FROM external_tokens WHERE tenant = ? AND expires_ms > ?", (identity.tenant, now))
            assert count is not None
            if count[0] >= self._max_tokens:
                raise TooManyExternalTokensError(f"the tenant has {count[0]} live tokens of external issuers (auth.max_external_tokens)")
            tx.run(
                "INSERT INTO external_tokens "
                "(id, hash, issuer, tenant, subject, roles, session, token_ref, subject_ref, created_ms, expires_ms) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(new_id(), digest, fingerprint, identity.tenant, identity.subject, json.dumps(sorted(identity.roles))),
                    *(identity.session, identity.token_ref, identity.subject_ref, now, expires_s * 1000),
                ),
            )

        await self._transactions.write(admit)

    async def block(self, tenant: str, name: str, recorder: Recorder) -> int:
        """Block a token by its ``jti``, or all present ones of a subject; returns how many live ones end, within 2 s. Tokens that the
        issuer signs later are good. ``recorder`` tells the audit log of it.

        Raises:
            NotThereError: there is no such tenant.
        """

        def block(tx: Transaction) -> int:
            begin_change_within(tx, tenant)
            ended = self._block(tx, tenant, block_ref(name))
            # a pseudonym: the name may be that of a person
            recorder.record(tx, Event.TOKEN_BLOCKED, tenant, recorder.person(tenant, name), after={"ended": ended})
            return ended

        return await self._transactions.write(block)

    async def end(self, identifier: str, recorder: Recorder) -> None:
        """End a token by the id of its row: its user has signed out. It is not taken again."""

        def end(tx: Transaction) -> None:
            begin_change(tx)
            row = tx.row("SELECT tenant, token_ref FROM external_tokens WHERE id = ?", (identifier,))
            if row is not None:
                self._block(tx, row[0], row[1])
                recorder.record(tx, Event.TOKEN_REVOKED, row[0], f"external:{identifier}")

        await self._transactions.write(end)

    def _block(self, tx: Transaction, tenant: str, ref: str) -> int:
        now = self._now_ms()
        tx.run(
            "INSERT INTO blocked_tokens (id, tenant, ref, at_ms, until_ms) VALUES (?, ?, ?, ?, ?)",
            (new_id(), tenant, ref, now, now + BLOCKED_MS),
        )
        query = "DELETE FROM external_tokens WHERE tenant = ? AND (token_ref = ? OR subject_ref = ?) RETURNING id"
        ended = [identifier for (identifier,) in tx.rows(query, (tenant, ref, ref))]
        for identifier in ended:
            note_change(tx, Kind.EXTERNAL, identifier, now)
        return len(ended)
