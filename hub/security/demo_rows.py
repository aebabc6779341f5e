"""The rows that the demo's OAuth client and user need in the database (docs/protocol/commands.md#demo).

Neither has a secret there: the user's password is known to a hub that runs with ``--demo`` alone. A hub that starts without ``--demo``
removes both, and with them every token that they got.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hub.security import demo
from hub.security.changes import Kind
from hub.security.clients_queries import DEMO_CLIENT as CLIENT
from hub.security.clients_queries import insert_client
from hub.security.oauth.models import Client, Grant
from hub.security.passwords import PasswordHashes
from hub.security.queries import begin_change, next_user_number, note_change
from hub.storage.transactions import Transaction, Transactions

REDIRECT_URIS: Final = ("http://127.0.0.1/cb", "http://localhost:8080/cb")

_USER_ID: Final = "demo"


async def keep_demo_rows(transactions: Transactions, now_ms: Callable[[], int], passwords: PasswordHashes, *, wanted: bool) -> None:
    """Add the rows, or remove them, if the database has not what is ``wanted``. The tenant of the demo exists. The user gets the hash that
    no password has of ``passwords``.
    """

    def look(tx: Transaction) -> tuple[bool, bool]:
        client = tx.row("SELECT 1 FROM clients WHERE id = ? AND tenant = ?", (CLIENT, demo.TENANT)) is not None
        user = tx.row("SELECT 1 FROM users WHERE tenant = ? AND name = ?", (demo.TENANT, demo.USER)) is not None
        own = tx.row("SELECT 1 FROM users WHERE id = ?", (_USER_ID,)) is not None
        return client or own, client and user

    some, whole = await transactions.read(look)
    if wanted and not whole:
        await transactions.write(lambda tx: _add(tx, now_ms(), passwords.nobody))
    elif not wanted and some:
        await transactions.write(lambda tx: _remove(tx, now_ms()))


def _add(tx: Transaction, now_ms: int, password_hash: str) -> None:
    begin_change(tx)
    if tx.row("SELECT 1 FROM clients WHERE id = ?", (CLIENT,)) is None:
        grants = frozenset({Grant.AUTHORIZATION_CODE, Grant.REFRESH_TOKEN, Grant.PASSWORD})
        insert_client(tx, Client(CLIENT, demo.TENANT, "Demo", public=True, grants=grants, redirect_uris=REDIRECT_URIS), now_ms)
    # an administrator may have added a user of this name
    if tx.row("SELECT 1 FROM users WHERE tenant = ? AND name = ?", (demo.TENANT, demo.USER)) is None:
        tx.run(
            "INSERT INTO users (id, tenant, name, password_hash, roles, created_ms, number) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (_USER_ID, demo.TENANT, demo.USER, password_hash, '["admin"]', now_ms, next_user_number(tx)),
        )
    note_change(tx, Kind.NEW, "", now_ms)


def _remove(tx: Transaction, now_ms: int) -> None:
    begin_change(tx)
    tx.run("DELETE FROM clients WHERE id = ? AND tenant = ?", (CLIENT, demo.TENANT))
    tx.run("DELETE FROM users WHERE id = ?", (_USER_ID,))
    note_change(tx, Kind.CLIENT, CLIENT, now_ms)
    note_change(tx, Kind.USER, _USER_ID, now_ms)
