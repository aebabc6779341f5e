"""Ends what users and tokens have opened: sign-out, and another password (docs/protocol/credentials.md#changes-of-credentials).

Each step notes what it ended, so that every node ends the live sessions of it within 2 s.
"""

from __future__ import annotations

from collections.abc import Callable

from hub.audit.log import AuditLog
from hub.audit.models import Actor, Entry, Event
from hub.security.changes import Kind
from hub.security.queries import begin_change, note_change
from hub.storage.transactions import Transaction, Transactions


class Ends:
    """The ends of tokens, families, sign-ins and users, in the database."""

    __slots__ = ("_audit", "_now_ms", "_transactions")

    def __init__(self, transactions: Transactions, now_ms: Callable[[], int], audit: AuditLog) -> None:
        """``now_ms`` returns the time of day, in milliseconds since 1970 UTC; ``audit`` is told who ends what."""
        self._audit = audit
        self._transactions = transactions
        self._now_ms = now_ms

    async def end_token(self, token: str, by: Actor) -> None:
        """End a token of the command line, by the id of its row."""

        def end(tx: Transaction) -> None:
            begin_change(tx)
            removed = tx.row("DELETE FROM tokens WHERE id = ? RETURNING tenant", (token,))
            if removed is not None:
                self._note(tx, Kind.TOKEN, token)
                self._audit.record_within_share(tx, by, Entry(Event.TOKEN_REVOKED, removed[0], f"token:{token}"))

        await self._transactions.write(end)

    async def end_sign_in(self, tenant: str, number: str, login: str, by: Actor) -> None:
        """End the sign-in of one browser: the number that its cookie has, and the login of what it opened; empty if
        others have that login too.
        """

        def end(tx: Transaction) -> None:
            begin_change(tx)
            self._note(tx, Kind.SIGN_IN, f"{number} {login}")
            self._audit.record_within_share(tx, by, Entry(Event.SIGN_OUT, tenant))

        await self._transactions.write(end)

    async def end_user(self, tenant: str, user: str, by: Actor) -> None:
        """End every token and sign-in of a user, by the id of the row: the user has signed out everywhere."""

        def end(tx: Transaction) -> None:
            begin_change(tx)
            end_of_user(tx, user, self._now_ms())
            self._audit.record_within_share(tx, by, Entry(Event.SIGN_OUT, tenant, after={"everywhere": True}))

        await self._transactions.write(end)

    async def change_password(self, user: str, before: str, hashed: str, keep_family: str | None, by: Actor) -> bool:
        """Give a user another password, and end every token and sign-in but those of one family. False: the user has been removed, or has
        another password by now than the one whose hash is ``before``.
        """

        def change(tx: Transaction) -> bool:
            begin_change(tx)
            query = "UPDATE users SET password_hash = ? WHERE id = ? AND password_hash = ? RETURNING tenant, name"
            found = tx.row(query, (hashed, user, before))
            if found is None:
                return False
            end_of_user(tx, user, self._now_ms(), keep_family)
            tenant, name = found
            self._audit.record(tx, by, Entry(Event.PASSWORD_CHANGED, tenant, self._audit.person(tenant, name)))
            return True

        return await self._transactions.write(change)

    def _note(self, tx: Transaction, kind: Kind, ref: str) -> None:
        note_change(tx, kind, ref, self._now_ms())


def end_of_user(tx: Transaction, user: str, now_ms: int, keep_family: str | None = None) -> None:
    """End every token, code and sign-in of a user, but the tokens of one family. The caller holds the lock of changes."""
    tx.run("DELETE FROM families WHERE user_id = ? AND id <> ?", (user, keep_family or ""))
    tx.run("DELETE FROM tokens WHERE user_id = ?", (user,))
    tx.run("DELETE FROM codes WHERE user_id = ?", (user,))
    tx.run("UPDATE users SET generation = generation + 1 WHERE id = ?", (user,))
    note_change(tx, Kind.USER, user, now_ms)
